//! The suite of the relay's port: it publishes like the bus, and reports a batch as acknowledged
//! only if a replica has it.
#![expect(clippy::panic, reason = "a test that cannot continue fails")]

use std::sync::Arc;
use std::time::Duration;

use memory::{ManualClock, MemoryBus, Replicas};
use messaging::ports::{BatchResult, BusError, EventBus, RelayBus, Replication, Routed};
use model::{Timestamp, UserId, limits};
use protocol::publication::Publication;
use redis_bus::{RedisBus, RedisRelayBus};
use tests::redis::{Flavor, RedisServer};
use tokio::time::Instant;

use crate::bus::{acme, assert_chain, assert_links, name_of, other, publication};

/// A bus, the relay's port to it, and its replicas.
struct Fixture {
    bus: Arc<dyn EventBus>,
    relay_bus: Arc<dyn RelayBus>,
    replicas: Box<dyn FnMut(Replica) + Send>,
    /// Breaks the connection that the relay keeps open.
    cut: Box<dyn Fn() + Send>,
    /// How long a run waits for a replica that does not answer.
    wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replica {
    Attached,
    /// It is attached, but receives nothing.
    Stopped,
    Gone,
}

fn on_memory(configured: u32) -> Fixture {
    let bus = MemoryBus::new(Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000))));
    let (primary, cut) = (bus.clone(), bus.clone());
    bus.set_replicas(Replicas { configured, ..Replicas::default() });
    Fixture {
        bus: Arc::new(bus.clone()),
        relay_bus: Arc::new(bus),
        replicas: Box::new(move |replica| {
            let attached = u32::from(replica != Replica::Gone);
            let lag = replica == Replica::Stopped;
            primary.set_replicas(Replicas { configured, attached, lag });
        }),
        cut: Box::new(move || cut.break_replays(0, 1)),
        wait: Duration::ZERO,
    }
}

fn on_server(flavor: Flavor, configured: u32) -> Fixture {
    let server = Arc::new(RedisServer::start(flavor));
    let url = server.url();
    let mut replica: Option<RedisServer> = None;
    let primary = Arc::clone(&server);
    Fixture {
        bus: Arc::new(RedisBus::connect(&url).unwrap()),
        relay_bus: Arc::new(RedisRelayBus::connect(&url, configured).unwrap()),
        replicas: Box::new(move |wanted| match wanted {
            Replica::Attached => match &replica {
                Some(replica) => replica.resume(),
                None => replica = Some(RedisServer::replica_of(&primary, flavor)),
            },
            Replica::Stopped => replica.as_ref().expect("it was attached").pause(),
            Replica::Gone => {
                replica = None;
                let gone = || !primary.command(&["INFO", "replication"]).contains("slave0:");
                for _ in 0..500 {
                    if gone() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                panic!("the primary keeps its replica");
            }
        }),
        cut: Box::new(move || {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        }),
        wait: limits::REPLICA_WAIT_MAX,
    }
}

macro_rules! suite {
    ($($test:ident($configured:expr))*) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(super::on_memory($configured)).await; })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::on_server(super::Flavor::Redis, $configured)).await;
            })*
        }
        mod on_valkey {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::on_server(super::Flavor::Valkey, $configured)).await;
            })*
        }
    };
}

suite! {
    g3_a_batch_is_in_the_streams_in_order_and_once(0)
    g3_a_batch_does_not_repeat_what_sends_published(0)
    g3_a_broken_connection_fails_the_whole_batch_and_the_next_run_has_a_new_one(0)
    g3_a_batch_is_acknowledged_by_a_replica_or_reports_which_is_missing(1)
    g3_a_run_waits_for_unconfigured_replicas_too(0)
}

fn batch(numbers: std::ops::Range<u128>) -> Vec<Routed> {
    numbers.map(|number| (acme(), publication(number))).collect()
}

async fn run(fixture: &Fixture, batch: &[Routed]) -> BatchResult {
    let result = fixture.relay_bus.publish_batch(batch).await.unwrap();
    assert!(result.refusal.is_none(), "{result:?}");
    assert_eq!(result.taken, batch.len());
    result
}

