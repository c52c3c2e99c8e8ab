//! The stack: starts everything in order, and stops everything in order.

mod error;
mod options;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::seal::SecretSeal;
use auth::tickets::SignedTickets;
use auth::tokens::TokenConfig;
use auth::tokens::{JwtTokens, TokenSigner};
use auth::{Secret, Secrets};
use dynamo::{Capacity, ClientConfig, CredentialSource, TableNames};
use memory::{MemoryBus, MemoryDirectory};
use messaging::App;
use messaging::Ports;
use messaging::archive::Archiver;
use messaging::ports::{Cause, Principal, Scope};
use messaging::relay::Relay;
use model::{NodeId, limits};
use service::compose::redis_health_check;
use service::config::{RedisUrl, StoreConfig};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::archiving;
use crate::engine::{Engine, EngineData};
use crate::feed::{Checkpoint, Feed, FeedError, Handler};
use crate::files::LocalFiles;
use crate::gateway::Gateway;
use crate::nodes::{Fleet, NodeError, NodeHandle};
use crate::secrets;
use crate::seed;
use crate::stop::Stop;
use crate::wiring::{BusWiring, Wiring};

pub use error::StackError;
pub use options::{Bus, Data, StackOptions};

/// A running stack. Dropping it kills everything; [`Stack::stop`] shuts it down gracefully.
#[derive(Debug)]
pub struct Stack {
    address: SocketAddr,
    app: App,
    ports: Ports,
    capacity: Capacity,
    derive_capacity: Capacity,
    wiring: Arc<Wiring>,
    fleet: Arc<Fleet>,
    general: Option<String>,
    relay: Relay,
    archiver: Archiver,
    archive_capacity: Capacity,
    archive_stop: Stop,
    stop: Stop,
    derive_stop: Stop,
    tasks: JoinSet<()>,
    // Dropped last: everything above writes to it.
    engine: Option<Arc<Engine>>,
}

