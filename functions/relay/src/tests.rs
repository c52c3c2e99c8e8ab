use std::sync::Arc;

use memory::{ManualClock, MemoryBus, MemoryStore};
use messaging::ports::{ChannelStore, EventBus};
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, MessageId, Timestamp, UserId,
    Visibility, WorkspaceId,
};
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn channel() -> ChannelId {
    ChannelId::mint_group(NOW, 1)
}

async fn relay() -> (Relay, MemoryBus) {
    let clock = Arc::new(ManualClock::at(NOW));
    let (store, bus) = (MemoryStore::new(), MemoryBus::new(clock.clone()));
    let general = Channel {
        id: channel(),
        workspace_id: WorkspaceId::parse("w").unwrap(),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(None),
        contract: Contract::PersistFirst,
        created_at: NOW,
        created_by: UserId::parse("ada").unwrap(),
        members_version: 1,
        late: None,
    };
    store.create(&general).await.unwrap();
    (Relay::new(Arc::new(store), Arc::new(bus.clone()), clock), bus)
}

/// A record in the form that Lambda gets.
fn insert(n: u64) -> Value {
    json!({
        "eventID": "7de3041dd709b024af6f29e4fa13d34c", "eventName": "INSERT",
        "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_800_000_000.0,
            "Keys": { "channel_id": { "S": channel().to_string() } },
            "NewImage": {
                "channel_id": { "S": channel().to_string() },
                "created_at": { "S": MessageId::mint(NOW, n.into()).to_string() },
                "s": { "S": "ada" }, "t": { "S": "hi" }, "v": { "N": "1" },
            },
            "SequenceNumber": format!("{n}00000000000000000000"), "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:1:table/inkwire-messages/stream/x",
    })
}

async fn published(bus: &MemoryBus) -> usize {
    bus.entries(&WorkspaceId::parse("w").unwrap(), None, 100).await.unwrap().len()
}

#[tokio::test]
async fn an_event_is_relayed_and_answered_without_failures() {
    let (relay, bus) = relay().await;
    let answer = handle(relay, json!({ "Records": [insert(1), insert(2)] })).await.unwrap();
    assert_eq!(serde_json::to_value(&answer).unwrap(), json!({ "batchItemFailures": [] }));
    assert_eq!(published(&bus).await, 2);
}

#[tokio::test]
async fn g3_the_first_record_that_is_held_is_named_and_no_other() {
    let (relay, bus) = relay().await;
    bus.refuse_replays(1, 1);
    let event = json!({ "Records": [insert(1), insert(2), insert(3)] });
    let answer = handle(relay, event).await.unwrap();
    assert_eq!(
        serde_json::to_value(&answer).unwrap(),
        json!({ "batchItemFailures": [{ "itemIdentifier": "200000000000000000000" }] })
    );
}

#[tokio::test]
async fn g3_records_that_cannot_be_read_are_skipped_and_counted() {
    let (relay, bus) = relay().await;
    let without = |path: &str, key: &str| {
        let mut record = insert(9);
        record.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(key);
        record
    };
    let mut poisoned = vec![
        json!(null),
        json!("record"),
        json!({ "eventName": "INSERT" }),
        without("", "eventName"),
        without("", "dynamodb"),
        without("/dynamodb", "NewImage"),
    ];
    for attribute in ["channel_id", "created_at", "s", "t", "v"] {
        poisoned.push(without("/dynamodb/NewImage", attribute));
    }
    let mut removed = insert(8);
    removed["eventName"] = json!("REMOVE");
    let skipped = poisoned.len() as u64;
    let mut records = poisoned;
    records.extend([removed, insert(1)]);
    let answer = handle(relay.clone(), json!({ "Records": records })).await.unwrap();
    assert_eq!(answer.failures, []);
    assert_eq!((published(&bus).await, relay.counts().poisoned), (1, skipped));
}

#[tokio::test]
async fn g3_records_of_a_later_version_are_passed_over_and_counted() {
    let (relay, bus) = relay().await;
    let mut poll = insert(8);
    poll["dynamodb"]["NewImage"]["k"] = json!({ "S": "poll" });
    let mut beside = insert(9);
    beside["dynamodb"]["NewImage"]["k"] = json!({ "S": "change" });
    beside["dynamodb"]["NewImage"]["created_at"] = json!({ "S": "c#1" });
    let mut renamed = insert(7);
    renamed["eventName"] = json!("RENAME");
    let mut wider = insert(2);
    wider["dynamodb"]["NewImage"]["zz"] = json!({ "M": { "any": { "BOOL": true } } });
    let records = json!({ "Records": [poll, beside, renamed, insert(1), wider] });
    let answer = handle(relay.clone(), records).await.unwrap();
    assert_eq!(answer.failures, []);
    let counts = relay.counts();
    assert_eq!((published(&bus).await, counts.unknown, counts.poisoned), (2, 1, 0));
}

#[tokio::test]
async fn g3_a_new_revision_of_a_message_is_published_and_another_write_to_its_row_is_not() {
    let (relay, bus) = relay().await;
    let modify = |rev: Option<&str>| {
        let mut record = insert(1);
        record["eventName"] = json!("MODIFY");
        if let Some(rev) = rev {
            record["dynamodb"]["NewImage"]["e"] = json!({ "S": rev });
            record["dynamodb"]["NewImage"]["t"] = json!({ "S": format!("edited {rev}") });
        }
        record
    };
    let changes = [None, Some("8A"), Some("8B"), Some("8A"), None].map(modify);
    let records: Vec<Value> = std::iter::once(insert(1)).chain(changes).collect();
    let answer = handle(relay.clone(), json!({ "Records": records })).await.unwrap();
    assert_eq!(answer.failures, []);
    let entries = bus.entries(&WorkspaceId::parse("w").unwrap(), None, 100).await.unwrap();
    let revs =
        entries.iter().map(|entry| entry.publication.subject.clone().unwrap().rev.to_string());
    let id = MessageId::mint(NOW, 1).to_string();
    assert_eq!(revs.collect::<Vec<_>>(), [id.as_str(), "8A", "8B"]);
    let counts = relay.counts();
    assert_eq!((counts.appended, counts.poisoned, counts.late), (3, 0, 0));
    // By now the guard of the first revision may have expired: another write must not repeat it.
    let (relay, bus) = self::relay().await;
    let answer = handle(relay, json!({ "Records": [modify(None)] })).await.unwrap();
    assert_eq!((answer.failures, published(&bus).await), (vec![], 0));
}

#[tokio::test]
async fn what_is_no_event_of_a_stream_fails_whole() {
    let (relay, bus) = relay().await;
    for event in [json!(null), json!({}), json!({ "Records": 7 }), json!([])] {
        assert_eq!(handle(relay.clone(), event).await, Err(EventError::NoRecords));
    }
    let mut nameless = insert(1);
    nameless["dynamodb"].as_object_mut().unwrap().remove("SequenceNumber");
    bus.refuse_replays(0, 1);
    let answer = handle(relay, json!({ "Records": [nameless] })).await;
    assert_eq!(answer, Err(EventError::NoSequenceNumber));
}
