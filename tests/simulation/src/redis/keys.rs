//! What one server holds, and the writes that change it: replicas run the same ones later.

use std::collections::BTreeMap;
use std::time::Duration;

use memory::Stream;
use messaging::ports::{Entry, FleetNode, Lease, Published, Report};
use model::{EntryId, NodeId, Timestamp, UserId, WorkspaceId, limits};
use protocol::publication::Publication;

/// A write, with the primary's time: a replica does what was done, not what it would do itself.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Publish(WorkspaceId, Publication),
    Probe(u64),
    Marker,
    Flush,
    Renew(Lease),
    Withdraw(NodeId),
    /// Which was taken, for how long; which were given, and to whom.
    Assign(NodeId, Duration, Vec<NodeId>, (WorkspaceId, UserId)),
    Report(NodeId, (WorkspaceId, UserId)),
}

/// What a write has for who is subscribed.
#[derive(Debug, Clone)]
pub(crate) enum Push {
    Entry(WorkspaceId, Entry),
    Probe(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Keys {
    entries_max: usize,
    streams: BTreeMap<WorkspaceId, Stream>,
    fleet: BTreeMap<NodeId, Leased>,
}

#[derive(Debug, Clone)]
struct Leased {
    lease: Lease,
    renewed_at: Timestamp,
    pending_until: Vec<Timestamp>,
    reports: BTreeMap<(WorkspaceId, UserId), Timestamp>,
    given: BTreeMap<(WorkspaceId, UserId), Timestamp>,
}

impl Keys {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max, streams: BTreeMap::new(), fleet: BTreeMap::new() }
    }

    /// Does a write; what is to be pushed, and what a publisher is told.
    pub(crate) fn apply(&mut self, write: Write) -> (Option<Push>, Option<Published>) {
        let at = write.at;
        match write.what {
            What::Publish(workspace, publication) => {
                let entries_max = self.entries_max;
                let stream = self.streams.entry(workspace.clone());
                let stream = stream.or_insert_with(|| Stream::capped(entries_max));
                return match stream.append(&publication, at) {
                    Some(entry) => {
                        let published = Published::Appended(entry.position);
                        (Some(Push::Entry(workspace, entry)), Some(published))
                    }
                    None => (None, Some(Published::AlreadyPublished)),
                };
            }
            What::Probe(probe) => return (Some(Push::Probe(probe)), None),
            What::Marker => {}
            What::Flush => *self = Self::new(self.entries_max),
            What::Renew(lease) => self.renew(lease, at),
            What::Withdraw(node) => drop(self.fleet.remove(&node)),
            What::Assign(node, ttl, given, user) => {
                for node in &given {
                    if let Some(leased) = self.fleet.get_mut(node) {
                        leased.given.insert(user.clone(), at);
                    }
                }
                if let Some(leased) = self.fleet.get_mut(&node) {
                    leased.pending_until.push(at.plus(ttl));
                }
            }
            What::Report(node, user) => {
                let lately = |given: &Timestamp| at.since(*given) <= limits::GIVEN_MEMORY;
                if let Some(leased) = self.fleet.get_mut(&node)
                    && leased.given.get(&user).is_some_and(lately)
                {
                    leased.reports.insert(user, at);
                }
            }
        }
        (None, None)
    }

    fn renew(&mut self, lease: Lease, at: Timestamp) {
        let first = || Leased {
            lease: lease.clone(),
            renewed_at: at,
            pending_until: Vec::new(),
            reports: BTreeMap::new(),
            given: BTreeMap::new(),
        };
        let leased = self.fleet.entry(lease.node_id.clone()).or_insert_with(first);
        leased.lease = lease;
        leased.renewed_at = at;
    }

    pub(crate) fn entries(
        &mut self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Entry> {
        let stream = self.streams.get_mut(workspace);
        stream.map_or_else(Vec::new, |stream| stream.read(from, limit, now))
    }

    pub(crate) fn fleet(&mut self, now: Timestamp) -> Vec<FleetNode> {
        self.fleet.retain(|_, node| now.since(node.renewed_at) <= limits::LEASE_MEMORY);
        let seen = |node: &mut Leased| {
            node.pending_until.retain(|until| *until > now);
            node.reports.retain(|_, at| now.since(*at) <= limits::REPORT_WINDOW + limits::DEMOTION);
            FleetNode {
                lease: node.lease.clone(),
                age: now.since(node.renewed_at),
                clock_ahead_ms: node.lease.clock.map_or(0, |clock| clock.ms_after(node.renewed_at)),
                pending: u32::try_from(node.pending_until.len()).unwrap_or(u32::MAX),
                reports: node
                    .reports
                    .iter()
                    .map(|((workspace_id, user_id), at)| Report {
                        workspace_id: workspace_id.clone(),
                        user_id: user_id.clone(),
                        age: now.since(*at),
                    })
                    .collect(),
            }
        };
        self.fleet.values_mut().map(seen).collect()
    }
}
