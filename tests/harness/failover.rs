//! A Redis primary and its replica, for failover tests.

use std::time::Duration;

use crate::proxy::tcp::{Fault, Flow, TcpProxy};
use crate::redis::{Flavor, RedisServer};
use crate::{SOON, eventually};

/// Two real servers. The replica replicates through a proxy, so that a test can keep it from ever
/// getting writes that the primary has acknowledged.
#[derive(Debug)]
pub struct RedisPair {
    /// The primary before the failover.
    pub old: RedisServer,
    /// The replica, which becomes the primary.
    pub new: RedisServer,
    between: TcpProxy,
}

impl RedisPair {
    /// Starts both and waits until they are in step.
    ///
    /// # Panics
    /// If they are not in step soon.
    pub async fn start() -> Self {
        let (old, new) = (RedisServer::start(Flavor::Redis), RedisServer::start(Flavor::Redis));
        let between = TcpProxy::start(old.port()).await;
        // By default the primary waits five seconds for more replicas before it starts.
        old.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = between.port().to_string();
        assert_eq!(new.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
        eventually("the replica is in step", SOON, async || {
            old.command(&["INFO", "replication"]).contains("state=online")
        })
        .await;
        Self { old, new, between }
    }

    /// Stops replication. The primary still counts the replica as connected.
    pub fn stop_replication(&self) {
        self.between.set(Fault { down: Flow::Hold, ..Fault::NONE });
    }

    /// Waits until the replica has all of the primary's current data.
    ///
    /// # Panics
    /// If it does not have it soon.
    pub async fn in_step(&self) {
        let offset = |server: &RedisServer| {
            let info = server.command(&["INFO", "replication"]);
            let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            line.map(|offset| offset.trim().to_owned())
        };
        eventually("the replica is in step", SOON, async || offset(&self.old) == offset(&self.new))
            .await;
    }

    /// Promotes the replica with the data that it has, and cuts it off from the old primary.
    ///
    /// # Panics
    /// If it refuses.
    pub async fn promote(&self) {
        // Held bytes must not pass before the connection ends.
        self.between.set(Fault { down: Flow::Hold, ..Fault::REFUSE });
        self.between.reset_all();
        assert_eq!(self.new.command(&["REPLICAOF", "NO", "ONE"]), "OK");
        eventually("it takes writes", Duration::from_secs(5), async || {
            self.new.command(&["SET", "ink:promoted", "", "PX", "1000"]) == "OK"
        })
        .await;
    }

    /// Makes the old primary a replica of the new one, as an operator does once it is up again. Its
    /// subscribers are not notified.
    ///
    /// # Panics
    /// If it refuses.
    pub fn demote_old(&self) {
        let port = self.new.port().to_string();
        assert_eq!(self.old.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    }

    /// The number of entries in a workspace's stream, on the old server and on the new one.
    #[must_use]
    pub fn entries(&self, workspace: &str) -> (usize, usize) {
        let key = format!("ink:{{{workspace}}}:stream");
        let length =
            |server: &RedisServer| server.command(&["XLEN", &key]).parse().unwrap_or_default();
        (length(&self.old), length(&self.new))
    }
}
