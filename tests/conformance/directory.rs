//! The suite of the node directory, on memory, Redis and Valkey.
#![expect(clippy::indexing_slicing, reason = "a test that cannot continue fails")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memory::{ManualClock, MemoryDirectory};
use messaging::ports::{FleetNode, Lease, NodeDirectory};
use model::{NodeId, Timestamp, UserId, WorkspaceId, limits};
use redis_bus::RedisDirectory;
use tests::redis::{Flavor, RedisServer};

/// An empty directory for one test, and a way to let time pass for it.
struct Fixture {
    directory: Arc<dyn NodeDirectory>,
    pass: Pass,
}

enum Pass {
    Moved(Arc<ManualClock>),
    /// Real time passes by itself. Recorded times can be made older in Redis.
    Real(RedisServer),
}

fn on_memory() -> Fixture {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000_000)));
    Fixture { directory: Arc::new(MemoryDirectory::new(clock.clone())), pass: Pass::Moved(clock) }
}

fn on_server(flavor: Flavor) -> Fixture {
    let server = RedisServer::start(flavor);
    let directory = RedisDirectory::connect(&server.url()).unwrap();
    Fixture { directory: Arc::new(directory), pass: Pass::Real(server) }
}

suite! {
    a_lease_holds_what_its_node_reported_last
    a_lease_ages_until_it_is_renewed
    a_withdrawn_node_is_gone
    a_dead_lease_is_remembered_and_then_forgotten
    a_reservation_takes_the_lightest_and_the_first_of_equals
    pending_assignments_count_at_once
    an_expired_assignment_does_not_count
    candidates_without_a_lease_are_skipped
    renewing_a_lease_drops_nothing_else
    reports_are_distinct_by_user
    old_reports_are_forgotten
    the_newest_reports_are_kept
    a_node_that_was_not_given_to_a_user_cannot_be_reported_by_them
    reports_of_one_workspace_do_not_evict_those_of_another
    assignments_are_remembered_for_a_while_and_the_newest_are_kept
    a_node_clock_that_differs_is_reported
}

async fn a_lease_holds_what_its_node_reported_last(fixture: &Fixture) {
    assert_eq!(fixture.directory.fleet().await.unwrap(), []);
    renew(fixture, "n1", 5).await;
    let last = Lease {
        node_id: node("n1"),
        url: "wss://[::1]:8443/v1?a=\"b\"&c=\u{e9}".to_owned(),
        connections: u32::MAX,
        handshakes_per_second: 2_000,
        draining: true,
        clock: Some(Timestamp::from_unix_ms(1_000_000)),
        ticket_keys: vec!["one".to_owned(), "other".to_owned()],
    };
    fixture.directory.renew(&last).await.unwrap();
    renew(fixture, "n2", 0).await;
    let fleet = fleet(fixture).await;
    assert_eq!(fleet.len(), 2);
    assert_eq!(fleet["n1"].lease, last);
    assert_eq!(fleet["n2"].lease, lease("n2", 0));
    assert_eq!((fleet["n1"].pending, fleet["n1"].reports.len()), (0, 0));
}

async fn a_lease_ages_until_it_is_renewed(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    fixture.age_lease("n1", limits::LEASE_TTL);
    let age = fleet(fixture).await["n1"].age;
    assert!(age >= limits::LEASE_TTL && age < limits::LEASE_TTL + SLACK, "{age:?}");
    renew(fixture, "n1", 0).await;
    let age = fleet(fixture).await["n1"].age;
    assert!(age < SLACK, "{age:?}");
}

async fn a_withdrawn_node_is_gone(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    renew(fixture, "n2", 0).await;
    reserve(fixture, &["n1"]).await;
    for _ in 0..2 {
        fixture.directory.withdraw(&node("n1")).await.unwrap();
    }
    assert_eq!(fleet(fixture).await.into_keys().collect::<Vec<_>>(), ["n2"]);
    assert_eq!(reserve(fixture, &["n1"]).await, None);
    // A node that starts under the same id does not inherit the assignments.
    renew(fixture, "n1", 0).await;
    assert_eq!(fleet(fixture).await["n1"].pending, 0);
}

