//! Behaviour of the bus that only a real server shows.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use messaging::ports::{BusError, EventBus as _, Notice, Published, ReceiptBook as _};
use model::{ChannelId, MessageId, Timestamp, limits};
use redis_bus::RedisBus;
use tests::redis::{Flavor, RedisServer};
use tokio::net::{TcpListener, TcpStream};

use super::{PATIENCE, acme, next, next_entry, publication, published};

macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(super::start(super::Flavor::Redis)).await; })*
        }
        mod on_valkey {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(super::start(super::Flavor::Valkey)).await; })*
        }
    };
}

on_both! {
    a_killed_server_causes_a_notice_and_is_used_again_after_its_restart
    a_killed_subscriber_connection_causes_a_notice_and_is_replaced
    publishing_survives_a_flushed_script_cache
    a_server_that_hangs_is_unavailable_within_bounds
    a_half_open_link_is_noticed_within_seven_seconds
    a_replaced_server_is_noticed_although_the_old_one_still_answers
    publishes_that_were_given_up_leave_a_usable_bus
    a_refused_publication_leaves_no_guard
    the_last_dropped_subscription_unsubscribes
    g4_foreign_data_causes_neither_a_gap_nor_a_panic
    a_ping_reports_in_one_line_what_is_wrong
    keys_expire
    a_dropped_bus_ends_its_subscriptions
}

type Parts = (RedisServer, RedisBus);

fn start(flavor: Flavor) -> Parts {
    let server = RedisServer::start(flavor);
    let bus = RedisBus::connect(&server.url()).unwrap();
    (server, bus)
}

async fn a_killed_server_causes_a_notice_and_is_used_again_after_its_restart(
    (mut server, bus): Parts,
) {
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    published(bus.publish(&acme(), &publication(1)).await);
    next_entry(&mut subscription).await;

    server.kill();
    assert_eq!(next(&mut subscription).await, Notice::Lost);
    let refused = within(bus.publish(&acme(), &publication(2))).await;
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    assert!(within(bus.subscribe(&acme())).await.is_err());

    server.restart();
    assert_eq!(next(&mut subscription).await, Notice::Restored);
    let position = published(bus.publish(&acme(), &publication(3)).await);
    let entry = next_entry(&mut subscription).await;
    assert_eq!((entry.position, entry.prev), (position, None));
    bus.subscribe(&acme()).await.unwrap();
}

async fn a_killed_subscriber_connection_causes_a_notice_and_is_replaced((server, bus): Parts) {
    let mut one = bus.subscribe(&acme()).await.unwrap();
    let mut other = bus.subscribe(&super::other()).await.unwrap();
    for round in 0..3 {
        assert_eq!(server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        for subscription in [&mut one, &mut other] {
            assert_eq!(next(subscription).await, Notice::Lost);
            assert_eq!(next(subscription).await, Notice::Restored);
        }
        for (workspace, subscription) in [(acme(), &mut one), (super::other(), &mut other)] {
            let position = published(bus.publish(&workspace, &publication(round)).await);
            assert_eq!(next_entry(subscription).await.position, position);
        }
    }
}

async fn publishing_survives_a_flushed_script_cache((server, bus): Parts) {
    for number in 0..3 {
        published(bus.publish(&acme(), &publication(number)).await);
        assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "OK");
    }
    published(bus.publish(&acme(), &publication(3)).await);
    assert_eq!(bus.entries(&acme(), None, 9).await.unwrap().len(), 4);
}

async fn a_server_that_hangs_is_unavailable_within_bounds((server, bus): Parts) {
    published(bus.publish(&acme(), &publication(1)).await);
    server.pause();
    let begun = tokio::time::Instant::now();
    let outcome = within(bus.publish(&acme(), &publication(2))).await;
    assert!(matches!(outcome, Err(BusError::Unavailable(_))), "{outcome:?}");
    // One answer that is missing, and one connection attempt that fails.
    let bound = limits::BUS_RESPONSE_MAX + limits::BUS_CONNECT_MAX + Duration::from_secs(2);
    assert!(begun.elapsed() < bound, "{:?}", begun.elapsed());
    server.resume();
    published(within(bus.publish(&acme(), &publication(3))).await);
}

