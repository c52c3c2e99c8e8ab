//! What is on clients' screens: who gets the signals about a log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::LogId;
use protocol::client_frame::View;

use crate::audience::SocketId;

/// The views of the sockets that said something of theirs. Others cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Views {
    by_socket: HashMap<SocketId, View>,
    viewers: BTreeMap<LogId, BTreeSet<SocketId>>,
}

impl Views {
    /// Replaces a socket's view.
    pub(crate) fn set(&mut self, socket: SocketId, view: View) {
        self.remove(socket);
        for log in &view.logs {
            self.viewers.entry(log.clone()).or_default().insert(socket);
        }
        if view != View::default() {
            self.by_socket.insert(socket, view);
        }
    }

    /// Forgets a socket.
    pub(crate) fn remove(&mut self, socket: SocketId) {
        let Some(view) = self.by_socket.remove(&socket) else { return };
        for log in &view.logs {
            let Some(viewers) = self.viewers.get_mut(log) else { continue };
            viewers.remove(&socket);
            if viewers.is_empty() {
                self.viewers.remove(log);
            }
        }
    }

    /// The sockets that view a log.
    pub(crate) fn of(&self, log: &LogId) -> impl Iterator<Item = SocketId> {
        self.viewers.get(log).into_iter().flatten().copied()
    }

    /// Whether no socket views anything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_socket.is_empty() && self.viewers.is_empty()
    }

    /// Whether a socket views a log.
    pub(crate) fn is_viewed(&self, log: &LogId) -> bool {
        self.viewers.contains_key(log)
    }
}

#[cfg(test)]
mod tests {
    use model::{ChannelId, Timestamp};

    use super::*;

    #[test]
    fn a_view_replaces_the_last_one_and_ends_with_its_socket() {
        let log = |n| LogId::from(ChannelId::mint_group(Timestamp::from_unix_ms(n), 1));
        let socket = |serial| SocketId { shard: 0, serial };
        let view =
            |logs: &[u64]| View { logs: logs.iter().map(|n| log(*n)).collect(), users: vec![] };
        let mut views = Views::default();
        views.set(socket(1), view(&[1, 2]));
        views.set(socket(2), view(&[2]));
        assert_eq!(views.of(&log(2)).collect::<Vec<_>>(), [socket(1), socket(2)]);
        views.set(socket(1), view(&[3]));
        assert!(!views.is_viewed(&log(1)));
        assert_eq!(views.of(&log(2)).collect::<Vec<_>>(), [socket(2)]);
        views.set(socket(1), View::default());
        views.remove(socket(2));
        assert!(views.is_empty());
    }
}
