//! The connection balancer's choice: pure functions over what the directory knows, and the last
//! view that an environment keeps (G7).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{NodeId, Timestamp, WorkspaceId, limits};

use crate::ports::{DirectoryError, FleetNode, NodeDirectory};

/// Which nodes may take a client of a workspace, best first; the balancer compares the first two.
///
/// Only healthy leases; the node that this client just failed at comes last, since it may be the
/// only one; reported nodes are demoted. The order is the workspace's own (rendezvous hashing), so
/// that its clients meet on few nodes, as long as those carry no more than 125 % of the mean
/// (consistent hashing with bounded loads); the overloaded follow, lightest first.
#[must_use]
pub fn candidates(
    workspace: &WorkspaceId,
    fleet: &[FleetNode],
    failed: Option<&NodeId>,
) -> Vec<NodeId> {
    let demoted = demoted(fleet);
    let mut healthy: Vec<&FleetNode> = fleet
        .iter()
        .filter(|node| is_healthy(node) && !demoted.contains(&node.lease.node_id))
        .collect();
    let total: u64 = healthy.iter().map(|node| load(node)).sum();
    let mean = total.div_ceil(healthy.len().max(1) as u64);
    let bound = (mean * limits::AFFINITY_LOAD_PERCENT / 100).max(limits::AFFINITY_LOAD_FREE);
    healthy.sort_by_key(|node| {
        let is_over = load(node) >= bound;
        let weight = if is_over { load(node) } else { 0 };
        let is_failed = failed == Some(&node.lease.node_id);
        (is_failed, is_over, weight, rank(workspace, &node.lease.node_id))
    });
    healthy.iter().map(|node| node.lease.node_id.clone()).collect()
}

/// Whether a node may take clients: its lease lives and it does not leave.
#[must_use]
pub fn is_healthy(node: &FleetNode) -> bool {
    node.age < limits::LEASE_TTL && !node.lease.draining
}

/// How long the clients of a lost node are spread: its sockets over the handshakes that the rest
/// of the fleet takes.
#[must_use]
pub fn ramp(fleet: &[FleetNode], failed: &NodeId) -> Duration {
    let lost = fleet.iter().find(|node| node.lease.node_id == *failed);
    let lost = lost.map_or(0, |node| u64::from(node.lease.connections));
    let rate: u64 = fleet
        .iter()
        .filter(|node| is_healthy(node) && node.lease.node_id != *failed)
        .map(|node| u64::from(node.lease.handshakes_per_second))
        .sum();
    Duration::from_millis(lost.saturating_mul(1_000) / rate.max(1)).min(limits::DELAY_MAX)
}

/// Nodes that three people could not reach within ten seconds get nobody for thirty: at most a
/// tenth of the fleet (but one), never the last, so that reports cannot be used as an attack.
fn demoted(fleet: &[FleetNode]) -> HashSet<NodeId> {
    let healthy: Vec<&FleetNode> = fleet.iter().filter(|node| is_healthy(node)).collect();
    let most = (healthy.len() / 10).max(1).min(healthy.len().saturating_sub(1));
    let mut reported: Vec<(usize, &NodeId)> = healthy
        .iter()
        .filter(|node| is_reported(node))
        .map(|node| (node.reports.len(), &node.lease.node_id))
        .collect();
    reported.sort_by(|one, other| other.cmp(one));
    reported.into_iter().take(most).map(|(_, id)| id.clone()).collect()
}

fn is_reported(node: &FleetNode) -> bool {
    // Each report is one user's last. Some window of ten seconds that ended within the last thirty
    // holds three of them.
    let mut ages: Vec<Duration> = node.reports.iter().map(|(_, age)| *age).collect();
    ages.sort_unstable();
    ages.windows(limits::REPORTERS_MIN).any(|window| match (window.first(), window.last()) {
        (Some(last), Some(first)) => {
            *last < limits::DEMOTION && first.saturating_sub(*last) <= limits::REPORT_WINDOW
        }
        _ => false,
    })
}

fn load(node: &FleetNode) -> u64 {
    u64::from(node.lease.connections) + u64::from(node.pending)
}

/// Fixed keys: all environments of one build agree, which is all that affinity needs.
fn rank(workspace: &WorkspaceId, node: &NodeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (workspace.as_str(), node.as_str()).hash(&mut hasher);
    hasher.finish()
}

/// The last view of the fleet that this environment read: fresh for half a second, and good for
/// thirty when the directory is gone.
#[derive(Debug, Default)]
pub struct FleetView(Mutex<Option<(Timestamp, Vec<FleetNode>)>>);

impl FleetView {
    /// The fleet, from the last view where that is fresh enough and `refresh` is not asked for.
    ///
    /// # Errors
    /// [`DirectoryError`] if the directory is gone and the last view is too old.
    pub async fn read(
        &self,
        directory: &dyn NodeDirectory,
        now: Timestamp,
        refresh: bool,
    ) -> Result<Vec<FleetNode>, DirectoryError> {
        if !refresh && let Some(fleet) = self.younger_than(limits::FLEET_FRESH, now) {
            return Ok(fleet);
        }
        match directory.fleet().await {
            Ok(fleet) => {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, fleet.clone()));
                Ok(fleet)
            }
            Err(error) => self.younger_than(limits::FLEET_STALE_MAX, now).ok_or(error),
        }
    }

    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Vec<FleetNode>> {
        let view = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        view.as_ref().filter(|(at, _)| now.since(*at) < age).map(|(_, fleet)| fleet.clone())
    }
}

#[cfg(test)]
mod tests;
