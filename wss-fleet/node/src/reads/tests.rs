//! What a backfill reads of a channel, and how panics in reads are handled.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use messaging::ports::{
    ChannelStore, EventBus, MemberStore, MessageStore, Published, RevocationStore, StoredMessage,
    WriteError,
};
use model::{Channel, ChannelDetails, ChannelType, Contract, Member, MessageText, Visibility};
use protocol::signal::Signal;

use super::*;
use delivery::Registration;

use crate::pace::Pace;
use crate::test_hub::TestHub;

/// A node on in-memory tables with one channel and one member.
struct Fixture {
    node: TestHub,
    channel: ChannelId,
}

const HOLE: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn workspace() -> WorkspaceId {
    WorkspaceId::parse("w").unwrap()
}

fn user() -> UserId {
    UserId::parse("alice").unwrap()
}

fn id(at: Timestamp, n: usize) -> MessageId {
    MessageId::mint(at, n as u128)
}

impl Fixture {
    async fn new() -> Self {
        let node = TestHub::at(HOLE);
        let channel = ChannelId::mint_group(HOLE, 1);
        let member = Member { user_id: user(), joined_at: HOLE };
        node.store.put_members(&workspace(), &channel, &[member]).await.unwrap();
        let item = Channel {
            id: channel.clone(),
            workspace_id: workspace(),
            channel_type: ChannelType::Group,
            visibility: Visibility::Private,
            details: ChannelDetails::new(Some("general".to_owned())),
            contract: Contract::PersistFirst,
            created_by: user(),
            created_at: HOLE,
            members_version: 1,
            late: None,
        };
        node.store.create(&item).await.unwrap();
        Self { node, channel }
    }

    async fn stored(&self, id: MessageId, text: &str) {
        let text = MessageText::from_stored(text.to_owned());
        let (channel_id, sender_id) = (self.channel.clone(), user());
        let message = Message::new(id, channel_id, sender_id, text);
        self.node.store.append(&StoredMessage::new(message, 1)).await.unwrap();
    }

    /// The message ids and members that a backfill of a hole at [`HOLE`] reads.
    async fn read(&self) -> Option<(Vec<MessageId>, Vec<UserId>)> {
        let since = HOLE.minus(limits::OVERLAP);
        let hub = Arc::clone(&self.node.hub);
        let read = Read::History { repair: RepairId::new(3), channel: self.channel.clone(), since };
        let started = Pace::new(Instant::now()).start(Instant::now());
        let mut ended = super::read(hub, workspace(), Running { read, started }).await;
        assert!(ended.failed.is_none());
        let Some(Input::HistoryRead { channel, history, .. }) = ended.inputs.pop() else {
            panic!("{ended:?}")
        };
        assert_eq!(channel, self.channel);
        let read = history?;
        let ids = read.messages.iter().map(|message| message.id).collect();
        let members = read.members.members.into_iter().map(|member| member.user_id);
        Some((ids, members.collect()))
    }
}

#[tokio::test]
async fn g4_a_backfill_reads_every_page_from_the_overlap_on_and_then_the_members() {
    let fixture = Fixture::new().await;
    fixture.stored(id(HOLE.minus(limits::OVERLAP + Duration::from_millis(1)), 0), "older").await;
    let wanted: Vec<MessageId> = (1..=250).map(|n| id(HOLE.minus(limits::OVERLAP), n)).collect();
    for id in &wanted {
        fixture.stored(*id, "in the hole").await;
    }
    assert_eq!(fixture.read().await, Some((wanted, vec![user()])));
}

#[tokio::test]
async fn g4_a_backfill_goes_back_to_a_late_mark_that_was_set_since_the_hole() {
    let fixture = Fixture::new().await;
    let late = id(HOLE.minus(limits::OVERLAP * 3), 1);
    fixture.stored(late, "an hour late").await;
    let mark = |at| {
        fixture
            .node
            .store
            .mark_late(&fixture.channel, LateArrivals { reread_from: late, until: at })
    };
    mark(HOLE.minus(limits::LATE_AHEAD)).await.unwrap();
    assert_eq!(fixture.read().await, Some((Vec::new(), vec![user()])), "of an older incident");
    mark(HOLE.plus(limits::LATE_AHEAD)).await.unwrap();
    assert_eq!(fixture.read().await, Some((vec![late], vec![user()])));
}

#[tokio::test]
async fn g4_a_channel_with_too_much_to_read_is_given_up() {
    let many = Fixture::new().await;
    for n in 0..=limits::BACKFILL_MESSAGES_MAX {
        many.stored(id(HOLE, n), "x").await;
    }
    assert_eq!(many.read().await, None);
    let long = Fixture::new().await;
    let text = "x".repeat(limits::BACKFILL_BYTES_MAX / 8);
    for n in 0..9 {
        long.stored(id(HOLE, n), &text).await;
    }
    assert_eq!(long.read().await, None);
}

/// A store that panics.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl RevocationStore for Broken {
    async fn revoke(
        &self,
        _workspace: &WorkspaceId,
        _user: &UserId,
        _at: Timestamp,
    ) -> Result<(), WriteError> {
        panic!("a defect")
    }

    async fn revoked_among(
        &self,
        _workspace: &WorkspaceId,
        _users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        panic!("a defect")
    }
}

#[tokio::test]
async fn a_read_that_panics_has_failed() {
    let node = TestHub::with(HOLE, |ports| ports.revocations = Arc::new(Broken));
    let wanted = Read::User { user: user(), registration: Registration::new(1) };
    let started = Pace::new(Instant::now()).start(Instant::now());
    let running = Running { read: wanted.clone(), started };
    let ended = read(Arc::clone(&node.hub), workspace(), running).await;
    assert_eq!(ended.failed, Some((wanted, Failure::Refused)));
    assert_eq!(node.hub.metrics.panics.get(), 1);
}

/// A bus that panics on its first call.
#[derive(Debug)]
struct PanicsOnce {
    bus: Arc<dyn EventBus>,
    has_panicked: AtomicBool,
}

impl PanicsOnce {
    fn around(bus: &mut Arc<dyn EventBus>) {
        let inner = Arc::clone(bus);
        *bus = Arc::new(Self { bus: inner, has_panicked: AtomicBool::new(false) });
    }

    fn panic_once(&self) {
        assert!(self.has_panicked.swap(true, Ordering::Relaxed), "a defect");
    }
}

#[async_trait]
impl EventBus for PanicsOnce {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        self.bus.publish(workspace, publication).await
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
        self.bus.signal(workspace, signal).await
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        self.panic_once();
        self.bus.subscribe(workspace).await
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        self.panic_once();
        self.bus.entries(workspace, from, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn g4_a_fill_or_a_subscription_that_panics_is_tried_again() {
    let node = TestHub::with(HOLE, |ports| PanicsOnce::around(&mut ports.bus));
    let filled = fill(Arc::clone(&node.hub), workspace(), RepairId::new(3), None).await;
    let is_filled = matches!(&filled, Input::Filled { id, entries }
        if *id == RepairId::new(3) && entries.len() == 1);
    assert!(is_filled, "a stream that was empty has a marker: {filled:?}");
    let node = TestHub::with(HOLE, |ports| PanicsOnce::around(&mut ports.bus));
    subscribe(Arc::clone(&node.hub), workspace()).await;
    assert_eq!(node.hub.metrics.panics.get(), 1);
}
