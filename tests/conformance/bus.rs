//! The suite of the bus, on memory, Redis and Valkey.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that cannot continue fails")]

mod redis;

pub(crate) use redis::name_of;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use memory::{ManualClock, MemoryBus};
use messaging::ports::{BusError, Entry, EventBus, Notice, Published, Subscription};
use model::{
    ChannelId, Epoch, Message, MessageId, MessageText, NewReadMark, Position, ReadMark, Timestamp,
    UserId, WorkspaceId, limits,
};
use protocol::publication::Publication;
use protocol::signal::Signal;
use redis_bus::RedisBus;
use tests::redis::{Flavor, RedisServer};

/// An empty bus for one test.
struct Fixture {
    bus: Arc<dyn EventBus>,
    flush: Box<dyn Fn(&WorkspaceId) + Send + Sync>,
}

fn on_memory() -> Fixture {
    let bus = MemoryBus::new(Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000))));
    let flushed = bus.clone();
    Fixture { bus: Arc::new(bus), flush: Box::new(move |workspace| flushed.flush(workspace)) }
}

fn on_server(flavor: Flavor) -> Fixture {
    let server = RedisServer::start(flavor);
    let bus = RedisBus::connect(&server.url()).unwrap();
    let flush = move |_: &WorkspaceId| assert_eq!(server.command(&["FLUSHALL"]), "OK");
    Fixture { bus: Arc::new(bus), flush: Box::new(flush) }
}

suite! {
    entries_form_a_chain_in_order_of_publishing
    a_publication_is_published_once
    a_subscription_is_confirmed_when_it_returns
    workspaces_do_not_see_each_other
    every_subscription_gets_everything
    a_dropped_subscription_does_not_disturb_the_others
    the_stream_is_read_from_an_entry_inclusive_up_to_a_limit
    the_stream_is_capped_by_entries
    the_stream_is_capped_by_bytes
    a_lagging_subscription_gets_a_notice_and_the_stream_has_the_rest
    concurrent_publishers_make_one_unbroken_chain
    a_flushed_stream_starts_a_new_chain
    g4_a_position_identifies_the_history_before_it
    an_unreadable_publication_keeps_its_place
    g12_a_signal_reaches_current_subscriptions_and_is_in_no_stream
}

async fn entries_form_a_chain_in_order_of_publishing(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    let mut before = None;
    for number in 0..20 {
        let position = publish(fixture, &acme(), number).await;
        let entry = next_entry(&mut subscription).await;
        assert_eq!(entry.position, position);
        assert_eq!(entry.prev, before);
        assert_eq!(*entry.publication, publication(number));
        assert!(before.is_none_or(|before| before.entry < position.entry));
        before = Some(position);
    }
    let entries = read_all(fixture, &acme()).await;
    assert_eq!(entries.len(), 20);
    assert_chain(&entries);
}

async fn a_publication_is_published_once(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    let first = publish(fixture, &acme(), 1).await;
    for _ in 0..3 {
        let again = fixture.bus.publish(&acme(), &publication(1)).await.unwrap();
        assert_eq!(again, Published::AlreadyPublished);
    }
    // Each workspace has its own guards.
    publish(fixture, &other(), 1).await;
    let second = publish(fixture, &acme(), 2).await;
    assert_eq!(next_entry(&mut subscription).await.position, first);
    assert_eq!(next_entry(&mut subscription).await.position, second);
    assert_eq!(read_all(fixture, &acme()).await.len(), 2);
}

async fn a_subscription_is_confirmed_when_it_returns(fixture: &Fixture) {
    for number in 0..50 {
        let workspace = WorkspaceId::parse(&format!("w{number}")).unwrap();
        let mut subscription = fixture.bus.subscribe(&workspace).await.unwrap();
        let position = publish(fixture, &workspace, number).await;
        assert_eq!(next_entry(&mut subscription).await.position, position);
    }
}

async fn workspaces_do_not_see_each_other(fixture: &Fixture) {
    let mut acme_rx = fixture.bus.subscribe(&acme()).await.unwrap();
    let mut other_rx = fixture.bus.subscribe(&other()).await.unwrap();
    for number in 0..10 {
        let workspace = if number % 2 == 0 { acme() } else { other() };
        publish(fixture, &workspace, number).await;
    }
    for number in 0..10 {
        let rx = if number % 2 == 0 { &mut acme_rx } else { &mut other_rx };
        assert_eq!(next_entry(rx).await.publication.id, publication(number).id);
    }
    assert_chain(&read_all(fixture, &acme()).await);
    assert_chain(&read_all(fixture, &other()).await);
    assert_eq!(read_all(fixture, &other()).await.len(), 5);
}

