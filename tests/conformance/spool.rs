//! The suite of spools and receipts, on memory, Redis and Valkey (G13, G14).

use std::sync::Arc;

use futures_util::future;
use memory::{ManualClock, MemoryBus};
use messaging::ports::{
    BusError, EventBus, Held, Notice, Offered, Published, ReceiptBook, ReceiptMarks, Spool,
};
use model::{ChannelId, Message, MessageId, MessageText, Timestamp, UserId, WorkspaceId, limits};
use protocol::publication::Publication;
use protocol::receipts::ReceiptsSignal;
use protocol::signal::Signal;
use redis_bus::RedisBus;
use tests::redis::{Flavor, RedisServer};

/// A bus with its spool and its receipts.
struct Fixture {
    spool: Arc<dyn Spool>,
    bus: Arc<dyn EventBus>,
    receipts: Arc<dyn ReceiptBook>,
    /// Kept for its life.
    _server: Option<RedisServer>,
}

fn fixture<B>(bus: B, server: Option<RedisServer>) -> Fixture
where
    B: Spool + EventBus + ReceiptBook + 'static,
{
    let bus = Arc::new(bus);
    Fixture { spool: bus.clone(), receipts: bus.clone(), bus, _server: server }
}

fn on_memory() -> Fixture {
    fixture(MemoryBus::new(Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000)))), None)
}

fn on_server(flavor: Flavor) -> Fixture {
    let server = RedisServer::start(flavor);
    fixture(RedisBus::connect(&server.url()).unwrap(), Some(server))
}

suite! {
    g13_what_is_delivered_is_pushed_and_waits_to_be_stored
    g13_a_repetition_changes_nothing_and_another_message_is_a_conflict
    g13_what_was_stored_first_is_not_delivered_again
    g13_an_entry_is_taken_by_one_archiver_and_removed_for_good
    g13_a_spool_says_how_much_waits_and_since_when
    g13_a_full_spool_takes_nothing_more
    g13_a_page_reads_only_what_waits_in_its_channel
    g13_a_workspace_is_noted_until_it_is_forgotten
    g14_receipts_only_grow_and_are_pushed
    g13_devices_keep_the_messages_that_they_named
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn channel(n: u64) -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(n), n.into())
}

fn id(n: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(n), n.into())
}

fn long(channel_id: &ChannelId, n: u64, bytes: usize) -> Publication {
    let text = MessageText::parse("x".repeat(bytes)).unwrap();
    Publication::of_delivered(&Message::new(id(n), channel_id.clone(), user("ann"), text), 3)
}

fn message(channel_id: &ChannelId, n: u64) -> Publication {
    long(channel_id, n, 5)
}

async fn offer(fixture: &Fixture, publication: &Publication, digest: &str) -> Offered {
    fixture.spool.deliver(&acme(), publication, digest).await.unwrap()
}

const ACCEPTED: Offered = Offered::Accepted { replicated: false };

async fn g13_what_is_delivered_is_pushed_and_waits_to_be_stored(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    // Longer than what is passed by reference when it is stored.
    let long = long(&channel(1), 1, limits::SEND_TEXT_BYTES_MAX);
    assert_eq!(offer(fixture, &long, "a").await, ACCEPTED);
    assert_eq!(offer(fixture, &message(&channel(2), 2), "b").await, ACCEPTED);
    assert_eq!(offer(fixture, &message(&channel(1), 3), "c").await, ACCEPTED);
    for wanted in [&long, &message(&channel(2), 2), &message(&channel(1), 3)] {
        let Some(Notice::Entry(entry)) = subscription.next().await else { panic!() };
        assert_eq!(*entry.publication, *wanted);
    }
    let entries = fixture.bus.entries(&acme(), None, 10).await.unwrap();
    assert_eq!(entries.len(), 3, "all are in the stream");
    let waiting = fixture.spool.waiting(&acme(), &channel(1)).await.unwrap();
    let ids: Vec<_> = waiting.iter().map(|entry| entry.message().unwrap().message.id).collect();
    assert_eq!(ids, [id(1), id(3)]);
    assert_eq!(waiting[0].message().unwrap().members_version, 3);
    assert_eq!(waiting[0].message().unwrap().message, long.message().unwrap());
    assert_eq!(fixture.spool.waiting(&acme(), &channel(9)).await.unwrap(), []);
    assert_eq!(fixture.spool.waiting(&"w".parse().unwrap(), &channel(1)).await.unwrap(), []);
}

