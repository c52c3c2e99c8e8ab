//! Reads the node directory for the workspaces that follow who is present: leases are the one heartbeat
//! of the fleet (G16).

use std::sync::Arc;

use delivery::{Fleet, Input, PresenceInput};
use messaging::ports::FleetNode;
use model::limits;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::hub::Hub;

/// The last reading. Workspaces that follow it have a receiver; without one nothing is read.
#[derive(Debug)]
pub(crate) struct FleetWatch(watch::Sender<Option<Arc<Fleet>>>);

/// A workspace's end.
pub(crate) type FleetFollower = watch::Receiver<Option<Arc<Fleet>>>;

impl Default for FleetWatch {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl FleetWatch {
    pub(crate) fn follow(&self) -> FleetFollower {
        self.0.subscribe()
    }
}

/// The next reading; pending for ever without a follower.
pub(crate) async fn next(follower: &mut Option<FleetFollower>) -> Input {
    let Some(follower) = follower else { return std::future::pending().await };
    loop {
        if follower.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(fleet) = follower.borrow_and_update().clone() {
            return Input::Presence(PresenceInput::Fleet(fleet));
        }
    }
}

/// Reads the directory every two seconds while somebody follows it.
///
/// After an outage of Redis every lease is old. So a reading is passed on only if the directory has
/// answered for as long as a lease lasts.
pub(crate) async fn run(hub: Arc<Hub>) {
    let mut answers_since: Option<Instant> = None;
    let mut turns = tokio::time::interval(limits::LEASE_RENEW);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        if hub.fleet.0.receiver_count() == 0 {
            answers_since = None;
            continue;
        }
        let read = tokio::time::timeout(limits::LEASE_RENEW, hub.ports.nodes.fleet()).await;
        let Ok(Ok(nodes)) = read else {
            answers_since = None;
            continue;
        };
        let since = answers_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= limits::LEASE_TTL {
            hub.fleet.0.send_replace(Some(Arc::new(leases(&nodes))));
        }
    }
}

/// How long ago each node's lease expired, if it did.
pub(crate) fn leases(nodes: &[FleetNode]) -> Fleet {
    let expired = |node: &FleetNode| node.age.checked_sub(limits::LEASE_TTL);
    nodes.iter().map(|node| (node.lease.node_id.clone(), expired(node))).collect()
}