async fn a_dead_lease_is_remembered_and_then_forgotten(fixture: &Fixture) {
    renew(fixture, "n1", 7).await;
    fixture.age_lease("n1", limits::LEASE_MEMORY - SLACK);
    renew(fixture, "n2", 0).await;
    assert_eq!(fleet(fixture).await["n1"].lease.connections, 7);
    fixture.age_lease("n1", SLACK + Duration::from_millis(1));
    assert!(!fleet(fixture).await.contains_key("n1"));
    assert_eq!(reserve(fixture, &["n1"]).await, None);
}

async fn a_reservation_takes_the_lightest_and_the_first_of_equals(fixture: &Fixture) {
    for (id, connections) in [("n1", 10), ("n2", 8), ("n3", 8)] {
        renew(fixture, id, connections).await;
    }
    let all = ["n1", "n2", "n3"];
    assert_eq!(reserve(fixture, &all).await.as_deref(), Some("n2"));
    assert_eq!(reserve(fixture, &all).await.as_deref(), Some("n3"));
    assert_eq!(reserve(fixture, &["n3", "n2"]).await.as_deref(), Some("n3"));
    assert_eq!(reserve(fixture, &all).await.as_deref(), Some("n2"));
    assert_eq!(reserve(fixture, &all).await.as_deref(), Some("n1"));
    assert_eq!(reserve(fixture, &[]).await, None);
}

async fn pending_assignments_count_at_once(fixture: &Fixture) {
    renew(fixture, "n1", 3).await;
    renew(fixture, "n2", 3).await;
    let candidates = [node("n1"), node("n2")];
    let (workspace, user) = (workspace("w"), user("ann"));
    let calls = (0..100)
        .map(|_| fixture.directory.reserve(&candidates, limits::TICKET_TTL, &workspace, &user));
    let mut taken: HashMap<NodeId, u32> = HashMap::new();
    for outcome in futures_util::future::join_all(calls).await {
        *taken.entry(outcome.unwrap().unwrap()).or_default() += 1;
    }
    assert_eq!(taken, HashMap::from([(node("n1"), 50), (node("n2"), 50)]));
    let fleet = fleet(fixture).await;
    assert_eq!((fleet["n1"].pending, fleet["n2"].pending), (50, 50));
}

async fn an_expired_assignment_does_not_count(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    renew(fixture, "n2", 1).await;
    let ttl = Duration::from_millis(50);
    let candidates = [node("n1"), node("n2")];
    let reserve_for = async |candidates: &[NodeId], ttl| {
        fixture.directory.reserve(candidates, ttl, &workspace("w"), &user("ann")).await.unwrap()
    };
    assert_eq!(reserve_for(&candidates, ttl).await, Some(node("n1")));
    reserve_for(&[node("n1")], limits::TICKET_TTL).await;
    fixture.let_pass(ttl);
    eventually(async || fleet(fixture).await["n1"].pending == 1).await;
    assert_eq!(reserve(fixture, &["n1", "n2"]).await.as_deref(), Some("n1"));
}

async fn candidates_without_a_lease_are_skipped(fixture: &Fixture) {
    renew(fixture, "n1", 9_999).await;
    assert_eq!(reserve(fixture, &["unknown", "n1", "stranger"]).await.as_deref(), Some("n1"));
    assert_eq!(reserve(fixture, &["unknown"]).await, None);
    assert_eq!(fleet(fixture).await.len(), 1, "asking makes no node");
}

async fn renewing_a_lease_drops_nothing_else(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    report(fixture, "n1", "ann").await;
    renew(fixture, "n1", 1).await;
    let seen = &fleet(fixture).await["n1"];
    assert_eq!((seen.lease.connections, seen.pending, seen.reports.len()), (1, 1, 1));
}

async fn reports_are_distinct_by_user(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    renew(fixture, "n2", 0).await;
    for user in ["ann", "bob", "ann", "ann"] {
        report(fixture, "n1", user).await;
    }
    report(fixture, "n2", "ann").await;
    report(fixture, "unknown", "ann").await;
    let fleet = fleet(fixture).await;
    let mut reporters: Vec<&str> =
        fleet["n1"].reports.iter().map(|report| report.user_id.as_str()).collect();
    reporters.sort_unstable();
    assert_eq!(reporters, ["ann", "bob"]);
    assert_eq!(fleet["n2"].reports.len(), 1);
    assert!(fleet["n1"].reports.iter().all(|report| report.age < SLACK));
}

