//! Who is seen as present, and when (G16).

use std::time::Duration;

use client::{Config, Event, View};
use model::{LogId, Presence, limits};
use tests::cluster::{Cluster, Environment, LEASE_END, user};
use tests::person::Person;
use tests::process::NodeProcess;
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::deliver_first::{delivering, delivers};

use Presence::{Active, Idle, Offline};

crate::on_each_environment!(
    g16_who_comes_and_goes_is_seen_across_nodes,
    g16_who_is_cut_off_and_returns_never_flickers,
    g16_who_is_invisible_is_seen_by_nobody,
);

/// How long news of another node may take.
const SEEN_WITHIN: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_secs(5);

fn views(viewer: &Person, users: &[&str]) {
    let users = users.iter().map(|name| user(name)).collect();
    viewer.client.set_view(View { logs: Vec::new(), users });
}

/// Everything that a viewer was told about a user, with the times.
fn told(viewer: &Person, about: &str) -> Vec<(Instant, Presence)> {
    let about = user(about);
    let of = |event: &Event| match event {
        Event::Presence { users } => {
            users.iter().find(|(user, _)| *user == about).map(|(_, presence)| *presence)
        }
        _ => None,
    };
    viewer
        .look(|log| log.iter().filter_map(|logged| Some((logged.at, of(&logged.event)?))).collect())
}

fn presence(viewer: &Person, about: &str) -> Option<Presence> {
    told(viewer, about).last().map(|(_, presence)| *presence)
}

/// What a viewer was told about a user since they were seen for the first time.
fn told_since_seen(viewer: &Person, about: &str) -> Vec<Presence> {
    let told = told(viewer, about).into_iter().map(|(_, presence)| presence);
    told.skip_while(|presence| *presence == Offline).collect()
}

/// Waits until a viewer was told this about a user; returns how long that took.
async fn sees(viewer: &Person, about: &str, wanted: Presence, within: Duration) -> Duration {
    let begun = Instant::now();
    let what = format!("{} sees {about} {}", viewer.name, wanted.as_str());
    eventually(&what, within, async || presence(viewer, about) == Some(wanted)).await;
    begun.elapsed()
}

async fn g16_who_comes_and_goes_is_seen_across_nodes(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let carol = Person::start_without_waiting("carol", cluster.api("carol"));
    carol.until("ready", |event| matches!(event, Event::Ready { .. })).await;
    let begun = Instant::now();
    views(&alice, &["bob", "carol", "dave", "nobody", "alice"]);
    sees(&alice, "nobody", Offline, STEP).await;
    println!("a view is answered after {:?}", begun.elapsed());
    // Carol's announcement may come a moment after the answer.
    for name in ["alice", "bob", "carol"] {
        sees(&alice, name, Active, SEEN_WITHIN).await;
    }
    assert_eq!(presence(&alice, "dave"), Some(Offline));
    // On both nodes.
    let dave = cluster.person("dave").await;
    let took = sees(&alice, "dave", Active, SEEN_WITHIN).await;
    println!("who comes is seen after {took:?}");
    bob.client.set_idle(true);
    println!("idle is seen after {:?}", sees(&alice, "bob", Idle, SEEN_WITHIN).await);
    let other = cluster.person("bob").await;
    sees(&alice, "bob", Active, SEEN_WITHIN).await;
    other.client.set_idle(true);
    sees(&alice, "bob", Idle, SEEN_WITHIN).await;
    // It is said again on a new socket, and a view is answered again.
    let before = told(&alice, "bob").len();
    alice.client.cut();
    eventually("a second answer", SOON, async || told(&alice, "bob").len() > before).await;
    assert_eq!(presence(&alice, "bob"), Some(Idle));
    other.client.cut();
    let is_back = |event: &Event| matches!(event, Event::Ready { after: Some(_), .. });
    other.until("a second ready", is_back).await;
    bob.client.set_idle(false);
    sees(&alice, "bob", Active, SEEN_WITHIN).await;
    // Dave leaves for good, and shows as offline after the grace.
    let left_at = Instant::now();
    drop(dave);
    sees(&alice, "dave", Offline, limits::OFFLINE_GRACE + STEP).await;
    let took = left_at.elapsed();
    assert!(took >= limits::OFFLINE_GRACE - Duration::from_millis(500), "{took:?}");
    println!("who leaves is offline after {took:?}");
    let unasked = |event: &Event| matches!(event, Event::Presence { .. });
    assert_eq!(bob.count(unasked) + carol.count(unasked), 0, "they view nobody");
}

