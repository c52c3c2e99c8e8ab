//! Builds the ports of each program. What runs where is decided here, and nowhere else.

use std::sync::Arc;

use dynamo::{Capacity, ClientConfig, CredentialSource, DynamoStore};
use messaging::fleet::FleetView;
use messaging::ports::{
    ChannelStore, Checkup, Clock, EventBus, MemberStore, MessageStore, NodeDirectory, Randomness,
    Replay, RevocationStore, Tickets, TokenVerifier,
};
use messaging::publisher::Publisher;
use messaging::relay::Relay;
use messaging::tally::Tally;
use messaging::{App, Ports};
#[cfg(feature = "node")]
use redis_bus::{ElastiCache, Endpoint, GroupAccess};
use redis_bus::{RedisBus, RedisReplay};

pub use redis_bus::EndpointError;

use crate::clock::{SystemClock, SystemRandomness};
use crate::config::{FunctionConfig, RedisUrl, RelayConfig, StoreConfig};
#[cfg(feature = "node")]
use crate::config::{NodeConfig, RedisPlace};
use crate::tickets::{NoTickets, SignedTickets};
use crate::tokens::JwtTokens;
#[cfg(feature = "node")]
use crate::tokens::NoTokens;
use crate::without::NoRedis;

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
    /// What tells whether the parts that are not in this process do their work; none if all are.
    pub checkups: Vec<Arc<dyn Checkup>>,
}

/// The bus and the node directory: both live in Redis, or both in process.
pub type BusParts = (Arc<dyn EventBus>, Arc<dyn NodeDirectory>);

impl Parts {
    /// The parts that differ between environments, by the system's clock and randomness.
    #[must_use]
    pub fn new<S>(
        store: S,
        (bus, nodes): BusParts,
        tokens: Arc<dyn TokenVerifier>,
        tickets: Arc<dyn Tickets>,
    ) -> Self
    where
        S: MessageStore + ChannelStore + MemberStore + RevocationStore + 'static,
    {
        let store = Arc::new(store);
        Self {
            messages: Arc::<S>::clone(&store),
            channels: Arc::<S>::clone(&store),
            members: Arc::<S>::clone(&store),
            revocations: store,
            bus,
            nodes,
            tokens,
            tickets,
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            checkups: Vec::new(),
        }
    }

    /// A function's: the tables, tokens, and what else it was given. Connects to nothing yet.
    ///
    /// # Errors
    /// [`EndpointError`] if the address of Redis cannot be used.
    pub async fn of_function(config: &FunctionConfig) -> Result<Self, EndpointError> {
        let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
        let tokens = Arc::new(JwtTokens::new(&config.tokens));
        let bus = match &config.redis {
            Some(url) => redis(url)?,
            None => (Arc::new(NoRedis) as _, Arc::new(NoRedis) as _),
        };
        let tickets: Arc<dyn Tickets> = match &config.ticket_secrets {
            Some(secrets) => Arc::new(SignedTickets::new(secrets)),
            None => Arc::new(NoTickets),
        };
        Ok(Self::new(store, bus, tokens, tickets))
    }

    /// A node's: as a function's, but it takes no tokens, looks its Redis up if it is told a group,
    /// and watches what it stands on.
    ///
    /// # Errors
    /// [`EndpointError`] if the address of Redis cannot be used.
    #[cfg(feature = "node")]
    pub async fn of_node(config: &NodeConfig) -> Result<Self, EndpointError> {
        let store = paced_store(&config.store).await;
        let bus = RedisBus::at(endpoint(&config.redis, &config.store).await?);
        let checkups: Vec<Arc<dyn Checkup>> = vec![Arc::new(bus.clone()), Arc::new(store.clone())];
        let tickets = Arc::new(SignedTickets::new(&config.ticket_secrets));
        let nodes = Arc::new(bus.directory());
        let parts = Self::new(store, (Arc::new(bus), nodes), Arc::new(NoTokens), tickets);
        Ok(Self { checkups, ..parts })
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
    let client = dynamo::client(&client_config(config, credentials)).await;
    DynamoStore::new(client, &config.table_prefix, capacity)
}

/// A node's store: nodes pace their reads, and repeat them, by themselves.
#[cfg(feature = "node")]
async fn paced_store(config: &StoreConfig) -> DynamoStore {
    let client = dynamo::client(&client_config(config, CredentialSource::Environment)).await;
    DynamoStore::new(dynamo::paced(&client), &config.table_prefix, Capacity::default())
}

fn client_config(config: &StoreConfig, credentials: CredentialSource) -> ClientConfig {
    let StoreConfig { region, endpoint, .. } = config.clone();
    ClientConfig { region, endpoint, credentials }
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

/// Where a node's Redis is.
#[cfg(feature = "node")]
async fn endpoint(place: &RedisPlace, store: &StoreConfig) -> Result<Endpoint, EndpointError> {
    let group = match place {
        RedisPlace::Url(url) => return url.endpoint(),
        RedisPlace::Group(group) => group.clone(),
    };
    let client = ClientConfig {
        region: store.region.clone(),
        endpoint: group.api,
        credentials: CredentialSource::Environment,
    };
    let finder = ElastiCache::new(&dynamo::sdk_config(&client).await, &group.id);
    let access = GroupAccess { token: group.token, authorities: group.authorities };
    Ok(Endpoint::of_group(Arc::new(finder), access))
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
