//! Ports for each runtime of the stack.
//!
//! Connections of a client belong to the runtime that opened them: a killed node takes its own
//! along. So every node gets clients of its own, and shares only what is in process.

use std::sync::Arc;

use dynamo::{Capacity, CredentialSource};
use memory::{MemoryBus, MemoryDirectory};
use messaging::ports::Clock;
use runtime::clock::SystemClock;
use runtime::config::{RedisUrl, StoreConfig};
use runtime::tickets::SignedTickets;
use runtime::tokens::JwtTokens;
use runtime::wire::{BusParts, EndpointError, Parts, redis, store};

/// Where publications and leases go.
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
            Self::InProcess(bus, nodes) => Ok((Arc::new(bus.clone()), Arc::new(nodes.clone()))),
            Self::Redis(url) => redis(url),
        }
    }
}

/// What the ports of this stack are made of.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) store: StoreConfig,
    pub(crate) bus: BusWiring,
    pub(crate) tokens: Arc<JwtTokens>,
    pub(crate) tickets: Arc<SignedTickets>,
}

impl Wiring {
    /// Makes ports for the runtime that this runs on. The store counts in `capacity`.
    pub(crate) async fn parts(&self, capacity: Capacity) -> Result<Parts, EndpointError> {
        let store = store(&self.store, CredentialSource::local(), capacity).await;
        let tokens = Arc::<JwtTokens>::clone(&self.tokens);
        Ok(Parts::new(store, self.bus.parts()?, tokens, Arc::<SignedTickets>::clone(&self.tickets)))
    }
}
