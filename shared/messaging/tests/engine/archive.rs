//! Archivers (G13): what they measure, and when they stop.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memory::{HookedSpool, ManualClock, MemoryBus, MemoryStore, SeededRandomness, SpoolHook};
use messaging::archive::{Archiver, ArchiverPorts, Waiting};
use messaging::ports::{
    BusError, Clock, DeviceStore as _, LogEntry, MemberStore as _, MessageStore as _, Offered,
    PageQuery, ReceiptBook as _, Spool, SpoolEntry,
};
use model::{
    ChannelId, Member, Message, MessageId, MessageText, Timestamp, UserId, WorkspaceId, limits,
};
use protocol::publication::Publication;
use tokio::time::Instant;

struct Fixture {
    clock: Arc<ManualClock>,
    bus: MemoryBus,
    store: Arc<MemoryStore>,
    archiver: Archiver,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|bus| Arc::new(bus))
    }

    fn with(spool: impl FnOnce(MemoryBus) -> Arc<dyn Spool>) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_800_000_000_000)));
        let bus = MemoryBus::new(clock.clone());
        let store = Arc::new(MemoryStore::new());
        let archiver = Archiver::new(ArchiverPorts {
            spool: spool(bus.clone()),
            bus: Arc::new(bus.clone()),
            messages: store.clone(),
            members: store.clone(),
            devices: store.clone(),
            receipts: Arc::new(bus.clone()),
            clock: clock.clone(),
            randomness: Arc::new(SeededRandomness::new(1)),
        });
        Self { clock, bus, store, archiver }
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

impl Fixture {
    /// A channel of ann and bob, and their devices.
    async fn room(&self, devices: &[(&str, &str)]) -> ChannelId {
        let channel = ChannelId::mint_group(self.clock.now(), 1);
        let joined_at = self.clock.now();
        let member = |name: &str| Member { user_id: user(name), joined_at };
        let members = [member("ann"), member("bob")];
        self.store.put_members(&workspace("w"), &channel, &members).await.unwrap();
        for (name, device) in devices {
            self.registers(name, device).await;
        }
        channel
    }

    async fn registers(&self, name: &str, device: &str) {
        let (device, now) = (device.parse().unwrap(), self.clock.now());
        self.store.register(&workspace("w"), &user(name), &device, now).await.unwrap();
    }

    /// Delivers a message that is stored only if some device lacks it.
    async fn delivers(&self, channel: &ChannelId, n: u64) -> MessageId {
        let id = MessageId::mint(self.clock.now(), n.into());
        let text = MessageText::parse(n.to_string()).unwrap();
        let message = Message::new(id, channel.clone(), user("ann"), text);
        let unacked = Publication::of_unacked(&message, 1);
        self.bus.deliver(&workspace("w"), &unacked, &n.to_string()).await.unwrap();
        id
    }

    async fn keeps(&self, channel: &ChannelId, (name, device): (&str, &str), id: MessageId) {
        let keeper = (user(name), device.parse().unwrap());
        self.bus.note_keepers(&workspace("w"), channel, &[(id, keeper)]).await.unwrap();
    }

    /// Runs once a second for so long. Returns how many messages were stored, and how many all have.
    async fn runs(&self, seconds: u64) -> (u64, u64) {
        for _ in 0..seconds {
            self.archiver.turn().await.unwrap();
            self.clock.advance(Duration::from_secs(1));
        }
        let counts = self.archiver.counts();
        assert_eq!((counts.failed, counts.conflicts), (0, 0));
        (counts.archived, counts.acked)
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

#[tokio::test]
async fn g13_what_all_devices_have_is_never_stored() {
    let fixture = Fixture::new();
    let devices = [("ann", "phone"), ("ann", "desk"), ("bob", "phone")];
    let channel = fixture.room(&devices).await;
    let it = fixture.delivers(&channel, 1).await;
    for (name, device) in devices {
        assert_eq!(fixture.runs(3).await, (0, 0), "{name} may yet say so");
        fixture.keeps(&channel, (name, device), it).await;
    }
    assert_eq!(fixture.runs(25).await, (0, 1));
    assert_eq!(fixture.bus.waiting(&workspace("w"), &channel).await.unwrap(), []);
    assert_eq!(fixture.runs(60).await, (0, 1));
}

#[tokio::test]
async fn g13_what_one_device_lacks_is_stored_within_a_minute_and_expires() {
    let fixture = Fixture::new();
    let channel = fixture.room(&[("ann", "phone"), ("bob", "phone"), ("bob", "tablet")]).await;
    let it = fixture.delivers(&channel, 1).await;
    for name in ["ann", "bob"] {
        fixture.keeps(&channel, (name, "phone"), it).await;
    }
    assert_eq!(fixture.runs(44).await, (0, 0));
    assert_eq!(fixture.runs(12).await, (1, 0));
    let id = fixture.bus.waiting(&workspace("w"), &channel).await.unwrap();
    assert_eq!(id, [], "it has left the spool");
    let page = PageQuery {
        log: (&channel).into(),
        lowest: MessageId::MIN,
        highest: MessageId::MAX,
        newest_first: false,
        limit: 10,
        strong: true,
    };
    let stored = fixture.store.page(&page).await.unwrap().entries;
    let [LogEntry::Message(stored)] = &stored[..] else { panic!("{stored:?}") };
    let expires_at = stored.message.id.time().plus(limits::UNACKED_KEPT);
    assert_eq!(stored.expires_at, Some(expires_at));
}

#[tokio::test]
async fn g13_a_member_without_a_device_lacks_every_message() {
    let fixture = Fixture::new();
    let channel = fixture.room(&[("ann", "phone")]).await;
    let it = fixture.delivers(&channel, 1).await;
    fixture.keeps(&channel, ("ann", "phone"), it).await;
    assert_eq!(fixture.runs(25).await, (1, 0), "nobody waits for bob");
}

#[tokio::test]
async fn g13_who_keeps_one_message_does_not_keep_another() {
    let fixture = Fixture::new();
    let channel = fixture.room(&[("ann", "phone"), ("bob", "phone")]).await;
    let [first, second, third] = [1, 2, 3].map(|n| fixture.delivers(&channel, n));
    let [first, second, third] = [first.await, second.await, third.await];
    for id in [second, third] {
        fixture.keeps(&channel, ("ann", "phone"), id).await;
    }
    for id in [first, second] {
        fixture.keeps(&channel, ("bob", "phone"), id).await;
    }
    assert_eq!(fixture.runs(44).await, (0, 1), "the second one");
    assert_eq!(fixture.runs(12).await, (2, 1));
}

#[tokio::test]
async fn g13_a_device_that_registers_before_a_message_is_owed_it_though_it_was_not_known() {
    let fixture = Fixture::new();
    let phones = [("ann", "phone"), ("bob", "phone")];
    let channel = fixture.room(&phones).await;
    fixture.delivers(&channel, 1).await;
    while !fixture.store.calls().contains_key("devices") {
        assert_eq!(fixture.runs(1).await, (0, 0));
    }
    fixture.registers("bob", "tablet").await;
    let second = fixture.delivers(&channel, 2).await;
    for phone in phones {
        fixture.keeps(&channel, phone, second).await;
    }
    // The list that was read is still young, but not of after the second message.
    fixture.clock.advance(limits::CLOCK_SKEW_MAX);
    fixture.runs(80).await;
    assert_eq!(fixture.archiver.counts().archived, 2, "the second one is stored for the tablet");
}