async fn the_newest_reports_are_kept(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    renew(fixture, "n2", 0).await;
    for number in 0..20 {
        let workspace = format!("w{number}");
        report_in(fixture, "n1", &workspace, "ann").await;
        fixture.age_report("n1", &format!("{workspace} ann"), Duration::from_millis(100));
    }
    for number in 0..limits::REPORTS_MAX - 10 {
        report_in(fixture, "n2", &format!("w{number}"), "ann").await;
    }
    let fleet = fleet(fixture).await;
    let kept = (fleet["n1"].reports.len(), fleet["n2"].reports.len());
    assert_eq!(kept, (10, limits::REPORTS_MAX - 10));
}

async fn old_reports_are_forgotten(fixture: &Fixture) {
    let window = limits::REPORT_WINDOW + limits::DEMOTION;
    renew(fixture, "n1", 0).await;
    report(fixture, "n1", "ann").await;
    fixture.age_report("n1", "w ann", window - SLACK);
    report(fixture, "n1", "bob").await;
    assert_eq!(fleet(fixture).await["n1"].reports.len(), 2);
    fixture.age_report("n1", "w ann", SLACK + Duration::from_millis(1));
    let left = fleet(fixture).await.remove("n1").unwrap().reports;
    let left: Vec<&str> = left.iter().map(|report| report.user_id.as_str()).collect();
    assert_eq!(left, ["bob"]);
}

async fn a_node_that_was_not_given_to_a_user_cannot_be_reported_by_them(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    renew(fixture, "n2", 0).await;
    renew(fixture, "n3", 0).await;
    let given = [node("n1"), node("n2")];
    let (w, ann) = (workspace("w"), user("ann"));
    fixture.directory.reserve(&given, limits::TICKET_TTL, &w, &ann).await.unwrap();
    for (id, workspace_of, name) in [
        ("n1", "w", "ann"),
        ("n2", "w", "ann"),
        ("n3", "w", "ann"),
        ("n1", "x", "ann"),
        ("n1", "w", "bob"),
    ] {
        let (of, by) = (workspace(workspace_of), user(name));
        fixture.directory.report(&node(id), &of, &by).await.unwrap();
    }
    let fleet = fleet(fixture).await;
    let counts = ["n1", "n2", "n3"].map(|id| fleet[id].reports.len());
    assert_eq!(counts, [1, 1, 0], "the alternate was given too");
    let report = &fleet["n1"].reports[0];
    assert_eq!((&report.workspace_id, &report.user_id), (&w, &ann));
    // A node that starts under the same id has been given to no user.
    fixture.directory.withdraw(&node("n1")).await.unwrap();
    renew(fixture, "n1", 0).await;
    let before = self::fleet(fixture).await["n1"].reports.len();
    fixture.directory.report(&node("n1"), &w, &ann).await.unwrap();
    assert_eq!(self::fleet(fixture).await["n1"].reports.len(), before);
}

async fn reports_of_one_workspace_do_not_evict_those_of_another(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    report_in(fixture, "n1", "quiet", "ann").await;
    fixture.age_report("n1", "quiet ann", Duration::from_secs(1));
    for number in 0..2 * limits::REPORTS_MAX {
        let name = format!("user{number}");
        report_in(fixture, "n1", "loud", &name).await;
        fixture.let_pass(Duration::from_millis(1));
    }
    let reports = fleet(fixture).await.remove("n1").unwrap().reports;
    let of = |name: &str| reports.iter().filter(|one| one.workspace_id.as_str() == name).count();
    assert_eq!((of("quiet"), of("loud")), (1, limits::REPORTS_PER_WORKSPACE_MAX));
}

