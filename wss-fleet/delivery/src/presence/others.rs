//! What this node knows of the users of other nodes. A node is one unit: it is read whole, its numbers
//! show what was missed, and it vanishes whole.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::{NodeId, Presence, Timestamp, UserId, limits};
use protocol::presence::{Announcement, NodePresence};

use super::{Fleet, PresenceEffect, UserPresence, is_over};
use crate::numbers::RepairId;

/// The users of the other nodes. Methods return the users whose presence may have changed.
#[derive(Debug, Default)]
pub(crate) struct Others {
    nodes: BTreeMap<NodeId, Node>,
    /// Pushes arrive. Without them nobody is declared gone.
    is_linked: bool,
    /// Somebody here views users.
    is_followed: bool,
    /// The users of all nodes were read since then.
    is_read: bool,
    /// The last read of all nodes, and whether it is under way.
    read: RepairId,
    is_reading: bool,
}

/// Another node.
#[derive(Debug, Default)]
struct Node {
    /// The last announcement that `users` contains.
    number: u64,
    users: HashMap<UserId, Presence>,
    /// The greatest number that was heard of, and what it was when the last read began.
    heard: u64,
    heard_before_read: u64,
    heard_at: Timestamp,
    is_reading: bool,
    read_at: Option<Timestamp>,
    /// When its users vanish, since its lease ended.
    ends_at: Option<Timestamp>,
    /// Since when the book lacks it: it has no users any more, or the book was lost.
    absent_since: Option<Timestamp>,
}

impl Others {
    /// Whether what is known is complete: else nobody is told that a user is offline.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether pushes arrive, and nothing is being read again: only then somebody may be gone.
    pub(crate) fn is_current(&self) -> bool {
        self.is_linked && !self.is_reading
    }

    /// Begins to follow the other nodes, or ceases to.
    pub(crate) fn follow(&mut self, is_wanted: bool) -> Option<PresenceEffect> {
        if is_wanted == self.is_followed {
            return None;
        }
        (self.is_followed, self.is_read, self.is_reading) = (is_wanted, false, false);
        self.nodes.clear();
        self.read_all()
    }

    /// Pushes arrive from now on; some were missed.
    pub(crate) fn on_linked(&mut self) -> Option<PresenceEffect> {
        self.is_linked = true;
        for node in self.nodes.values_mut() {
            // Judge anew: leases were not renewed while Redis was away.
            (node.ends_at, node.absent_since) = (None, None);
        }
        self.read_all()
    }

    pub(crate) fn on_lost(&mut self) {
        self.is_linked = false;
    }

    fn read_all(&mut self) -> Option<PresenceEffect> {
        if !self.is_followed || !self.is_linked {
            return None;
        }
        (self.is_reading, self.read) = (true, self.read.next());
        Some(PresenceEffect::ReadAll(self.read))
    }

    /// A node announced something.
    pub(crate) fn on_signal(
        &mut self,
        id: &NodeId,
        news: &Announcement,
        now: Timestamp,
    ) -> Vec<UserId> {
        if !self.is_followed {
            return Vec::new();
        }
        let room = self.room();
        let node = self.nodes.entry(id.clone()).or_default();
        node.heard_at = now;
        let is_next = node.number > 0 && news.number == node.number + 1;
        node.heard = node.heard.max(news.number);
        if !is_next {
            return Vec::new();
        }
        node.number = news.number;
        node.apply(&news.users, room)
    }

    /// All nodes that have users here were read.
    pub(crate) fn on_read_all(
        &mut self,
        id: RepairId,
        found: Vec<(NodeId, NodePresence)>,
        now: Timestamp,
    ) -> Vec<UserId> {
        if !self.is_reading || id != self.read {
            return Vec::new();
        }
        (self.is_reading, self.is_read) = (false, true);
        for (id, node) in &mut self.nodes {
            if !found.iter().any(|(found, _)| found == id) {
                node.is_absent(now);
            }
        }
        let mut changed = Vec::new();
        for (id, presence) in found {
            let room = self.room();
            let node = self.nodes.entry(id).or_default();
            node.heard_at = now;
            changed.append(&mut node.replace(presence, room));
        }
        changed
    }

