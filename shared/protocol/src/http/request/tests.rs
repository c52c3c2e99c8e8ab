use http::HeaderValue;

use super::*;

const CHANNEL: &str = "C01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    )])
}

fn refusal<T: TryFrom<Fields, Error = Problem>>(body: &str) -> (ErrorCode, String) {
    let read = read_json(&json_headers(), body.as_bytes())
        .and_then(|fields| T::try_from(fields).map(drop));
    let problem = read.expect_err(body);
    (problem.code, problem.field.unwrap_or_default().into_owned())
}

#[test]
fn bad_messages_are_refused_by_name() {
    use ErrorCode::{BadJson, EmptyMessage, InvalidField, InvalidId, MessageTooLong, TooLarge};
    let long = "x".repeat(40_001);
    let huge = "x".repeat(limits::BODY_BYTES_MAX);
    let cases: Vec<(String, ErrorCode, &str)> = vec![
        ("".into(), BadJson, ""),
        ("[]".into(), InvalidField, "body"),
        ("{}".into(), InvalidField, "channel_id"),
        (format!(r#"{{"channel_id":"{CHANNEL}"}}"#), InvalidField, "message"),
        (r#"{"channel_id":7,"message":"x"}"#.into(), InvalidField, "channel_id"),
        (r#"{"channel_id":"x","message":"x"}"#.into(), InvalidField, "channel_id"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":null}}"#), InvalidField, "message"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":" \n"}}"#), EmptyMessage, "message"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"a\u0000"}}"#), InvalidField, "message"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"\ud800"}}"#), BadJson, ""),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"{long}"}}"#), MessageTooLong, "message"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"{huge}"}}"#), TooLarge, ""),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","id":"x"}}"#), InvalidId, "id"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","id":1}}"#), InvalidField, "id"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","after":"y"}}"#), InvalidId, "after"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","e":1}}"#), InvalidField, "e"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","<b>":1}}"#), InvalidField, "?"),
        (format!(r#"{{"channel_id":"{CHANNEL}","message":"x","message":"x"}}"#), BadJson, ""),
    ];
    for (body, code, field) in cases {
        assert_eq!(refusal::<NewMessage>(&body), (code, field.to_owned()), "{body:.120}");
    }
}

#[test]
fn bad_channels_are_refused_by_name() {
    let many = format!("[{}]", (0..101).map(|n| format!("\"u{n}\"")).collect::<Vec<_>>().join(","));
    for (body, field) in [
        (r#"{"type":"X","members":[]}"#.to_owned(), "type"),
        (r#"{"type":"GROUP_CHANNEL","members":[]}"#.into(), "name"),
        (r#"{"type":"GROUP_CHANNEL","name":"","members":[]}"#.into(), "name"),
        (r#"{"type":"GROUP_CHANNEL","name":"a\nb","members":[]}"#.into(), "name"),
        (format!(r#"{{"type":"GROUP_CHANNEL","name":"{}","members":[]}}"#, "x".repeat(81)), "name"),
        (r#"{"type":"GROUP_CHANNEL","name":"a"}"#.into(), "members"),
        (r#"{"type":"GROUP_CHANNEL","name":"a","members":"b"}"#.into(), "members"),
        (r#"{"type":"GROUP_CHANNEL","name":"a","members":[1]}"#.into(), "members"),
        (r#"{"type":"GROUP_CHANNEL","name":"a","members":["a b"]}"#.into(), "members"),
        (format!(r#"{{"type":"GROUP_CHANNEL","name":"a","members":{many}}}"#), "members"),
        (r#"{"type":"DM","members":[]}"#.into(), "members"),
        (r#"{"type":"DM","members":["a","b"]}"#.into(), "members"),
        (r#"{"type":"DM","name":"x","members":["a"]}"#.into(), "name"),
        (r#"{"type":"DM","members":["a"],"contract":"x"}"#.into(), "contract"),
        (r#"{"type":"DM","members":["a"],"x":1}"#.into(), "x"),
    ] {
        let expected = (ErrorCode::InvalidField, field.to_owned());
        assert_eq!(refusal::<NewChannel>(&body), expected, "{body:.120}");
    }
}

#[test]
fn the_longest_text_fits_however_it_is_escaped() {
    let escaped = "\\ud83d\\ude00".repeat(limits::MESSAGE_CHARS_MAX);
    let body = format!(r#"{{"channel_id":"{CHANNEL}","message":"{escaped}"}}"#);
    let fields = read_json(&json_headers(), body.as_bytes()).unwrap();
    let text = NewMessage::try_from(fields).unwrap().text;
    assert_eq!(text.as_str().chars().count(), limits::MESSAGE_CHARS_MAX);
}

#[test]
fn content_codings_are_refused_but_identity() {
    let coded = |coding: &str| {
        let mut headers = json_headers();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
        read_json(&headers, b"{}").map_err(|problem| problem.code).map(drop)
    };
    for coding in ["identity", "Identity", "identity, identity"] {
        assert_eq!(coded(coding), Ok(()), "{coding}");
    }
    for coding in ["gzip", "br", "identity, gzip", "x-gzip", "", ","] {
        assert_eq!(coded(coding), Err(ErrorCode::UnsupportedMediaType), "{coding}");
    }
}

#[test]
fn several_members_are_1_to_100_user_ids() {
    let many = |n: usize| {
        let ids: Vec<String> = (0..n).map(|n| format!("u{n}")).collect();
        format!(r#"{{"members":{ids:?}}}"#)
    };
    let read = |body: &str| {
        let fields = read_json(&json_headers(), body.as_bytes()).unwrap();
        AddMembersBody::try_from(fields).map(|body| body.members.len()).map_err(|e| e.code)
    };
    assert_eq!(read(&many(100)), Ok(100));
    assert_eq!(read(r#"{"members":["a","b","a"]}"#), Ok(2), "named twice, added once");
    for body in [many(0), many(101), r#"{"members":["a",""]}"#.into(), "{}".into()] {
        assert_eq!(read(&body), Err(ErrorCode::InvalidField), "{body:.60}");
    }
}

#[test]
fn media_types_are_json_only() {
    for bad in ["", "text/plain", "application/jsonx", "application/problem+json"] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(bad).unwrap())]);
        let problem = read_json(&headers, b"{}").expect_err(bad);
        assert_eq!(problem.code, ErrorCode::UnsupportedMediaType, "{bad}");
    }
    assert!(read_json(&HeaderMap::new(), b"{}").is_err());
    assert!(read_json(&json_headers(), b"{}").is_ok());
}

#[test]
fn a_bearer_token_is_found() {
    let headers =
        |text: &str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(text).unwrap())]);
    assert_eq!(bearer(&headers("bearer abc")), Ok("abc"));
    for bad in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer a b"] {
        let problem = bearer(&headers(bad)).expect_err(bad);
        assert_eq!(problem.code, ErrorCode::Unauthenticated, "{bad}");
    }
    assert!(bearer(&HeaderMap::new()).is_err());
}