impl Stack {
    /// Starts everything. When this returns, the gateway answers and every node accepts sockets.
    ///
    /// # Errors
    /// [`StackError`]. Parts that were already started are stopped.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let listener = listen(options.port)?;
        let port_error = |source| StackError::Port { port: options.port, source };
        let address = listener.local_addr().map_err(port_error)?;
        let (engine, endpoint) = start_engine(&options.data, options.engine.as_ref())?;
        let wiring = Arc::new(wire(&options, endpoint, address).await?);
        let capacity = Capacity::default();
        let ports = wiring.ports(capacity.clone()).await?;
        if let BusWiring::Redis(url) = &wiring.bus {
            check_redis(url).await?;
        }
        let app = App::new(ports.clone());
        let mut feeds = open_feeds(engine.as_deref(), &options.data)?;
        let is_new = feeds.first().map_or(Ok(false), Feed::is_unused).map_err(feed_error)?;
        let general = match options.seed {
            true => seed::seed(&app).await.map_err(StackError::Seed)?,
            false => None,
        };
        // Clients read the demo's history from the store, so the relay need not publish it.
        for feed in feeds.iter_mut().filter(|_| is_new) {
            feed.skip().map_err(feed_error)?;
        }
        let relay = wiring.relay().await?;
        let derive_capacity = Capacity::default();
        let deriver = wiring.deriver(derive_capacity.clone()).await;
        let archive_capacity = Capacity::default();
        let archiver = wiring.archiver(archive_capacity.clone()).await?;
        let handlers = [Handler::Relay(relay.clone()), Handler::Derive(deriver)];
        let mut origins = options.allowed_origins.clone();
        for host in ["127.0.0.1", "localhost"] {
            origins.push(format!("http://{host}:{}", address.port()));
        }
        let (fleet, ends) = Fleet::new(Arc::clone(&wiring), origins, options.handshakes_per_second);
        for _ in 0..options.nodes {
            let started = fleet.start_node().await;
            started.map_err(|NodeError(source)| StackError::Node(source))?;
        }
        await_leases(&ports, &fleet).await;
        let (stop, stopped) = Stop::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&fleet).replace_ended(ends, stopped.clone()));
        let signer = Arc::clone(&wiring.signer);
        let (files, allowed) = (wiring.files.clone(), options.allowed_origins);
        let gateway = Gateway::new(app.clone(), Arc::clone(&fleet), signer, files, allowed);
        let (derive_stop, derive_stopped) = Stop::new();
        let ends_of_feeds = [stopped.clone(), derive_stopped];
        for ((feed, handler), stopped) in feeds.into_iter().zip(handlers).zip(ends_of_feeds) {
            tasks.spawn(feed.serve(handler, stopped));
        }
        tasks.spawn(gateway.serve(listener, stopped));
        let (archive_stop, archive_stopped) = Stop::new();
        tasks.spawn(archiving::serve(archiver.clone(), archive_stopped));
        Ok(Self {
            address,
            app,
            ports,
            capacity,
            derive_capacity,
            wiring,
            fleet,
            general,
            relay,
            archiver,
            archive_capacity,
            archive_stop,
            stop,
            derive_stop,
            tasks,
            engine,
        })
    }

    /// The address that the gateway listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway's URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The app that the handlers use. Tests can switch its publisher off.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The ports that the handlers use.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The store capacity that the handlers consumed. Nodes are counted separately.
    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// The store capacity that the function `derive` consumed.
    #[must_use]
    pub fn derive_capacity(&self) -> &Capacity {
        &self.derive_capacity
    }

    /// The store capacity that the archiver consumed.
    #[must_use]
    pub fn archive_capacity(&self) -> &Capacity {
        &self.archive_capacity
    }

    /// The archiver, for its counters.
    #[must_use]
    pub fn archiver(&self) -> &Archiver {
        &self.archiver
    }

    /// Stops the archiver, as if its function were disabled.
    pub fn stop_archive(&self) {
        self.archive_stop.stop_all();
    }

    /// The in-process bus, for fault injection; `None` with a real Redis.
    #[must_use]
    pub fn memory_bus(&self) -> Option<&MemoryBus> {
        match &self.wiring.bus {
            BusWiring::InProcess(bus, _) => Some(bus),
            BusWiring::Redis(_) => None,
        }
    }

    /// The in-process node directory, for fault injection; `None` with a real Redis.
    #[must_use]
    pub fn memory_directory(&self) -> Option<&MemoryDirectory> {
        match &self.wiring.bus {
            BusWiring::InProcess(_, nodes) => Some(nodes),
            BusWiring::Redis(_) => None,
        }
    }

    /// The store's endpoint, `http://host:port`. It accepts any credentials.
    #[must_use]
    pub fn store_endpoint(&self) -> &str {
        self.wiring.store.endpoint.as_deref().unwrap_or_default()
    }

    /// The embedded engine, if this stack has one.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_deref()
    }

    /// The relay, for its counters.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The demo workspace's general channel, if there is one.
    #[must_use]
    pub fn general_channel(&self) -> Option<&str> {
        self.general.as_deref()
    }

    /// Signs a token, as `POST /dev/token` does.
    #[must_use]
    pub fn token(&self, principal: &Principal) -> String {
        self.wiring.signer.issue(principal, self.app.clock.now())
    }

    /// The running nodes, oldest first.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeHandle> {
        self.fleet.handles()
    }

    /// Kills a node without closing its sockets or withdrawing its lease; `false` if no such node
    /// runs. A replacement starts ten seconds later.
    pub async fn kill(&self, node: &NodeId) -> bool {
        self.fleet.kill(node).await
    }

    /// Starts one more node.
    ///
    /// # Errors
    /// [`StackError::Node`].
    pub async fn add_node(&self) -> Result<NodeHandle, StackError> {
        self.fleet.start_node().await.map_err(|NodeError(source)| StackError::Node(source))
    }

    /// Stops feeding `derive`, as if its event source mapping were disabled.
    pub fn stop_derive(&self) {
        self.derive_stop.stop_all();
    }

    /// Finishes the calls in flight, drains the nodes, then stops the engine.
    pub async fn stop(mut self) {
        self.stop.stop_all();
        self.derive_stop.stop_all();
        self.archive_stop.stop_all();
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        tokio::join!(self.fleet.drain(), tasks);
        archiving::finish(&self.archiver).await;
        let engine = self.engine.take();
        // Dropping it joins its thread, which would block this one.
        if tokio::task::spawn_blocking(move || drop(engine)).await.is_err() {
            tracing::error!("the engine did not shut down cleanly");
        }
    }
}

fn listen(port: u16) -> Result<TcpListener, StackError> {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        // All clients of a lost node connect at once. One that does not fit into the backlog
        // retries a second later.
        socket.listen(limits::LISTEN_BACKLOG)
    };
    bind().map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            StackError::PortTaken { port }
        } else {
            StackError::Port { port, source }
        }
    })
}

fn start_engine(
    data: &Data,
    running: Option<&Arc<Engine>>,
) -> Result<(Option<Arc<Engine>>, String), StackError> {
    let data = match data {
        Data::Endpoint(endpoint) => return Ok((running.cloned(), endpoint.clone())),
        Data::Memory => EngineData::Memory,
        Data::Directory(path) => EngineData::Directory(path.clone()),
    };
    let engine = Engine::start(data)?;
    let endpoint = engine.endpoint().to_owned();
    Ok((Some(Arc::new(engine)), endpoint))
}

/// Checks that Redis can be reached and written to, as functions and nodes do.
async fn check_redis(url: &RedisUrl) -> Result<(), StackError> {
    let found = redis_health_check(url)?.run(Scope::Running).await;
    let wrong = found.into_iter().find_map(|one| Some((one.issue?, one.line)));
    let Some((issue, line)) = wrong else { return Ok(()) };
    // The line's fix names environment variables of nodes and functions; this program has flags.
    let problem = line.split_once("; fix: ").map_or(&*line, |(problem, _)| problem).to_owned();
    Err(StackError::Redis { problem, issue })
}

