//! Who is present (G16): what this node announces, what it knows of other nodes, and what its viewers
//! are told.
//!
//! A user is announced when their first socket attaches, and withdrawn `OFFLINE_GRACE` after
//! their last one ended, so that whoever reconnects costs nothing and never flickers. Other nodes are
//! followed only while somebody here views users.

mod announcing;
mod others;
mod watches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{NodeId, Presence, Timestamp, UserId};
use protocol::presence::{Announcement, NodePresence};

pub(crate) use announcing::Announcing;
pub(crate) use others::Others;
pub(crate) use watches::{Told, Watches};

use crate::numbers::RepairId;

/// An event for the presence of a workspace's users.
#[derive(Debug)]
pub enum PresenceInput {
    /// The answer to [`PresenceEffect::Announce`] or [`PresenceEffect::Renew`].
    Announced {
        /// The number in the effect.
        number: u64,
        /// What became of it.
        outcome: Announced,
    },
    /// The answer to [`PresenceEffect::ReadAll`].
    ReadAll {
        /// The read that this answers; an answer to an older one is ignored.
        id: RepairId,
        /// The nodes that have users here.
        nodes: Vec<(NodeId, NodePresence)>,
        /// The node directory, read after that.
        fleet: Fleet,
    },
    /// The answer to [`PresenceEffect::ReadNode`]; `None` if the book has none of its users.
    ReadNode {
        /// The node.
        node: NodeId,
        /// Its users.
        found: Option<NodePresence>,
    },
    /// The node directory was read, and answered for at least [`model::limits::LEASE_TTL`].
    Fleet(Arc<Fleet>),
}

/// The nodes of the directory, and how long ago each one's lease expired, if it did. A node that is not
/// among them withdrew: it drains, or its certificate expired. Its users stay until it says otherwise,
/// or falls silent.
pub type Fleet = BTreeMap<NodeId, Option<Duration>>;

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The book has it.
    Written,
    /// The book lacks what came before: it was lost.
    Lacking,
    /// It may have been written or not.
    Failed,
}

/// An action for the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceEffect {
    /// Write this to the book of presence; then, if it was written, push it to the other nodes, a whole
    /// one without its users.
    Announce(Announcement),
    /// Confirm in the book that this node is at this number, and push the number to the other nodes.
    Renew(u64),
    /// Read the users of all other nodes that have some here. Supersedes an earlier one.
    ReadAll(RepairId),
    /// Read the users of a node.
    ReadNode(NodeId),
}

/// The presence of a workspace's users.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) own: Announcing,
    pub(crate) others: Others,
    pub(crate) watches: Watches,
}

impl Present {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { own: Announcing::new(now), others: Others::default(), watches: Watches::default() }
    }

    /// Whether time alone changes anything.
    pub(crate) fn is_waiting(&self) -> bool {
        let is_answerable = self.others.is_read() && self.watches.has_news();
        self.own.is_waiting() || self.others.is_waiting() || is_answerable
    }
}

/// Whether a time has passed since a moment. So it has if the clock was set back.
fn is_over(since: Timestamp, wait: Duration, now: Timestamp) -> bool {
    now < since || now.since(since) >= wait
}

/// A user, and whether they are there.
type UserPresence = (UserId, Presence);
