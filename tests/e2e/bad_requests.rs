//! PROTOCOL's tables over real HTTP: status, code, field; and nothing is stored.

use client::RawAnswer;
use protocol::http::Direction;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tests::cluster::{Cluster, Environment, absent_channel};

struct Door {
    cluster: Cluster,
    token: String,
    channel: String,
}

impl Door {
    async fn open() -> Self {
        let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
        let channel = cluster.group("alice", &["bob"]).await.id.to_string();
        let token = cluster.token("alice", 3_600).await;
        Self { cluster, token, channel }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> RawAnswer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.cluster.api("alice").raw(method, path, headers, body.to_vec()).await.unwrap()
    }

    async fn authorized(&self, method: &str, path: &str, body: &[u8]) -> RawAnswer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.call(method, path, &headers, body).await
    }
}

/// Asserts the shape of a problem, and its code and field.
fn assert_problem(answer: &RawAnswer, status: u16, code: &str, field: Option<&str>, what: &str) {
    let problem = answer.json();
    assert_eq!(answer.status, status, "{what}: {problem}");
    assert_eq!(problem["code"], code, "{what}: {problem}");
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["type"], format!("urn:inkwire:error:{code}"), "{what}");
    assert_eq!(problem["field"].as_str(), field, "{what}: {problem}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    for member in ["title", "detail", "request_id"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: {member}");
    }
    let retryable = matches!(status, 429 | 503);
    assert_eq!(problem["retryable"], retryable, "{what}");
    assert_eq!(answer.headers.contains_key("retry-after"), retryable, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_methods_come_before_everything() {
    let door = Door::open().await;
    for (method, path) in
        [("GET", "/nope"), ("POST", "/messages/"), ("DELETE", "/channels/a/b"), ("PUT", "/users")]
    {
        let answer = door.call(method, path, &[], b"").await;
        assert_problem(&answer, 404, "not_found", None, path);
    }
    for (method, path, allow) in [
        ("GET", "/messages", "POST"),
        ("POST", "/scroll", "GET"),
        ("DELETE", "/channels", "GET, POST"),
        ("POST", "/channels/x", "GET"),
        ("POST", "/channels/x/members", "GET"),
        ("GET", "/channels/x/members/y", "PUT, DELETE"),
        ("GET", "/users/x", "DELETE"),
        ("PUT", "/connect", "GET"),
    ] {
        let answer = door.call(method, path, &[], b"").await;
        assert_problem(&answer, 405, "method_not_allowed", None, path);
        assert_eq!(answer.headers["allow"], allow, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_tokens_are_checked_before_bodies() {
    let door = Door::open().await;
    let huge = vec![b'x'; 300 * 1024];
    for (headers, code) in [
        (vec![], "unauthenticated"),
        (vec![("authorization", "")], "unauthenticated"),
        (vec![("authorization", "Basic abc")], "unauthenticated"),
        (vec![("authorization", "Bearer")], "unauthenticated"),
        (vec![("authorization", "Bearer a b")], "unauthenticated"),
        (vec![("authorization", "Bearer x")], "invalid_token"),
        (vec![("authorization", "Bearer a.b.c")], "invalid_token"),
        // {"alg":"none"} . {"sub":"alice","workspace_id":"w","exp":9999999999} .
        (
            vec![(
                "authorization",
                "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsIndvcmtzcGFjZV9pZCI6InciLCJleHAiOjk5OTk5OTk5OTl9.",
            )],
            "invalid_token",
        ),
    ] {
        for body in [b"".as_slice(), b"not json", &huge] {
            let answer = door.call("POST", "/messages", &headers, body).await;
            assert_problem(&answer, 401, code, None, &format!("{headers:?}"));
        }
    }
    let mut tampered = door.token.clone();
    tampered.insert(tampered.len() - 3, 'A');
    let answer = door
        .call("GET", "/channels", &[("authorization", &format!("Bearer {tampered}"))], b"")
        .await;
    assert_problem(&answer, 401, "invalid_token", None, "tampered");
    let short = door.cluster.token("alice", 1).await;
    tests::eventually("it expires", tests::SOON, async || {
        let headers = [("authorization", format!("Bearer {short}"))];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = door.call("GET", "/channels", &headers, b"").await;
        answer.status == 401 && answer.json()["code"] == "token_expired"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn bad_messages_are_refused_and_nothing_is_stored() {
    let door = Door::open().await;
    let c = &door.channel;
    let bearer = format!("Bearer {}", door.token);
    for media in ["text/plain", "application/jsonx", "application/xml; charset=utf-8", ""] {
        let headers = [("authorization", bearer.as_str()), ("content-type", media)];
        let answer = door.call("POST", "/messages", &headers, b"{}").await;
        assert_problem(&answer, 415, "unsupported_media_type", None, media);
    }
    let deep = format!(r#"{{"channel_id":{}1{}}}"#, "[".repeat(9), "]".repeat(9));
    let long = "x".repeat(40_001);
    let old = "00000000010000000000000000";
    let ahead = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    let nobody = absent_channel();
    let cases: Vec<(String, u16, &str, Option<&str>)> = vec![
        ("".into(), 400, "bad_json", None),
        ("{".into(), 400, "bad_json", None),
        ("nul".into(), 400, "bad_json", None),
        ("{} {}".into(), 400, "bad_json", None),
        (r#"{"channel_id":NaN}"#.into(), 400, "bad_json", None),
        (r#"{"message":"\ud800"}"#.into(), 400, "bad_json", None),
        (r#"{"message":"a","message":"b"}"#.into(), 400, "bad_json", None),
        (deep, 400, "bad_json", None),
        ("[]".into(), 400, "invalid_field", Some("body")),
        ("{}".into(), 400, "invalid_field", Some("channel_id")),
        (format!(r#"{{"channel_id":"{c}"}}"#), 400, "invalid_field", Some("message")),
        (r#"{"channel_id":7,"message":"x"}"#.into(), 400, "invalid_field", Some("channel_id")),
        (
            r#"{"channel_id":"general","message":"x"}"#.into(),
            400,
            "invalid_field",
            Some("channel_id"),
        ),
        (format!(r#"{{"channel_id":"{c}","message":7}}"#), 400, "invalid_field", Some("message")),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","extra":1}}"#),
            400,
            "invalid_field",
            Some("extra"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"a\u0000b"}}"#),
            400,
            "invalid_field",
            Some("message"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"a\u001bb"}}"#),
            400,
            "invalid_field",
            Some("message"),
        ),
        (format!(r#"{{"channel_id":"{c}","message":""}}"#), 400, "empty_message", Some("message")),
        (
            format!(r#"{{"channel_id":"{c}","message":" \n\t "}}"#),
            400,
            "empty_message",
            Some("message"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":"x"}}"#),
            400,
            "invalid_id",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":"01arz3ndektsv4rrffq69g5fav"}}"#),
            400,
            "invalid_id",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":"8ZZZZZZZZZZZZZZZZZZZZZZZZZ"}}"#),
            400,
            "invalid_id",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":7}}"#),
            400,
            "invalid_field",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","after":"x"}}"#),
            400,
            "invalid_id",
            Some("after"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"{long}"}}"#),
            413,
            "message_too_long",
            Some("message"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"{}"}}"#, "x".repeat(256 * 1024)),
            413,
            "too_large",
            None,
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"{}"}}"#, "x".repeat(2_000_000)),
            413,
            "too_large",
            None,
        ),
        (format!(r#"{{"channel_id":"{nobody}","message":"x"}}"#), 404, "channel_not_found", None),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":"{old}"}}"#),
            422,
            "id_out_of_range",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","id":"{ahead}"}}"#),
            422,
            "id_out_of_range",
            Some("id"),
        ),
        (
            format!(r#"{{"channel_id":"{c}","message":"x","after":"{ahead}"}}"#),
            422,
            "id_out_of_range",
            Some("after"),
        ),
    ];
    for (body, status, code, field) in cases {
        let answer = door.authorized("POST", "/messages", body.as_bytes()).await;
        assert_problem(&answer, status, code, field, &format!("{body:.100}"));
    }
    let answer = door.authorized("POST", "/messages", b"{\"channel_id\":\"\xff\"}").await;
    assert_problem(&answer, 400, "bad_json", None, "not UTF-8");
    let channel = c.parse().unwrap();
    let page =
        door.cluster.api("alice").scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert!(page.messages.is_empty(), "nothing of it was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pages_are_refused_by_name() {
    let door = Door::open().await;
    let c = &door.channel;
    let nobody = absent_channel();
    for (query, status, code, field) in [
        (String::new(), 400, "invalid_field", Some("channel_id")),
        ("channel_id=".into(), 400, "invalid_field", Some("channel_id")),
        ("channel_id=general".into(), 400, "invalid_field", Some("channel_id")),
        ("channel_id=%zz".into(), 400, "invalid_field", Some("channel_id")),
        ("channel_id=%00".into(), 400, "invalid_field", Some("channel_id")),
        ("channel_id=%C0%AF".into(), 400, "invalid_field", Some("channel_id")),
        (format!("channel_id={c}&channel_id={c}"), 400, "invalid_field", Some("channel_id")),
        (format!("channel_id={c}&offset=x"), 400, "invalid_offset", None),
        (format!("channel_id={c}&offset="), 400, "invalid_offset", None),
        (format!("channel_id={c}&offset={c}"), 400, "invalid_offset", None),
        (format!("channel_id={c}&limit=0"), 400, "invalid_limit", None),
        (format!("channel_id={c}&limit=-1"), 400, "invalid_limit", None),
        (format!("channel_id={c}&limit=101"), 400, "invalid_limit", None),
        (format!("channel_id={c}&limit=1e9"), 400, "invalid_limit", None),
        (format!("channel_id={c}&limit=x"), 400, "invalid_limit", None),
        (format!("channel_id={c}&limit=1&limit=2"), 400, "invalid_field", Some("limit")),
        (format!("channel_id={c}&direction=both"), 400, "invalid_direction", None),
        (
            format!("channel_id={c}&direction=newer&direction=older"),
            400,
            "invalid_field",
            Some("direction"),
        ),
        (format!("channel_id={nobody}"), 404, "channel_not_found", None),
    ] {
        let answer = door.authorized("GET", &format!("/scroll?{query}"), b"").await;
        assert_problem(&answer, status, code, field, &query);
    }
    let fine =
        format!("/scroll?channel_id={c}&unknown=1&unknown=2&offset=7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    let answer = door.authorized("GET", &fine, b"").await;
    assert_eq!((answer.status, answer.json()["next_offset"].is_null()), (200, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_channels_and_members_are_refused_by_name() {
    let door = Door::open().await;
    let c = &door.channel;
    let nobody = absent_channel();
    for (body, field) in [
        (r#"{"type":"X","members":[]}"#.to_owned(), "type"),
        (r#"{"type":"GROUP_CHANNEL","members":[]}"#.into(), "name"),
        (r#"{"type":"GROUP_CHANNEL","name":"","members":[]}"#.into(), "name"),
        (format!(r#"{{"type":"GROUP_CHANNEL","name":"{}","members":[]}}"#, "x".repeat(81)), "name"),
        (r#"{"type":"GROUP_CHANNEL","name":"a","members":["a b"]}"#.into(), "members"),
        (r#"{"type":"DM","members":["alice"]}"#.into(), "members"),
        (r#"{"type":"DM","members":["bob","carol"]}"#.into(), "members"),
        (r#"{"type":"DM","members":[]}"#.into(), "members"),
        (r#"{"type":"DM","members":["bob"],"contract":"ephemeral"}"#.into(), "contract"),
    ] {
        let answer = door.authorized("POST", "/channels", body.as_bytes()).await;
        assert_problem(&answer, 400, "invalid_field", Some(field), &body);
    }
    let long = "x".repeat(65);
    for (method, path, status, code, field) in [
        ("GET", "/channels/general".to_owned(), 400, "invalid_field", Some("channel_id")),
        ("GET", format!("/channels/{nobody}"), 404, "channel_not_found", None),
        ("GET", format!("/channels/{nobody}/members"), 404, "channel_not_found", None),
        ("PUT", format!("/channels/{nobody}/members/bob"), 404, "channel_not_found", None),
        ("PUT", format!("/channels/{c}/members/{long}"), 400, "invalid_field", Some("user_id")),
        ("PUT", format!("/channels/{c}/members/a%2Fb"), 400, "invalid_field", Some("user_id")),
        ("DELETE", format!("/channels/{c}/members/%00"), 400, "invalid_field", Some("user_id")),
        ("GET", format!("/channels/{c}/members?offset=a%20b"), 400, "invalid_offset", None),
        ("GET", "/channels?offset=x".to_owned(), 400, "invalid_offset", None),
        ("GET", "/channels?limit=1000".to_owned(), 400, "invalid_limit", None),
        ("DELETE", "/users/bob".to_owned(), 403, "forbidden", None),
        ("GET", "/connect?failed=a%20b".to_owned(), 400, "invalid_field", Some("failed")),
        ("GET", "/connect?failed=N1&failed=N2".to_owned(), 400, "invalid_field", Some("failed")),
    ] {
        let answer = door.authorized(method, &path, b"").await;
        assert_problem(&answer, status, code, field, &format!("{method} {path}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_there_is_no_capacity_and_a_time_to_come_back() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let error = cluster.api("alice").connect(None).await.unwrap_err();
    assert_eq!(error.code(), Some(model::ErrorCode::NoCapacity));
    assert!(error.retry_after().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_shape_of_the_protocol() {
    let door = Door::open().await;
    let c = &door.channel;
    let body = format!(r#"{{"channel_id":"{c}","message":"hi"}}"#);
    let posted = door.authorized("POST", "/messages", body.as_bytes()).await.json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&posted),
        ["channel_id", "created_at", "duplicate", "id", "message", "sender_id", "server_time"]
    );
    let created_at = posted["created_at"].as_str().unwrap();
    assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");
    let page = door.authorized("GET", &format!("/scroll?channel_id={c}"), b"").await.json();
    assert_eq!(keys(&page), ["messages", "next_offset"]);
    assert_eq!(
        keys(&page["messages"][0]),
        ["channel_id", "created_at", "id", "message", "sender_id"]
    );
    let channel = door.authorized("GET", &format!("/channels/{c}"), b"").await.json();
    assert_eq!(
        keys(&channel),
        [
            "channel_id",
            "contract",
            "created_at",
            "created_by",
            "late",
            "members_version",
            "name",
            "type",
            "workspace_id"
        ]
    );
    let made = door.authorized("POST", "/channels", br#"{"type":"DM","members":["bob"]}"#).await;
    let found = door.authorized("POST", "/channels", br#"{"type":"DM","members":["bob"]}"#).await;
    assert_eq!((made.status, found.status), (201, 200));
    assert_eq!(made.json()["channel_id"], found.json()["channel_id"]);
    let members = door.authorized("GET", &format!("/channels/{c}/members"), b"").await.json();
    assert_eq!(keys(&members), ["members", "next_offset"]);
    assert_eq!(keys(&members["members"][0]), ["joined_at", "user_id"]);
    let connect = door.authorized("GET", "/connect", b"").await.json();
    assert_eq!(
        keys(&connect),
        ["alternates", "delay_ms", "expires_at", "node_id", "server_time", "ticket", "url"]
    );
    let conflict = format!(
        r#"{{"channel_id":"{c}","message":"other","id":"{}"}}"#,
        posted["id"].as_str().unwrap()
    );
    let answer = door.authorized("POST", "/messages", conflict.as_bytes()).await;
    assert_problem(&answer, 409, "id_conflict", None, "the id of another text");
}
