//! Draining: leave the directory first, then close the sockets in random order, within the grace
//! period and without any precondition (G7).

use std::time::Duration;

use delivery::SocketId;
use model::{chain, limits};
use protocol::close::CloseCode;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::presence;

/// Drains the node; returns when every socket is gone, or the grace period is over.
pub(crate) async fn run(hub: &Hub) {
    let deadline = Instant::now() + limits::DRAIN_MAX;
    hub.start_draining();
    withdraw(hub).await;
    let sockets = shuffled(hub);
    tracing::info!(node = %hub.node_id, sockets = sockets.len(), "draining");
    close_all(hub, &sockets, deadline).await;
    while hub.socket_count() > 0 && Instant::now() < deadline {
        tokio::time::sleep(STEP).await;
    }
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

/// Closes sockets at the rate at which the fleet accepts handshakes, or faster if that would take
/// more than half of the grace period.
async fn close_all(hub: &Hub, sockets: &[SocketId], deadline: Instant) {
    let rate = limits::HANDSHAKES_PER_SECOND_MAX;
    let most = deadline.saturating_duration_since(Instant::now()) / 2;
    let wanted = Duration::from_secs(1) * u32::try_from(sockets.len()).unwrap_or(u32::MAX) / rate;
    let steps = (most.min(wanted).as_millis() / STEP.as_millis()).max(1);
    let a_step = sockets.len().div_ceil(usize::try_from(steps).unwrap_or(1)).max(1);
    for batch in sockets.chunks(a_step) {
        for socket in batch {
            hub.shards.close(*socket, CloseCode::Restart, None).await;
        }
        if batch.len() == a_step && sockets.len() > a_step {
            tokio::time::sleep(STEP).await;
        }
    }
}

/// In random order, so that sockets that were opened together do not reconnect together.
fn shuffled(hub: &Hub) -> Vec<SocketId> {
    let mut keyed: Vec<(u128, SocketId)> =
        hub.sockets().into_iter().map(|socket| (hub.ports.randomness.bits(), socket)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, socket)| socket).collect()
}

/// The time between two batches of closes, and between two checks whether all are gone.
const STEP: Duration = Duration::from_millis(20);
