//! The node's lease: renewed every two seconds with its load (G7).

use std::sync::Arc;

use messaging::outage::Outage;
use messaging::ports::Lease;
use model::{Timestamp, chain, limits};
use tokio::time::{Instant, MissedTickBehavior};

use crate::drain;
use crate::hub::Hub;

/// Renews the lease for ever, once the node can serve and its name resolves, so that no client is
/// sent to a node that cannot serve it. When the certificate expires, clients refuse it: the node
/// leaves the directory, and its sockets stay.
pub(crate) async fn run(hub: Arc<Hub>) {
    hub.health.well().await;
    if let Some(dns) = &hub.shown.dns
        && !dns.wait().await
    {
        return;
    }
    let mut is_over = false;
    let outage = Outage::default();
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
                tracing::error!(node = %hub.node_id, "TLS certificate expired; lease withdrawn");
                drain::withdraw(&hub).await;
            }
            continue;
        }
        renew(&hub, &outage).await;
    }
}

async fn renew(hub: &Hub, outage: &Outage) {
    let before = hub.now();
    let lease = lease(hub, before);
    let renewed = tokio::time::timeout(limits::LEASE_RENEW, hub.ports.nodes.renew(&lease)).await;
    let failure = match renewed {
        Ok(Ok(directory)) => {
            hub.health.record_clock(ahead_ms(before, hub.now(), directory));
            if let Some(over) = outage.succeeded(Instant::now()) {
                let (failures, lasted_ms) = (over.failures, over.lasted_ms());
                tracing::info!(node = %hub.node_id, failures, lasted_ms, "the lease is renewed again");
            }
            return;
        }
        Ok(Err(error)) => chain(&error),
        Err(_) => "timed out".to_owned(),
    };
    hub.metrics.heartbeats_missed.inc();
    hub.health.doubt();
    if let Some(failing) = outage.failed(Instant::now()) {
        let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
        let node = &hub.node_id;
        tracing::warn!(%node, failures, lasting_ms, cause = failure, "the lease was not renewed");
    }
}

fn lease(hub: &Hub, now: Timestamp) -> Lease {
    let ticket_keys = hub.ports.tickets.key_ids().iter().take(limits::LEASE_TICKET_KEYS_MAX);
    Lease {
        node_id: hub.node_id.clone(),
        url: hub.shown.url.clone(),
        connections: u32::try_from(hub.socket_count()).unwrap_or(u32::MAX),
        handshakes_per_second: hub.handshakes_per_second,
        draining: false,
        clock: Some(now),
        ticket_keys: ticket_keys.cloned().collect(),
    }
}

/// How far this clock is ahead of another one, which was read between two moments of this one. The
/// time that the call itself took does not count as a difference.
fn ahead_ms(before: Timestamp, after: Timestamp, other: Timestamp) -> i64 {
    if other < before {
        before.ms_after(other)
    } else if other > after {
        after.ms_after(other)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_difference_of_clocks() {
        let at = Timestamp::from_unix_ms;
        for (other, ahead) in [(999, 1), (1_000, 0), (1_900, 0), (2_000, 0), (2_300, -300)] {
            assert_eq!(ahead_ms(at(1_000), at(2_000), at(other)), ahead, "{other}");
        }
    }
}
