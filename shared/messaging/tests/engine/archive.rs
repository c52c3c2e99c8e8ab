//! Archivers (G13): what they measure, and when they stop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memory::{HookedSpool, ManualClock, MemoryBus, MemoryStore, SeededRandomness, SpoolHook};
use messaging::archive::{Archiver, ArchiverPorts, Waiting};
use messaging::ports::{BusError, Clock, Offered, Spool, SpoolEntry};
use model::{ChannelId, Message, MessageId, MessageText, Timestamp, UserId, WorkspaceId, limits};
use protocol::publication::Publication;
use tokio::time::Instant;

struct Fixture {
    clock: Arc<ManualClock>,
    bus: MemoryBus,
    archiver: Archiver,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|bus| Arc::new(bus))
    }

    fn with(spool: impl FnOnce(MemoryBus) -> Arc<dyn Spool>) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_800_000_000_000)));
        let bus = MemoryBus::new(clock.clone());
        let archiver = Archiver::new(ArchiverPorts {
            spool: spool(bus.clone()),
            bus: Arc::new(bus.clone()),
            messages: Arc::new(MemoryStore::new()),
            clock: clock.clone(),
            randomness: Arc::new(SeededRandomness::new(1)),
        });
        Self { clock, bus, archiver }
    }

    /// Delivers a message. Returns the bytes of its payload.
    async fn deliver(&self, to: &str, n: u64) -> u64 {
        let channel = ChannelId::mint_group(self.clock.now(), 1);
        let text = MessageText::parse(format!("text {n}")).unwrap();
        let id = MessageId::mint(self.clock.now(), n.into());
        let message = Message::new(id, channel, UserId::parse("ann").unwrap(), text);
        let publication = Publication::of_delivered(&message, 1);
        let offered = self.bus.deliver(&workspace(to), &publication, "digest").await.unwrap();
        assert_eq!(offered, Offered::Accepted { replicated: false });
        publication.encode().len() as u64
    }
}

fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::parse(name).unwrap()
}

#[tokio::test]
async fn what_waits_is_measured_whoever_took_it() {
    let fixture = Fixture::new();
    assert_eq!(fixture.archiver.take_waiting(), None, "nothing was measured");
    fixture.archiver.measure().await.unwrap();
    assert_eq!(fixture.archiver.take_waiting(), Some(Waiting::default()));

    fixture.deliver("w", 1).await;
    fixture.clock.advance(Duration::from_secs(3));
    let fullest = fixture.deliver("v", 1).await + fixture.deliver("v", 2).await;
    // By an archiver that died.
    assert_eq!(fixture.bus.claim(&workspace("w"), "other", 10).await.unwrap().len(), 1);
    fixture.clock.advance(Duration::from_secs(4));
    fixture.archiver.turn().await.unwrap();
    assert_eq!(fixture.archiver.counts().archived, 2, "the other one is not free yet");
    fixture.archiver.measure().await.unwrap();
    let waiting = fixture.archiver.take_waiting().unwrap();
    assert_eq!(waiting.oldest_ms, 7_000);
    assert!(waiting.bytes_max > 0 && waiting.bytes_max < fullest, "{waiting:?}");
    assert_eq!(fixture.archiver.take_waiting(), None, "it was told");

    fixture.clock.advance(limits::ARCHIVE_CLAIM);
    fixture.archiver.turn().await.unwrap();
    fixture.archiver.measure().await.unwrap();
    assert_eq!(fixture.archiver.take_waiting(), Some(Waiting::default()));
}

/// Takes a second to give entries.
#[derive(Debug)]
struct Slow;

#[async_trait]
impl SpoolHook for Slow {
    async fn claim(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        spool.claim(workspace, archiver, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_in_time_however_much_waits() {
    let fixture = Fixture::with(|bus| Arc::new(HookedSpool::new(Arc::new(bus), Slow)));
    let batch = limits::ARCHIVE_BATCH_MAX as u64;
    for n in 0..10 * batch {
        fixture.deliver("w", n).await;
    }
    let began = Instant::now();
    fixture.archiver.serve(Duration::from_millis(2_500)).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(fixture.archiver.counts().archived, 3 * batch, "the batch in hand, and no more");
    // Nothing of the rest is taken: the next run begins with it.
    fixture.archiver.serve(Duration::from_millis(500)).await;
    assert_eq!(fixture.archiver.counts().archived, 4 * batch);
}

#[tokio::test]
async fn what_cannot_be_stored_does_not_make_an_archiver_take_all_that_waits() {
    let fixture = Fixture::new();
    let batch = limits::ARCHIVE_BATCH_MAX as u64;
    for n in 0..batch + 50 {
        // No message, so it stays.
        let publication =
            Publication::marker(MessageId::mint(fixture.clock.now(), n.into()).into());
        fixture.bus.deliver(&workspace("w"), &publication, "digest").await.unwrap();
    }
    for _ in 0..4 {
        fixture.archiver.turn().await.unwrap();
    }
    assert_eq!(fixture.archiver.counts().unreadable, batch);
    fixture.clock.advance(limits::ARCHIVE_RETRY);
    fixture.archiver.turn().await.unwrap();
    assert_eq!(fixture.archiver.counts().unreadable, batch + 50);
}
