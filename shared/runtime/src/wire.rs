//! Builds the ports of each program. What runs where is decided here, and nowhere else.

use std::sync::Arc;

use dynamo::{Capacity, ClientConfig, CredentialSource, DynamoStore};
use messaging::fleet::FleetView;
use messaging::ports::{
    ChannelStore, Clock, EventBus, MemberStore, MessageStore, NodeDirectory, Randomness, Replay,
    RevocationStore, Tickets, TokenVerifier,
};
use messaging::publisher::Publisher;
use messaging::relay::Relay;
use messaging::tally::Tally;
use messaging::{App, Ports};
use redis_bus::{RedisBus, RedisReplay};

pub use redis_bus::EndpointError;

use crate::clock::{SystemClock, SystemRandomness};
use crate::config::{FunctionConfig, NodeConfig, RedisUrl, RelayConfig, StoreConfig};
use crate::tickets::SignedTickets;
use crate::tokens::{JwtTokens, NoTokens};

/// The ports of a program. Clones share them.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The messages table.
    pub messages: Arc<dyn MessageStore>,
    /// The channels table.
    pub channels: Arc<dyn ChannelStore>,
    /// The membership tables.
    pub members: Arc<dyn MemberStore>,
    /// Tombstones.
    pub revocations: Arc<dyn RevocationStore>,
    /// The bus.
    pub bus: Arc<dyn EventBus>,
    /// The node directory.
    pub nodes: Arc<dyn NodeDirectory>,
    /// Bearer tokens.
    pub tokens: Arc<dyn TokenVerifier>,
    /// Tickets for nodes.
    pub tickets: Arc<dyn Tickets>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub randomness: Arc<dyn Randomness>,
}

/// The bus and the node directory: both live in Redis, or both in process.
pub type BusParts = (Arc<dyn EventBus>, Arc<dyn NodeDirectory>);

impl Parts {
    /// The parts that differ between environments, by the system's clock and randomness.
    #[must_use]
    pub fn new(
        store: DynamoStore,
        (bus, nodes): BusParts,
        tokens: Arc<dyn TokenVerifier>,
        tickets: Arc<dyn Tickets>,
    ) -> Self {
        let store = Arc::new(store);
        Self {
            messages: Arc::<DynamoStore>::clone(&store),
            channels: Arc::<DynamoStore>::clone(&store),
            members: Arc::<DynamoStore>::clone(&store),
            revocations: store,
            bus,
            nodes,
            tokens,
            tickets,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
        }
    }

    /// A function's: the tables, Redis, tokens and tickets. Connects to nothing yet.
    ///
    /// # Errors
    /// [`EndpointError`] if the address of Redis cannot be used.
    pub async fn of_function(config: &FunctionConfig) -> Result<Self, EndpointError> {
        let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
        let tokens = Arc::new(JwtTokens::new(&config.tokens));
        let tickets = Arc::new(SignedTickets::new(&config.ticket_secrets));
        Ok(Self::new(store, redis(&config.redis)?, tokens, tickets))
    }

    /// A node's: as a function's, but it takes no tokens.
    ///
    /// # Errors
    /// [`EndpointError`] if the address of Redis cannot be used.
    pub async fn of_node(config: &NodeConfig) -> Result<Self, EndpointError> {
        let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
        let tickets = Arc::new(SignedTickets::new(&config.ticket_secrets));
        Ok(Self::new(store, redis(&config.redis)?, Arc::new(NoTokens), tickets))
    }

    /// The handle for use cases, with a publisher and a view of the fleet of its own.
    #[must_use]
    pub fn app(&self) -> App {
        let tally = Arc::<Tally>::default();
        let (bus, clock) = (Arc::clone(&self.bus), Arc::clone(&self.clock));
        App::new(Ports {
            messages: Arc::clone(&self.messages),
            channels: Arc::clone(&self.channels),
            members: Arc::clone(&self.members),
            revocations: Arc::clone(&self.revocations),
            publisher: Publisher::new(bus, clock, Arc::clone(&tally)),
            nodes: Arc::clone(&self.nodes),
            fleet: FleetView::default(),
            tokens: Arc::clone(&self.tokens),
            tickets: Arc::clone(&self.tickets),
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            tally,
        })
    }
}

/// The store on DynamoDB, or on what listens at the endpoint instead.
pub async fn store(
    config: &StoreConfig,
    credentials: CredentialSource,
    capacity: Capacity,
) -> DynamoStore {
    let StoreConfig { region, endpoint, table_prefix } = config.clone();
    let client = dynamo::client(&ClientConfig { region, endpoint, credentials }).await;
    DynamoStore::new(client, &table_prefix, capacity)
}

/// The bus and the node directory on Redis. Connects when it is first used.
///
/// # Errors
/// [`EndpointError`] if the address cannot be used.
pub fn redis(url: &RedisUrl) -> Result<BusParts, EndpointError> {
    let bus = RedisBus::at(url.endpoint()?);
    let nodes = Arc::new(bus.directory());
    Ok((Arc::new(bus), nodes))
}

/// The relay's way to Redis. Connects when it is first used.
///
/// # Errors
/// [`EndpointError`] if the address cannot be used.
pub fn replay(url: &RedisUrl, replicas: u32) -> Result<Arc<dyn Replay>, EndpointError> {
    Ok(Arc::new(RedisReplay::at(url.endpoint()?, replicas)))
}

/// The relay of a store and a bus, by the system's clock.
#[must_use]
pub fn relay(store: DynamoStore, replay: Arc<dyn Replay>) -> Relay {
    Relay::new(Arc::new(store), replay, Arc::new(SystemClock))
}

/// The relay function's: the channels table and Redis. Connects to nothing yet.
///
/// # Errors
/// [`EndpointError`] if the address of Redis cannot be used.
pub async fn relay_of_function(config: &RelayConfig) -> Result<Relay, EndpointError> {
    let replay = replay(&config.redis, config.redis_replicas)?;
    let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
    Ok(relay(store, replay))
}
