use model::{MessageId, MessageText, SessionId, limits};

use super::*;

fn going() -> Going {
    Going {
        node_id: "N2".parse().unwrap(),
        url: "wss://n2.example/socket".into(),
        ticket: "secret".into(),
        by: Duration::from_millis(5_000),
    }
}

#[test]
fn debug_shows_no_ticket() {
    assert!(!format!("{:?}", ServerFrame::Going(going())).contains("secret"));
}

#[test]
fn server_frames_survive_the_wire() {
    let message = Message::new(
        MessageId::mint(Timestamp::from_unix_ms(1_000), 5),
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
        UserId::parse("a").unwrap(),
        MessageText::from_stored("\u{2028}</script>".into()),
    );
    let mut changed = message.clone();
    changed.rev = model::Rev::parse("01MCC5RM000000000000000009").unwrap();
    let frames = [
        ServerFrame::Message { cursor: "c".into(), message: changed, lacks_text: false },
        ServerFrame::Ready(Ready {
            connection_id: "S1".parse().unwrap(),
            node_id: "N1".parse().unwrap(),
            workspace_id: "w".parse().unwrap(),
            user_id: "a".parse().unwrap(),
            cursor: "c".into(),
            resumed: true,
            accepts: vec!["ping".into()],
            tick: Duration::from_millis(20_000),
            server_time: Timestamp::from_unix_ms(5),
            invisible: false,
        }),
        ServerFrame::Message { cursor: "c".into(), message: message.clone(), lacks_text: false },
        ServerFrame::Channel {
            cursor: "c".into(),
            change: Some(ChannelChange::MemberRemoved),
            channel_id: message.channel_id.clone(),
            user_ids: vec![message.sender_id.clone()],
            details: None,
        },
        ServerFrame::Channel {
            cursor: "c".into(),
            change: Some(ChannelChange::MembersAdded),
            channel_id: message.channel_id,
            user_ids: vec![message.sender_id, UserId::parse("b").unwrap()],
            details: None,
        },
        ServerFrame::Tick {
            cursor: "c".into(),
            server_time: Timestamp::from_unix_ms(5),
            fresh: false,
            every: None,
        },
        ServerFrame::Tick {
            cursor: "c".into(),
            server_time: Timestamp::from_unix_ms(5),
            fresh: true,
            every: Some(Duration::from_secs(30)),
        },
        ServerFrame::Resync { reason: "hole".into(), delay_ms: 12, channels: None },
        ServerFrame::Resync {
            reason: "hole".into(),
            delay_ms: 12,
            channels: Some(vec![ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)]),
        },
    ];
    for frame in frames {
        assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
    }
    assert_eq!(ServerFrame::decode("[]"), None);
}

