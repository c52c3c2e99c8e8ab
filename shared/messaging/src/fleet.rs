//! How the connection balancer chooses: pure functions over the directory's data, and the last view
//! of the fleet that an environment keeps (G7).

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use model::{NodeId, Timestamp, WorkspaceId, chain, limits};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::outage::Outage;
use crate::ports::{DirectoryError, FleetNode, NodeDirectory, Report};

/// Returns the nodes for a client of a workspace, best first. The balancer compares the first two.
///
/// - Only nodes with a healthy lease. Those that several users reported are left out.
/// - Nodes that would refuse our tickets are left out, unless all would: they do not know
///   `ticket_key`, the secret that signs here, or their clock is wrong.
/// - Each workspace has its own order (rendezvous hashing), so that its clients meet on few nodes.
///   Nodes over 125 % of the mean load follow, lightest first (hashing with bounded loads).
/// - The node that this client just failed at comes after all others; it may be the only one.
#[must_use]
pub fn candidates(
    workspace: &WorkspaceId,
    fleet: &[FleetNode],
    failed: Option<&NodeId>,
    ticket_key: Option<&str>,
) -> Vec<NodeId> {
    let mut healthy: Vec<&FleetNode> = fleet.iter().filter(|node| is_healthy(node)).collect();
    if healthy.iter().any(|node| takes_our_tickets(node, ticket_key)) {
        healthy.retain(|node| takes_our_tickets(node, ticket_key));
    }
    let demoted = demoted(workspace, &healthy);
    healthy.retain(|node| !demoted.contains(&node.lease.node_id));
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

/// Whether a node may take clients: its lease has not expired and it is not draining.
#[must_use]
pub fn is_healthy(node: &FleetNode) -> bool {
    node.age < limits::LEASE_TTL && !node.lease.draining
}

/// Whether a node would accept our tickets, as far as its lease shows.
#[must_use]
pub fn takes_our_tickets(node: &FleetNode, ticket_key: Option<&str>) -> bool {
    let skew = Duration::from_millis(node.clock_ahead_ms.unsigned_abs());
    let keys = &node.lease.ticket_keys;
    let knows_key = |key: &str| keys.is_empty() || keys.iter().any(|known| known == key);
    skew <= limits::CLOCK_SKEW_MAX && ticket_key.is_none_or(knows_key)
}

/// How long to spread a lost node's clients: its sockets divided by the handshakes per second that
/// the rest of the fleet accepts.
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

/// Nodes that three voters could not reach within ten seconds; they get no clients for thirty. At
/// most a tenth of the fleet (at least one), never its last node, so that reports are no weapon.
fn demoted(workspace: &WorkspaceId, healthy: &[&FleetNode]) -> HashSet<NodeId> {
    let most = (healthy.len() / 10).max(1).min(healthy.len().saturating_sub(1));
    let voters = |node: &FleetNode| most_voters(node, workspace);
    let mut reported: Vec<(usize, &NodeId)> = healthy
        .iter()
        .map(|node| (voters(node), &node.lease.node_id))
        .filter(|(voters, _)| *voters >= limits::REPORTERS_MIN)
        .collect();
    reported.sort_by(|one, other| other.cmp(one));
    reported.into_iter().take(most).map(|(_, id)| id.clone()).collect()
}

/// Counts the voters in each window of ten seconds that ended within the last thirty, and returns
/// the most. Each user of `workspace` is one voter, and each other workspace is one, however many
/// of its users reported: one workspace alone demotes a node only for itself.
fn most_voters(node: &FleetNode, workspace: &WorkspaceId) -> usize {
    let voters_until = |last: &Report| {
        let window = last.age..=last.age.saturating_add(limits::REPORT_WINDOW);
        let reports = node.reports.iter().filter(|report| window.contains(&report.age));
        let voter = |report: &Report| {
            let is_own = report.workspace_id == *workspace;
            (report.workspace_id.clone(), is_own.then(|| report.user_id.clone()))
        };
        reports.map(voter).collect::<HashSet<_>>().len()
    };
    let recent = node.reports.iter().filter(|report| report.age < limits::DEMOTION);
    recent.map(voters_until).max().unwrap_or(0)
}

fn load(node: &FleetNode) -> u64 {
    u64::from(node.lease.connections) + u64::from(node.pending)
}

/// Hashes with fixed keys: all environments of one build agree, and affinity needs no more.
fn rank(workspace: &WorkspaceId, node: &NodeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (workspace.as_str(), node.as_str()).hash(&mut hasher);
    hasher.finish()
}

/// The last view of the fleet that this environment read. It is fresh for half a second, and used
/// for thirty seconds while the directory is down.
#[derive(Debug, Default)]
pub struct FleetView {
    last: Mutex<Option<(Timestamp, Vec<FleetNode>)>>,
    silence: Outage,
    differing: Outage,
}

impl FleetView {
    /// Returns the last view if it is fresh and `refresh` is false; else reads the fleet.
    ///
    /// # Errors
    /// [`DirectoryError`] if the directory does not answer and the last view is too old.
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
                *self.last.lock() = Some((now, fleet.clone()));
                Ok(fleet)
            }
            Err(error) => self.younger_than(limits::FLEET_STALE_MAX, now).ok_or(error),
        }
    }

    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Vec<FleetNode>> {
        let view = self.last.lock();
        view.as_ref().filter(|(at, _)| now.since(*at) < age).map(|(_, fleet)| fleet.clone())
    }

    /// Logs a failed call to the directory, unless one was logged lately.
    pub(crate) fn log_silence(&self, error: &DirectoryError, what: &'static str) {
        if let Some(failing) = self.silence.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            warn!(failures, lasting_ms, cause = chain(error), "{what}");
        }
    }

    /// Logs that the directory answers again, if its outage was logged.
    pub(crate) fn log_answer(&self) {
        if let Some(over) = self.silence.succeeded(Instant::now()) {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            info!(failures, lasted_ms, "the node directory answers again");
        }
    }

    /// Logs which healthy nodes would refuse our tickets, unless it was logged lately.
    pub(crate) fn log_differing(&self, fleet: &[FleetNode], ticket_key: Option<&str>) {
        let differs = |node: &&FleetNode| is_healthy(node) && !takes_our_tickets(node, ticket_key);
        let Some(node) = fleet.iter().find(differs) else {
            if let Some(over) = self.differing.succeeded(Instant::now()) {
                info!(lasted_ms = over.lasted_ms(), "all nodes would take our tickets again");
            }
            return;
        };
        if self.differing.failed(Instant::now()).is_some() {
            let nodes = fleet.iter().filter(differs).count();
            let (node, clock_ahead_ms) = (&node.lease.node_id, node.clock_ahead_ms);
            warn!(
                nodes, first = %node, clock_ahead_ms,
                "nodes get no clients: their clock is wrong, or they lack our ticket secret"
            );
        }
    }
}

#[cfg(test)]
mod tests;
