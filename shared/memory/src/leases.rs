//! The node directory in process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{Clock, DirectoryError, FleetNode, Lease, NodeDirectory};
use model::{NodeId, Timestamp, UserId, limits};

/// A directory that lives by a clock. Clones share one directory.
///
/// Like the one on Redis it judges nothing: a dead lease that is still remembered can be reserved;
/// who asks names the candidates.
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
    /// Keeps the newest reports of all nodes together.
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
    reports: BTreeMap<UserId, Timestamp>,
}

impl MemoryDirectory {
    /// Makes an empty directory that lives by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Lets every call fail, until it is set back.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; a poisoned one is as good as new.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, without what has lapsed.
    fn current(&self) -> Result<(MutexGuard<'_, State>, Timestamp), DirectoryError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.unavailable {
            return Err(DirectoryError("scripted".into()));
        }
        state.nodes.retain(|_, node| now.since(node.renewed_at) <= limits::LEASE_MEMORY);
        for node in state.nodes.values_mut() {
            node.pending_until.retain(|until| *until > now);
            node.reports.retain(|_, at| now.since(*at) <= limits::REPORT_WINDOW + limits::DEMOTION);
        }
        Ok((state, now))
    }
}

#[async_trait]
impl NodeDirectory for MemoryDirectory {
    async fn renew(&self, lease: &Lease) -> Result<(), DirectoryError> {
        let (mut state, now) = self.current()?;
        let node = state.nodes.entry(lease.node_id.clone()).or_insert_with(|| Node {
            lease: lease.clone(),
            renewed_at: now,
            pending_until: Vec::new(),
            reports: BTreeMap::new(),
        });
        node.lease = lease.clone();
        node.renewed_at = now;
        Ok(())
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
    ) -> Result<Option<NodeId>, DirectoryError> {
        let (mut state, now) = self.current()?;
        // `min_by_key` takes the first of equals, as the port wants it.
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

    async fn report(&self, node: &NodeId, reporter: &UserId) -> Result<(), DirectoryError> {
        let (mut state, now) = self.current()?;
        if let Some(node) = state.nodes.get_mut(node) {
            node.reports.insert(reporter.clone(), now);
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
        let mut reports: Vec<(UserId, Duration)> =
            self.reports.iter().map(|(user, at)| (user.clone(), now.since(*at))).collect();
        reports.sort_by_key(|(_, age)| Reverse(*age));
        FleetNode {
            lease: self.lease.clone(),
            age: now.since(self.renewed_at),
            pending: u32::try_from(self.pending_until.len()).unwrap_or(u32::MAX),
            reports,
        }
    }
}
