//! The in-process book of presence: a part of the bus, and lost with its flush.

use std::collections::BTreeMap;

use async_trait::async_trait;
use messaging::ports::{Announcement, BusError, NodePresence, PresenceBook};
use model::{NodeId, Presence, Timestamp, UserId, WorkspaceId, limits};

use crate::bus::{MemoryBus, unavailable};

/// The parts of all nodes, by workspace.
#[derive(Debug, Default)]
pub(crate) struct Book {
    parts: BTreeMap<(WorkspaceId, NodeId), Part>,
    pub(crate) is_unavailable: bool,
}

#[derive(Debug)]
struct Part {
    number: u64,
    users: BTreeMap<UserId, Presence>,
    until: Timestamp,
}

impl Book {
    pub(crate) fn flush(&mut self, workspace: &WorkspaceId) {
        self.parts.retain(|(of, _), _| of != workspace);
    }

    fn announce(&mut self, of: (WorkspaceId, NodeId), news: &Announcement, now: Timestamp) -> bool {
        let last = self.parts.get(&of).map(|part| part.number);
        if last == Some(news.number) {
            return true;
        }
        let is_next = last == news.number.checked_sub(1);
        let is_newer = last.is_none_or(|last| last < news.number);
        if !(if news.is_whole { is_newer } else { is_next && last.is_some() }) {
            return false;
        }
        let mut users = self.parts.remove(&of).map_or_else(BTreeMap::new, |part| part.users);
        if news.is_whole {
            users.clear();
        }
        for (user, presence) in &news.users {
            match presence {
                Presence::Offline => users.remove(user),
                Presence::Idle | Presence::Active => users.insert(user.clone(), *presence),
            };
        }
        if !users.is_empty() {
            let until = now.plus(limits::PRESENCE_TTL);
            self.parts.insert(of, Part { number: news.number, users, until });
        }
        true
    }
}

impl MemoryBus {
    /// Makes every call to the book of presence fail while `unavailable` is set.
    pub fn set_presence_unavailable(&self, unavailable: bool) {
        self.state.lock().book.is_unavailable = unavailable;
    }

    /// Calls the book, after removing what has expired.
    fn book<T>(&self, call: impl FnOnce(&mut Book, Timestamp) -> T) -> Result<T, BusError> {
        let now = self.now();
        let book = &mut self.state.lock().book;
        if book.is_unavailable {
            return Err(unavailable());
        }
        book.parts.retain(|_, part| part.until > now);
        Ok(call(book, now))
    }
}

#[async_trait]
impl PresenceBook for MemoryBus {
    async fn announce(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        announcement: &Announcement,
    ) -> Result<bool, BusError> {
        let of = (workspace.clone(), node.clone());
        self.book(|book, now| book.announce(of, announcement, now))
    }

    async fn renew(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        number: u64,
    ) -> Result<bool, BusError> {
        self.book(|book, now| {
            let part = book.parts.get_mut(&(workspace.clone(), node.clone()));
            let part = part.filter(|part| part.number == number);
            part.map(|part| part.until = now.plus(limits::PRESENCE_TTL)).is_some()
        })
    }

    async fn nodes(&self, workspace: &WorkspaceId) -> Result<Vec<NodeId>, BusError> {
        self.book(|book, _| {
            let of = book.parts.keys().filter(|(of, _)| of == workspace);
            of.map(|(_, node)| node.clone()).collect()
        })
    }

    async fn present(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
    ) -> Result<Option<NodePresence>, BusError> {
        self.book(|book, _| {
            let part = book.parts.get(&(workspace.clone(), node.clone()))?;
            let users = part.users.iter().map(|(user, presence)| (user.clone(), *presence));
            Some(NodePresence { number: part.number, users: users.collect() })
        })
    }
}
