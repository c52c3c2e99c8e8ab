//! A node's hub for tests, on in-memory ports.

use std::sync::Arc;

use auth::tickets::SignedTickets;
use auth::tokens::NoTokens;
use auth::{Secret, Secrets};
use memory::{ManualClock, MemoryBus, MemoryDirectory, MemoryStore, SeededRandomness};
use messaging::Ports;
use model::Timestamp;
use tokio::task::JoinSet;

use crate::hub::{Hub, Shown};

/// A hub, its store, and its shards, which end with it.
pub(crate) struct TestHub {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<MemoryStore>,
    _shards: JoinSet<()>,
}

impl TestHub {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self::with(now, |_parts| {})
    }

    /// Lets `change` replace some ports.
    pub(crate) fn with(now: Timestamp, change: impl FnOnce(&mut Ports)) -> Self {
        let clock = Arc::new(ManualClock::at(now));
        let store = Arc::new(MemoryStore::new());
        let secrets = Secrets::from(Secret::parse(&"s".repeat(32)).unwrap());
        let mut ports = memory::ports(
            store.clone(),
            Arc::new(MemoryBus::new(clock.clone())),
            Arc::new(MemoryDirectory::new(clock.clone())),
            (Arc::new(NoTokens), Arc::new(SignedTickets::new(&secrets))),
            clock,
            SeededRandomness::new(7),
        );
        change(&mut ports);
        let mut shards = JoinSet::new();
        let url = "ws://node/socket".to_owned();
        let shown = Shown { url, dns: None, certificate_ends_at: None };
        let hub = Hub::new(ports, shown, Vec::new(), 1, 2, &mut shards);
        Self { hub: Arc::new(hub), store, _shards: shards }
    }
}
