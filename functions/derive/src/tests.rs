use std::sync::Arc;

use memory::{ManualClock, MemoryFiles, MemoryStore, SeededRng};
use messaging::ports::{
    AttachmentStore, Change, ChannelStore, LogEntry, MemberStore, MentionStore, MessageStore,
    PinStore, Revision, StoredAttachment, StoredMessage, StoredPin, StoredReaction,
};
use model::{
    Attachment, AttachmentId, Attribution, ChangeId, Channel, ChannelDetails, ChannelId,
    ChannelType, Contract, Emoji, FileDigest, FileId, FileName, MediaType, Member, Message,
    MessageId, MessageText, Rev, Timestamp, UserId, Visibility, WorkspaceId,
};
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
    deriver_with(MemoryFiles::new()).await
}

/// The same, with files.
async fn deriver_with(files: MemoryFiles) -> (Deriver, MemoryStore, MessageId) {
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
    store.react(&channel().into(), id, &reaction).await.unwrap();
    let (clock, rng) = (Arc::new(ManualClock::at(NOW)), SeededRng::new(1).port());
    let ports = DeriverPorts::of_store(Arc::new(store.clone()), Arc::new(files), clock, rng);
    (Deriver::new(ports), store, id)
}

async fn count(store: &MemoryStore, id: MessageId) -> u64 {
    match store.entry(&channel().into(), id).await.unwrap() {
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

/// A record with an image of the message's row.
fn record_with(id: MessageId, attributes: Value, n: u64) -> Value {
    let mut record = record("MODIFY", &id.to_string(), n);
    let mut image = record["dynamodb"]["Keys"].clone();
    for (name, value) in attributes.as_object().unwrap() {
        image[name] = value.clone();
    }
    record["dynamodb"]["NewImage"] = image;
    record
}

fn pin(id: MessageId) -> StoredPin {
    StoredPin {
        of: model::MessageRef { id, thread: None },
        act: ChangeId::mint(NOW, 3),
        by: user(),
        at: NOW,
        withdrawn: None,
        members_version: 1,
    }
}

#[tokio::test]
async fn g9_a_pin_that_nobody_showed_is_shown_and_that_of_a_deleted_message_withdrawn() {
    let (deriver, store, id) = deriver().await;
    store.pin(&channel(), &pin(id)).await.unwrap();
    let pinned = json!({ "Records": [record("INSERT", &format!("p#{id}"), 1)] });
    assert_eq!(handle(deriver.clone(), pinned).await.unwrap().failures, vec![]);
    let Some(LogEntry::Message(stored)) = store.entry(&channel().into(), id).await.unwrap() else {
        panic!()
    };
    assert_eq!(stored.message.pinned.map(|pinned| pinned.by), Some(user()));
    let deletion = Change::Delete(Attribution { at: NOW, by: user() });
    let rev = Rev::of(MessageId::mint(NOW.plus(std::time::Duration::from_secs(9)), 9));
    let revision = Revision { rev, members_version: 1, only_of: None, change: deletion };
    store.revise(&channel().into(), id, &revision).await.unwrap();
    let row = json!({
        "k": { "S": "deleted" }, "s": { "S": "ada" }, "v": { "N": "1" }, "g": { "S": "ada" },
        "ga": { "N": "1800000000000" }, "pc": { "S": ChangeId::mint(NOW, 3).to_string() },
    });
    let deleted = json!({ "Records": [record_with(id, row, 2)] });
    assert_eq!(handle(deriver.clone(), deleted).await.unwrap().failures, vec![]);
    let rows = store.pins(&channel(), None, 10).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.withdrawn.is_some()), "{rows:?}");
    assert_eq!((deriver.counts().pins_shown, deriver.counts().poisoned), (1, 0));
}

#[tokio::test]
async fn members_whom_a_row_mentions_are_told() {
    let (deriver, store, id) = deriver().await;
    let acme = WorkspaceId::parse("acme").unwrap();
    let bob = Member { user_id: UserId::parse("bob").unwrap(), joined_at: NOW };
    let group = Channel {
        id: channel(),
        workspace_id: acme.clone(),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(Some("general".to_owned())),
        contract: Contract::PersistFirst,
        created_at: NOW,
        created_by: user(),
        members_version: 1,
        late: None,
    };
    store.create(&group).await.unwrap();
    store.put_members(&acme, &channel(), std::slice::from_ref(&bob)).await.unwrap();
    let row = json!({
        "s": { "S": "ada" }, "v": { "N": "1" }, "t": { "S": "<@bob> <@eve>" },
        "m": { "S": "bob eve" },
    });
    let records = json!({ "Records": [record_with(id, row, 1)] });
    assert_eq!(handle(deriver.clone(), records).await.unwrap().failures, vec![]);
    for (who, count) in [("bob", 1), ("eve", 0), ("ada", 0)] {
        let user = UserId::parse(who).unwrap();
        let since = Timestamp::default();
        let told = store.mentions_of(&acme, &user, since, None, 10).await.unwrap().rows;
        assert_eq!(told.len(), count, "{who}");
    }
    assert_eq!(deriver.counts().mentioned, 1);
}

#[tokio::test]
async fn a_file_is_kept_for_the_message_that_names_it_and_deleted_with_it() {
    let files = MemoryFiles::new();
    let (deriver, store, id) = deriver_with(files.clone()).await;
    let file = FileId::mint(NOW, 5);
    let row = StoredAttachment {
        attachment: Attachment {
            file,
            name: FileName::parse("a.png").unwrap(),
            media_type: MediaType::parse("image/png").unwrap(),
            bytes: 7,
        },
        digest: FileDigest([0; 32]),
        by: user(),
        named_by: None,
        expires_at: Some(NOW),
    };
    store.put_attachment(&channel(), &row).await.unwrap();
    let uploaded = AttachmentId { channel_id: channel(), file };
    files.upload(&uploaded);
    let handled = async |record| {
        let records = json!({ "Records": [record] });
        assert_eq!(handle(deriver.clone(), records).await.unwrap().failures, vec![]);
        let row = store.attachments(&channel(), &[file]).await.unwrap().remove(0);
        (row.named_by.map(|n| n.id), row.expires_at.is_some(), files.has(&uploaded))
    };
    // Its own row, which no reader of the stream needs.
    let own = handled(record("INSERT", &format!("f#{file}"), 1)).await;
    assert_eq!(own, (None, true, true));
    let mut sent = json!({
        "s": { "S": "ada" }, "v": { "N": "1" }, "t": { "S": "" },
        "f": { "S": file.to_string() }, "fd": { "S": r#"[["a.png","image/png",7]]"# },
    });
    assert_eq!(handled(record_with(id, sent.clone(), 2)).await, (Some(id), false, true));
    sent["e"] = json!({ "S": MessageId::mint(NOW, 9).to_string() });
    for (name, value) in [("k", "deleted"), ("g", "ada")] {
        sent[name] = json!({ "S": value });
    }
    sent["ga"] = json!({ "N": "1800000000000" });
    assert_eq!(handled(record_with(id, sent, 3)).await, (Some(id), true, false));
    // A second upload is deleted when the row expires.
    files.upload(&uploaded);
    handled(record("REMOVE", &format!("f#{file}"), 4)).await;
    assert!(!files.has(&uploaded));
    let counts = deriver.counts();
    assert_eq!((counts.files_named, counts.files_deleted, counts.poisoned), (1, 2, 0));
}