    /// A node was read.
    pub(crate) fn on_read_node(
        &mut self,
        id: &NodeId,
        found: Option<NodePresence>,
        now: Timestamp,
    ) -> Vec<UserId> {
        let room = self.room();
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.is_reading) else {
            return Vec::new();
        };
        node.is_reading = false;
        match found {
            Some(presence) => node.replace(presence, room),
            None => {
                node.is_absent(now);
                if node.heard == node.heard_before_read {
                    node.heard = 0;
                }
                Vec::new()
            }
        }
    }

    /// The nodes that are to be read again now.
    pub(crate) fn due_reads(&mut self, now: Timestamp) -> Vec<PresenceEffect> {
        if !self.is_current() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (id, node) in &mut self.nodes {
            let is_silent = is_over(node.heard_at, limits::PRESENCE_SILENT, now);
            let may_read =
                node.read_at.is_none_or(|at| is_over(at, limits::PRESENCE_READ_EVERY, now));
            if (node.has_hole() || is_silent) && may_read && !node.is_reading {
                (node.is_reading, node.read_at, node.heard_at) = (true, Some(now), now);
                node.heard_before_read = node.heard;
                due.push(PresenceEffect::ReadNode(id.clone()));
            }
        }
        due
    }

    /// The node directory was read.
    pub(crate) fn on_fleet(&mut self, fleet: &Fleet, now: Timestamp) {
        if self.is_current() {
            for (id, node) in &mut self.nodes {
                if let Some(expired) = fleet.get(id) {
                    node.end(*expired, now);
                }
            }
        }
    }

    /// Drops the nodes whose time is over.
    pub(crate) fn gone(&mut self, now: Timestamp) -> Vec<UserId> {
        if !self.is_current() {
            return Vec::new();
        }
        let is_past = |at: Timestamp| now >= at || at.since(now) > limits::OFFLINE_GRACE;
        let mut gone = Vec::new();
        self.nodes.retain(|_, node| {
            let is_absent =
                node.absent_since.is_some_and(|since| is_over(since, limits::OFFLINE_GRACE, now));
            let is_kept = !is_absent && !node.ends_at.is_some_and(is_past);
            if !is_kept {
                gone.extend(node.users.drain().map(|(user, _)| user));
            }
            is_kept
        });
        gone
    }

    /// Whether a user is on one of these nodes.
    pub(crate) fn presence_of(&self, user: &UserId) -> Presence {
        let on = self.nodes.values().filter_map(|node| node.users.get(user));
        on.max().copied().unwrap_or_default()
    }

    /// How many more users may be known.
    fn room(&self) -> usize {
        let known: usize = self.nodes.values().map(|node| node.users.len()).sum();
        limits::PRESENCE_KNOWN_MAX.saturating_sub(known)
    }

    pub(super) fn is_waiting(&self) -> bool {
        let waits = |node: &Node| {
            node.ends_at.is_some()
                || node.absent_since.is_some()
                || (node.has_hole() && !node.is_reading)
        };
        self.is_current() && self.nodes.values().any(waits)
    }
}

impl Node {
    fn has_hole(&self) -> bool {
        self.heard > self.number
    }

    /// The book lacks it. Its users stay for a while: it may write them again.
    fn is_absent(&mut self, now: Timestamp) {
        self.number = 0;
        self.absent_since.get_or_insert(now);
    }

    /// Applies changes. Users for whom there is no room are left out.
    fn apply(&mut self, users: &[UserPresence], room: usize) -> Vec<UserId> {
        let most = self.users.len() + room;
        for (user, presence) in users {
            if *presence == Presence::Offline {
                self.users.remove(user);
            } else if self.users.len() < most || self.users.contains_key(user) {
                self.users.insert(user.clone(), *presence);
            }
        }
        users.iter().map(|(user, _)| user.clone()).collect()
    }

    /// Replaces all users by what was read, unless a later announcement came meanwhile.
    fn replace(&mut self, found: NodePresence, room: usize) -> Vec<UserId> {
        self.absent_since = None;
        if found.number < self.number {
            return Vec::new();
        }
        let most = self.users.len() + room;
        let before = std::mem::take(&mut self.users);
        self.number = found.number;
        self.users = found.users.into_iter().take(most).collect();
        let all = before.keys().chain(self.users.keys().filter(|user| !before.contains_key(*user)));
        let is_new = |user: &&UserId| before.get(*user) != self.users.get(*user);
        all.filter(is_new).cloned().collect()
    }

    /// Sets when its users vanish, if its lease has expired.
    fn end(&mut self, expired: Option<Duration>, now: Timestamp) {
        let left = |ago| limits::OFFLINE_GRACE.saturating_sub(ago);
        self.ends_at = expired.map(|ago| {
            let ends_at = now.plus(left(ago));
            self.ends_at.map_or(ends_at, |known| known.min(ends_at))
        });
    }
}
