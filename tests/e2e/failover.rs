//! Node processes on a real Redis, which are killed or terminated.

use std::time::Duration;

use client::Event;
use tests::cluster::{Cluster, Environment, LEASE_END};
use tests::person::Person;
use tests::process::NodeProcess;
use tests::{SOON, eventually};
use tokio::time::Instant;

pub(crate) async fn two_processes() -> (Cluster, NodeProcess, NodeProcess) {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let (one, other) = (cluster.node_process().await, cluster.node_process().await);
    let api = cluster.api("probe");
    eventually("both are known", SOON, async || {
        api.connect(None).await.is_ok_and(|assignment| assignment.alternates.len() == 1)
    })
    .await;
    (cluster, one, other)
}

async fn people(cluster: &Cluster, count: usize) -> Vec<Person> {
    let mut people = Vec::new();
    for n in 0..count {
        people.push(cluster.person(&format!("user{n}")).await);
    }
    people
}

/// How many users are connected to a node.
async fn count_on(people: &[Person], node: &NodeProcess) -> usize {
    let mut count = 0;
    for person in people {
        count += usize::from(node.is(&person.client.node_id().unwrap()).await);
    }
    count
}

/// Two nodes share their clients roughly evenly, because the load in leases is up to 2 s old.
fn assert_shared(on_one: usize, all: usize) {
    assert!((all / 4..=all - all / 4).contains(&on_one), "{on_one} of {all} on one of two nodes");
}

fn node_url(person: &Person) -> String {
    person.client.node_id().map(|id| id.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_killed_node_with_half_of_the_sockets_loses_nothing() {
    let (cluster, mut doomed, _other) = two_processes().await;
    let names: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let channel = cluster.group("alice", &names).await.id;
    let people = people(&cluster, names.len()).await;
    let alice = cluster.api("alice");
    alice.post_message(&channel, "before", None, None).await.unwrap();
    for person in &people {
        person.hears(&channel, "before").await;
    }
    let on_doomed = count_on(&people, &doomed).await;
    assert_shared(on_doomed, people.len());
    let before: Vec<String> = people.iter().map(node_url).collect();
    doomed.kill();
    let killed_at = Instant::now();
    for n in 0..20 {
        alice.post_message(&channel, &format!("meanwhile {n}"), None, None).await.unwrap();
    }
    let moved =
        |person: &&Person| person.count(|event| matches!(event, Event::Disconnected { .. })) > 0;
    for person in &people {
        let left = (killed_at + LEASE_END + Duration::from_secs(5)).duration_since(Instant::now());
        person.hears_within(&channel, "meanwhile 19", left).await;
        assert_eq!(person.texts(&channel).len(), 21, "each once, none missing");
    }
    let took = killed_at.elapsed();
    assert_eq!(people.iter().filter(moved).count(), on_doomed);
    for (person, before) in people.iter().zip(&before) {
        if moved(&person) {
            assert_ne!(node_url(person), *before);
            assert_eq!(
                person.count(|event| matches!(event, Event::Ready { resumed: true, .. })),
                1
            );
        }
    }
    println!("all clients of the killed node complete after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_terminated_node_drains_and_no_client_misses_anything() {
    let (cluster, mut leaving, _other) = two_processes().await;
    let names: Vec<String> = (0..10).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let channel = cluster.group("alice", &names).await.id;
    let people = people(&cluster, names.len()).await;
    let on_leaving = count_on(&people, &leaving).await;
    assert_shared(on_leaving, people.len());
    let alice = cluster.api("alice");
    let talk = async {
        for n in 0..60 {
            alice.post_message(&channel, &n.to_string(), None, None).await.unwrap();
            if n == 10 {
                leaving.terminate();
            }
        }
    };
    talk.await;
    for person in &people {
        person.hears(&channel, "59").await;
        assert_eq!(person.texts(&channel).len(), 60, "{}", person.name);
    }
    eventually("it exits by itself", SOON, async || leaving.has_exited_with(0)).await;
    let readies = |person: &Person| person.count(|event| matches!(event, Event::Ready { .. }));
    let moved = people.iter().filter(|person| readies(person) == 2).count();
    assert_eq!(moved, on_leaving, "all of its clients, no other");
    assert!(people.iter().all(|person| readies(person) <= 2));
    let lost = |event: &Event| matches!(event, Event::Disconnected { .. });
    assert!(people.iter().all(|person| person.count(lost) == 0), "none was without a socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_nodes_survive_a_redis_that_restarts_empty() {
    let mut cluster = Cluster::start(Environment::Redis).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "before").await;
    bob.hears(&channel, "before").await;
    if let Some(redis) = &mut cluster.redis {
        redis.kill();
    }
    // A send is stored and answered even without Redis.
    alice.api.post_message(&channel, "while it is down", None, None).await.unwrap();
    if let Some(redis) = &mut cluster.redis {
        redis.restart();
    }
    let lost = |person: &Person| person.count(|event| matches!(event, Event::Disconnected { .. }));
    eventually("the node reads what the stream has lost", SOON, async || {
        bob.texts(&channel) == ["before", "while it is down"]
    })
    .await;
    alice.says(&channel, "after").await;
    bob.hears(&channel, "after").await;
    assert_eq!(lost(&alice) + lost(&bob), 0, "no socket was closed");
    let resync = |person: &Person| person.count(|event| matches!(event, Event::Resync { .. }));
    assert_eq!(resync(&alice) + resync(&bob), 0, "and their clients did nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_without_redis_sockets_stay_open_and_ticks_are_not_fresh() {
    let cluster = Cluster::start(Environment::Redis).await;
    let redis = cluster.redis.as_ref().unwrap();
    let channel = cluster.group("alice", &["bob"]).await.id;
    let bob = cluster.person("bob").await;
    let ticks = |wanted: bool| {
        bob.count(|event| matches!(event, Event::Tick { fresh, .. } if *fresh == wanted))
    };
    redis.pause();
    // The probe detects the silent link within 10 s, and the next tick follows within 15 s.
    let noticed = Duration::from_secs(60);
    eventually("a tick that is not fresh", noticed, async || ticks(false) > 0).await;
    cluster.api("alice").post_message(&channel, "in ink", None, None).await.unwrap();
    let before = ticks(true);
    redis.resume();
    bob.hears(&channel, "in ink").await;
    eventually("a fresh tick", noticed, async || ticks(true) > before).await;
    assert_eq!(bob.count(|event| matches!(event, Event::Disconnected { .. })), 0);
}
