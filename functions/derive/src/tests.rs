use std::sync::Arc;

use memory::{ManualClock, MemoryStore, SeededRng};
use messaging::ports::{LogEntry, MessageStore, StoredMessage, StoredReaction};
use model::{ChangeId, ChannelId, Emoji, Message, MessageId, MessageText, Timestamp, UserId};
use serde_json::json;

use messaging::derive::DeriverPorts;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn user() -> UserId {
    UserId::parse("ada").unwrap()
}

fn channel() -> ChannelId {
    ChannelId::mint_group(NOW, 1)
}

fn emoji() -> Emoji {
    Emoji::parse("👍").unwrap()
}

/// A deriver whose store has a message with one reaction that was not counted.
async fn deriver() -> (Deriver, MemoryStore, MessageId) {
    let store = MemoryStore::new();
    let id = MessageId::mint(NOW, 1);
    let text = MessageText::parse("hi".to_owned()).unwrap();
    let message = Message::new(id, channel(), user(), text);
    store.append(&StoredMessage::new(message, 1)).await.unwrap();
    let reaction = StoredReaction {
        user_id: user(),
        emoji: emoji(),
        change_id: ChangeId::mint(NOW, 2),
        withdrawn: None,
        members_version: 1,
    };
    store.react(&channel(), id, &reaction).await.unwrap();
    let (clock, rng) = (Arc::new(ManualClock::at(NOW)), SeededRng::new(1).port());
    let ports = DeriverPorts::of_store(Arc::new(store.clone()), clock, rng);
    (Deriver::new(ports), store, id)
}

async fn count(store: &MemoryStore, id: MessageId) -> u64 {
    match store.entry(&channel(), id).await.unwrap() {
        Some(LogEntry::Message(stored)) => {
            stored.message.reactions.first().map_or(0, |reaction| reaction.count)
        }
        other => panic!("{other:?}"),
    }
}

fn record(event: &str, sort_key: &str, n: u64) -> Value {
    json!({
        "eventName": event,
        "dynamodb": {
            "Keys": { "channel_id": { "S": channel().to_string() }, "created_at": { "S": sort_key } },
            "SequenceNumber": format!("{n}00000000000000000000"),
        },
    })
}

#[tokio::test]
async fn g9_a_reaction_that_nobody_counted_is_counted_by_its_keys() {
    for event in ["INSERT", "MODIFY"] {
        let (deriver, store, id) = deriver().await;
        let records = [
            record("INSERT", &id.to_string(), 1),
            record("INSERT", &format!("c#{id}"), 2),
            record("REMOVE", &format!("r#{id}#ada#👍"), 3),
        ];
        handle(deriver.clone(), json!({ "Records": records })).await.unwrap();
        assert_eq!(count(&store, id).await, 0, "none of these is about a reaction that stands");
        let records = [record(event, &format!("r#{id}#ada#👍"), 4)];
        let answer = handle(deriver.clone(), json!({ "Records": records })).await.unwrap();
        assert_eq!((answer.failures, count(&store, id).await), (vec![], 1));
        assert_eq!((deriver.counts().folded, deriver.counts().poisoned), (1, 0));
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_skipped() {
    let (deriver, store, id) = deriver().await;
    let bad = [json!({}), json!({ "eventName": "INSERT" }), json!(null)];
    let good = record("INSERT", &format!("r#{id}#ada#👍"), 1);
    let records: Vec<Value> = bad.into_iter().chain([good]).collect();
    let answer = handle(deriver.clone(), json!({ "Records": records })).await.unwrap();
    assert_eq!((answer.failures, count(&store, id).await), (vec![], 1));
    assert_eq!(deriver.counts().poisoned, 3);
}
