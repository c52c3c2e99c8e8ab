//! The faults of the servers and of their connections.

use super::*;

impl Redis {
    /// Makes the server that the name leads to misbehave.
    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        let mut state = self.lock();
        state.trouble = trouble;
        if trouble != Trouble::PushesHang {
            let due = Instant::now() + LATENCY;
            for connection in state.connections.values_mut() {
                for pushed in std::mem::take(&mut connection.held) {
                    connection.push(due, pushed);
                }
            }
        }
    }

    /// Loses the pushes of the next `count` publications.
    pub(crate) fn drop_pushes(&self, count: u64) {
        self.lock().pushes_to_drop = count;
    }

    /// Sets the servers' clocks back by `ms`. With 0, they are right again.
    pub(crate) fn set_clocks_back(&self, ms: i64) {
        for server in &self.lock().servers {
            server.clock.set_off_by(-ms);
        }
    }

    /// Stops replication. What is written from now on is lost with the primary.
    pub(crate) fn stall_replication(&self, is_stalled: bool) {
        let mut state = self.lock();
        state.settle();
        let now = Instant::now();
        for server in state.servers.iter_mut().filter(|server| server.follows.is_some()) {
            server.is_stalled = is_stalled;
            // What was on its way arrives one lag later at the earliest.
            for (at, ..) in &mut server.incoming {
                *at = (*at).max(now + server.lag);
            }
        }
    }

    /// Promotes the replica with the data that it has, and moves the name to it. With `isolates`,
    /// the old primary stays up for its clients and accepts writes, and is not notified. Without,
    /// it restarts and its connections break.
    pub(crate) fn fail_over(&self, isolates: bool) {
        let mut state = self.lock();
        state.settle();
        let old = state.named;
        let Some(new) = state.servers.iter().position(|server| server.follows == Some(old)) else {
            return;
        };
        if let Some(server) = state.servers.get_mut(new) {
            server.incoming.clear();
            (server.is_primary, server.follows, server.is_stalled) = (true, None, false);
        }
        state.begin_history(new);
        state.named = new;
        if !isolates {
            state.restart(old);
        }
    }

    /// Makes the old primary a replica of the new one, by a full copy. Its clients stay connected
    /// and do not notice.
    pub(crate) fn demote_others(&self) {
        let mut state = self.lock();
        state.settle();
        let named = state.named;
        let Some(source) = state.servers.get(named) else { return };
        let (keys, written) = (source.keys.clone(), source.written);
        let history = source.history.clone();
        let mut lost = BTreeSet::new();
        for (index, server) in state.servers.iter_mut().enumerate() {
            if index != named && server.follows.is_none() {
                lost.extend(server.keys.waiting().map(str::to_owned));
                server.keys = keys.clone();
                server.history.clone_from(&history);
                (server.is_primary, server.follows) = (false, Some(named));
                server.received = written;
                server.incoming.clear();
            }
        }
        lost.retain(|publication| keys.waiting().all(|kept| kept != publication));
        state.lost.extend(lost);
    }

    /// Empties the primary and its replica. With `restarts`, the primary also loses its scripts,
    /// and its connections break.
    pub(crate) fn flush(&self, restarts: bool) {
        let mut state = self.lock();
        let named = state.named;
        state.settle();
        let waiting = state.servers.get(named).map(|server| &server.keys);
        let waiting = waiting.into_iter().flat_map(Keys::waiting).map(str::to_owned);
        let waiting: Vec<String> = waiting.collect();
        state.lost.extend(waiting);
        state.run_on_keys(named, &Command::Flush, None);
        if restarts {
            state.restart(named);
        }
    }

    /// Breaks all connections, or only those of subscribers.
    pub(crate) fn break_connections(&self, subscribers_only: bool) {
        self.lock().break_all(|connection| !subscribers_only || connection.pushes.is_some());
    }

    /// Makes the connections of one process, or of all, half open for good. New connections work.
    pub(crate) fn hole_connections(&self, owner: Option<u32>, subscribers_only: bool) {
        for connection in self.lock().connections.values_mut() {
            let concerned = owner.is_none_or(|owner| owner == connection.owner)
                && (!subscribers_only || connection.pushes.is_some());
            if concerned && connection.path == Path::Open {
                connection.path = Path::Holed;
            }
        }
    }

    /// Unsubscribes every connection from its topics, as Redis does when a slot moves.
    pub(crate) fn unsubscribe_all(&self) {
        let mut state = self.lock();
        let due = Instant::now() + LATENCY;
        for connection in state.connections.values_mut() {
            for topic in std::mem::take(&mut connection.topics) {
                connection.push(due, unsubscribed(&topic));
            }
        }
    }

    /// Planted bug 21: sessions go on, whichever server counts.
    pub(crate) fn ignore_histories(&self) {
        for server in &mut self.lock().servers {
            server.keys.ignore_histories();
        }
    }

    /// Planted bug 6: answers `OK` to markers without writing them.
    pub(crate) fn ignore_markers(&self) {
        self.lock().ignores_markers = true;
    }
}

impl State {
    fn begin_history(&mut self, index: usize) {
        let history = format!("history{}", self.histories);
        self.histories += 1;
        if let Some(server) = self.servers.get_mut(index) {
            server.history = history;
        }
    }

    fn restart(&mut self, index: usize) {
        self.begin_history(index);
        if let Some(server) = self.servers.get_mut(index) {
            server.scripts.clear();
        }
        self.break_all(|connection| connection.server == index);
    }
}
