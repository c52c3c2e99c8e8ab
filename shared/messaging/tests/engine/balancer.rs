use std::time::Duration;

use messaging::Refusal;
use messaging::connect::{Client, connect, hand_over, renew};
use messaging::ports::NodeDirectory;
use model::{ErrorCode, NodeId, limits};

use crate::fixture::{Fixture, caller, caller_in};

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

#[tokio::test]
async fn g7_pending_assignments_count_at_once() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node("n2", 0).await;
    let one = connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap();
    let other = connect(&fixture.app, Client::of(&caller("bob")), None).await.unwrap();
    assert_ne!(one.node.node_id, other.node.node_id);
    assert_eq!(one.alternates.len(), 1);
    assert_eq!(one.alternates[0].node_id, other.node.node_id);
    assert_eq!(one.delay, Duration::ZERO);
    assert!(one.node.ticket.contains(one.node.node_id.as_str()), "a ticket is for its node");
    assert_ne!(one.node.ticket, one.alternates[0].ticket);
}

#[tokio::test]
async fn g7_the_lighter_of_two_takes_the_client() {
    let fixture = Fixture::new();
    fixture.node("n1", 30).await;
    fixture.node("n2", 3).await;
    for name in ["a", "b", "c"] {
        let assignment = connect(&fixture.app, Client::of(&caller(name)), None).await.unwrap();
        assert_eq!(assignment.node.node_id, node("n2"));
    }
}

#[tokio::test]
async fn g7_a_failed_node_is_not_given_again_and_its_clients_come_as_a_ramp() {
    let fixture = Fixture::new();
    fixture.node("n1", 4_000).await;
    fixture.node("n2", 5_000).await;
    let mut delays = Vec::new();
    for n in 0..50 {
        let failed = node("n1");
        let name = format!("u{}", n % 2);
        let assignment =
            connect(&fixture.app, Client::of(&caller(&name)), Some(&failed)).await.unwrap();
        assert_eq!(assignment.node.node_id, node("n2"));
        assert!(assignment.alternates.is_empty());
        let lives = assignment.expires_at.since(assignment.server_time);
        assert_eq!(lives, assignment.delay + limits::TICKET_TTL);
        delays.push(assignment.delay);
    }
    let most = Duration::from_secs(4);
    assert!(delays.iter().all(|delay| *delay <= most));
    assert!(delays.iter().max() > Some(&(most / 2)) && delays.iter().min() < Some(&(most / 2)));
}

#[tokio::test]
async fn g7_three_reporters_take_a_node_out_for_their_workspace() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node("n2", 0).await;
    for name in ["a", "b", "c"] {
        connect(&fixture.app, Client::of(&caller(name)), None).await.unwrap();
        connect(&fixture.app, Client::of(&caller(name)), Some(&node("n1"))).await.unwrap();
    }
    for name in ["d", "e", "f", "g"] {
        let assignment = connect(&fixture.app, Client::of(&caller(name)), None).await.unwrap();
        assert_eq!(assignment.node.node_id, node("n2"));
    }
    assert!(given_to_others(&fixture).await.contains(&node("n1")), "one tenant moves only itself");
}

#[tokio::test]
async fn g7_reporters_of_three_workspaces_take_a_node_out_for_everybody() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node("n2", 0).await;
    for workspace in ["w1", "w2", "w3"] {
        let caller = caller_in(workspace, "a");
        connect(&fixture.app, Client::of(&caller), None).await.unwrap();
        connect(&fixture.app, Client::of(&caller), Some(&node("n1"))).await.unwrap();
    }
    assert!(!given_to_others(&fixture).await.contains(&node("n1")));
}

#[tokio::test]
async fn g7_who_was_not_given_a_node_cannot_report_it() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node("n2", 0).await;
    for workspace in ["w1", "w2", "w3"] {
        for name in ["a", "b", "c"] {
            connect(&fixture.app, Client::of(&caller_in(workspace, name)), Some(&node("n1")))
                .await
                .unwrap();
        }
    }
    let reported = fixture.directory.fleet().await.unwrap();
    assert!(reported.iter().all(|node| node.reports.is_empty()), "{reported:?}");
    assert!(given_to_others(&fixture).await.contains(&node("n1")));
}

/// The nodes that users of another workspace are given.
async fn given_to_others(fixture: &Fixture) -> Vec<NodeId> {
    let mut given = Vec::new();
    for name in ["p", "q", "r", "s"] {
        let assignment =
            connect(&fixture.app, Client::of(&caller_in("other", name)), None).await.unwrap();
        given.push(assignment.node.node_id);
    }
    given
}

#[tokio::test]
async fn g7_a_node_that_would_refuse_our_tickets_gets_nobody_while_another_takes_them() {
    for (ahead_ms, keys) in
        [(5_001, &["our-key"][..]), (-40_000, &["our-key"]), (0, &["another-key"])]
    {
        let fixture = Fixture::new();
        fixture.node_that_reports("n1", ahead_ms, keys).await;
        fixture.node_that_reports("n2", 300, &["newer-key", "our-key"]).await;
        for name in ["a", "b", "c", "d"] {
            let assignment = connect(&fixture.app, Client::of(&caller(name)), None).await.unwrap();
            assert_eq!(assignment.node.node_id, node("n2"), "{ahead_ms} {keys:?}");
            assert!(assignment.alternates.is_empty());
        }
        fixture.directory.withdraw(&node("n2")).await.unwrap();
        fixture.clock.advance(limits::FLEET_FRESH);
        let assignment = connect(&fixture.app, Client::of(&caller("e")), None).await.unwrap();
        assert_eq!(assignment.node.node_id, node("n1"), "better than none");
    }
}

