use std::sync::Arc;

use memory::{ManualClock, MemoryBus, MemoryStore, SeededRandomness};
use messaging::archive::{ArchiverPorts, Waiting};
use messaging::ports::{Clock, MessageStore, Offered, Spool};
use model::{ChannelId, Message, MessageId, MessageText, Timestamp, UserId, WorkspaceId};
use protocol::publication::Publication;
use serde_json::json;
use tokio::time::Instant;

use super::*;

fn archiver(bus: &MemoryBus, store: &MemoryStore, clock: &Arc<ManualClock>) -> Archiver {
    Archiver::new(ArchiverPorts {
        spool: Arc::new(bus.clone()),
        bus: Arc::new(bus.clone()),
        messages: Arc::new(store.clone()),
        members: Arc::new(store.clone()),
        devices: Arc::new(store.clone()),
        receipts: Arc::new(bus.clone()),
        clock: clock.clone(),
        randomness: Arc::new(SeededRandomness::new(1)),
    })
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_at_once_unless_somebody_sends() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_800_000_000_000)));
    let (bus, store) = (MemoryBus::new(clock.clone()), MemoryStore::new());
    let archiver = archiver(&bus, &store, &clock);
    let began = Instant::now();
    handle(archiver.clone(), json!({})).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 0);
    assert_eq!(archiver.take_waiting(), None, "nothing was measured");

    let workspace = WorkspaceId::parse("w").unwrap();
    let (id, channel) = (MessageId::mint(clock.now(), 1), ChannelId::mint_group(clock.now(), 2));
    let text = MessageText::parse("hi".to_owned()).unwrap();
    let message = Message::new(id, channel, UserId::parse("ann").unwrap(), text);
    let offered = bus.deliver(&workspace, &Publication::of_delivered(&message, 1), "digest").await;
    assert_eq!(offered.unwrap(), Offered::Accepted { replicated: false });
    handle(archiver.clone(), json!({ "source": "aws.events" })).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), limits::ARCHIVE_RUN.as_secs());
    assert!(store.entry(&message.log(), id).await.unwrap().is_some());
    assert_eq!(archiver.take_waiting(), Some(Waiting::default()));
}
