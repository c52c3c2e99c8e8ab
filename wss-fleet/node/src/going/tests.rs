use std::sync::Arc;
use std::time::Duration;

use messaging::ports::Lease;
use model::limits;
use protocol::frame::ServerFrame;
use tokio::time::Instant;

use super::*;
use crate::drain;
use crate::test_hub::{Client, TestHub};

async fn other_node(fixture: &TestHub) {
    let lease = Lease {
        node_id: "N2".parse().unwrap(),
        url: "ws://n2/socket".to_owned(),
        connections: 0,
        handshakes_per_second: 2_000,
        draining: false,
        clock: None,
        ticket_keys: Vec::new(),
    };
    fixture.hub.ports.nodes.renew(&lease).await.unwrap();
}

/// Drains the node; returns how long that took.
fn drained(fixture: &TestHub) -> tokio::task::JoinHandle<Duration> {
    let hub = Arc::clone(&fixture.hub);
    tokio::spawn(async move {
        let begun = Instant::now();
        drain::run(&hub).await;
        begun.elapsed()
    })
}

fn moves(fixture: &TestHub, outcome: Move) -> u64 {
    fixture.hub.metrics.moves(outcome)
}

#[tokio::test(start_paused = true)]
async fn who_handles_going_gets_a_ticket_for_another_node_and_keeps_the_socket_meanwhile() {
    let fixture = TestHub::start();
    other_node(&fixture).await;
    let mut alice = Client::attach(&fixture, &["going"]).await;
    let mut as_today = Client::attach(&fixture, &["message"]).await;
    let begun = Instant::now();
    let drained = drained(&fixture);
    let Some(ServerFrame::Going(going)) = alice.frame().await else { panic!("no going") };
    assert_eq!((going.node_id.as_str(), going.url.as_str()), ("N2", "ws://n2/socket"));
    assert_eq!(going.by, limits::GOING_WAIT);
    let ticket = fixture.hub.ports.tickets.read(&going.ticket).unwrap();
    assert_eq!(ticket.node_id, going.node_id);
    let now = fixture.hub.now();
    assert_eq!(ticket.principal.user_id.as_str(), "alice");
    assert_eq!(ticket.principal.expires_at, now.plus(Duration::from_secs(60)), "its token's");
    assert_eq!(ticket.check_times(now, false), Ok(()));
    assert_eq!(as_today.frame().await, None, "closed at once");
    assert!(begun.elapsed() < Duration::from_secs(1));
    // She does not go.
    assert_eq!(alice.frame().await, None);
    assert!(begun.elapsed() >= limits::GOING_WAIT);
    drained.await.unwrap();
    assert_eq!((moves(&fixture, Move::Late), moves(&fixture, Move::NotTaken)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_over_when_everybody_has_moved() {
    let fixture = TestHub::start();
    other_node(&fixture).await;
    let mut alice = Client::attach(&fixture, &["going"]).await;
    let drained = drained(&fixture);
    assert!(matches!(alice.frame().await, Some(ServerFrame::Going(_))));
    alice.closes().await;
    let took = drained.await.unwrap();
    assert!(took < limits::GOING_WAIT, "{took:?}");
    assert_eq!((moves(&fixture, Move::Moved), moves(&fixture, Move::Late)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn without_another_node_a_drain_closes_at_once() {
    let fixture = TestHub::start();
    let mut alice = Client::attach(&fixture, &["going"]).await;
    let drained = drained(&fixture);
    assert_eq!(alice.frame().await, None);
    let took = drained.await.unwrap();
    assert!(took < limits::GOING_WAIT, "{took:?}");
    assert_eq!(moves(&fixture, Move::NoNode), 1);
}