#[tokio::test]
async fn g7_a_node_that_reports_neither_clock_nor_secrets_is_taken_as_it_was() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node_that_reports("n2", 0, &["another-key"]).await;
    let assignment = connect(&fixture.app, Client::of(&caller("a")), None).await.unwrap();
    assert_eq!(assignment.node.node_id, node("n1"));
}

#[tokio::test]
async fn g7_without_a_healthy_node_there_is_no_capacity() {
    let fixture = Fixture::new();
    let refused = connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NoCapacity);
    fixture.node("n1", 0).await;
    fixture.clock.advance(Duration::from_secs(1));
    connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap();
    fixture.clock.advance(limits::LEASE_TTL);
    let refused = connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NoCapacity);
}

#[tokio::test]
async fn g7_a_withdrawn_node_gets_nobody() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    fixture.node("n2", 0).await;
    fixture.directory.withdraw(&node("n1")).await.unwrap();
    for name in ["a", "b", "c"] {
        let assignment = connect(&fixture.app, Client::of(&caller(name)), None).await.unwrap();
        assert_eq!(assignment.node.node_id, node("n2"));
    }
}

#[tokio::test]
async fn g7_without_the_directory_the_last_view_is_good_for_thirty_seconds() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap();
    fixture.directory.set_unavailable(true);
    fixture.clock.advance(Duration::from_secs(29));
    assert!(connect(&fixture.app, Client::of(&caller("alice")), None).await.is_ok());
    fixture.clock.advance(Duration::from_secs(1));
    let refused = connect(&fixture.app, Client::of(&caller("alice")), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NoCapacity);
}

#[tokio::test]
async fn g7_a_draining_node_hands_clients_over_as_the_balancer_places_them() {
    let fixture = Fixture::new();
    for (name, connections) in [("n1", 0), ("n2", 4), ("n3", 4)] {
        fixture.node(name, connections).await;
    }
    let fleet = fixture.app.nodes.fleet().await.unwrap();
    let leaving = node("n1");
    let mut taken = Vec::new();
    for n in 0..8 {
        let caller = caller(&format!("u{n}"));
        let next = hand_over(&fixture.app, &fleet, &leaving, Client::of(&caller)).await.unwrap();
        assert!(next.ticket.contains(next.node_id.as_str()), "a ticket is for its node");
        taken.push(next.node_id);
    }
    // The view of the fleet is as old as the drain: what was handed over counts at once.
    for other in ["n2", "n3"] {
        assert_eq!(taken.iter().filter(|id| **id == node(other)).count(), 4, "{taken:?}");
    }
    // It may still be reported: the client was given this node.
    let first = caller("u0");
    let reported = fixture.app.nodes.report(&taken[0], &first.workspace_id, &first.user_id);
    reported.await.unwrap();
    let fleet = fixture.app.nodes.fleet().await.unwrap();
    let reports = fleet.iter().find(|one| one.lease.node_id == taken[0]).unwrap().reports.len();
    assert_eq!(reports, 1);
}

#[tokio::test]
async fn g7_nobody_is_handed_over_to_the_leaving_node_or_to_one_that_refuses_the_ticket() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    let fleet = fixture.app.nodes.fleet().await.unwrap();
    assert!(hand_over(&fixture.app, &fleet, &node("n1"), Client::of(&caller("a"))).await.is_none());
    fixture.node("n2", 0).await;
    let mut fleet = fixture.app.nodes.fleet().await.unwrap();
    for one in &mut fleet {
        one.clock_ahead_ms = 60_000;
    }
    // The balancer has no better node then; this client has a socket.
    assert!(hand_over(&fixture.app, &fleet, &node("n1"), Client::of(&caller("a"))).await.is_none());
}

#[tokio::test]
async fn g8_a_renewal_is_for_the_same_node_unless_that_has_no_lease() {
    let fixture = Fixture::new();
    fixture.node("n1", 30).await;
    fixture.node("n2", 0).await;
    let (heavy, caller) = (node("n1"), caller("alice"));
    let renewal = renew(&fixture.app, Client::of(&caller), &heavy).await.unwrap();
    assert_eq!(renewal.node.node_id, heavy, "it is not placed");
    assert!(renewal.node.ticket.contains("n1") && renewal.alternates.is_empty());
    assert_eq!(renewal.delay, Duration::ZERO);
    assert_eq!(renewal.expires_at.since(renewal.server_time), limits::TICKET_TTL);
    let fleet = fixture.app.nodes.fleet().await.unwrap();
    assert!(fleet.iter().all(|one| one.pending == 0), "nor counted");
    fixture.app.nodes.withdraw(&heavy).await.unwrap();
    fixture.clock.advance(limits::FLEET_FRESH);
    for gone in [heavy, node("n9")] {
        let moved = renew(&fixture.app, Client::of(&caller), &gone).await.unwrap();
        assert_eq!(moved.node.node_id, node("n2"));
    }
}
