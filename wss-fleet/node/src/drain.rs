//! Draining: leave the directory first, then let the sockets go in random order, within the grace
//! period and without any precondition (G7). Clients that can are handed over to other nodes before
//! their socket is closed.

use std::sync::Arc;
use std::time::Duration;

use delivery::SocketId;
use model::{chain, limits};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::going::HandOver;
use crate::hub::Hub;
use crate::{known_channels, presence};

/// Drains the node; returns when every socket is gone, or the grace period is over.
pub(crate) async fn run(hub: &Arc<Hub>) {
    let deadline = Instant::now() + limits::DRAIN_MAX;
    hub.start_draining();
    withdraw(hub).await;
    let hand_over = Arc::new(HandOver::of(hub).await);
    let sockets = shuffled(hub);
    tracing::info!(node = %hub.node_id, sockets = sockets.len(), "draining");
    let mut leaving = let_all_go(hub, &hand_over, &sockets, deadline).await;
    let left = async { while leaving.join_next().await.is_some() {} };
    let _timed_out = tokio::time::timeout_at(deadline, left).await.is_err();
    while hub.socket_count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(STEP).await;
    }
    known_channels::look_once_more(hub).await;
    // Again: a renewal that was under way may have arrived after the first withdrawal.
    withdraw(hub).await;
    presence::withdraw(hub).await;
}

/// Withdraws the node's lease from the directory.
pub(crate) async fn withdraw(hub: &Hub) {
    let withdrawn = hub.ports.nodes.withdraw(&hub.node_id);
    match tokio::time::timeout(limits::LEASE_RENEW, withdrawn).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(cause = %chain(&error), "the lease was not withdrawn"),
        Err(_) => tracing::warn!("the lease was not withdrawn in time"),
    }
}

/// Lets sockets go at the rate at which one node accepts handshakes, so that none is stormed; or
/// faster if that would take more than half of the grace period.
async fn let_all_go(
    hub: &Arc<Hub>,
    hand_over: &Arc<HandOver>,
    sockets: &[SocketId],
    deadline: Instant,
) -> JoinSet<()> {
    let rate = limits::HANDSHAKES_PER_SECOND_MAX;
    let most = deadline.saturating_duration_since(Instant::now()) / 2;
    let wanted = Duration::from_secs(1) * u32::try_from(sockets.len()).unwrap_or(u32::MAX) / rate;
    let steps = (most.min(wanted).as_millis() / STEP.as_millis()).max(1);
    let a_step = sockets.len().div_ceil(usize::try_from(steps).unwrap_or(1)).max(1);
    let mut leaving = JoinSet::new();
    for batch in sockets.chunks(a_step) {
        let (hub, hand_over, batch) = (Arc::clone(hub), Arc::clone(hand_over), batch.to_vec());
        let is_full = batch.len() == a_step && sockets.len() > a_step;
        leaving.spawn(async move { hand_over.let_go(&hub, &batch).await });
        if is_full {
            tokio::time::sleep(STEP).await;
        }
    }
    leaving
}

/// In random order, so that sockets that were opened together do not reconnect together.
fn shuffled(hub: &Hub) -> Vec<SocketId> {
    let mut keyed: Vec<(u128, SocketId)> =
        hub.sockets().into_iter().map(|socket| (hub.ports.randomness.bits(), socket)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, socket)| socket).collect()
}

/// The time between two batches, and between two checks whether all are gone.
const STEP: Duration = Duration::from_millis(20);
