//! A primary and its replica, and what happens between them when the primary is lost.

use std::time::Duration;

use crate::proxy::tcp::{Fault, Flow, TcpProxy};
use crate::redis::{Flavor, RedisServer};
use crate::{SOON, eventually};

/// Two real servers. The replica follows through a proxy, so that it can fall behind and never get
/// what its primary acknowledged to everybody else.
#[derive(Debug)]
pub struct Pair {
    /// The primary of the beginning.
    pub old: RedisServer,
    /// Its replica, and the primary of the end.
    pub new: RedisServer,
    between: TcpProxy,
}

impl Pair {
    /// Starts both and waits until they are in step.
    ///
    /// # Panics
    /// If they are not soon.
    pub async fn start() -> Self {
        let (old, new) = (RedisServer::start(Flavor::Redis), RedisServer::start(Flavor::Redis));
        let between = TcpProxy::start(old.port()).await;
        // Else the primary waits five seconds for more replicas before it begins.
        old.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = between.port().to_string();
        assert_eq!(new.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
        eventually("the replica is in step", SOON, async || {
            old.command(&["INFO", "replication"]).contains("state=online")
        })
        .await;
        Self { old, new, between }
    }

    /// From here on the replica gets nothing, and the primary still counts it as its replica.
    pub fn stop_replication(&self) {
        self.between.set(Fault { down: Flow::Hold, ..Fault::NONE });
    }

    /// The replica gets what it missed.
    pub fn resume_replication(&self) {
        self.between.set(Fault::NONE);
    }

    /// Waits until the replica has what the primary has now.
    ///
    /// # Panics
    /// If it has not soon.
    pub async fn in_step(&self) {
        let offset = |server: &RedisServer| {
            let info = server.command(&["INFO", "replication"]);
            let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            line.map(|offset| offset.trim().to_owned())
        };
        eventually("the replica is in step", SOON, async || offset(&self.old) == offset(&self.new))
            .await;
    }

    /// Makes the replica a primary of what it has, and nothing more comes from the old one.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn promote(&self) {
        // What is held must not slip through before the connection ends.
        self.between.set(Fault { down: Flow::Hold, ..Fault::REFUSE });
        self.between.reset_all();
        assert_eq!(self.new.command(&["REPLICAOF", "NO", "ONE"]), "OK");
        eventually("it takes writes", Duration::from_secs(5), async || {
            self.new.command(&["SET", "ink:promoted", "", "PX", "1000"]) == "OK"
        })
        .await;
    }

    /// Makes the old primary a replica of the new one: what an operator does once it is back. Its
    /// subscribers are not told.
    ///
    /// # Panics
    /// If it refuses.
    pub fn demote_old(&self) {
        let port = self.new.port().to_string();
        assert_eq!(self.old.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    }

    /// Entries of a workspace's stream on each: old and new.
    #[must_use]
    pub fn entries(&self, workspace: &str) -> (usize, usize) {
        let key = format!("ink:{{{workspace}}}:stream");
        let length =
            |server: &RedisServer| server.command(&["XLEN", &key]).parse().unwrap_or_default();
        (length(&self.old), length(&self.new))
    }
}