async fn every_subscription_gets_everything(fixture: &Fixture) {
    let mut early = fixture.bus.subscribe(&acme()).await.unwrap();
    let mut twin = fixture.bus.subscribe(&acme()).await.unwrap();
    let first = publish(fixture, &acme(), 1).await;
    for rx in [&mut early, &mut twin] {
        assert_eq!(next_entry(rx).await.position, first);
    }
    let mut late = fixture.bus.subscribe(&acme()).await.unwrap();
    let second = publish(fixture, &acme(), 2).await;
    for rx in [&mut early, &mut twin] {
        assert_eq!(next_entry(rx).await.position, second);
    }
    let seen_late = next_entry(&mut late).await;
    assert_eq!((seen_late.position, seen_late.prev), (second, Some(first)));
}

async fn a_dropped_subscription_does_not_disturb_the_others(fixture: &Fixture) {
    let dropped = fixture.bus.subscribe(&acme()).await.unwrap();
    let mut kept = fixture.bus.subscribe(&acme()).await.unwrap();
    drop(dropped);
    for number in 0..3 {
        let position = publish(fixture, &acme(), number).await;
        assert_eq!(next_entry(&mut kept).await.position, position);
    }
    drop(kept);
    publish(fixture, &acme(), 3).await;
    let mut again = fixture.bus.subscribe(&acme()).await.unwrap();
    let position = publish(fixture, &acme(), 4).await;
    // The previous push may still arrive, because subscriptions of a process share the topic.
    while next_entry(&mut again).await.position != position {}
}

async fn the_stream_is_read_from_an_entry_inclusive_up_to_a_limit(fixture: &Fixture) {
    assert_eq!(fixture.bus.entries(&acme(), None, 10).await.unwrap(), []);
    let mut positions = Vec::new();
    for number in 0..10 {
        positions.push(publish(fixture, &acme(), number).await);
    }
    let read = async |from: Option<usize>, limit| -> Vec<Position> {
        let from = from.map(|index| positions[index].entry);
        let entries = fixture.bus.entries(&acme(), from, limit).await.unwrap();
        entries.iter().map(|entry| entry.position).collect()
    };
    assert_eq!(read(None, 100).await, positions);
    assert_eq!(read(None, 3).await, positions[..3]);
    assert_eq!(read(Some(4), 3).await, positions[4..7]);
    assert_eq!(read(Some(9), 3).await, positions[9..]);
    assert_eq!(read(Some(0), 0).await, []);
    let beyond = model::EntryId { sequence: u64::MAX, ..positions[9].entry };
    assert_eq!(fixture.bus.entries(&acme(), Some(beyond), 3).await.unwrap(), []);
}

async fn the_stream_is_capped_by_entries(fixture: &Fixture) {
    let over = 120;
    for number in 0..limits::STREAM_ENTRIES_MAX + over {
        publish(fixture, &acme(), number as u128).await;
    }
    let entries = read_all(fixture, &acme()).await;
    assert_eq!(entries.len(), limits::STREAM_ENTRIES_MAX);
    assert_eq!(entries[0].publication.id, publication(over as u128).id);
    assert!(entries[0].prev.is_some(), "the first kept entry names the one before it");
    assert_links(&entries);
}

async fn the_stream_is_capped_by_bytes(fixture: &Fixture) {
    let bytes = |entries: &[Entry]| -> usize {
        entries.iter().map(|entry| entry.publication.encode().len()).sum()
    };
    // Small ones first, so that each large one then pushes out many.
    for number in 0..500 {
        publish(fixture, &acme(), number).await;
    }
    for number in 500..2_700 {
        let large = saying(number, &"x".repeat(limits::INLINE_TEXT_BYTES_MAX));
        fixture.bus.publish(&acme(), &large).await.unwrap();
    }
    let entries = read_all(fixture, &acme()).await;
    let kept = bytes(&entries);
    assert!(kept <= limits::STREAM_BYTES_MAX, "{kept} bytes");
    assert!(kept > limits::STREAM_BYTES_MAX - 2 * limits::INLINE_TEXT_BYTES_MAX, "{kept} bytes");
    assert_eq!(entries.last().unwrap().publication.id, publication(2_699).id);
    assert_links(&entries);
}