async fn g13_a_page_reads_only_what_waits_in_its_channel(fixture: &Fixture) {
    let fill = |from: usize, to: usize| {
        future::join_all((from..to).map(async |n| {
            let publication = message(&channel(2), u64::try_from(n).unwrap());
            assert_eq!(offer(fixture, &publication, "a").await, ACCEPTED);
        }))
    };
    fill(0, limits::SPOOL_CHANNEL_MAX).await;
    let full = fixture.spool.waiting(&acme(), &channel(2)).await.unwrap();
    assert_eq!(full.len(), limits::SPOOL_CHANNEL_MAX);
    assert!(full.is_sorted_by_key(|entry| entry.id), "in the order of acceptance");
    fill(limits::SPOOL_CHANNEL_MAX, limits::SPOOL_CHANNEL_MAX + 1).await;
    let refused = fixture.spool.waiting(&acme(), &channel(2)).await;
    assert!(matches!(refused, Err(BusError::Refused(_))), "rather than a page with holes");
    let other = message(&channel(1), 1_000_000);
    assert_eq!(offer(fixture, &other, "a").await, ACCEPTED);
    let waiting = fixture.spool.waiting(&acme(), &channel(1)).await.unwrap();
    assert_eq!(*waiting[0].publication, other, "whatever waits elsewhere");
    let taken = fixture.spool.claim(&acme(), "one", 1).await.unwrap();
    fixture.spool.remove(&acme(), &taken).await.unwrap();
    let waiting = fixture.spool.waiting(&acme(), &channel(2)).await.unwrap();
    assert_eq!(waiting.len(), limits::SPOOL_CHANNEL_MAX);
}

async fn g13_a_repetition_changes_nothing_and_another_message_is_a_conflict(fixture: &Fixture) {
    let publication = message(&channel(1), 1);
    assert_eq!(offer(fixture, &publication, "a").await, ACCEPTED);
    assert_eq!(offer(fixture, &publication, "a").await, ACCEPTED);
    assert_eq!(offer(fixture, &publication, "b").await, Offered::Conflict);
    assert_eq!(fixture.bus.entries(&acme(), None, 10).await.unwrap().len(), 1);
    assert_eq!(fixture.spool.waiting(&acme(), &channel(1)).await.unwrap().len(), 1);
    // The relay, which publishes it again once it is stored.
    let published = fixture.bus.publish(&acme(), &publication).await.unwrap();
    assert_eq!(published, Published::AlreadyPublished);
}

async fn g13_what_was_stored_first_is_not_delivered_again(fixture: &Fixture) {
    let publication = message(&channel(1), 1);
    fixture.bus.publish(&acme(), &publication).await.unwrap();
    assert_eq!(offer(fixture, &publication, "a").await, Offered::Stored);
    assert_eq!(fixture.spool.waiting(&acme(), &channel(1)).await.unwrap(), []);
}

async fn g13_an_entry_is_taken_by_one_archiver_and_removed_for_good(fixture: &Fixture) {
    assert_eq!(fixture.spool.claim(&acme(), "one", 10).await.unwrap(), [], "no group yet");
    for n in 1..=5 {
        offer(fixture, &message(&channel(1), n), "a").await;
    }
    let one = fixture.spool.claim(&acme(), "one", 2).await.unwrap();
    let two = fixture.spool.claim(&acme(), "two", 10).await.unwrap();
    assert_eq!((one.len(), two.len()), (2, 3));
    assert_eq!(fixture.spool.claim(&acme(), "one", 10).await.unwrap(), [], "all are taken");
    let waiting = fixture.spool.waiting(&acme(), &channel(1)).await.unwrap();
    assert_eq!(waiting, [one.clone(), two.clone()].concat(), "until they are stored");
    for _ in 0..2 {
        fixture.spool.remove(&acme(), &two).await.unwrap();
    }
    assert_eq!(fixture.spool.waiting(&acme(), &channel(1)).await.unwrap(), one);
}

async fn g13_a_spool_says_how_much_waits_and_since_when(fixture: &Fixture) {
    assert_eq!(fixture.spool.held(&acme()).await.unwrap(), None);
    let mut bytes = Vec::new();
    for n in 1..=3 {
        let publication = long(&channel(1), n, usize::try_from(100 * n).unwrap());
        offer(fixture, &publication, "a").await;
        bytes.push(publication.encode().len() as u64);
    }
    let taken = fixture.spool.claim(&acme(), "one", 10).await.unwrap();
    for first in 0..3 {
        let held = fixture.spool.held(&acme()).await.unwrap();
        let (since, bytes) = (taken[first].accepted_at(), bytes[first..].iter().sum());
        assert_eq!(held, Some(Held { since, bytes }), "taken entries wait until they are removed");
        fixture.spool.remove(&acme(), &taken[first..=first]).await.unwrap();
    }
    assert_eq!(fixture.spool.held(&acme()).await.unwrap(), None);
    assert_eq!(fixture.spool.held(&"w".parse().unwrap()).await.unwrap(), None);
}

