//! The suite of the node directory, on memory, Redis and Valkey.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memory::{ManualClock, MemoryDirectory};
use messaging::ports::{FleetNode, Lease, NodeDirectory};
use model::{NodeId, Timestamp, UserId, limits};
use redis_bus::RedisDirectory;
use tests::redis::{Flavor, RedisServer};

/// A directory of its own, empty, and a way to let its time pass.
struct Bench {
    directory: Arc<dyn NodeDirectory>,
    pass: Pass,
}

enum Pass {
    Moved(Arc<ManualClock>),
    /// Real time passes by itself. What was noted can be made older where it lies.
    Real(RedisServer),
}

fn on_memory() -> Bench {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000_000)));
    Bench { directory: Arc::new(MemoryDirectory::new(clock.clone())), pass: Pass::Moved(clock) }
}

fn on_server(flavor: Flavor) -> Bench {
    let server = RedisServer::start(flavor);
    let directory = RedisDirectory::connect(&server.url()).unwrap();
    Bench { directory: Arc::new(directory), pass: Pass::Real(server) }
}

macro_rules! suite {
    ($($test:ident)*) => {
        mod memory_directory {
            $(#[tokio::test] async fn $test() { super::$test(&super::on_memory()).await; })*
        }
        mod redis_directory_on_redis {
            $(#[tokio::test]
            async fn $test() { super::$test(&super::on_server(super::Flavor::Redis)).await; })*
        }
        mod redis_directory_on_valkey {
            $(#[tokio::test]
            async fn $test() { super::$test(&super::on_server(super::Flavor::Valkey)).await; })*
        }
    };
}

suite! {
    a_lease_is_what_the_node_said_last
    a_lease_ages_until_it_is_renewed
    a_withdrawn_node_is_gone
    a_dead_lease_is_remembered_and_then_forgotten
    a_reservation_takes_the_lightest_and_the_first_of_equals
    pending_assignments_count_at_once
    an_expired_assignment_does_not_count
    candidates_without_a_lease_are_passed_over
    renewing_drops_nothing_else
    reports_are_distinct_by_user
    old_reports_are_forgotten
    the_newest_reports_are_kept
}

async fn a_lease_is_what_the_node_said_last(bench: &Bench) {
    assert_eq!(bench.directory.fleet().await.unwrap(), []);
    renew(bench, "n1", 5).await;
    let last = Lease {
        node_id: node("n1"),
        url: "wss://[::1]:8443/v1?a=\"b\"&c=\u{e9}".to_owned(),
        connections: u32::MAX,
        handshakes_per_second: 2_000,
        draining: true,
    };
    bench.directory.renew(&last).await.unwrap();
    renew(bench, "n2", 0).await;
    let fleet = fleet(bench).await;
    assert_eq!(fleet.len(), 2);
    assert_eq!(fleet["n1"].lease, last);
    assert_eq!(fleet["n2"].lease, lease("n2", 0));
    assert_eq!((fleet["n1"].pending, fleet["n1"].reports.len()), (0, 0));
}

async fn a_lease_ages_until_it_is_renewed(bench: &Bench) {
    renew(bench, "n1", 0).await;
    bench.age_lease("n1", limits::LEASE_TTL);
    let age = fleet(bench).await["n1"].age;
    assert!(age >= limits::LEASE_TTL && age < limits::LEASE_TTL + SLACK, "{age:?}");
    renew(bench, "n1", 0).await;
    let age = fleet(bench).await["n1"].age;
    assert!(age < SLACK, "{age:?}");
}

async fn a_withdrawn_node_is_gone(bench: &Bench) {
    renew(bench, "n1", 0).await;
    renew(bench, "n2", 0).await;
    reserve(bench, &["n1"]).await;
    for _ in 0..2 {
        bench.directory.withdraw(&node("n1")).await.unwrap();
    }
    assert_eq!(fleet(bench).await.into_keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(reserve(bench, &["n1"]).await, None);
    // A node of the same name would start without the other's assignments.
    renew(bench, "n1", 0).await;
    assert_eq!(fleet(bench).await["n1"].pending, 0);
}

async fn a_dead_lease_is_remembered_and_then_forgotten(bench: &Bench) {
    renew(bench, "n1", 7).await;
    bench.age_lease("n1", limits::LEASE_MEMORY - SLACK);
    renew(bench, "n2", 0).await;
    assert_eq!(fleet(bench).await["n1"].lease.connections, 7);
    bench.age_lease("n1", SLACK + Duration::from_millis(1));
    assert!(!fleet(bench).await.contains_key("n1"));
    assert_eq!(reserve(bench, &["n1"]).await, None);
}

async fn a_reservation_takes_the_lightest_and_the_first_of_equals(bench: &Bench) {
    for (id, connections) in [("n1", 10), ("n2", 8), ("n3", 8)] {
        renew(bench, id, connections).await;
    }
    let all = ["n1", "n2", "n3"];
    assert_eq!(reserve(bench, &all).await.as_deref(), Some("n2"));
    assert_eq!(reserve(bench, &all).await.as_deref(), Some("n3"));
    assert_eq!(reserve(bench, &["n3", "n2"]).await.as_deref(), Some("n3"));
    assert_eq!(reserve(bench, &all).await.as_deref(), Some("n2"));
    assert_eq!(reserve(bench, &all).await.as_deref(), Some("n1"));
    assert_eq!(reserve(bench, &[]).await, None);
}

async fn pending_assignments_count_at_once(bench: &Bench) {
    renew(bench, "n1", 3).await;
    renew(bench, "n2", 3).await;
    let candidates = [node("n1"), node("n2")];
    let calls = (0..100).map(|_| bench.directory.reserve(&candidates, limits::TICKET_TTL));
    let mut taken: HashMap<NodeId, u32> = HashMap::new();
    for outcome in futures_util::future::join_all(calls).await {
        *taken.entry(outcome.unwrap().unwrap()).or_default() += 1;
    }
    assert_eq!(taken, HashMap::from([(node("n1"), 50), (node("n2"), 50)]));
    let fleet = fleet(bench).await;
    assert_eq!((fleet["n1"].pending, fleet["n2"].pending), (50, 50));
}

async fn an_expired_assignment_does_not_count(bench: &Bench) {
    renew(bench, "n1", 0).await;
    renew(bench, "n2", 1).await;
    let ttl = Duration::from_millis(50);
    let candidates = [node("n1"), node("n2")];
    assert_eq!(bench.directory.reserve(&candidates, ttl).await.unwrap(), Some(node("n1")));
    bench.directory.reserve(&[node("n1")], limits::TICKET_TTL).await.unwrap();
    bench.let_pass(ttl);
    eventually(async || fleet(bench).await["n1"].pending == 1).await;
    assert_eq!(reserve(bench, &["n1", "n2"]).await.as_deref(), Some("n1"));
}

async fn candidates_without_a_lease_are_passed_over(bench: &Bench) {
    renew(bench, "n1", 9_999).await;
    assert_eq!(reserve(bench, &["unknown", "n1", "stranger"]).await.as_deref(), Some("n1"));
    assert_eq!(reserve(bench, &["unknown"]).await, None);
    assert_eq!(fleet(bench).await.len(), 1, "asking makes no node");
}

async fn renewing_drops_nothing_else(bench: &Bench) {
    renew(bench, "n1", 0).await;
    reserve(bench, &["n1"]).await;
    report(bench, "n1", "ann").await;
    renew(bench, "n1", 1).await;
    let seen = &fleet(bench).await["n1"];
    assert_eq!((seen.lease.connections, seen.pending, seen.reports.len()), (1, 1, 1));
}

async fn reports_are_distinct_by_user(bench: &Bench) {
    renew(bench, "n1", 0).await;
    renew(bench, "n2", 0).await;
    for user in ["ann", "bob", "ann", "ann"] {
        report(bench, "n1", user).await;
    }
    report(bench, "n2", "ann").await;
    report(bench, "unknown", "ann").await;
    let fleet = fleet(bench).await;
    let mut reporters: Vec<&str> =
        fleet["n1"].reports.iter().map(|(user, _)| user.as_str()).collect();
    reporters.sort_unstable();
    assert_eq!(reporters, ["ann", "bob"]);
    assert_eq!(fleet["n2"].reports.len(), 1);
    assert!(fleet["n1"].reports.iter().all(|(_, age)| *age < SLACK));
}

async fn the_newest_reports_are_kept(bench: &Bench) {
    renew(bench, "n1", 0).await;
    renew(bench, "n2", 0).await;
    for number in 0..20 {
        let user = format!("user{number}");
        report(bench, "n1", &user).await;
        bench.age_report("n1", &user, Duration::from_millis(100));
    }
    for number in 0..limits::REPORTS_MAX - 10 {
        report(bench, "n2", &format!("user{number}")).await;
    }
    let fleet = fleet(bench).await;
    let kept = (fleet["n1"].reports.len(), fleet["n2"].reports.len());
    assert_eq!(kept, (10, limits::REPORTS_MAX - 10));
}

async fn old_reports_are_forgotten(bench: &Bench) {
    let window = limits::REPORT_WINDOW + limits::DEMOTION;
    renew(bench, "n1", 0).await;
    report(bench, "n1", "ann").await;
    bench.age_report("n1", "ann", window - SLACK);
    report(bench, "n1", "bob").await;
    assert_eq!(fleet(bench).await["n1"].reports.len(), 2);
    bench.age_report("n1", "ann", SLACK + Duration::from_millis(1));
    let left = fleet(bench).await.remove("n1").unwrap().reports;
    assert_eq!(left.iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["bob"]);
}

impl Bench {
    /// Makes a lease older: in memory by moving the clock, for all.
    fn age_lease(&self, node: &str, by: Duration) {
        self.age("{ink:fleet}:leases", node, by);
    }

    fn age_report(&self, node: &str, user: &str, by: Duration) {
        self.age("{ink:fleet}:reports", &format!("{node} {user}"), by);
    }

    fn age(&self, key: &str, member: &str, by: Duration) {
        match &self.pass {
            Pass::Moved(clock) => drop(clock.advance(by)),
            Pass::Real(server) => {
                let back = format!("-{}", by.as_millis());
                server.command(&["ZINCRBY", key, &back, member]);
            }
        }
    }

    fn let_pass(&self, time: Duration) {
        if let Pass::Moved(clock) = &self.pass {
            clock.advance(time);
        }
    }
}

async fn fleet(bench: &Bench) -> HashMap<String, FleetNode> {
    let nodes = bench.directory.fleet().await.unwrap();
    nodes.into_iter().map(|node| (node.lease.node_id.to_string(), node)).collect()
}

async fn renew(bench: &Bench, id: &str, connections: u32) {
    bench.directory.renew(&lease(id, connections)).await.unwrap();
}

async fn reserve(bench: &Bench, candidates: &[&str]) -> Option<String> {
    let candidates: Vec<NodeId> = candidates.iter().map(|id| node(id)).collect();
    let taken = bench.directory.reserve(&candidates, limits::TICKET_TTL).await.unwrap();
    taken.map(|node| node.to_string())
}

async fn report(bench: &Bench, id: &str, user: &str) {
    bench.directory.report(&node(id), &UserId::parse(user).unwrap()).await.unwrap();
}

fn lease(id: &str, connections: u32) -> Lease {
    Lease {
        node_id: node(id),
        url: format!("ws://{id}/v1"),
        connections,
        handshakes_per_second: 100,
        draining: false,
    }
}

fn node(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

async fn eventually(holds: impl AsyncFn() -> bool) {
    let polls = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), polls).await.expect("within the deadline");
}

/// What a busy machine may take between two calls.
const SLACK: Duration = Duration::from_secs(20);
