use std::path::Path;

use messaging::Ports;
use messaging::ports::{Appended, StoredMessage};
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, Message, MessageId, MessageText,
    Timestamp, UserId, Visibility, WorkspaceId,
};

use super::*;
use crate::engine::{Engine, EngineData};
use crate::stack::{Stack, StackOptions};

async fn stack() -> Stack {
    Stack::start(StackOptions { nodes: 0, ..StackOptions::default() }).await.unwrap()
}

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
}

async fn make_channel(ports: &Ports) {
    let channel = Channel {
        id: channel(),
        workspace_id: WorkspaceId::parse("w").unwrap(),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(None),
        contract: Contract::PersistFirst,
        created_at: Timestamp::from_unix_ms(1),
        created_by: UserId::parse("ada").unwrap(),
        members_version: 1,
        late: None,
    };
    ports.channels.create(&channel).await.unwrap();
}

async fn store(ports: &Ports, n: u128) -> MessageId {
    let message = Message::new(
        MessageId::mint(ports.clock.now(), n),
        channel(),
        UserId::parse("ada").unwrap(),
        MessageText::parse("hi".to_owned()).unwrap(),
    );
    let id = message.id;
    let stored = ports.messages.append(&StoredMessage::new(message, 1)).await;
    assert_eq!(stored.unwrap(), Appended::Stored);
    id
}

async fn until_relayed(stack: &Stack, count: u64) {
    let relayed = async {
        while stack.relay().counts().relayed < count {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), relayed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_by_whomever_is_relayed_in_order() {
    let stack = stack().await;
    make_channel(stack.ports()).await;
    let mut stored = Vec::new();
    for n in 0..250 {
        stored.push(store(stack.ports(), n).await.into());
    }
    until_relayed(&stack, 250).await;
    let workspace = WorkspaceId::parse("w").unwrap();
    let entries = stack.ports().bus.entries(&workspace, None, 500).await.unwrap();
    let published: Vec<_> = entries.iter().map(|entry| entry.publication.id).collect();
    assert_eq!(published, stored);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_comes_again_and_nothing_twice() {
    let stack = stack().await;
    make_channel(stack.ports()).await;
    let bus = stack.memory_bus().unwrap();
    bus.refuse_replays(1, 2);
    for n in 0..3 {
        store(stack.ports(), n).await;
    }
    until_relayed(&stack, 3).await;
    let workspace = WorkspaceId::parse("w").unwrap();
    assert_eq!(stack.ports().bus.entries(&workspace, None, 9).await.unwrap().len(), 3);
    stack.stop().await;
}

#[tokio::test]
async fn the_demos_history_is_not_pushed() {
    let options = StackOptions { nodes: 0, seed: true, ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap();
    let general = ChannelId::parse(stack.general_channel().unwrap()).unwrap();
    let feed = Feed::open(
        stack.engine().unwrap().database().clone(),
        "inkwire-messages",
        Checkpoint::in_memory(),
    );
    assert!(!feed.unwrap().is_unused().unwrap(), "the seed is in the stream");
    let found = stack.ports().channels.channels(&[general]).await.unwrap();
    assert_eq!((found[0].late, stack.relay().counts().relayed), (None, 0));
    stack.stop().await;
}

#[tokio::test]
async fn a_table_without_a_stream_is_refused() {
    let engine = Engine::start(EngineData::Memory).unwrap();
    let refused = Feed::open(engine.database().clone(), "messages", Checkpoint::in_memory());
    assert!(matches!(refused.err(), Some(FeedError::NoStream { .. })));
}

fn kept(directory: &Path) -> Option<String> {
    Checkpoint::in_directory(directory, "relay").last().map(str::to_owned)
}

#[test]
fn a_checkpoint_is_kept_and_garbage_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(kept(directory.path()), None);
    let number = "100001700000000000001";
    Checkpoint::in_directory(directory.path(), "relay").move_to(number);
    assert_eq!(kept(directory.path()).as_deref(), Some(number));
    for garbage in ["", "12", "x", "10000170000000000000x", &"1".repeat(41)] {
        std::fs::write(directory.path().join("relay.checkpoint"), garbage).unwrap();
        assert_eq!(kept(directory.path()), None, "{garbage}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_the_engine_never_gave_begins_at_the_beginning() {
    let stack = stack().await;
    make_channel(stack.ports()).await;
    store(stack.ports(), 1).await;
    let mut checkpoint = Checkpoint::in_memory();
    checkpoint.move_to("000000000000000000000");
    let database = stack.engine().unwrap().database().clone();
    let feed = Feed::open(database, "inkwire-messages", checkpoint).unwrap();
    assert_eq!(feed.checkpoint.last(), None);
    stack.stop().await;
}
