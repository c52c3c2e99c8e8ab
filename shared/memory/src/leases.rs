//! The in-process node directory.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{Clock, DirectoryError, FleetNode, Lease, NodeDirectory, Report};
use model::{NodeId, Timestamp, UserId, WorkspaceId, limits};
use parking_lot::{Mutex, MutexGuard};

/// A directory that takes its time from a clock. Clones share one directory.
///
/// Like the one on Redis, it does not judge health: an expired lease that is still remembered can
/// be reserved, and the caller chooses the candidates.
#[derive(Debug, Clone)]
pub struct MemoryDirectory {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeId, Node>,
    unavailable: bool,
}

impl State {
    /// Keeps only the newest reports of all nodes together.
    fn forget_reports(&mut self) {
        let all = self.nodes.values().flat_map(|node| node.reports.values().copied());
        let mut times: Vec<Timestamp> = all.collect();
        let Some(over) = times.len().checked_sub(limits::REPORTS_MAX + 1) else { return };
        times.sort_unstable();
        let Some(newest_over) = times.get(over).copied() else { return };
        let mut left = over + 1;
        for node in self.nodes.values_mut() {
            node.reports.retain(|_, at| {
                let goes = left > 0 && *at <= newest_over;
                left -= usize::from(goes);
                !goes
            });
        }
    }
}

#[derive(Debug)]
struct Node {
    lease: Lease,
    renewed_at: Timestamp,
    pending_until: Vec<Timestamp>,
    reports: BTreeMap<(WorkspaceId, UserId), Timestamp>,
    given: BTreeMap<(WorkspaceId, UserId), Timestamp>,
}

impl MemoryDirectory {
    /// Creates an empty directory that takes its time from `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Makes every call fail while `unavailable` is set.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.state.lock().unavailable = unavailable;
    }

    /// Returns the state after removing what has expired.
    fn current(&self) -> Result<(MutexGuard<'_, State>, Timestamp), DirectoryError> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.unavailable {
            return Err(DirectoryError("scripted".into()));
        }
        state.nodes.retain(|_, node| now.since(node.renewed_at) <= limits::LEASE_MEMORY);
        for node in state.nodes.values_mut() {
            node.pending_until.retain(|until| *until > now);
            node.given.retain(|_, at| now.since(*at) <= limits::GIVEN_MEMORY);
            node.reports.retain(|_, at| now.since(*at) <= limits::REPORT_WINDOW + limits::DEMOTION);
        }
        Ok((state, now))
    }
}

#[async_trait]
impl NodeDirectory for MemoryDirectory {
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError> {
        let (mut state, now) = self.current()?;
        let node = state.nodes.entry(lease.node_id.clone()).or_insert_with(|| Node {
            lease: lease.clone(),
            renewed_at: now,
            pending_until: Vec::new(),
            reports: BTreeMap::new(),
            given: BTreeMap::new(),
        });
        node.lease = lease.clone();
        node.renewed_at = now;
        Ok(now)
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError> {
        self.current()?.0.nodes.remove(node);
        Ok(())
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        let (state, now) = self.current()?;
        Ok(state.nodes.values().map(|node| node.seen_at(now)).collect())
    }

    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        let (mut state, now) = self.current()?;
        for candidate in candidates {
            if let Some(node) = state.nodes.get_mut(candidate) {
                node.given.insert((workspace.clone(), user.clone()), now);
                keep_newest(&mut node.given, limits::GIVEN_PER_NODE_MAX, |_| true);
            }
        }
        // `min_by_key` returns the first of equals, as the port requires.
        let lightest = candidates
            .iter()
            .filter_map(|id| Some((id, state.nodes.get(id)?.load())))
            .min_by_key(|(_, load)| *load)
            .map(|(id, _)| id.clone());
        let Some(taken) = lightest else { return Ok(None) };
        if let Some(node) = state.nodes.get_mut(&taken) {
            node.pending_until.push(now.plus(ttl));
        }
        Ok(Some(taken))
    }

    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError> {
        let (mut state, now) = self.current()?;
        let who = (workspace.clone(), reporter.clone());
        if let Some(node) = state.nodes.get_mut(node).filter(|node| node.given.contains_key(&who)) {
            node.reports.insert(who, now);
            let of_one = |of: &WorkspaceId| of == workspace;
            keep_newest(&mut node.reports, limits::REPORTS_PER_WORKSPACE_MAX, of_one);
        }
        state.forget_reports();
        Ok(())
    }
}

impl Node {
    fn load(&self) -> u64 {
        u64::from(self.lease.connections) + self.pending_until.len() as u64
    }

    fn seen_at(&self, now: Timestamp) -> FleetNode {
        let report = |((workspace, user), at): (&(WorkspaceId, UserId), &Timestamp)| Report {
            workspace_id: workspace.clone(),
            user_id: user.clone(),
            age: now.since(*at),
        };
        let mut reports: Vec<Report> = self.reports.iter().map(report).collect();
        reports.sort_by_key(|report| Reverse(report.age));
        let ahead = |clock: Timestamp| clock.ms_after(self.renewed_at);
        FleetNode {
            lease: self.lease.clone(),
            age: now.since(self.renewed_at),
            clock_ahead_ms: self.lease.clock.map_or(0, ahead),
            pending: u32::try_from(self.pending_until.len()).unwrap_or(u32::MAX),
            reports,
        }
    }
}

/// Drops the oldest entries of the workspaces that `is_meant` selects, beyond `most`.
fn keep_newest(
    noted: &mut BTreeMap<(WorkspaceId, UserId), Timestamp>,
    most: usize,
    is_meant: impl Fn(&WorkspaceId) -> bool,
) {
    let meant = noted.iter().filter(|((workspace, _), _)| is_meant(workspace));
    let mut by_time: Vec<_> = meant.map(|(who, at)| (*at, who.clone())).collect();
    let Some(over) = by_time.len().checked_sub(most).filter(|over| *over > 0) else { return };
    by_time.sort_unstable();
    for (_, who) in by_time.into_iter().take(over) {
        noted.remove(&who);
    }
}
