//! The node's lease: renewed every two seconds with its load (G7).

use std::sync::Arc;

use messaging::ports::Lease;
use messaging::publisher::chain;
use model::limits;
use tokio::time::MissedTickBehavior;

use crate::drain;
use crate::hub::Hub;

/// Renews for ever, once clients can find the node. With a certificate that is over no client can
/// take it: it leaves the directory, and who is on it stays.
pub(crate) async fn run(hub: Arc<Hub>) {
    if let Some(name) = &hub.shown.own_name
        && !name.wait().await
    {
        return;
    }
    let mut is_over = false;
    let mut renewals = tokio::time::interval(limits::LEASE_RENEW);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        renewals.tick().await;
        if hub.is_draining() {
            return;
        }
        if hub.is_certificate_over() {
            if !is_over {
                is_over = true;
                tracing::error!(node = %hub.node_id, "the certificate is over: no new clients");
                drain::withdraw(&hub).await;
            }
            continue;
        }
        let lease = Lease {
            node_id: hub.node_id.clone(),
            url: hub.shown.url.clone(),
            connections: u32::try_from(hub.socket_count()).unwrap_or(u32::MAX),
            handshakes_per_second: hub.handshakes_per_second,
            draining: false,
        };
        let renewed =
            tokio::time::timeout(limits::LEASE_RENEW, hub.parts.nodes.renew(&lease)).await;
        let failure = match renewed {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => chain(&error),
            Err(_) => "timed out".to_owned(),
        };
        hub.metrics.heartbeats_missed.inc();
        tracing::warn!(node = %hub.node_id, cause = failure, "the lease was not renewed");
    }
}