async fn a_half_open_link_is_noticed_within_seven_seconds((server, bus): Parts) {
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    server.pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut subscription).await, Notice::Lost);
    // Seven seconds, and three more for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    server.resume();
    assert_eq!(next(&mut subscription).await, Notice::Restored);
    let position = published(bus.publish(&acme(), &publication(1)).await);
    assert_eq!(next_entry(&mut subscription).await.position, position);
}

async fn a_replaced_server_is_noticed_although_the_old_one_still_answers((old, _): Parts) {
    let new = RedisServer::start(Flavor::Redis);
    let target = Arc::new(AtomicU16::new(old.port()));
    let bus = RedisBus::connect(&name_of(Arc::clone(&target)).await).unwrap();
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    published(bus.publish(&acme(), &publication(1)).await);
    next_entry(&mut subscription).await;

    target.store(new.port(), Ordering::SeqCst);
    // Publishing moves now, not when its connection reaches its maximum age: the test is quicker.
    old.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(next(&mut subscription).await, Notice::Lost);
    assert_eq!(next(&mut subscription).await, Notice::Restored);
    let position = published(bus.publish(&acme(), &publication(2)).await);
    assert_eq!(next_entry(&mut subscription).await.position, position);
    assert_eq!(new.command(&["PUBSUB", "NUMSUB", "ink:{acme}:topic"]), "ink:{acme}:topic\n1");
}

async fn publishes_that_were_given_up_leave_a_usable_bus((server, bus): Parts) {
    published(bus.publish(&acme(), &publication(0)).await);
    server.pause();
    for number in 1..4 {
        let given_up = tokio::time::timeout(
            limits::PUBLISH_DEADLINE,
            bus.publish(&acme(), &publication(number)),
        )
        .await;
        assert!(!matches!(given_up, Ok(Ok(_))), "{given_up:?}");
    }
    server.resume();
    published(within(bus.publish(&acme(), &publication(4))).await);
    // A hundred callers that give up at once, on a healthy server.
    let hurried = (100..200).map(|number| {
        let bus = bus.clone();
        async move {
            let publication = publication(number);
            tokio::time::timeout(Duration::ZERO, bus.publish(&acme(), &publication)).await.is_ok()
        }
    });
    futures_util::future::join_all(hurried).await;
    for number in 100..200 {
        within(bus.publish(&acme(), &publication(number))).await.unwrap();
    }
    let entries = bus.entries(&acme(), None, 500).await.unwrap();
    super::assert_chain(&entries);
    assert!(entries.len() >= 102);
}

async fn a_refused_publication_leaves_no_guard((server, bus): Parts) {
    let stream = "ink:{acme}:stream";
    let faults: [(&[&str], &[&str]); 3] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (&["SET", stream, "no stream"], &["DEL", stream]),
    ];
    for (number, (fault, cure)) in faults.into_iter().enumerate() {
        let publication = publication(number as u128);
        assert_eq!(server.command(fault), "OK");
        let refused = within(bus.publish(&acme(), &publication)).await;
        assert!(matches!(refused, Err(BusError::Refused(_))), "{fault:?}: {refused:?}");
        server.command(cure);
        published(within(bus.publish(&acme(), &publication)).await);
    }
}

async fn the_last_dropped_subscription_unsubscribes((server, bus): Parts) {
    let topic = "ink:{acme}:topic";
    let subscribers = || server.command(&["PUBSUB", "NUMSUB", topic]);
    let one = bus.subscribe(&acme()).await.unwrap();
    let mut other = bus.subscribe(&acme()).await.unwrap();
    assert_eq!(subscribers(), format!("{topic}\n1"));
    drop(one);
    published(bus.publish(&acme(), &publication(1)).await);
    next_entry(&mut other).await;
    assert_eq!(subscribers(), format!("{topic}\n1"));
    drop(other);
    published(bus.publish(&acme(), &publication(2)).await);
    eventually(|| subscribers() == format!("{topic}\n0")).await;
    let mut again = bus.subscribe(&acme()).await.unwrap();
    let position = published(bus.publish(&acme(), &publication(3)).await);
    assert_eq!(next_entry(&mut again).await.position, position);
}

