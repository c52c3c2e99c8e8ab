//! The WebSocket node: clients reach it directly, it follows their workspaces and pushes.
//!
//! **Main path of a publication.**
//! 1. `workspace::Task` takes it from its subscription and asks [`session::Workspace`] what to do.
//! 2. The effect names one frame and its audience; `fanout::Shards::offer` hands both to the
//!    shards that own the sockets.
//! 3. `shard::Shard` queues the frame on each socket and writes everything queued in one call.
//!
//! **Main path of a socket.** `accept` answers the upgrade, `driver` reads the `hello` and checks
//! its ticket, `workspace::Task` attaches it, and `driver` goes on reading until it ends.
//!
//! **Invariants.** One task decides for a workspace and never writes to a socket; one shard writes
//! to a socket and never decides. Every queue is bounded; nothing waits for a client.
//!
//! **Not here.** No decision about chain, membership or replay (`session`), no Redis, no AWS.

mod accept;
mod admin;
mod ask;
mod drain;
mod driver;
mod fanout;
mod frames;
mod head;
mod health;
mod heartbeat;
mod hub;
pub mod inbound;
mod jobs;
mod metrics;
mod name;
mod pace;
mod reads;
mod reported;
mod shard;
mod store;
mod tls;
mod upgrade;
mod watch;
mod wire;
mod workspace;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use messaging::Ports;
use model::{NodeId, limits};
use runtime::certificate::Certificate;
use runtime::config::host_of;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use accept::Door;
use hub::{Hub, Shown};
use name::OwnName;

pub use accept::Stream;
pub use ask::{AskError, health, task_id};

/// How a node listens.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where sockets are accepted; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` is answered, if anywhere; port 0 takes a free one.
    pub admin: Option<SocketAddr>,
    /// What clients are told; `ws://<listen>/socket` if absent.
    pub url: Option<String>,
    /// Whether somebody writes the URL's name down only now: the node tells nobody of itself until
    /// that resolves.
    pub awaits_name: bool,
    /// What is shown over TLS; plain without it.
    pub certificate: Option<Certificate>,
    /// Browser origins that may connect; requests without an `Origin` always may.
    pub allowed_origins: Vec<String>,
    /// Handshakes a second; more are answered 503. The balancer sizes the ramp of a lost node's
    /// clients by it.
    pub handshakes_per_second: u32,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A node that listens and has not told anybody yet.
#[derive(Debug)]
pub struct Node {
    hub: Arc<Hub>,
    door: Door,
    admin: Option<TcpListener>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Binds the node's addresses and mints its id: a new one at every start (G7).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn bind(config: Config, ports: Ports) -> Result<Self, StartError> {
        let listener = listen(config.listen)?;
        let refused = |source| StartError::Listen { address: config.listen, source };
        let address = listener.local_addr().map_err(refused)?;
        let admin = config.admin.map(listen).transpose()?;
        let url = config.url.unwrap_or_else(|| format!("ws://{address}{}", upgrade::PATH));
        let awaited = if config.awaits_name { host_of(&url) } else { None };
        let own_name = awaited.map(OwnName::new);
        let tls = config.certificate.as_ref().map(Certificate::server_config);
        let certificate_ends_at = config.certificate.as_ref().map(Certificate::not_after);
        let mut tasks = JoinSet::new();
        let shards = fanout::Shards::a_core(&mut tasks, Arc::clone(&ports.clock));
        let hub = Arc::new(Hub::new(
            ports,
            Shown { url, own_name, certificate_ends_at },
            config.allowed_origins,
            config.handshakes_per_second,
            shards,
        ));
        Ok(Self { hub, door: Door::Tcp(listener, tls), admin, tasks })
    }

    /// A node that listens nowhere and takes the byte streams that are handed to it: behind another
    /// transport, or in a simulation. It has as many writer shards as it is told, so that it does
    /// the same on every machine.
    #[must_use]
    pub fn handed(
        url: String,
        ports: Ports,
        shards: usize,
        streams: mpsc::Receiver<Box<dyn Stream>>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let shards = fanout::Shards::start(&mut tasks, shards, Arc::clone(&ports.clock));
        let rate = limits::HANDSHAKES_PER_SECOND_MAX;
        let shown = Shown { url, own_name: None, certificate_ends_at: None };
        let hub = Arc::new(Hub::new(ports, shown, Vec::new(), rate, shards));
        Self { hub, door: Door::Handed(streams), admin: None, tasks }
    }

    /// This start's id.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.hub.node_id
    }

    /// Where clients are sent.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.hub.shown.url
    }

    /// Where it answers `/metrics`, if anywhere.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until `shutdown` resolves, then drains: leaves the directory, closes every socket
    /// with 1012 in random order, and returns when they are gone or the grace period is over.
    ///
    /// # Cancel safety
    /// Dropping the future ends every socket at once, without goodbye.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let hub = Arc::clone(&self.hub);
        let _stop = StopOnDrop(Arc::clone(&hub));
        tracing::info!(node = %hub.node_id, url = hub.shown.url, "serving");
        self.tasks.spawn(heartbeat::run(Arc::clone(&hub)));
        if !hub.ports.checkups.is_empty() {
            self.tasks.spawn(health::run(Arc::clone(&hub)));
        }
        if let Some(admin) = self.admin.take() {
            self.tasks.spawn(admin::run(admin, Arc::clone(&hub)));
        }
        // A task of its own: connections start where they are accepted, and this future may be polled
        // by a thread that is none of the runtime's workers.
        let mut accepting = JoinSet::new();
        accepting.spawn(accept::run(self.door, Arc::clone(&hub)));
        let left = async {
            shutdown.await;
            // Still accepting: who comes now is told to go elsewhere.
            drain::run(&hub).await;
        };
        tokio::select! {
            biased;
            () = left => {}
            // It ends by a defect only.
            Some(Err(defect)) = accepting.join_next() => {
                if let Ok(panic) = defect.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        tracing::info!(node = %hub.node_id, "stopped");
    }
}

/// Workspaces' tasks hold the hub, and the hub holds them: somebody has to let go first.
struct StopOnDrop(Arc<Hub>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // A frame is one write: waiting for more would only delay it. Accepted sockets inherit it.
        socket.set_nodelay(true)?;
        // So is this: the kernel would keep a client that vanished for a quarter of an hour.
        SockRef::from(&socket).set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED_MAX))?;
        socket.bind(address)?;
        socket.listen(limits::LISTEN_BACKLOG)
    };
    bind().map_err(|source| StartError::Listen { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_wait_for_no_second_write_and_not_for_clients_that_vanished() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        assert!(!client.unwrap().nodelay().unwrap(), "not the system's default");
        let accepted = accepted.unwrap().0;
        assert!(accepted.nodelay().unwrap());
        let unacknowledged = SockRef::from(&accepted).tcp_user_timeout().unwrap();
        assert_eq!(unacknowledged, Some(limits::UNACKNOWLEDGED_MAX));
    }
}