async fn assignments_are_remembered_for_a_while_and_the_newest_are_kept(fixture: &Fixture) {
    renew(fixture, "n1", 0).await;
    let given = [node("n1")];
    let (w, ann) = (workspace("w"), user("ann"));
    fixture.directory.reserve(&given, limits::TICKET_TTL, &w, &ann).await.unwrap();
    for number in 1..limits::GIVEN_PER_NODE_MAX {
        fixture.let_pass(Duration::from_millis(1));
        let other = user(&format!("user{number}"));
        fixture.directory.reserve(&given, limits::TICKET_TTL, &w, &other).await.unwrap();
    }
    fixture.directory.report(&node("n1"), &w, &ann).await.unwrap();
    assert_eq!(fleet(fixture).await["n1"].reports.len(), 1, "the oldest still counts");
    fixture.let_pass(Duration::from_millis(1));
    fixture.age("{ink:fleet}:given:n1", "w ann", Duration::from_millis(1));
    fixture.directory.reserve(&given, limits::TICKET_TTL, &w, &user("one-more")).await.unwrap();
    renew(fixture, "n2", 0).await;
    fixture.directory.reserve(&[node("n2")], limits::TICKET_TTL, &w, &user("bob")).await.unwrap();
    for id in ["n1", "n2"] {
        fixture.age(&format!("{{ink:fleet}}:given:{id}"), "w bob", limits::GIVEN_MEMORY + SLACK);
        renew(fixture, id, 0).await;
    }
    fixture.directory.report(&node("n2"), &w, &user("bob")).await.unwrap();
    assert_eq!(fleet(fixture).await["n2"].reports.len(), 0, "it was given too long ago");
}

async fn a_node_clock_that_differs_is_reported(fixture: &Fixture) {
    let now = fixture.directory.renew(&lease("n1", 0)).await.unwrap();
    for (id, clock) in [
        ("ahead", now.plus(Duration::from_secs(40))),
        ("behind", now.minus(Duration::from_secs(40))),
        ("right", now),
    ] {
        let lease = Lease { clock: Some(clock), ..lease(id, 0) };
        fixture.directory.renew(&lease).await.unwrap();
    }
    let fleet = fleet(fixture).await;
    let slack = i64::try_from(SLACK.as_millis()).unwrap();
    for (id, expected) in [("ahead", 40_000), ("behind", -40_000), ("right", 0), ("n1", 0)] {
        let ahead = fleet[id].clock_ahead_ms;
        // Time between the two calls makes the clock look slow.
        assert!(ahead <= expected && ahead > expected - slack, "{id}: {ahead}");
    }
}

impl Fixture {
    /// Makes a lease older. In memory, this moves the clock for everything.
    fn age_lease(&self, node: &str, by: Duration) {
        self.age("{ink:fleet}:leases", node, by);
    }

    fn age_report(&self, node: &str, workspace_and_user: &str, by: Duration) {
        self.age("{ink:fleet}:reports", &format!("{node} {workspace_and_user}"), by);
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

async fn fleet(fixture: &Fixture) -> HashMap<String, FleetNode> {
    let nodes = fixture.directory.fleet().await.unwrap();
    nodes.into_iter().map(|node| (node.lease.node_id.to_string(), node)).collect()
}

async fn renew(fixture: &Fixture, id: &str, connections: u32) {
    fixture.directory.renew(&lease(id, connections)).await.unwrap();
}

async fn reserve(fixture: &Fixture, candidates: &[&str]) -> Option<String> {
    let candidates: Vec<NodeId> = candidates.iter().map(|id| node(id)).collect();
    let (workspace, user) = (workspace("w"), user("ann"));
    let taken = fixture.directory.reserve(&candidates, limits::TICKET_TTL, &workspace, &user);
    taken.await.unwrap().map(|node| node.to_string())
}

async fn report(fixture: &Fixture, id: &str, name: &str) {
    report_in(fixture, id, "w", name).await;
}

/// A user is given the node, and reports it.
async fn report_in(fixture: &Fixture, id: &str, workspace_name: &str, name: &str) {
    let (workspace, user) = (workspace(workspace_name), user(name));
    let given = [node(id)];
    fixture.directory.reserve(&given, limits::TICKET_TTL, &workspace, &user).await.unwrap();
    fixture.directory.report(&node(id), &workspace, &user).await.unwrap();
}

fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::parse(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn lease(id: &str, connections: u32) -> Lease {
    Lease {
        node_id: node(id),
        url: format!("ws://{id}/v1"),
        connections,
        handshakes_per_second: 100,
        draining: false,
        clock: None,
        ticket_keys: Vec::new(),
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

/// How long a busy machine may take between two calls.
const SLACK: Duration = Duration::from_secs(20);