async fn g13_a_full_spool_takes_nothing_more(fixture: &Fixture) {
    let bytes = limits::SEND_TEXT_BYTES_MAX;
    let room = (limits::SPOOL_BYTES_MAX / bytes) as u64;
    let most = future::join_all(
        (1..=room * 9 / 10).map(async |n| offer(fixture, &long(&channel(1), n, bytes), "a").await),
    );
    assert!(most.await.into_iter().all(|offered| offered == ACCEPTED));
    let mut taken = room * 9 / 10;
    while offer(fixture, &long(&channel(1), taken + 1, bytes), "a").await == ACCEPTED {
        taken += 1;
        assert!(taken < room, "64 MiB");
    }
    let next = long(&channel(1), taken + 1, bytes);
    assert_eq!(offer(fixture, &next, "a").await, Offered::Full);
    assert_eq!(offer(fixture, &long(&channel(1), 1, bytes), "a").await, ACCEPTED, "it is there");
    let oldest = fixture.spool.claim(&acme(), "one", 3).await.unwrap();
    fixture.spool.remove(&acme(), &oldest).await.unwrap();
    assert_eq!(offer(fixture, &next, "a").await, ACCEPTED);
}

async fn g13_a_workspace_is_noted_until_it_is_forgotten(fixture: &Fixture) {
    let begin = Timestamp::from_unix_ms(0);
    assert_eq!(fixture.spool.spools(begin).await.unwrap(), []);
    offer(fixture, &message(&channel(1), 1), "a").await;
    let [(workspace, noted_at)] = &fixture.spool.spools(begin).await.unwrap()[..] else { panic!() };
    assert_eq!(*workspace, acme());
    let later = noted_at.plus(std::time::Duration::from_millis(1));
    assert_eq!(fixture.spool.spools(*noted_at).await.unwrap().len(), 1);
    assert_eq!(fixture.spool.spools(later).await.unwrap(), []);
    fixture.spool.forget(&acme(), *noted_at).await.unwrap();
    assert_eq!(fixture.spool.spools(begin).await.unwrap().len(), 1, "something waits");
    let taken = fixture.spool.claim(&acme(), "one", 10).await.unwrap();
    fixture.spool.remove(&acme(), &taken).await.unwrap();
    let earlier = noted_at.minus(std::time::Duration::from_millis(1));
    fixture.spool.forget(&acme(), earlier).await.unwrap();
    assert_eq!(fixture.spool.spools(begin).await.unwrap().len(), 1, "it was noted since");
    fixture.spool.forget(&acme(), *noted_at).await.unwrap();
    assert_eq!(fixture.spool.spools(begin).await.unwrap(), []);
}

async fn g13_devices_keep_the_messages_that_they_named(fixture: &Fixture) {
    let of = |name: &str, device: &str| (user(name), device.parse().unwrap());
    let (phone, desk, bob) = (of("ann", "phone"), of("ann", "desk_-"), of("bob", "phone"));
    let noted = [(id(1), phone.clone()), (id(1), bob.clone()), (id(2), desk.clone())];
    fixture.receipts.note_keepers(&acme(), &channel(1), &noted).await.unwrap();
    let again = [(id(1), phone.clone()), (id(2), bob.clone())];
    fixture.receipts.note_keepers(&acme(), &channel(1), &again).await.unwrap();
    let keepers = async |channel, n| fixture.receipts.keepers(&acme(), &channel, id(n)).await;
    assert_eq!(keepers(channel(1), 1).await.unwrap(), [phone, bob.clone()].into());
    assert_eq!(keepers(channel(1), 2).await.unwrap(), [desk, bob].into());
    assert_eq!(keepers(channel(1), 3).await.unwrap(), [].into());
    assert_eq!(keepers(channel(2), 1).await.unwrap(), [].into());
}

async fn g14_receipts_only_grow_and_are_pushed(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    let marks = |delivered: &[(&str, u64)], read: &[(&str, u64)]| {
        let list = |of: &[(&str, u64)]| of.iter().map(|(name, n)| (user(name), id(*n))).collect();
        ReceiptMarks { delivered: list(delivered), read: list(read) }
    };
    let first = marks(&[("ann", 5), ("bob", 3)], &[]);
    for raised in [&first, &marks(&[("ann", 4), ("bob", 7)], &[("bob", 2)])] {
        fixture.receipts.raise(&acme(), &channel(1), raised).await.unwrap();
    }
    let known = fixture.receipts.receipts(&acme(), &channel(1)).await.unwrap();
    assert_eq!(known, marks(&[("ann", 5), ("bob", 7)], &[("bob", 2)]));
    assert_eq!(
        fixture.receipts.receipts(&acme(), &channel(2)).await.unwrap(),
        ReceiptMarks::default()
    );
    let Some(Notice::Signal(Signal::Receipts(pushed))) = subscription.next().await else {
        panic!()
    };
    let ReceiptMarks { delivered, read } = first;
    let wanted = ReceiptsSignal { channel_id: channel(1), delivered, read, archived: Vec::new() };
    assert_eq!(pushed, wanted);
}