async fn g16_who_is_cut_off_and_returns_never_flickers(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    views(&alice, &["bob"]);
    sees(&alice, "bob", Active, STEP).await;
    for n in 1..=3 {
        bob.client.cut();
        let is_back = |event: &Event| matches!(event, Event::Ready { after: Some(_), .. });
        eventually("bob is back", SOON, async || bob.count(is_back) == n).await;
    }
    tokio::time::sleep(limits::OFFLINE_GRACE + STEP).await;
    let told = told_since_seen(&alice, "bob");
    assert!(told.iter().all(|presence| *presence == Active), "{told:?}");
}

async fn g16_who_is_invisible_is_seen_by_nobody(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let log = LogId::from(&channel);
    let alice = cluster.person("alice").await;
    let users = ["bob", "alice", "dave"].map(user).to_vec();
    let view = View { logs: vec![log.clone()], users };
    alice.client.set_view(view);
    sees(&alice, "alice", Active, STEP).await;
    let config = Config { invisible: true, ..Config::new(cluster.api("bob")) };
    let bob = Person::with("bob", config);
    bob.until("ready", |event| matches!(event, Event::Ready { .. })).await;
    let delivered = |who: &str| {
        let who = user(who);
        alice.count(|event| match event {
            Event::Receipts { delivered, .. } => delivered.iter().any(|(of, _)| *of == who),
            _ => false,
        })
    };
    delivers(&alice, &channel, "are you there?").await;
    bob.hears(&channel, "are you there?").await;
    // His client says that it has it, and that he types. Hers does, too, and that is seen.
    bob.client.typing(log.clone());
    eventually("her own receipt", SOON, async || delivered("alice") > 0).await;
    bob.client.cut();
    bob.until("back", |event| matches!(event, Event::Ready { after: Some(_), .. })).await;
    delivers(&alice, &channel, "still not?").await;
    bob.hears(&channel, "still not?").await;
    // Presence comes in order: an announcement of bob would have reached alice before dave's.
    let _dave = cluster.person("dave").await;
    sees(&alice, "dave", Active, SEEN_WITHIN + STEP).await;
    assert_eq!(told_since_seen(&alice, "bob"), [], "a reconnect changes nothing");
    let types = |event: &Event| matches!(event, Event::Typing { users, .. } if !users.is_empty());
    assert_eq!((delivered("bob"), alice.count(types)), (0, 0));

    bob.client.set_invisible(false);
    sees(&alice, "bob", Active, SEEN_WITHIN).await;
    bob.client.typing(log);
    alice.until("bob types", types).await;
    delivers(&alice, &channel, "there you are").await;
    eventually("his receipt", SOON, async || delivered("bob") > 0).await;
    // The last wish counts.
    for wish in [true, false, true] {
        bob.client.set_invisible(wish);
    }
    sees(&alice, "bob", Offline, limits::OFFLINE_GRACE + STEP).await;
    assert_eq!(told_since_seen(&alice, "bob"), [Active, Offline]);
    assert_eq!(bob.count(|event| matches!(event, Event::Disconnected { .. })), 1, "by the cut");
}