async fn a_lagging_subscription_gets_a_notice_and_the_stream_has_the_rest(fixture: &Fixture) {
    let mut lagging = fixture.bus.subscribe(&acme()).await.unwrap();
    // It subscribed later, so each notice was offered to the lagging subscription before.
    let mut quick = fixture.bus.subscribe(&acme()).await.unwrap();
    let count = limits::SUBSCRIPTION_NOTICES_MAX + 200;
    for number in 0..count {
        let position = publish(fixture, &acme(), number as u128).await;
        assert_eq!(next_entry(&mut quick).await.position, position);
    }
    let mut seen = Vec::new();
    let notice = loop {
        match next(&mut lagging).await {
            Notice::Entry(entry) => seen.push(entry),
            other @ (Notice::Signal(_) | Notice::Foreign | Notice::Lost | Notice::Restored) => {
                break other;
            }
        }
    };
    assert_eq!(notice, Notice::Restored);
    assert_eq!(seen.len(), limits::SUBSCRIPTION_NOTICES_MAX);
    assert_chain(&seen);
    let tail = seen.pop().unwrap();
    let rest = fixture.bus.entries(&acme(), Some(tail.position.entry), 500).await.unwrap();
    assert_eq!(rest.first(), Some(&tail));
    assert_eq!(rest.len(), 201);
    assert_links(&rest);
    let position = publish(fixture, &acme(), 1 << 40).await;
    assert_eq!(next_entry(&mut lagging).await.position, position);
}

async fn concurrent_publishers_make_one_unbroken_chain(fixture: &Fixture) {
    const PUBLISHERS: u128 = 32;
    const EACH: u128 = 50;
    let total = usize::try_from(PUBLISHERS * EACH).unwrap();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let subscription = fixture.bus.subscribe(&acme()).await.unwrap();
        readers.push(tokio::spawn(follow(Arc::clone(&fixture.bus), subscription, total)));
    }
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = Arc::clone(&fixture.bus);
        publishers.spawn(async move {
            for number in 0..EACH {
                bus.publish(&acme(), &publication(publisher * EACH + number)).await.unwrap();
            }
        });
    }
    publishers.join_all().await;
    let stream = read_all(fixture, &acme()).await;
    assert_chain(&stream);
    let distinct: HashSet<_> = stream.iter().map(|entry| entry.publication.id).collect();
    assert_eq!(distinct.len(), total);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), stream);
    }
}

async fn a_flushed_stream_starts_a_new_chain(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    publish(fixture, &acme(), 1).await;
    publish(fixture, &acme(), 2).await;
    (fixture.flush)(&acme());
    assert_eq!(read_all(fixture, &acme()).await, []);
    // The guards are gone, too.
    let position = publish(fixture, &acme(), 1).await;
    for expected in [1, 2] {
        let entry = next_entry(&mut subscription).await;
        assert_eq!(entry.publication.id, publication(expected).id);
    }
    let entry = next_entry(&mut subscription).await;
    assert_eq!((entry.position, entry.prev), (position, None));
    assert_eq!(read_all(fixture, &acme()).await, [entry]);
}

async fn g4_a_position_identifies_the_history_before_it(fixture: &Fixture) {
    let mut histories = Vec::new();
    for published in [[1, 2, 3], [4, 2, 3], [2, 1, 3]] {
        let mut history = Vec::new();
        for number in published {
            history.push(publish(fixture, &acme(), number).await.history);
        }
        histories.push(history);
        (fixture.flush)(&acme());
    }
    let [first, other, turned] = &histories[..] else { panic!("three") };
    assert!(first.iter().all(|history| !other.contains(history)), "one was another publication");
    assert!(first.iter().all(|history| !turned.contains(history)), "in another order");
    assert_eq!(publish(fixture, &acme(), 1).await.history, first[0], "nothing came before, again");
}

async fn an_unreadable_publication_keeps_its_place(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    publish(fixture, &acme(), 1).await;
    let unreadable = Publication::unknown(publication(2).id);
    fixture.bus.publish(&acme(), &unreadable).await.unwrap();
    publish(fixture, &acme(), 3).await;
    let mut pushed = Vec::new();
    for _ in 0..3 {
        pushed.push(next_entry(&mut subscription).await);
    }
    assert_eq!(*pushed[1].publication, unreadable);
    assert_chain(&pushed);
    assert_eq!(read_all(fixture, &acme()).await, pushed);
}