async fn g3_a_batch_is_in_the_streams_in_order_and_once(fixture: Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    // More than one pipeline, with two workspaces by turns.
    let mixed: Vec<Routed> =
        (0..250).map(|n| (if n % 2 == 0 { acme() } else { other() }, publication(n))).collect();
    for appended in [250, 0, 0] {
        assert_eq!(run(&fixture, &mixed).await.appended, appended);
    }
    for workspace in [acme(), other()] {
        let entries = fixture.bus.entries(&workspace, None, 500).await.unwrap();
        assert_chain(&entries);
        let stand: Vec<_> = entries.iter().map(|entry| (*entry.publication).clone()).collect();
        let expected: Vec<Publication> =
            mixed.iter().filter(|(of, _)| *of == workspace).map(|(_, one)| one.clone()).collect();
        assert_eq!(stand, expected);
    }
    for number in 0..125 {
        let entry = crate::bus::next_entry(&mut subscription).await;
        assert_eq!(entry.publication.id, publication(number * 2).id, "pushed as well");
    }
}

async fn g3_a_batch_does_not_repeat_what_sends_published(fixture: Fixture) {
    for number in [1, 3] {
        fixture.bus.publish(&acme(), &publication(number)).await.unwrap();
    }
    let result = run(&fixture, &batch(0..5)).await;
    assert_eq!((result.appended, result.replication), (3, Replication::Single));
    let entries = fixture.bus.entries(&acme(), None, 9).await.unwrap();
    assert_chain(&entries);
    assert_eq!(entries.len(), 5);
}

async fn g3_a_broken_connection_fails_the_whole_batch_and_the_next_run_has_a_new_one(
    fixture: Fixture,
) {
    run(&fixture, &batch(0..3)).await;
    (fixture.cut)();
    // The same run does not reconnect: what was reported as published might have been reported by
    // another server.
    let broken = fixture.relay_bus.publish_batch(&batch(0..5)).await;
    assert!(matches!(broken, Err(BusError::Unavailable(_))), "{broken:?}");
    run(&fixture, &batch(0..5)).await;
    assert_eq!(fixture.bus.entries(&acme(), None, 9).await.unwrap().len(), 5);
}

async fn g3_a_batch_is_acknowledged_by_a_replica_or_reports_which_is_missing(mut fixture: Fixture) {
    let replication = async |fixture: &Fixture| {
        let begun = Instant::now();
        let result = run(fixture, &batch(0..3)).await;
        (result.replication, begun.elapsed())
    };
    let (none, took) = replication(&fixture).await;
    assert_eq!(none, Replication::Absent);
    assert!(took < Duration::from_secs(2), "reported at once: {took:?}");
    (fixture.replicas)(Replica::Attached);
    assert_eq!(replication(&fixture).await.0, Replication::Acknowledged);
    // Every guard is set, so only the marker is written, and the run waits for that.
    (fixture.replicas)(Replica::Stopped);
    let (lagging, took) = replication(&fixture).await;
    assert_eq!(lagging, Replication::Lagging);
    assert!(took >= fixture.wait && took < fixture.wait + Duration::from_secs(3), "{took:?}");
    (fixture.replicas)(Replica::Attached);
    assert_eq!(replication(&fixture).await.0, Replication::Acknowledged);
    (fixture.replicas)(Replica::Gone);
    assert_eq!(replication(&fixture).await.0, Replication::Absent);
}

async fn g3_a_run_waits_for_unconfigured_replicas_too(mut fixture: Fixture) {
    assert_eq!(run(&fixture, &batch(0..1)).await.replication, Replication::Single);
    (fixture.replicas)(Replica::Attached);
    assert_eq!(run(&fixture, &batch(0..1)).await.replication, Replication::Acknowledged);
    (fixture.replicas)(Replica::Gone);
    assert_eq!(run(&fixture, &batch(0..1)).await.replication, Replication::Single);
}

/// The relay's use case on a real server, with a replica and a failover.
mod relayed {
    use std::sync::atomic::{AtomicU16, Ordering};

