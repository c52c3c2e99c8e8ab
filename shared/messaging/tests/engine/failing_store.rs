//! A store that fails: calls are refused at once while it is down, and probes find it up again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use memory::MemoryStore;
use messaging::Refusal;
use messaging::channels::read_channel;
use messaging::ports::{ChannelStore, Creation, Marking, ReadError, Standing, WriteError};
use model::{Channel, ChannelId, ChannelUpdate, ErrorCode, LateArrivals, UserId, limits};

use crate::fixture::{Fixture, caller};

/// A channels table whose reads of a user's standing fail on request.
#[derive(Debug)]
struct FailingChannels {
    store: Arc<MemoryStore>,
    reads: AtomicU64,
    failure: AtomicU64,
}

const UP: u64 = 0;
const DOWN: u64 = 1;
const THROTTLING: u64 = 2;
const UNREADABLE: u64 = 3;

#[async_trait]
impl ChannelStore for FailingChannels {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.store.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.store.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.failure.load(Ordering::Relaxed) {
            DOWN => Err(ReadError::Unavailable("down".into())),
            THROTTLING => Err(ReadError::Throttled("too much".into())),
            UNREADABLE => Err(ReadError::Unreadable("of another version".into())),
            _ => self.store.standing(channel, user).await,
        }
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.store.bump_members_version(channel).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.store.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.store.mark_late(channel, late).await
    }
}

/// An engine whose channels table fails on request, with one channel.
struct FailingStore {
    fixture: Fixture,
    channel: ChannelId,
    channels: Arc<FailingChannels>,
}

impl FailingStore {
    async fn new() -> Self {
        let mut channels = None;
        let fixture = Fixture::with_channels(|store| {
            let made = Arc::new(FailingChannels {
                store,
                reads: AtomicU64::new(0),
                failure: AtomicU64::new(UP),
            });
            channels = Some(Arc::clone(&made));
            made
        });
        let channel = fixture.group("alice", &[]).await.id;
        Self { fixture, channel, channels: channels.unwrap() }
    }

    fn is(&self, failure: u64) {
        self.channels.failure.store(failure, Ordering::Relaxed);
    }

    /// Makes `calls` calls and returns how many of them reached the store.
    async fn reads_of(&self, calls: u32, code: Option<ErrorCode>) -> u64 {
        let before = self.channels.reads.load(Ordering::Relaxed);
        for _ in 0..calls {
            let read = read_channel(&self.fixture.app, &caller("alice"), &self.channel).await;
            assert_eq!(read.err().map(|refused| refused.code()), code);
        }
        self.channels.reads.load(Ordering::Relaxed) - before
    }
}

#[tokio::test]
async fn a_store_that_is_down_gets_only_probes() {
    let failing = FailingStore::new().await;
    failing.is(DOWN);
    let failures = u64::from(limits::CIRCUIT_FAILURES_MAX);
    assert_eq!(failing.reads_of(100, Some(ErrorCode::Unavailable)).await, failures);
    let refused =
        failing.fixture.send("alice", &failing.channel, "x", None, None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable, "all ports share the circuit");
    for _ in 0..5 {
        failing.fixture.clock.advance(limits::CIRCUIT_OPEN.1);
        assert_eq!(failing.reads_of(20, Some(ErrorCode::Unavailable)).await, 1);
    }
    failing.is(UP);
    assert_eq!(failing.reads_of(5, Some(ErrorCode::Unavailable)).await, 0);
    failing.fixture.clock.advance(limits::CIRCUIT_OPEN.1);
    assert_eq!(failing.reads_of(5, None).await, 5, "one probe, and the circuit is closed");
}

#[tokio::test]
async fn a_throttled_key_or_an_unreadable_row_does_not_open_the_circuit() {
    let failing = FailingStore::new().await;
    for _ in 0..50 {
        failing.is(THROTTLING);
        assert_eq!(failing.reads_of(1, Some(ErrorCode::ChannelBusy)).await, 1);
        failing.is(UP);
        assert_eq!(failing.reads_of(1, None).await, 1);
    }
    failing.is(UNREADABLE);
    assert_eq!(failing.reads_of(50, Some(ErrorCode::Unavailable)).await, 50);
    failing.is(UP);
    assert_eq!(failing.reads_of(2, None).await, 2);
}

#[tokio::test]
async fn a_store_that_throttles_all_calls_gets_few_of_them() {
    let failing = FailingStore::new().await;
    failing.fixture.clock.advance(limits::THROTTLED_WINDOW * 10);
    failing.is(THROTTLING);
    let (mut asked, mut codes) = (0, HashSet::new());
    for _ in 0..1_000 {
        failing.fixture.clock.advance(Duration::from_millis(10));
        let before = failing.channels.reads.load(Ordering::Relaxed);
        let read = read_channel(&failing.fixture.app, &caller("alice"), &failing.channel).await;
        codes.insert(read.unwrap_err().code());
        asked += failing.channels.reads.load(Ordering::Relaxed) - before;
    }
    assert!((5..=30).contains(&asked), "{asked} reads in 10 s");
    assert_eq!(codes, HashSet::from([ErrorCode::ChannelBusy, ErrorCode::Unavailable]));
    failing.is(UP);
    failing.fixture.clock.advance(limits::THROTTLED_WINDOW * 10);
    assert_eq!(failing.reads_of(20, None).await, 20);
}