/// Collects entries like a node: takes those that continue its tail, and reads the stream at a gap.
async fn follow(
    bus: Arc<dyn EventBus>,
    mut subscription: Subscription,
    total: usize,
) -> Vec<Entry> {
    let mut taken: Vec<Entry> = Vec::new();
    while taken.len() < total {
        let tail = taken.last().map(|entry| entry.position);
        match next(&mut subscription).await {
            Notice::Entry(entry) if entry.prev == tail => taken.push(entry),
            Notice::Entry(known) if tail.is_some_and(|tail| known.position.entry <= tail.entry) => {
            }
            Notice::Entry(_) | Notice::Restored => {
                taken.pop();
                let from = tail.map(|tail| tail.entry);
                taken.extend(bus.entries(&acme(), from, total).await.unwrap());
            }
            Notice::Signal(_) | Notice::Foreign | Notice::Lost => panic!("nobody touched the link"),
        }
    }
    taken
}

pub(crate) fn acme() -> WorkspaceId {
    WorkspaceId::parse("acme").unwrap()
}

pub(crate) fn other() -> WorkspaceId {
    WorkspaceId::parse("other").unwrap()
}

pub(crate) fn publication(number: u128) -> Publication {
    saying(number, &format!("\u{1f58b} number {number}, \"quoted\"\n"))
}

fn saying(number: u128, text: &str) -> Publication {
    let message = Message::new(
        MessageId::mint(Timestamp::from_unix_ms(1), number),
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
        UserId::parse("ann").unwrap(),
        MessageText::from_stored(text.to_owned()),
    );
    Publication::of_message(&message, 7)
}

async fn publish(fixture: &Fixture, workspace: &WorkspaceId, number: u128) -> Position {
    published(fixture.bus.publish(workspace, &publication(number)).await)
}

async fn g12_a_signal_reaches_current_subscriptions_and_is_in_no_stream(fixture: &Fixture) {
    let signal = |number: u64| {
        let up_to = MessageId::first_of(Timestamp::from_unix_ms(number));
        let mark = ReadMark { epoch: Epoch::FIRST, up_to };
        let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
        let marks = vec![NewReadMark { log: channel_id.into(), mark }];
        Signal::Read { user_id: UserId::parse("bob").unwrap(), marks }
    };
    fixture.bus.signal(&acme(), &signal(1)).await.unwrap();
    let mut one = fixture.bus.subscribe(&acme()).await.unwrap();
    let mut other = fixture.bus.subscribe(&acme()).await.unwrap();
    let zeta = WorkspaceId::parse("zeta").unwrap();
    let mut elsewhere = fixture.bus.subscribe(&zeta).await.unwrap();
    for number in 2..4 {
        fixture.bus.signal(&acme(), &signal(number)).await.unwrap();
        for subscription in [&mut one, &mut other] {
            assert_eq!(next(subscription).await, Notice::Signal(signal(number)));
        }
    }
    let position = publish(fixture, &acme(), 1).await;
    let entry = next_entry(&mut one).await;
    assert_eq!((entry.position, entry.prev), (position, None), "it is no part of the chain");
    assert_eq!(read_all(fixture, &acme()).await.len(), 1);
    fixture.bus.signal(&zeta, &signal(9)).await.unwrap();
    assert_eq!(next(&mut elsewhere).await, Notice::Signal(signal(9)), "its own only");
}

fn published(outcome: Result<Published, BusError>) -> Position {
    match outcome {
        Ok(Published::Appended(position)) => position,
        other => panic!("not appended: {other:?}"),
    }
}

async fn next(subscription: &mut Subscription) -> Notice {
    let notice = tokio::time::timeout(PATIENCE, subscription.next()).await;
    notice.expect("a notice within the deadline").expect("the subscription continues")
}

pub(crate) async fn next_entry(subscription: &mut Subscription) -> Entry {
    match next(subscription).await {
        Notice::Entry(entry) => entry,
        other @ (Notice::Signal(_) | Notice::Foreign | Notice::Lost | Notice::Restored) => {
            panic!("no entry but {other:?}")
        }
    }
}

async fn read_all(fixture: &Fixture, workspace: &WorkspaceId) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let from = entries.pop().map(|last| last.position.entry);
        let page =
            fixture.bus.entries(workspace, from, limits::STREAM_READ_ENTRIES_MAX).await.unwrap();
        let done = page.len() < limits::STREAM_READ_ENTRIES_MAX;
        entries.extend(page);
        if done {
            return entries;
        }
    }
}

/// Asserts that the entries are a stream from its start.
pub(crate) fn assert_chain(entries: &[Entry]) {
    assert_eq!(entries.first().and_then(|first| first.prev), None);
    assert_links(entries);
}

/// Asserts that each entry names the one before it.
pub(crate) fn assert_links(entries: &[Entry]) {
    for pair in entries.windows(2) {
        assert_eq!(pair[1].prev, Some(pair[0].position));
        assert!(pair[0].position.entry < pair[1].position.entry);
    }
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