    use memory::MemoryStore;
    use messaging::ports::{ChannelStore, Clock, LogEntry, StoredMessage};
    use messaging::relay::{Outcome, Record, Relay};
    use model::{Message, MessageId, MessageText};

    use super::*;
    use crate::store::{channel, channel_id};

    async fn relay(url: &str, configured: u32) -> (Relay, Vec<Record>) {
        let store = MemoryStore::new();
        store.create(&channel(1)).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(crate::store::at(0)));
        let relay_bus = Arc::new(RedisRelayBus::connect(url, configured).unwrap());
        let records = (0..20).map(|number| {
            let message = Message::new(
                MessageId::mint(crate::store::at(0), number),
                channel_id(1),
                UserId::parse("ada").unwrap(),
                MessageText::from_stored("hi".to_owned()),
            );
            Record::Stored(LogEntry::Message(StoredMessage::new(message, 1)))
        });
        (Relay::new(Arc::new(store), relay_bus, clock), records.collect())
    }

    async fn standing(url: &str) -> usize {
        let entries = RedisBus::connect(url).unwrap().entries(&acme(), None, 500).await.unwrap();
        assert_chain(&entries);
        entries.len()
    }

    /// The tail that the replica never got is lost with the old primary, and so are its guards: the
    /// bus cannot detect that. The batch was not reported as relayed, so it comes again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g3_a_tail_that_a_failover_lost_is_published_on_the_new_primary() {
        let mut old = RedisServer::start(Flavor::Redis);
        let new = RedisServer::replica_of(&old, Flavor::Redis);
        let target = Arc::new(AtomicU16::new(old.port()));
        let (relay, records) = relay(&name_of(Arc::clone(&target)).await, 1).await;
        assert_eq!(relay.relay(&records[..5]).await, Outcome::Relayed);
        new.pause();
        let held = relay.relay(&records[5..]).await;
        assert_eq!(held, Outcome::HeldAt(0), "published, but not safe");
        assert_eq!(standing(&old.url()).await, 20);
        old.kill();
        new.resume();
        assert_eq!(new.command(&["REPLICAOF", "NO", "ONE"]), "OK");
        target.store(new.port(), Ordering::SeqCst);
        // The kernel may have delivered to the replica what was on its way when it was stopped.
        let survived = standing(&new.url()).await;
        assert_eq!(relay.relay(&records[5..]).await, Outcome::Relayed);
        assert_eq!(standing(&new.url()).await, 20);
        let counts = relay.counts();
        assert_eq!((counts.held, counts.alone), (1, 1), "the new primary has no replica yet");
        println!("{} of 20 entries were lost with the old primary", 20 - survived);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g3_without_an_acknowledgement_the_relay_continues_only_if_there_is_no_replica() {
        let server = RedisServer::start(Flavor::Redis);
        let replica = RedisServer::replica_of(&server, Flavor::Redis);
        let (relay, records) = relay(&server.url(), 1).await;
        replica.pause();
        let begun = Instant::now();
        assert_eq!(relay.relay(&records).await, Outcome::HeldAt(0));
        assert!(begun.elapsed() >= 2 * limits::REPLICA_WAIT_MAX, "run again, waited again");
        assert_eq!((relay.counts().alone, relay.counts().reruns), (0, 1));
        drop(replica);
        assert_eq!(relay.relay(&records).await, Outcome::Relayed);
        assert_eq!((relay.counts().alone, relay.counts().reruns), (1, 2));
        assert_eq!(standing(&server.url()).await, 20);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g3_a_hanging_server_holds_the_batch_within_bounds() {
        let server = RedisServer::start(Flavor::Redis);
        let (relay, records) = relay(&server.url(), 0).await;
        assert_eq!(relay.relay(&records[..1]).await, Outcome::Relayed);
        server.pause();
        let begun = Instant::now();
        assert_eq!(relay.relay(&records).await, Outcome::HeldAt(0));
        let each = limits::BUS_CONNECT_MAX + limits::BUS_RESPONSE_MAX;
        let bound = each * limits::RELAY_RUNS_MAX + Duration::from_secs(3);
        assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
        server.resume();
        assert_eq!(relay.relay(&records).await, Outcome::Relayed);
        assert_eq!(standing(&server.url()).await, 20);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g3_a_refusing_stream_holds_only_its_own_messages_and_a_flushed_script_is_loaded_again()
    {
        let server = RedisServer::start(Flavor::Redis);
        let (relay, records) = relay(&server.url(), 0).await;
        assert_eq!(relay.relay(&records[..2]).await, Outcome::Relayed);
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
        assert_eq!(relay.relay(&records[..4]).await, Outcome::Relayed);
        assert_eq!(relay.counts().reruns, 1);
        server.command(&["RENAME", "ink:{acme}:stream", "aside"]);
        server.command(&["SET", "ink:{acme}:stream", "no stream"]);
        assert_eq!(relay.relay(&records).await, Outcome::HeldAt(4), "guards are set up to there");
        server.command(&["RENAME", "aside", "ink:{acme}:stream"]);
        assert_eq!(relay.relay(&records[4..]).await, Outcome::Relayed);
        assert_eq!(standing(&server.url()).await, 20);
    }
}

/// Relays of this many shards work off their parts of a backlog at the same time.
const SHARDS: u128 = 4;
const BACKLOG: u128 = 20_000;
const QUIET: u128 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_a_backlog_leaves_live_publications_their_budget_and_keeps_its_order() {
    let server = RedisServer::start(Flavor::Redis);
    let bus = RedisBus::connect(&server.url()).unwrap();
    let mut quiet = Vec::new();
    for number in 0..QUIET {
        quiet.push(live(&bus, BACKLOG + number).await);
    }
    let begun = Instant::now();
    let relays: Vec<_> = (0..SHARDS)
        .map(|shard| {
            let relay_bus = RedisRelayBus::connect(&server.url(), 0).unwrap();
            let part = BACKLOG / SHARDS;
            let backlog = batch(shard * part..(shard + 1) * part);
            tokio::spawn(async move {
                for batch in backlog.chunks(limits::RELAY_BATCH_MAX) {
                    let result = relay_bus.publish_batch(batch).await.unwrap();
                    assert_eq!(result.taken, batch.len());
                }
            })
        })
        .collect();
    let (mut busy, mut number) = (Vec::new(), BACKLOG + QUIET);
    while !relays.iter().all(tokio::task::JoinHandle::is_finished) {
        busy.push(live(&bus, number).await);
        number += 1;
    }
    let took = begun.elapsed();
    for relay in relays {
        relay.await.unwrap();
    }
    let (quiet, busy_p99) = (p99(quiet), p99(busy.clone()));
    println!(
        "a backlog of {BACKLOG} in {took:?}; live p99 {quiet:?} before, {busy_p99:?} meanwhile \
         ({} publications)",
        busy.len()
    );
    assert!(busy.len() > 100, "live publications continued: {}", busy.len());
    // If the machine is slow for other reasons, it is slow before the backlog, too.
    let most = (limits::PUBLISH_DEADLINE / 2).max(10 * quiet);
    assert!(busy_p99 < most, "{busy_p99:?}, at most {most:?}");
    let entries = bus.entries(&acme(), None, limits::STREAM_ENTRIES_MAX).await.unwrap();
    assert_links(&entries);
    let ids: Vec<_> = entries.iter().map(|entry| entry.publication.id).collect();
    for shard in 0..SHARDS {
        let part = BACKLOG / SHARDS;
        let of_shard: std::collections::HashSet<_> =
            (shard * part..(shard + 1) * part).map(|number| publication(number).id).collect();
        let of_shard: Vec<_> = ids.iter().filter(|id| of_shard.contains(id)).collect();
        assert!(of_shard.is_sorted(), "a shard's messages keep its order");
    }
}

async fn live(bus: &RedisBus, number: u128) -> Duration {
    let begun = Instant::now();
    bus.publish(&acme(), &publication(number)).await.unwrap();
    begun.elapsed()
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}
