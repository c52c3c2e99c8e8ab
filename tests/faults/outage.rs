//! What a send costs while Redis is down, and that the relay publishes what its sender did not (D,
//! E; faults 7, 9).

use std::time::Duration;

use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::tcp::Fault;
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually, percentile};
use tokio::time::Instant;

use crate::figures::figure;

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_message_whose_sender_died_before_publishing_is_relayed() {
    relayed(100, SOON / 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_dead_senders_messages_are_pushed_within_two_seconds() {
    relayed(500, Duration::from_secs(2)).await;
}

/// Stores without publishing, like a sender that dies in between.
async fn relayed(count: usize, bar: Duration) {
    let redis = RedisServer::start(Flavor::Redis);
    let proxied = ProxiedCluster::start(Plan::on(redis.port())).await;
    let channel = proxied.group(&["alice", "bob"]).await;
    let people = proxied.people(&["alice", "bob"]).await;
    let alice = proxied.sender("alice");
    proxied.recorder.fault("senders die between put and publish");
    proxied.cluster.stack.app().publisher().switch(false);
    let mut sent = Vec::new();
    for n in 0..count {
        let at = Instant::now();
        sent.push((alice.says(&channel, &format!("unpublished {n}")).await.unwrap(), at));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxied.recorder.healed("senders die between put and publish");
    eventually("all are pushed", SOON, async || {
        people.iter().all(|person| sent.iter().all(|(id, _)| person.pushed_at(*id).is_some()))
    })
    .await;
    let lag = |(id, at): &(_, Instant)| Some(people[1].pushed_at(*id)? - *at);
    let took: Vec<Duration> = sent.iter().filter_map(lag).collect();
    let verdict = proxied.settled(&people, bar).await;
    let (p50, p99) = (percentile(&took, 50), percentile(&took, 99));
    figure!(
        "sender dead between put and publish: {count} messages pushed through the relay, POST to \
         socket p50 {p50:.0?} p99 {p99:.0?} (bar {bar:?}); {verdict}"
    );
    assert!(p99 <= bar, "{p99:?}");
    assert_eq!(proxied.recorder.resyncs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_post_does_not_wait_for_a_silent_redis() {
    black_holed(50, Duration::from_millis(600)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_without_redis_a_post_takes_at_most_a_quarter_of_a_second_more() {
    black_holed(200, Duration::from_millis(250)).await;
}

/// Redis is a black hole for existing and new connections.
async fn black_holed(count: usize, bar: Duration) {
    let redis = RedisServer::start(Flavor::Redis);
    let proxied = ProxiedCluster::start(Plan::on(redis.port())).await;
    let channel = proxied.group(&["alice", "bob"]).await;
    let people = proxied.people(&["alice", "bob"]).await;
    let alice = proxied.sender("alice");
    let mut took = Vec::new();
    for round in ["sound", "silent"] {
        let mut times = Vec::new();
        if round == "silent" {
            proxied.recorder.fault("Redis is a black hole");
            proxied.buses().for_each(|bus| bus.set(Fault::BLACK_HOLE));
        }
        for n in 0..count {
            let begun = Instant::now();
            let id = alice.says(&channel, &format!("{round} {n}")).await;
            times.push(begun.elapsed());
            assert!(id.is_some(), "a POST needs no Redis");
            // Spans more than two pauses of five seconds, each after three timeouts.
            tokio::time::sleep(if round == "silent" { PACE } else { PACE / 10 }).await;
        }
        took.push(times);
    }
    proxied.buses().for_each(|bus| bus.set(Fault::NONE));
    proxied.recorder.healed("Redis is a black hole");
    let verdict = proxied.settled(&people, SOON * 2).await;
    let (sound, silent) = (&took[0], &took[1]);
    let tried = silent.iter().filter(|took| **took > Duration::from_millis(150)).count();
    let added = |percent| percentile(silent, percent).saturating_sub(percentile(sound, 50));
    let (median, most) = (added(50), added(100));
    figure!(
        "Redis a black hole: {count} of {count} POSTs answered 2xx, {tried} of them waited for it; \
         added to the median of {:.1?}: median {median:.1?}, most {most:.1?} (bar {bar:?}); {verdict}",
        percentile(sound, 50)
    );
    assert!(most <= bar, "{most:?}");
}

const PACE: Duration = Duration::from_millis(200);
