use model::{MessageId, SessionId, Timestamp};

use super::*;

fn general() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(5), 1)
}

fn root() -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(6), 1)
}

fn position() -> SessionPosition {
    let session = SessionId::mint(Timestamp::from_unix_ms(7), 1);
    SessionPosition { session, n: 5 }
}

fn sent() -> SendFrame {
    let text = MessageText::parse("hi".to_owned()).unwrap();
    let (channel_id, id) = (general(), root());
    SendFrame { reference: 7, channel_id, id, text, after: None, quote: None }
}

fn renew(reference: Option<u64>) -> RenewFrame {
    RenewFrame { reference, ticket: "secret".to_owned() }
}

#[test]
fn a_renew_without_a_good_ticket_has_an_empty_one() {
    let empty = |reference| Ok(ClientFrame::Renew(RenewFrame { reference, ticket: String::new() }));
    assert_eq!(ClientFrame::decode(r#"{"type":"renew"}"#), empty(None));
    assert_eq!(ClientFrame::decode(r#"{"type":"renew","ref":7,"ticket":null}"#), empty(Some(7)));
}

#[test]
fn a_send_with_a_bad_field_is_refused_by_its_number() {
    let good = || ClientFrame::Send(sent()).encode().parse::<Value>().unwrap();
    for (field, value, code) in [
        ("channel_id", json!("general"), ErrorCode::InvalidField),
        ("id", json!("x"), ErrorCode::InvalidId),
        ("id", json!(7), ErrorCode::InvalidField),
        ("after", json!("x"), ErrorCode::InvalidId),
        ("quote", json!(null), ErrorCode::InvalidField),
        ("message", json!(" \n"), ErrorCode::EmptyMessage),
        ("message", json!("\u{7}"), ErrorCode::InvalidField),
        ("message", json!("x".repeat(40_001)), ErrorCode::MessageTooLong),
        ("message", json!(null), ErrorCode::InvalidField),
        ("thread", json!("x"), ErrorCode::InvalidField),
    ] {
        let mut frame = good();
        frame[field] = value;
        let bad = ClientFrame::BadSend { reference: 7, code, field: field.to_owned() };
        assert_eq!(ClientFrame::decode(&frame.to_string()), Ok(bad), "{frame}");
    }
    let mut frame = good();
    frame["ref"] = json!("seven");
    assert_eq!(ClientFrame::decode(&frame.to_string()), Err(malformed("ref")));
}

#[test]
fn a_hello_is_read() {
    let hello = Hello::decode(r#"{"type":"hello","ticket":"t","cursor":"1-1-0000abcd"}"#).unwrap();
    let cursor = Some("1-1-0000abcd".to_owned());
    assert_eq!(hello, Hello { ticket: "t".into(), cursor, accepts: Vec::new() });
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
    assert!(!hello.takes("going"));
    let listing =
        r#"{"type":"hello","ticket":"t","cursor":"1-1-0000abcd","accepts":["a","going"]}"#;
    let listing = Hello::decode(listing).unwrap();
    assert_eq!(listing, Hello { accepts: vec!["a".into(), "going".into()], ..hello });
    assert!(listing.takes("going") && !listing.takes("b"));
    assert_eq!(Hello::decode(&listing.encode()), Ok(listing));
    let long = format!(r#"{{"type":"hello","ticket":"t","cursor":"{}"}}"#, "x".repeat(500));
    assert_eq!(Hello::decode(&long).unwrap().cursor.as_deref(), Some(""));
}

#[test]
fn what_is_no_hello_closes() {
    for text in [
        "",
        "null",
        "[]",
        "x",
        r#"{"type":"hello"} x"#,
        r#"{"ticket":"t"}"#,
        r#"{"type":"ping","ticket":"t"}"#,
        r#"{"type":1,"ticket":"t"}"#,
        r#"{"type":"hello","ticket":1}"#,
        r#"{"type":"hello","ticket":null}"#,
        r#"{"type":"hello","ticket":"t","cursor":null}"#,
        r#"{"type":"hello","ticket":"t","cursor":7}"#,
        r#"{"type":"hello","ticket":"t","extra":1}"#,
        r#"{"type":"hello","ticket":"t","accepts":null}"#,
        r#"{"type":"hello","ticket":"t","accepts":"message"}"#,
        r#"{"type":"hello","ticket":"t","accepts":["message",1]}"#,
        r#"{"type":"hello","ticket":"t","ticket":"t"}"#,
    ] {
        assert_eq!(Hello::decode(text), Err(CloseCode::BadFrame), "{text}");
    }
    assert_eq!(Hello::decode(r#"{"type":"hello"}"#), Err(CloseCode::Unauthenticated));
}

#[test]
fn debug_shows_no_ticket() {
    let hello = Hello { ticket: "secret".into(), cursor: None, accepts: Vec::new() };
    assert!(!format!("{hello:?}").contains("secret"));
    let renew = ClientFrame::Renew(renew(None));
    assert!(!format!("{renew:?}").contains("secret"));
}

#[test]
fn a_frame_survives_the_wire() {
    let thread = LogId::new(general(), Some(root()));
    let users = vec!["alice".parse().unwrap(), "bob".parse().unwrap()];
    for frame in [
        ClientFrame::Ping,
        ClientFrame::Idle(true),
        ClientFrame::Idle(false),
        ClientFrame::Typing(general().into()),
        ClientFrame::Typing(thread.clone()),
        ClientFrame::View(View::default()),
        ClientFrame::View(View { logs: vec![general().into(), thread], users }),
        ClientFrame::Leave(general()),
        ClientFrame::Join { channel_id: general(), after: None },
        ClientFrame::Join { channel_id: general(), after: Some(position()) },
        ClientFrame::Renew(renew(None)),
        ClientFrame::Renew(renew(Some(7))),
        ClientFrame::Send(sent()),
        ClientFrame::Send(SendFrame { after: Some(root()), quote: Some(root()), ..sent() }),
    ] {
        assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame.clone()));
        assert!(ACCEPTED.contains(&frame.kind()));
    }
}

#[test]
fn what_is_no_known_frame_is_told_from_what_is_malformed() {
    for text in ["", "x", "[]", "{}", r#"{"type":7}"#, r#"{"type":"hello","ticket":"t"}"#] {
        assert_eq!(ClientFrame::decode(text), Err(BadFrame::Unknown), "{text}");
    }
    let five: Vec<String> = (0..5).map(|_| general().to_string()).collect();
    let many: Vec<String> = (0..=limits::VIEW_USERS_MAX).map(|n| format!("u{n}")).collect();
    for (frame, field) in [
        (json!({ "type": "ping", "at": 1 }), "at"),
        (json!({ "type": "idle" }), "idle"),
        (json!({ "type": "idle", "idle": "no" }), "idle"),
        (json!({ "type": "typing" }), "channel_id"),
        (json!({ "type": "typing", "channel_id": "general" }), "channel_id"),
        (json!({ "type": "typing", "channel_id": general().as_str(), "thread": 7 }), "thread"),
        (json!({ "type": "renew", "ref": "7", "ticket": "t" }), "ref"),
        (json!({ "type": "renew", "ticket": "t", "token": "t" }), "token"),
        (json!({ "type": "leave" }), "channel_id"),
        (json!({ "type": "join", "channel_id": general().as_str(), "after": "5" }), "after"),
        (json!({ "type": "view", "channels": "all" }), "channels"),
        (json!({ "type": "view", "channels": five }), "channels"),
        (json!({ "type": "view", "channels": [null] }), "channels"),
        (json!({ "type": "view", "threads": [[general().as_str()]] }), "threads"),
        (json!({ "type": "view", "threads": [[general().as_str(), "x"]] }), "threads"),
        (json!({ "type": "view", "users": [""] }), "users"),
        (json!({ "type": "view", "users": many }), "users"),
    ] {
        let refused = Err(malformed(field));
        assert_eq!(ClientFrame::decode(&frame.to_string()), refused, "{frame}");
    }
}
