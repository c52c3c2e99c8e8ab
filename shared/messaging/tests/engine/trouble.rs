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
use model::{Channel, ChannelId, ErrorCode, LateArrivals, UserId, limits};

use crate::rig::{Rig, caller};

/// A channels table whose reads of a user's standing fail on request.
#[derive(Debug)]
struct Troubled {
    store: Arc<MemoryStore>,
    reads: AtomicU64,
    trouble: AtomicU64,
}

const WELL: u64 = 0;
const AWAY: u64 = 1;
const THROTTLING: u64 = 2;
const UNREADABLE: u64 = 3;

#[async_trait]
impl ChannelStore for Troubled {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.store.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.store.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.trouble.load(Ordering::Relaxed) {
            AWAY => Err(ReadError::Unavailable("away".into())),
            THROTTLING => Err(ReadError::Throttled("too much".into())),
            UNREADABLE => Err(ReadError::Unreadable("of another version".into())),
            _ => self.store.standing(channel, user).await,
        }
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.store.bump_members_version(channel).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.store.mark_late(channel, late).await
    }
}

struct Scene {
    rig: Rig,
    channel: ChannelId,
    troubled: Arc<Troubled>,
}

impl Scene {
    async fn new() -> Self {
        let mut troubled = None;
        let rig = Rig::with_channels(|store| {
            let made = Arc::new(Troubled {
                store,
                reads: AtomicU64::new(0),
                trouble: AtomicU64::new(WELL),
            });
            troubled = Some(Arc::clone(&made));
            made
        });
        let channel = rig.group("alice", &[]).await.id;
        Self { rig, channel, troubled: troubled.unwrap() }
    }

    fn is(&self, trouble: u64) {
        self.troubled.trouble.store(trouble, Ordering::Relaxed);
    }

    /// Makes `calls` calls and returns how many of them reached the store.
    async fn reads_of(&self, calls: u32, code: Option<ErrorCode>) -> u64 {
        let before = self.troubled.reads.load(Ordering::Relaxed);
        for _ in 0..calls {
            let read = read_channel(&self.rig.app, &caller("alice"), &self.channel).await;
            assert_eq!(read.err().map(|refused| refused.code()), code);
        }
        self.troubled.reads.load(Ordering::Relaxed) - before
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_asked_by_probes_only() {
    let scene = Scene::new().await;
    scene.is(AWAY);
    let failures = u64::from(limits::CIRCUIT_FAILURES_MAX);
    assert_eq!(scene.reads_of(100, Some(ErrorCode::Unavailable)).await, failures);
    let refused = scene.rig.send("alice", &scene.channel, "x", None, None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable, "all ports share the circuit");
    for _ in 0..5 {
        scene.rig.clock.advance(limits::CIRCUIT_OPEN.1);
        assert_eq!(scene.reads_of(20, Some(ErrorCode::Unavailable)).await, 1);
    }
    scene.is(WELL);
    assert_eq!(scene.reads_of(5, Some(ErrorCode::Unavailable)).await, 0);
    scene.rig.clock.advance(limits::CIRCUIT_OPEN.1);
    assert_eq!(scene.reads_of(5, None).await, 5, "one probe, and all is well");
}

#[tokio::test]
async fn a_throttled_key_among_others_and_a_row_that_cannot_be_read_shut_nobody_out() {
    let scene = Scene::new().await;
    for _ in 0..50 {
        scene.is(THROTTLING);
        assert_eq!(scene.reads_of(1, Some(ErrorCode::ChannelBusy)).await, 1);
        scene.is(WELL);
        assert_eq!(scene.reads_of(1, None).await, 1);
    }
    scene.is(UNREADABLE);
    assert_eq!(scene.reads_of(50, Some(ErrorCode::Unavailable)).await, 50);
    scene.is(WELL);
    assert_eq!(scene.reads_of(2, None).await, 2);
}

#[tokio::test]
async fn a_store_that_throttles_all_calls_is_asked_by_few_of_them() {
    let scene = Scene::new().await;
    scene.rig.clock.advance(limits::THROTTLED_WINDOW * 10);
    scene.is(THROTTLING);
    let (mut asked, mut codes) = (0, HashSet::new());
    for _ in 0..1_000 {
        scene.rig.clock.advance(Duration::from_millis(10));
        let before = scene.troubled.reads.load(Ordering::Relaxed);
        let read = read_channel(&scene.rig.app, &caller("alice"), &scene.channel).await;
        codes.insert(read.unwrap_err().code());
        asked += scene.troubled.reads.load(Ordering::Relaxed) - before;
    }
    assert!((5..=30).contains(&asked), "{asked} reads in 10 s");
    assert_eq!(codes, HashSet::from([ErrorCode::ChannelBusy, ErrorCode::Unavailable]));
    scene.is(WELL);
    scene.rig.clock.advance(limits::THROTTLED_WINDOW * 10);
    assert_eq!(scene.reads_of(20, None).await, 20);
}
