use std::sync::atomic::{AtomicUsize, Ordering};

use model::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::fake_server::{FakeServer, Request, at, general, message, problem};

/// The answer for a call's message that was stored under its own id, or under `id`.
fn stored(call: &Request, id: Option<&str>, duplicate: bool) -> Option<(u16, Value)> {
    let id: MessageId = id.or(call.body["id"].as_str()).unwrap().parse().unwrap();
    let body = json!({
        "id": id.to_string(), "channel_id": general().as_str(), "sender_id": "alice",
        "message": call.body["message"], "created_at": id.time().rfc3339(),
        "duplicate": duplicate, "server_time": at(0).unix_ms(),
    });
    Some((200, body))
}

fn outbox(fake: &FakeServer) -> Outbox {
    let config = fake.config();
    Outbox::beside(config.api, Arc::new(Mutex::new(Inbox::new(9))), config.backoff)
}

#[tokio::test]
async fn every_attempt_carries_the_same_id_and_the_answers_id_wins() {
    let attempts = AtomicUsize::new(0);
    let redirected = MessageId::mint(at(5), 3).to_string();
    let expected = redirected.clone();
    let fake = FakeServer::start(move |call| match attempts.fetch_add(1, Ordering::Relaxed) {
        0 => Some(problem(503, "unavailable")),
        1 => Some(problem(429, "channel_busy")),
        2 => Some((502, json!("a proxy"))),
        _ => stored(call, Some(&redirected), true),
    })
    .await;
    let sent = outbox(&fake).send(&general(), "hi").await.unwrap();
    assert_eq!((sent.attempts, sent.duplicate), (4, true));
    assert_eq!(sent.message.id.to_string(), expected);
    let ids: Vec<_> = fake.calls().into_iter().map(|call| call.body["id"].clone()).collect();
    assert_eq!(ids, vec![json!(sent.local_id.to_string()); 4]);
}

#[tokio::test]
async fn g2_a_draft_sorts_after_everything_seen_and_says_so() {
    let fake = FakeServer::start(|call| stored(call, None, false)).await;
    let outbox = outbox(&fake);
    assert_eq!(outbox.draft(general(), "hi").after, None);
    // The newest message seen is ahead of this machine's clock.
    let ahead = outbox.api.server_now().plus(Duration::from_secs(5));
    let seen = Message { id: MessageId::mint(ahead, 1), ..message(0) };
    outbox.inbox.lock().upsert(seen.clone());
    let draft = outbox.draft(general(), "hi");
    assert_eq!(draft.after, Some(seen.id));
    assert_eq!(draft.id.time(), ahead.plus(Duration::from_millis(1)));
    // A sent message counts as seen, even before the socket brings it.
    let first = outbox.send(&general(), "one").await.unwrap();
    let second = outbox.send(&general(), "two").await.unwrap();
    assert!(second.message.id > first.message.id);
    assert_eq!(fake.calls()[1].body["after"], json!(first.message.id.to_string()));
}

#[tokio::test]
async fn the_servers_clock_is_learned_from_answers() {
    let fake = FakeServer::start(|call| stored(call, None, false)).await;
    let outbox = outbox(&fake);
    outbox.send(&general(), "hi").await.unwrap();
    let off = |time: Timestamp| time.since(at(0)).max(at(0).since(time));
    assert!(off(outbox.api.server_now()) < Duration::from_secs(60));
}

#[tokio::test]
async fn a_clock_that_is_a_day_off_costs_one_refusal() {
    let fake = FakeServer::start(|call| {
        let id: MessageId = call.body["id"].as_str()?.parse().ok()?;
        if id.time().since(at(0)).max(at(0).since(id.time())) < Duration::from_secs(600) {
            return stored(call, None, false);
        }
        let (status, mut body) = problem(422, "id_out_of_range");
        body["server_time"] = json!(at(0).unix_ms());
        Some((status, body))
    })
    .await;
    outbox(&fake).send(&general(), "hi").await.unwrap();
    assert_eq!(fake.calls().len(), 2);
}

#[tokio::test]
async fn a_refused_send_is_not_stored_and_a_lost_answer_is_outcome_unknown() {
    let fake = FakeServer::start(|_| Some(problem(403, "forbidden"))).await;
    let error = outbox(&fake).send(&general(), "hi").await.unwrap_err();
    assert!(matches!(error, SendError::NotStored { .. }), "{error:?}");
    assert_eq!(fake.calls().len(), 1);

    let fake = FakeServer::start(|_| Some(problem(503, "unavailable"))).await;
    let outbox = outbox(&fake).with_deadline(Duration::from_millis(30));
    let error = outbox.send(&general(), "hi").await.unwrap_err();
    let SendError::OutcomeUnknown { draft, .. } = error else { panic!("{error:?}") };
    assert_eq!(json!(draft.id.to_string()), fake.calls()[0].body["id"]);
}

#[tokio::test]
async fn an_unreachable_server_means_not_stored() {
    let api = Api::new("http://127.0.0.1:1", crate::TokenSource::Fixed(crate::Token::new("t")));
    let outbox = Outbox::new(api.unwrap()).with_deadline(Duration::ZERO);
    let error = outbox.send(&general(), "hi").await.unwrap_err();
    let SendError::NotStored { source } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "cannot reach http://127.0.0.1:1");
}
