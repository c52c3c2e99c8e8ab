//! The handle that use cases get: the ports, and the little state an environment keeps.

use std::ops::Deref;
use std::sync::Arc;

use crate::circuit::Circuit;
use crate::fleet::FleetView;
use crate::guarded::Guarded;
use crate::ports::{
    ChannelStore, Clock, MemberStore, MessageStore, NodeDirectory, Randomness, RevocationStore,
    Tickets, TokenVerifier,
};
use crate::publisher::Publisher;
use crate::tally::Tally;

/// The ports of an environment.
#[derive(Debug)]
pub struct Ports {
    /// The messages table.
    pub messages: Arc<dyn MessageStore>,
    /// The channels table.
    pub channels: Arc<dyn ChannelStore>,
    /// The membership tables.
    pub members: Arc<dyn MemberStore>,
    /// Tombstones.
    pub revocations: Arc<dyn RevocationStore>,
    /// The bus, within its budget.
    pub publisher: Publisher,
    /// The fleet.
    pub nodes: Arc<dyn NodeDirectory>,
    /// The last view of the fleet.
    pub fleet: FleetView,
    /// Bearer tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Tickets for nodes.
    pub tickets: Arc<dyn Tickets>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
    /// What is counted, by the publisher too.
    pub tally: Arc<Tally>,
}

/// A cheap-clone handle on the ports. The store's are behind one circuit, the node directory is
/// behind another.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ports: Ports,
    store: Arc<Circuit>,
    nodes: Arc<Circuit>,
}

impl App {
    /// Shares the ports.
    #[must_use]
    pub fn new(ports: Ports) -> Self {
        let (clock, randomness) = (Arc::clone(&ports.clock), Arc::clone(&ports.randomness));
        let circuit = || Arc::new(Circuit::new(Arc::clone(&clock), Arc::clone(&randomness)));
        let (store, nodes) = (circuit(), circuit());
        let ports = Ports {
            messages: Guarded::new(ports.messages, &store),
            channels: Guarded::new(ports.channels, &store),
            members: Guarded::new(ports.members, &store),
            revocations: Guarded::new(ports.revocations, &store),
            nodes: Guarded::new(ports.nodes, &nodes),
            ..ports
        };
        Self(Arc::new(Shared { ports, store, nodes }))
    }

    /// Whether the store answered lately.
    #[must_use]
    pub fn store_circuit(&self) -> &Circuit {
        &self.0.store
    }

    /// Whether the node directory answered lately.
    #[must_use]
    pub fn nodes_circuit(&self) -> &Circuit {
        &self.0.nodes
    }
}

impl Deref for App {
    type Target = Ports;
    fn deref(&self) -> &Ports {
        &self.0.ports
    }
}
