//! The WebSocket node: clients connect to it directly; it follows their workspaces and pushes.
//!
//! **Main path of a publication.**
//! 1. `workspace::Task` receives it from its subscription and passes it to [`delivery::Workspace`].
//! 2. The resulting effect has one frame and its audience; `fanout::Shards::offer` hands both to
//!    the shards that own the sockets.
//! 3. `shard::Shard` queues the frame on each socket and writes everything queued in one call.
//!
//! **Main path of a socket.** `accept` answers the upgrade, `driver` reads the `hello` and checks
//! its ticket, `workspace::Task` attaches it, and `driver` goes on reading until it ends.
//!
//! **Invariants.** One task decides for a workspace and never writes to a socket; one shard writes
//! to a socket and never decides. Every queue is bounded; nothing waits for a client.
//!
//! **Not here.** Decisions about chain, membership or replay (`delivery`), Redis, AWS.

mod accept;
mod admin;
mod asks;
mod delivery_stats;
mod dns_readiness;
mod drain;
mod driver;
mod early_data;
mod ecs_metadata;
mod fanout;
mod fleet_watch;
mod frames;
mod going;
mod health;
mod health_check;
mod heartbeat;
mod http_get;
mod hub;
pub mod inbound;
mod known_channels;
mod listener;
mod meetings;
mod metered_io;
mod metrics;
mod pace;
mod presence;
mod read_queue;
mod reads;
mod reported;
mod shard;
mod signals;
mod store;
#[cfg(test)]
mod test_hub;
mod tls;
mod upgrade;
mod workspace;
mod workspaces;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use messaging::Ports;
use model::{NodeId, limits};
use service::certificate::Certificate;
use service::config::host_of;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use accept::Door;
use dns_readiness::DnsReadiness;
use hub::{Hub, Shown};
use listener::listen;

pub use accept::Stream;
pub use ecs_metadata::task_id;
pub use health_check::health;
pub use http_get::GetError;

/// How a node listens.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address for sockets; port 0 picks a free port.
    pub listen: SocketAddr,
    /// The address for `/metrics`, if any; port 0 picks a free port.
    pub admin: Option<SocketAddr>,
    /// The URL for clients; `ws://<listen>/socket` if absent.
    pub url: Option<String>,
    /// Whether the URL's name is created in DNS only when the node starts. Then the node registers
    /// once it resolves.
    pub awaits_name: bool,
    /// The certificate for TLS; plain `ws://` without one.
    pub certificate: Option<Certificate>,
    /// Browser origins that may connect; requests without an `Origin` always may.
    pub allowed_origins: Vec<String>,
    /// Handshakes accepted per second; more are answered 503. The balancer spreads a lost node's
    /// clients accordingly.
    pub handshakes_per_second: u32,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or not an address of this host.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A node that listens but is not registered yet.
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
        let refused = |address| move |source| StartError::Listen { address, source };
        let listener = listen(config.listen).map_err(refused(config.listen))?;
        let address = listener.local_addr().map_err(refused(config.listen))?;
        let admin = config.admin.map(|admin| listen(admin).map_err(refused(admin))).transpose()?;
        let url = config.url.unwrap_or_else(|| format!("ws://{address}{}", upgrade::PATH));
        let awaited = if config.awaits_name { host_of(&url) } else { None };
        let dns = awaited.map(DnsReadiness::new);
        let tls = config.certificate.as_ref().map(Certificate::server_config);
        let certificate_ends_at = config.certificate.as_ref().map(Certificate::not_after);
        // One writer shard per core.
        let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let shown = Shown { url, dns, certificate_ends_at };
        let (origins, rate) = (config.allowed_origins, config.handshakes_per_second);
        let mut tasks = JoinSet::new();
        let hub = Arc::new(Hub::new(ports, shown, origins, rate, shards, &mut tasks));
        Ok(Self { hub, door: Door::Tcp(listener, tls), admin, tasks })
    }

    /// A node that does not listen, but serves the byte streams that it receives: from another
    /// transport, or in a simulation. `shards` fixes the number of writer shards, so that it
    /// behaves the same on every machine.
    #[must_use]
    pub fn handed(
        url: String,
        ports: Ports,
        shards: usize,
        streams: mpsc::Receiver<Box<dyn Stream>>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let rate = limits::HANDSHAKES_PER_SECOND_MAX;
        let shown = Shown { url, dns: None, certificate_ends_at: None };
        let hub = Arc::new(Hub::new(ports, shown, Vec::new(), rate, shards, &mut tasks));
        Self { hub, door: Door::Handed(streams), admin: None, tasks }
    }

    /// This start's id.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.hub.node_id
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.hub.shown.url
    }

    /// The address that serves `/metrics`, if any.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until `shutdown` resolves, then drains: leaves the directory, hands its clients over to
    /// other nodes, closes every socket with 1012 in random order, and returns when they are gone or
    /// the grace period is over.
    ///
    /// # Cancel safety
    /// Dropping the future ends every socket at once, without a close frame.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()> + Send + 'static) {
        let hub = Arc::clone(&self.hub);
        let _stop = StopOnDrop(Arc::clone(&hub));
        tracing::info!(node = %hub.node_id, url = hub.shown.url, "serving");
        self.tasks.spawn(heartbeat::run(Arc::clone(&hub)));
        self.tasks.spawn(fleet_watch::run(Arc::clone(&hub)));
        self.tasks.spawn(known_channels::run(Arc::clone(&hub)));
        if !hub.ports.health_checks.is_empty() {
            let hub = Arc::clone(&hub);
            self.tasks.spawn(async move { hub.health.run(&hub.ports.health_checks).await });
        }
        if let Some(admin) = self.admin.take() {
            self.tasks.spawn(admin::run(admin, Arc::clone(&hub)));
        }
        // A task of its own: connections start on the thread that accepts them, and this future may
        // be polled by a thread that is not one of the runtime's workers.
        let mut accepting = JoinSet::new();
        accepting.spawn(accept::run(self.door, Arc::clone(&hub)));
        let left = async {
            shutdown.await;
            // Still accepting: new clients get 503 and go to another node.
            drain::run(&hub).await;
        };
        tokio::select! {
            biased;
            () = left => {}
            // The accept task ends only by a panic.
            Some(Err(defect)) = accepting.join_next() => {
                if let Ok(panic) = defect.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        tracing::info!(node = %hub.node_id, "stopped");
    }
}

/// Breaks the cycle on drop: workspaces' tasks hold the hub, and the hub holds the tasks.
struct StopOnDrop(Arc<Hub>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