#[test]
fn answers_and_signals_survive_the_wire() {
    let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
    let root = MessageId::mint(Timestamp::from_unix_ms(1_000), 5);
    let server_time = Timestamp::from_unix_ms(5);
    let users = vec![UserId::parse("b").unwrap()];
    let (main, thread) = (LogId::from(&channel_id), LogId::new(channel_id.clone(), Some(root)));
    let at = SessionPosition { session: SessionId::mint(server_time, 1), n: 5 };
    for frame in [
        ServerFrame::Pong { cursor: "c".into(), server_time, fresh: true },
        ServerFrame::Going(going()),
        ServerFrame::Renewed {
            reference: None,
            expires_at: Timestamp::from_unix_ms(5),
            invisible: false,
        },
        ServerFrame::Renewed {
            reference: Some(7),
            expires_at: Timestamp::from_unix_ms(5),
            invisible: true,
        },
        ServerFrame::Presence {
            users: vec![
                (users[0].clone(), Presence::Idle),
                ("c".parse().unwrap(), Presence::Offline),
            ],
        },
        ServerFrame::Typing { log: main, users, more: 3 },
        ServerFrame::Typing { log: thread, users: Vec::new(), more: 0 },
        ServerFrame::Accepted {
            reference: 7,
            id: root,
            n: Some(3),
            replicated: false,
            server_time,
        },
        ServerFrame::Accepted { reference: 7, id: root, n: None, replicated: true, server_time },
        ServerFrame::Refused(Refused {
            reference: Some(7),
            channel_id: None,
            code: "rate_limited".to_owned(),
            retryable: true,
            retry_after: Some(Duration::from_millis(200)),
            field: None,
        }),
        ServerFrame::Refused(Refused {
            reference: None,
            channel_id: Some(channel_id.clone()),
            code: "ended".to_owned(),
            retryable: false,
            retry_after: None,
            field: Some("channel_id".to_owned()),
        }),
        ServerFrame::Joined { channel_id: channel_id.clone(), at, missed: Some(2) },
        ServerFrame::Joined { channel_id: channel_id.clone(), at, missed: None },
        ServerFrame::Said {
            n: 3,
            message: Message::new(
                root,
                channel_id.clone(),
                UserId::parse("b").unwrap(),
                MessageText::from_stored("hi".into()),
            ),
        },
        ServerFrame::Ended { cursor: None, channel_id: channel_id.clone() },
        ServerFrame::Ended { cursor: Some("c".into()), channel_id },
    ] {
        assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
    }
}

#[test]
fn the_sender_of_a_new_message_is_read_from_its_frame() {
    let id = MessageId::mint(Timestamp::from_unix_ms(1_000), 5);
    let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
    let ada: UserId = "ada".parse().unwrap();
    let text = MessageText::from_stored("hi".into());
    let mut said = Message::new(id, channel_id, ada.clone(), text);
    assert_eq!(sender_of(&message(&said)), Some((ada.clone(), None)));
    said.thread = Some(id);
    assert_eq!(sender_of(&message(&said)), Some((ada, Some(id))));
    said.rev = model::Rev::parse("01MCC5RM000000000000000009").unwrap();
    assert_eq!(sender_of(&message(&said)), None, "a change");
    assert_eq!(sender_of("{}"), None);
}

#[test]
fn a_change_of_details_survives_the_wire() {
    let frame = ServerFrame::Channel {
        cursor: "c".into(),
        change: Some(ChannelChange::Archived),
        channel_id: ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
        user_ids: vec![UserId::parse("a").unwrap()],
        details: Some(ChannelDetails {
            topic: "over".into(),
            archived: true,
            version: 3,
            ..ChannelDetails::new(Some("general".into()))
        }),
    };
    assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
}

#[test]
fn g4_frames_of_a_later_version_are_read_as_far_as_they_are_known() {
    let unknown = |frame: &str| match ServerFrame::decode(frame) {
        Some(ServerFrame::Unknown { cursor }) => cursor,
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown(r#"{"type":"huddle","users":{"a":"idle"},"more":[]}"#), None);
    assert_eq!(unknown(r#"{"type":"survey","archived":["a"],"topic":{},"name":1}"#), None);
    assert_eq!(unknown(r#"{"cursor":"c","type":"poll","x":{"y":[]}}"#).as_deref(), Some("c"));

    let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
    let merged = format!(
        r#"{{"cursor":"c","type":"channel","change":"merged","channel_id":"{channel_id}"}}"#
    );
    let (cursor, user_ids) = ("c".to_owned(), Vec::new());
    let (change, details) = (None, None);
    let known = ServerFrame::Channel { cursor, change, channel_id, user_ids, details };
    assert_eq!(ServerFrame::decode(&merged), Some(known));

    let before = r#"{"type":"ready","connection_id":"S1","node_id":"N1","workspace_id":"w",
        "user_id":"a","cursor":"c","resumed":true,"server_time":5}"#;
    let Some(ServerFrame::Ready(ready)) = ServerFrame::decode(before) else { panic!() };
    assert_eq!((ready.accepts, ready.tick), (Vec::new(), limits::TICK));
}