/// Opens the stream that the relay reads, if the store is the engine. Its few queries block the
/// thread, which is fine because nothing else runs yet.
/// The feeds of relay and deriver, in this order; none if the store is not embedded.
fn open_feeds(engine: Option<&Engine>, data: &Data) -> Result<Vec<Feed>, StackError> {
    let Some(engine) = engine else {
        tracing::info!("neither relay nor deriver: only the embedded engine's stream can be read");
        return Ok(Vec::new());
    };
    let table = TableNames::with_prefix(TABLE_PREFIX).messages;
    let open = |name| {
        let checkpoint = match data {
            Data::Directory(path) => Checkpoint::in_directory(path, name),
            Data::Memory | Data::Endpoint(_) => Checkpoint::in_memory(),
        };
        Feed::open(engine.database().clone(), &table, checkpoint).map_err(feed_error)
    };
    ["relay", "derive"].into_iter().map(open).collect()
}

fn feed_error(error: FeedError) -> StackError {
    StackError::Feed(Cause::from(error))
}

/// Waits until every node has a lease. Nodes register shortly after they listen; a `/connect` in
/// between would be refused for lack of nodes.
async fn await_leases(ports: &Ports, fleet: &Fleet) {
    let registered = async {
        loop {
            let known = ports.nodes.fleet().await.unwrap_or_default();
            let is_known = |id: &NodeId| known.iter().any(|node| node.lease.node_id == *id);
            if fleet.handles().iter().all(|node| is_known(&node.node_id)) {
                return;
            }
            tokio::time::sleep(LEASE_POLL).await;
        }
    };
    if tokio::time::timeout(LEASE_WAIT_MAX, registered).await.is_err() {
        tracing::warn!("some nodes have not registered yet");
    }
}

/// Creates the tables and the secrets, and returns what the ports are made from.
async fn wire(
    options: &StackOptions,
    endpoint: String,
    address: SocketAddr,
) -> Result<Wiring, StackError> {
    let kept = options.keep_secrets_in.as_deref();
    let token_secrets = secrets_or(options.token_secrets.clone(), kept, "token.secret")?;
    let ticket_secrets = secrets_or(options.ticket_secrets.clone(), kept, "ticket.secret")?;
    let client = ClientConfig {
        region: REGION.to_owned(),
        endpoint: Some(endpoint.clone()),
        credentials: CredentialSource::local(),
    };
    let made = dynamo::create_tables(&dynamo::client(&client).await, TABLE_PREFIX).await;
    made.map_err(|source| StackError::Store { endpoint: endpoint.clone(), source })?;
    let signer = Arc::new(TokenSigner::new(&token_secrets));
    let tokens = TokenConfig::shared(token_secrets);
    Ok(Wiring {
        store: StoreConfig {
            region: REGION.to_owned(),
            endpoint: Some(endpoint),
            table_prefix: TABLE_PREFIX.to_owned(),
        },
        bus: match &options.bus {
            Bus::InProcess => BusWiring::in_process(),
            Bus::Redis(url) => BusWiring::Redis(url.clone()),
        },
        replicas: options.replicas,
        tokens: Arc::new(JwtTokens::new(&tokens)),
        signer,
        tickets: Arc::new(SignedTickets::new(&ticket_secrets)),
        seal: Arc::new(SecretSeal::new(&ticket_secrets)),
        files: open_files(options, address)?,
    })
}

/// The files, in the directory of the data or of the secrets, or in one that ends with the stack.
fn open_files(options: &StackOptions, address: SocketAddr) -> Result<LocalFiles, StackError> {
    let directory = match &options.data {
        Data::Directory(path) => Some(path),
        Data::Memory | Data::Endpoint(_) => options.keep_secrets_in.as_ref(),
    };
    let directory = directory.map(|path| path.join(FILES_DIRECTORY));
    let opened = LocalFiles::open(directory.as_deref(), format!("http://{address}"));
    opened.map_err(StackError::Files)
}

fn secrets_or(
    given: Option<Secrets>,
    kept: Option<&Path>,
    name: &str,
) -> Result<Secrets, StackError> {
    let secret: Secret = match (given, kept) {
        (Some(given), _) => return Ok(given),
        (None, Some(directory)) => secrets::kept(directory, name)?,
        (None, None) => secrets::random()?,
    };
    Ok(secret.into())
}

/// How often the start checks for leases.
const LEASE_POLL: Duration = Duration::from_millis(10);
/// How long the start waits for them.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(3);
/// Where files are, below the directory of the data.
const FILES_DIRECTORY: &str = "files";
/// Prefix of this stack's table names. Separate node processes must be configured with it.
pub const TABLE_PREFIX: &str = "inkwire-";
/// Engines accept any region. Separate node processes must be configured with this one.
const REGION: &str = "local";

#[cfg(test)]
mod tests;
