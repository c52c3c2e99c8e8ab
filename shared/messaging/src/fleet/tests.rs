use model::UserId;

use super::*;
use crate::ports::Lease;

fn node(name: &str, connections: u32) -> FleetNode {
    FleetNode {
        lease: Lease {
            node_id: NodeId::parse(name).unwrap(),
            url: format!("ws://{name}"),
            connections,
            handshakes_per_second: 1_000,
            draining: false,
            clock: None,
            ticket_keys: Vec::new(),
        },
        clock_ahead_ms: 0,
        age: Duration::ZERO,
        pending: 0,
        reports: Vec::new(),
    }
}

fn reported(mut node: FleetNode, ages_s: &[u64]) -> FleetNode {
    let report = |(n, age): (usize, &u64)| Report {
        workspace_id: workspace("w"),
        user_id: UserId::parse(&format!("u{n}")).unwrap(),
        age: Duration::from_secs(*age),
    };
    node.reports = ages_s.iter().enumerate().map(report).collect();
    node
}

fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::parse(name).unwrap()
}

fn names(fleet: &[FleetNode], failed: Option<&str>) -> Vec<String> {
    let failed = failed.map(|name| NodeId::parse(name).unwrap());
    let ranked = candidates(&workspace("w"), fleet, failed.as_ref(), None);
    ranked.iter().map(ToString::to_string).collect()
}

#[test]
fn dead_and_draining_nodes_take_nobody() {
    let dead = FleetNode { age: limits::LEASE_TTL, ..node("dead", 0) };
    let mut leaving = node("leaving", 0);
    leaving.lease.draining = true;
    assert_eq!(names(&[dead, leaving, node("up", 9)], None), ["up"]);
}

#[test]
fn the_failed_node_comes_last_and_is_better_than_none() {
    let fleet = [node("a", 0), node("b", 0), node("c", 0)];
    assert_eq!(names(&fleet, Some("b")).last().map(String::as_str), Some("b"));
    assert_eq!(names(&fleet[..1], Some("a")), ["a"]);
}

#[test]
fn a_workspace_stays_on_its_nodes_while_they_are_not_overloaded() {
    let mut fleet: Vec<_> = (0..10).map(|n| node(&format!("n{n}"), 100)).collect();
    let before = names(&fleet, None);
    fleet[0].pending += 5;
    assert_eq!(names(&fleet, None), before, "small differences do not move it");
    let first = fleet.iter_mut().find(|node| node.lease.node_id.as_str() == before[0]).unwrap();
    first.lease.connections = 200;
    assert_eq!(names(&fleet, None).last(), Some(&before[0]), "an overloaded node is left");
}

#[test]
fn workspaces_spread_over_the_fleet() {
    let fleet: Vec<_> = (0..4).map(|n| node(&format!("n{n}"), 0)).collect();
    let mut firsts = std::collections::HashMap::new();
    for n in 0..400 {
        let ranked = candidates(&workspace(&format!("w{n}")), &fleet, None, None);
        *firsts.entry(ranked[0].clone()).or_insert(0) += 1;
    }
    assert!(
        firsts.len() == 4 && firsts.values().all(|count| (60..140).contains(count)),
        "{firsts:?}"
    );
}

#[test]
fn three_reporters_in_ten_seconds_demote_for_thirty() {
    let with = |ages: &[u64]| names(&[reported(node("a", 0), ages), node("b", 0)], None);
    assert_eq!(with(&[1, 2]).len(), 2);
    assert_eq!(with(&[1, 5, 9]), ["b"]);
    assert_eq!(with(&[1, 5, 12]).len(), 2, "not within ten seconds");
    assert_eq!(with(&[29, 31, 33]), ["b"]);
    assert_eq!(with(&[30, 31, 33]).len(), 2, "over");
}

#[test]
fn reports_never_take_more_than_a_tenth_nor_the_last() {
    let all: Vec<_> = (0..20).map(|n| reported(node(&format!("n{n}"), 0), &[1, 1, 1])).collect();
    assert_eq!(names(&all, None).len(), 18);
    assert_eq!(names(&all[..2], None).len(), 1);
    assert_eq!(names(&all[..1], None).len(), 1);
}

#[test]
fn a_lost_node_returns_as_a_ramp() {
    let fleet = [node("a", 5_000), node("b", 0), node("c", 0)];
    assert_eq!(ramp(&fleet, &NodeId::parse("a").unwrap()), Duration::from_millis(2_500));
    assert_eq!(ramp(&fleet, &NodeId::parse("x").unwrap()), Duration::ZERO);
    assert_eq!(ramp(&fleet[..1], &NodeId::parse("a").unwrap()), limits::DELAY_MAX);
}

#[test]
fn one_workspace_counts_once_for_the_others() {
    let of = |workspaces: &[&str]| {
        let mut node = node("a", 0);
        let report = |(n, name): (usize, &&str)| Report {
            workspace_id: workspace(name),
            user_id: UserId::parse(&format!("u{n}")).unwrap(),
            age: Duration::from_secs(1),
        };
        node.reports = workspaces.iter().enumerate().map(report).collect();
        names(&[node, self::node("b", 0)], None).len()
    };
    assert_eq!(of(&["w", "w", "w"]), 1, "of one's own three are enough");
    assert_eq!(of(&["x", "x", "x", "x", "x", "x"]), 2);
    assert_eq!(of(&["x", "x", "y", "y"]), 2);
    assert_eq!(of(&["x", "y", "z"]), 1);
    assert_eq!(of(&["w", "x", "y"]), 1);
    assert_eq!(of(&["w", "w", "x"]), 1);
}

#[test]
fn the_only_node_that_takes_our_tickets_is_never_demoted() {
    let foreign = FleetNode { clock_ahead_ms: 60_000, ..node("foreign", 0) };
    let fleet = [foreign, reported(node("ours", 0), &[1, 1, 1])];
    assert_eq!(names(&fleet, None), ["ours"]);
}
