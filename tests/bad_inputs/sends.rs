//! Sends on a socket in a channel that delivers first: the exact refusal, and nothing delivered.

use std::time::Duration;

use model::{MessageId, Timestamp};
use serde_json::{Value, json};

use crate::door::{ANSWER_MAX, all, stack};
use crate::raw::{Received, Socket, text};
use crate::tokens;

/// An id of so many milliseconds ahead of now.
fn id(ahead_ms: i64) -> String {
    let at = tokens::now_ms().saturating_add_signed(ahead_ms);
    MessageId::mint(Timestamp::from_unix_ms(at), 7).to_string()
}

const DAY_MS: i64 = 24 * 3_600_000;

/// Fields that differ from a good send, the code, and the field that it names.
fn cases() -> Vec<(&'static str, Value, &'static str, Option<&'static str>)> {
    let long = "x".repeat(12 * 1024 + 1);
    let names = |n: usize| (0..n).map(|n| format!("<@u{n}>")).collect::<String>();
    vec![
        ("12 KiB and a byte", json!({ "message": long }), "message_too_long", Some("message")),
        ("51 names", json!({ "message": names(51) }), "invalid_field", Some("message")),
        (
            "an id of a day ago",
            json!({ "id": id(-DAY_MS - 60_000) }),
            "id_out_of_range",
            Some("id"),
        ),
        ("an id of a minute ahead", json!({ "id": id(60_000) }), "id_out_of_range", Some("id")),
        (
            "an `after` of a minute ahead",
            json!({ "after": id(60_000) }),
            "id_out_of_range",
            Some("after"),
        ),
        (
            "an `after` above the id",
            json!({ "id": id(-5_000), "after": id(-1_000) }),
            "invalid_id",
            Some("after"),
        ),
        (
            "an `after` that is the id",
            json!({ "id": id(-5_000), "after": id(-5_000) }),
            "invalid_id",
            Some("after"),
        ),
        ("data", json!({ "data": {} }), "invalid_field", Some("data")),
        ("a thread", json!({ "thread": id(0) }), "invalid_field", Some("thread")),
        ("a file", json!({ "attachments": [] }), "invalid_field", Some("attachments")),
        ("a channel that stores first", json!({ "channel_id": "$STORED" }), "wrong_contract", None),
        ("a channel of others", json!({ "channel_id": "$OTHERS" }), "channel_not_found", None),
        (
            "a channel that is none",
            json!({ "channel_id": "C01MCC5RM00000000000000000A" }),
            "channel_not_found",
            None,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_may_not_be_delivered_is_refused_and_nobody_hears_it() {
    let cluster = stack(2).await;
    let created = async |by: &str, contract: &str| {
        let token = tokens::good(by);
        let body = json!({
            "type": "GROUP_CHANNEL", "name": "c", "members": ["bob"], "contract": contract,
        });
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let answer = cluster.call("POST", "/channels", &headers, body.to_string().as_bytes()).await;
        let made: Value = serde_json::from_slice(&answer.body).unwrap();
        made["channel_id"].as_str().unwrap().to_owned()
    };
    let channel = created("alice", "deliver_first").await;
    let stored = created("alice", "persist_first").await;
    let others = created("carol", "deliver_first").await;
    let mut bob = Socket::ready(&cluster, "bob").await.unwrap();
    all(cases(), async |(name, changes, code, field)| {
        let mut alice = Socket::ready(&cluster, "alice").await?;
        let mut send = json!({
            "type": "send", "ref": 7, "channel_id": channel, "id": id(0), "message": "hi",
        });
        for (field, value) in changes.as_object().unwrap() {
            let value = match value.as_str() {
                Some("$STORED") => json!(stored),
                Some("$OTHERS") => json!(others),
                _ => value.clone(),
            };
            send[field] = value;
        }
        alice.send(&text(send.to_string().as_bytes())).await;
        loop {
            let Received::Frame(1, frame) = alice.next(ANSWER_MAX).await else {
                return Err(format!("  {name}: no answer"));
            };
            let frame: Value = serde_json::from_slice(&frame).unwrap();
            if frame["type"] == "channel" || frame["type"] == "tick" {
                continue;
            }
            let wanted = json!({
                "type": "refused", "ref": 7, "code": code, "field": field, "retryable": false,
            });
            let mut found = frame.clone();
            if field.is_none() {
                found["field"] = Value::Null;
            }
            return if found == wanted { Ok(()) } else { Err(format!("  {name}: {frame}")) };
        }
    })
    .await;
    // Whatever was refused reached nobody: the next message is the first that bob hears.
    let mut alice = Socket::ready(&cluster, "alice").await.unwrap();
    let last = json!({
        "type": "send", "ref": 1, "channel_id": channel, "id": id(0), "message": "the only one",
    });
    alice.send(&text(last.to_string().as_bytes())).await;
    loop {
        let Received::Frame(1, frame) = bob.next(Duration::from_secs(10)).await else { panic!() };
        let frame: Value = serde_json::from_slice(&frame).unwrap();
        if frame["type"] == "message" {
            assert_eq!(frame["message"]["message"], "the only one");
            break;
        }
    }
}