async fn node_of(person: &Person, nodes: &[&NodeProcess]) -> usize {
    let id = person.client.node_id().unwrap();
    for (n, node) in nodes.iter().enumerate() {
        if node.is(&id).await {
            return n;
        }
    }
    panic!("{} is on no node", person.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_users_of_a_killed_node_vanish_together() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let (mut one, mut other) = (cluster.node_process().await, cluster.node_process().await);
    let api = cluster.api("probe");
    eventually("both are known", SOON, async || {
        api.connect(None).await.is_ok_and(|assignment| assignment.alternates.len() == 1)
    })
    .await;
    let alice = cluster.person("alice").await;
    let is_on_one = node_of(&alice, &[&one, &other]).await == 0;
    let doomed = if is_on_one { &mut other } else { &mut one };
    // Half of those on the doomed node come back on the other one, half do not.
    let (mut lost, mut kept, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..16 {
        let person = cluster.person(&format!("user{n}")).await;
        names.push(person.name.clone());
        if doomed.is(&person.client.node_id().unwrap()).await {
            lost.push(person);
        } else {
            kept.push(person);
        }
    }
    assert!(lost.len() >= 4, "{} users on the doomed node", lost.len());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    views(&alice, &names);
    for name in &names {
        sees(&alice, name, Active, STEP).await;
    }
    let gone: Vec<Person> = lost.split_off(lost.len() / 2);
    doomed.kill();
    let killed_at = Instant::now();
    let gone: Vec<String> = gone.into_iter().map(|person| person.name.clone()).collect();
    let bound = LEASE_END + limits::OFFLINE_GRACE + STEP;
    for name in &gone {
        sees(&alice, name, Offline, bound.saturating_sub(killed_at.elapsed())).await;
    }
    let times: Vec<Instant> = gone.iter().map(|name| told(&alice, name).pop().unwrap().0).collect();
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    println!("{} users of a killed node vanish after {:?}", gone.len(), *last - killed_at);
    assert!(*last - *first < Duration::from_millis(100), "together: {:?}", *last - *first);
    assert!(*first - killed_at >= limits::OFFLINE_GRACE, "{:?}", *first - killed_at);
    tokio::time::sleep(STEP).await;
    for person in &lost {
        let told = told_since_seen(&alice, &person.name);
        assert!(told.iter().all(|presence| *presence == Active), "{}: {told:?}", person.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_presence_heals_after_redis_lost_everything() {
    let mut cluster = Cluster::start(Environment::Redis).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    views(&alice, &["bob", "carol"]);
    sees(&alice, "bob", Active, STEP).await;
    assert_eq!(cluster.redis.as_ref().unwrap().command(&["FLUSHALL"]), "OK");
    let flushed_at = Instant::now();
    // Who views users for the first time sees them once their node has confirmed what it wrote.
    let zoe = viewer_beside(&cluster, &alice).await;
    views(&zoe, &["bob"]);
    sees(&zoe, "bob", Active, limits::PRESENCE_RENEW + STEP).await;
    println!("a new viewer sees bob {:?} after a flush", flushed_at.elapsed());
    // The same for a Redis that restarts empty; meanwhile somebody leaves for good.
    let carol = cluster.person("carol").await;
    sees(&alice, "carol", Active, SEEN_WITHIN).await;
    let told_before = told(&alice, "carol").len();
    cluster.redis.as_mut().unwrap().kill();
    drop(carol);
    tokio::time::sleep(limits::OFFLINE_GRACE + STEP).await;
    assert_eq!(told(&alice, "carol").len(), told_before, "nobody is declared gone without Redis");
    cluster.redis.as_mut().unwrap().restart();
    let restarted_at = Instant::now();
    sees(&alice, "carol", Offline, 2 * limits::OFFLINE_GRACE + STEP).await;
    println!("who left meanwhile is offline {:?} after the restart", restarted_at.elapsed());
    bob.client.set_idle(true);
    sees(&alice, "bob", Idle, STEP).await;
    tokio::time::sleep(limits::OFFLINE_GRACE).await;
    let told = told_since_seen(&alice, "bob");
    assert!(told.iter().all(|presence| *presence != Offline), "{told:?}");
}

/// A person on the same node as another one.
async fn viewer_beside(cluster: &Cluster, other: &Person) -> Person {
    for n in 0..20 {
        let person = cluster.person(&format!("zoe{n}")).await;
        if person.client.node_id() == other.client.node_id() {
            return person;
        }
    }
    panic!("nobody is on the node of {}", other.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_a_terminated_node_hands_its_users_over_unseen() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let (one, other) = (cluster.node_process().await, cluster.node_process().await);
    let api = cluster.api("probe");
    eventually("both are known", SOON, async || {
        api.connect(None).await.is_ok_and(|assignment| assignment.alternates.len() == 1)
    })
    .await;
    let alice = cluster.person("alice").await;
    let is_on_one = node_of(&alice, &[&one, &other]).await == 0;
    let leaving = if is_on_one { &other } else { &one };
    let mut people = Vec::new();
    for n in 0..8 {
        people.push(cluster.person(&format!("user{n}")).await);
    }
    let names: Vec<String> = people.iter().map(|person| person.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    views(&alice, &names);
    for name in &names {
        sees(&alice, name, Active, STEP).await;
    }
    leaving.terminate();
    let moved = |event: &Event| matches!(event, Event::Ready { after: Some(_), .. });
    eventually("some moved", SOON, async || people.iter().any(|one| one.count(moved) > 0)).await;
    tokio::time::sleep(2 * limits::OFFLINE_GRACE + STEP).await;
    for name in &names {
        let told = told_since_seen(&alice, name);
        assert!(told.iter().all(|presence| *presence == Active), "{name}: {told:?}");
    }
}
