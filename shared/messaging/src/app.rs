//! The handle that use cases get: the ports, and the little state that an environment keeps.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use model::{ChannelId, Contract, limits};
use parking_lot::Mutex;

use crate::circuit::Circuit;
use crate::counters::Counters;
use crate::fleet::FleetView;
use crate::guarded::Guarded;
use crate::ports::{
    AttachmentStore, ChannelStore, Clock, DeviceStore, EventBus, FileStore, HealthCheck,
    MemberStore, MentionStore, MessageStore, NodeDirectory, PinStore, PresenceBook, ProfileStore,
    Randomness, ReadMarkStore, ReceiptBook, RevocationStore, Seal, Sessions, Spool, ThreadStore,
    Tickets, TokenVerifier,
};
use crate::publisher::Publisher;

/// The ports of a program. Clones share them.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The messages table.
    pub messages: Arc<dyn MessageStore>,
    /// Rows of files, in the messages table.
    pub attachments: Arc<dyn AttachmentStore>,
    /// The bytes of files.
    pub files: Arc<dyn FileStore>,
    /// The channels table.
    pub channels: Arc<dyn ChannelStore>,
    /// The membership tables.
    pub members: Arc<dyn MemberStore>,
    /// Mentions.
    pub mentions: Arc<dyn MentionStore>,
    /// Pins.
    pub pins: Arc<dyn PinStore>,
    /// Followed threads.
    pub threads: Arc<dyn ThreadStore>,
    /// Read marks.
    pub read_marks: Arc<dyn ReadMarkStore>,
    /// Devices of users.
    pub devices: Arc<dyn DeviceStore>,
    /// Tombstones of revoked users.
    pub revocations: Arc<dyn RevocationStore>,
    /// Profiles of users.
    pub profiles: Arc<dyn ProfileStore>,
    /// The bus.
    pub bus: Arc<dyn EventBus>,
    /// Sessions of channels that keep nothing.
    pub sessions: Arc<dyn Sessions>,
    /// Messages that are delivered and not yet stored.
    pub spool: Arc<dyn Spool>,
    /// How far users have come in channels that deliver first.
    pub receipts: Arc<dyn ReceiptBook>,
    /// Seals what only nodes may read.
    pub seal: Arc<dyn Seal>,
    /// The node directory.
    pub nodes: Arc<dyn NodeDirectory>,
    /// Who is present on which node.
    pub presence: Arc<dyn PresenceBook>,
    /// Bearer tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Tickets for nodes.
    pub tickets: Arc<dyn Tickets>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub randomness: Arc<dyn Randomness>,
    /// Health checks of what runs outside this process; empty if nothing does.
    pub health_checks: Vec<Arc<dyn HealthCheck>>,
}

/// A handle on the ports that is cheap to clone. One circuit breaker guards the store's ports,
/// others the node directory and the file store.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ports: Ports,
    publisher: Publisher,
    fleet: FleetView,
    counters: Arc<Counters>,
    store: Arc<Circuit>,
    nodes: Arc<Circuit>,
    /// Contracts of channels, which never change. When there are too many, all are forgotten.
    contracts: Mutex<HashMap<ChannelId, Contract>>,
}

impl App {
    /// Creates the handle, and guards the ports with circuit breakers.
    #[must_use]
    pub fn new(ports: Ports) -> Self {
        let (clock, randomness) = (Arc::clone(&ports.clock), Arc::clone(&ports.randomness));
        let circuit = || Arc::new(Circuit::new(Arc::clone(&clock), Arc::clone(&randomness)));
        let (store, nodes, files) = (circuit(), circuit(), circuit());
        let counters = Arc::<Counters>::default();
        let publisher = Publisher::new(Arc::clone(&ports.bus), clock, Arc::clone(&counters));
        let ports = Ports {
            messages: Guarded::new(ports.messages, &store),
            attachments: Guarded::new(ports.attachments, &store),
            files: Guarded::new(ports.files, &files),
            channels: Guarded::new(ports.channels, &store),
            members: Guarded::new(ports.members, &store),
            devices: Guarded::new(ports.devices, &store),
            mentions: Guarded::new(ports.mentions, &store),
            pins: Guarded::new(ports.pins, &store),
            threads: Guarded::new(ports.threads, &store),
            read_marks: Guarded::new(ports.read_marks, &store),
            revocations: Guarded::new(ports.revocations, &store),
            profiles: Guarded::new(ports.profiles, &store),
            nodes: Guarded::new(ports.nodes, &nodes),
            ..ports
        };
        let (fleet, contracts) = (FleetView::default(), Mutex::default());
        let shared = Shared { ports, publisher, fleet, counters, store, nodes, contracts };
        Self(Arc::new(shared))
    }

    /// A channel's contract, if this environment knows it.
    pub(crate) fn known_contract(&self, channel: &ChannelId) -> Option<Contract> {
        self.0.contracts.lock().get(channel).copied()
    }

    /// Notes a channel's contract.
    pub(crate) fn learn_contract(&self, channel: &ChannelId, contract: Contract) {
        let mut known = self.0.contracts.lock();
        if known.len() >= limits::RELAY_CHANNELS_MAX {
            known.clear();
        }
        known.insert(channel.clone(), contract);
    }

    /// Publishes to the bus within a call's time budget.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    /// The last view of the fleet.
    pub(crate) fn fleet(&self) -> &FleetView {
        &self.0.fleet
    }

    /// The counters of this environment. The publisher counts here too.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The circuit breaker of the store's ports.
    #[must_use]
    pub fn store_circuit(&self) -> &Circuit {
        &self.0.store
    }

    /// The circuit breaker of the node directory.
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