async fn g4_foreign_data_causes_neither_a_gap_nor_a_panic((server, bus): Parts) {
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    for frame in ["", "nonsense", "1-1 - notanulid {}", "a b c d e"] {
        server.command(&["PUBLISH", "ink:{acme}:topic", frame]);
        assert_eq!(next(&mut subscription).await, Notice::Foreign, "{frame}");
    }
    published(bus.publish(&acme(), &publication(1)).await);
    next_entry(&mut subscription).await;
    server.command(&["XADD", "ink:{acme}:stream", "*", "foreign", "field"]);
    let position = published(bus.publish(&acme(), &publication(2)).await);
    let entry = next_entry(&mut subscription).await;
    assert_eq!((entry.position, entry.prev), (position, None));
    assert_eq!(bus.entries(&acme(), None, 9).await.unwrap().len(), 2);
    // Fewer entries than asked for would mean the end of the stream, which this is not.
    for _ in 0..5 {
        server.command(&["XADD", "ink:{acme}:stream", "*", "foreign", "field"]);
    }
    published(bus.publish(&acme(), &publication(3)).await);
    assert_eq!(bus.entries(&acme(), None, 3).await.unwrap().len(), 3);
    assert_eq!(bus.entries(&acme(), Some(position.entry), 2).await.unwrap().len(), 2);
}

async fn a_ping_reports_in_one_line_what_is_wrong((mut server, bus): Parts) {
    bus.ping().await.unwrap();
    server.kill();
    let line = within(bus.ping()).await.unwrap_err().to_string();
    let start = format!("cannot reach Redis at 127.0.0.1:{}: ", server.port());
    assert!(line.starts_with(&start) && line.len() > start.len() && !line.contains('\n'), "{line}");
    server.restart();
    bus.ping().await.unwrap();
}

async fn keys_expire((server, bus): Parts) {
    published(bus.publish(&acme(), &publication(1)).await);
    let id = publication(1).guard();
    let ttl_of = |key: &str| -> Duration {
        Duration::from_millis(server.command(&["PTTL", key]).parse().unwrap())
    };
    let guard = ttl_of(&format!("ink:{{acme}}:guard:{id}"));
    assert!(guard <= limits::GUARD_TTL && guard > limits::GUARD_TTL - PATIENCE, "{guard:?}");
    let stream = ttl_of("ink:{acme}:stream");
    assert!(stream <= limits::STREAM_TTL && stream > limits::STREAM_TTL - PATIENCE, "{stream:?}");
    let (channel, message) = (
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
        MessageId::mint(Timestamp::from_unix_ms(1), 1),
    );
    let keeper = ("ann".parse().unwrap(), "phone".parse().unwrap());
    bus.note_keepers(&acme(), &channel, &[(message, keeper)]).await.unwrap();
    let keepers = ttl_of(&format!("ink:{{acme}}:keepers:{channel}:{message}"));
    let ttl = limits::KEEPERS_TTL;
    assert!(keepers <= ttl && keepers > ttl - PATIENCE, "{keepers:?}");
    assert_eq!(server.command(&["DBSIZE"]), "3");
    // When the guard has expired, the publication is accepted again.
    server.command(&["DEL", &format!("ink:{{acme}}:guard:{id}")]);
    let again = bus.publish(&acme(), &publication(1)).await.unwrap();
    assert!(matches!(again, Published::Appended(_)));
}

async fn a_dropped_bus_ends_its_subscriptions((server, bus): Parts) {
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    drop(bus);
    let end = tokio::time::timeout(PATIENCE, subscription.next()).await;
    assert_eq!(end.expect("an end within the deadline"), None);
    eventually(|| server.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).is_empty()).await;
}

/// A name that leads new connections to the port in `target`, like a DNS name. Existing connections
/// stay where they are.
pub(crate) async fn name_of(target: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let port = target.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    format!("redis://127.0.0.1:{port}")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("an outcome within the deadline")
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
