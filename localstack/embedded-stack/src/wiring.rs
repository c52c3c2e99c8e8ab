//! Makes the ports for each runtime of the stack.
//!
//! A client's connections belong to the runtime that opened them and die with it when a node is
//! killed. So every node gets its own clients and shares only the in-process parts.

use std::sync::Arc;

use auth::seal::SecretSeal;
use auth::tickets::SignedTickets;
use auth::tokens::{JwtTokens, TokenSigner};
use dynamo::{Capacity, CredentialSource};
use memory::{MemoryBus, MemoryDirectory};
use messaging::Ports;
use messaging::archive::Archiver;
use messaging::derive::Deriver;
use messaging::ports::{Clock, RelayBus};
use messaging::relay::Relay;
use service::clock::SystemClock;
use service::compose::{
    self, BusParts, EndpointError, archiver, deriver, redis, redis_health_check, relay, relay_bus,
    store,
};
use service::config::{RedisUrl, StoreConfig};

use crate::files::LocalFiles;

/// The bus and the node directory.
#[derive(Debug, Clone)]
pub(crate) enum BusWiring {
    InProcess(MemoryBus, MemoryDirectory),
    Redis(RedisUrl),
}

impl BusWiring {
    pub(crate) fn in_process() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::InProcess(MemoryBus::new(Arc::clone(&clock)), MemoryDirectory::new(clock))
    }

    fn parts(&self) -> Result<BusParts, EndpointError> {
        match self {
            Self::InProcess(bus, nodes) => Ok(BusParts::of(bus.clone(), Arc::new(nodes.clone()))),
            Self::Redis(url) => redis(url),
        }
    }

    /// The relay's bus, for a Redis that should have this many replicas.
    fn relay_bus(&self, replicas: u32) -> Result<Arc<dyn RelayBus>, EndpointError> {
        match self {
            Self::InProcess(bus, _) => Ok(Arc::new(bus.clone())),
            Self::Redis(url) => relay_bus(url, replicas),
        }
    }
}

/// What this stack's ports are made from.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) store: StoreConfig,
    pub(crate) bus: BusWiring,
    pub(crate) replicas: u32,
    pub(crate) tokens: Arc<JwtTokens>,
    pub(crate) signer: Arc<TokenSigner>,
    pub(crate) tickets: Arc<SignedTickets>,
    pub(crate) seal: Arc<SecretSeal>,
    pub(crate) files: LocalFiles,
}

impl Wiring {
    /// Makes ports for the current runtime. The store counts its consumed capacity in `capacity`.
    pub(crate) async fn ports(&self, capacity: Capacity) -> Result<Ports, EndpointError> {
        let store = store(&self.store, CredentialSource::local(), capacity).await;
        let tokens = Arc::<JwtTokens>::clone(&self.tokens);
        let tickets = Arc::<SignedTickets>::clone(&self.tickets);
        let ports = compose::ports(store, self.bus.parts()?, tokens, tickets);
        // Nodes check only parts outside this process.
        let health_checks = match &self.bus {
            BusWiring::InProcess(..) => Vec::new(),
            BusWiring::Redis(url) => vec![redis_health_check(url)?],
        };
        let (files, seal) = (Arc::new(self.files.clone()), Arc::<SecretSeal>::clone(&self.seal));
        Ok(Ports { health_checks, files, seal, ..ports })
    }

    /// Makes the relay for the current runtime. The capacity that it consumes is not counted.
    pub(crate) async fn relay(&self) -> Result<Relay, EndpointError> {
        let store = store(&self.store, CredentialSource::local(), Capacity::default()).await;
        Ok(relay(store, self.bus.relay_bus(self.replicas)?))
    }

    /// Makes the archiver for the current runtime. The store counts its consumed capacity in `capacity`.
    pub(crate) async fn archiver(&self, capacity: Capacity) -> Result<Archiver, EndpointError> {
        let store = store(&self.store, CredentialSource::local(), capacity).await;
        Ok(archiver(store, self.bus.parts()?))
    }

    /// Makes the deriver for the current runtime. The store counts its consumed capacity in `capacity`.
    pub(crate) async fn deriver(&self, capacity: Capacity) -> Deriver {
        let store = store(&self.store, CredentialSource::local(), capacity).await;
        deriver(store, Arc::new(self.files.clone()))
    }
}
