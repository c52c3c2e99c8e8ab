//! Builds the ports of each program. Only this module decides which adapters a program uses.

use std::sync::Arc;

use auth::seal::NoSeal;
#[cfg(feature = "node")]
use auth::seal::SecretSeal;
#[cfg(feature = "lambda")]
use auth::tickets::NoTickets;
#[cfg(any(feature = "lambda", feature = "node"))]
use auth::tickets::SignedTickets;
#[cfg(feature = "lambda")]
use auth::tokens::JwtTokens;
#[cfg(feature = "node")]
use auth::tokens::NoTokens;
use dynamo::{Capacity, ClientConfig, CredentialSource, DynamoStore};
use messaging::Ports;
use messaging::archive::{Archiver, ArchiverPorts};
use messaging::derive::{Deriver, DeriverPorts};
use messaging::ports::{
    EventBus, FileStore, HealthCheck, NodeDirectory, PresenceBook, ReceiptBook, RelayBus, Sessions,
    Spool, Store, Tickets, TokenVerifier,
};
use messaging::relay::Relay;
#[cfg(feature = "node")]
use redis_bus::{ElastiCache, Endpoint, GroupAccess};
use redis_bus::{RedisBus, RedisRelayBus};

#[cfg(feature = "lambda")]
use s3::{Bucket, S3Files};

pub use redis_bus::EndpointError;

use crate::clock::{SystemClock, SystemRandomness};
#[cfg(feature = "lambda")]
use crate::config::{ArchiveConfig, DeriveConfig, FilesConfig, FunctionConfig};
#[cfg(feature = "node")]
use crate::config::{NodeConfig, RedisPlace};
use crate::config::{RedisUrl, RelayConfig, StoreConfig};
use crate::no_files::NoFiles;
#[cfg(feature = "lambda")]
use crate::no_redis::NoRedis;

/// What is in Redis, or all in process.
#[derive(Debug, Clone)]
pub struct BusParts {
    /// The bus.
    pub bus: Arc<dyn EventBus>,
    /// Sessions of channels that keep nothing.
    pub sessions: Arc<dyn Sessions>,
    /// Messages that are delivered and not yet stored.
    pub spool: Arc<dyn Spool>,
    /// How far users have come in channels that deliver first.
    pub receipts: Arc<dyn ReceiptBook>,
    /// The node directory.
    pub nodes: Arc<dyn NodeDirectory>,
    /// The book of presence.
    pub presence: Arc<dyn PresenceBook>,
}

impl BusParts {
    /// All of one bus, and a node directory.
    #[must_use]
    pub fn of<B>(bus: B, nodes: Arc<dyn NodeDirectory>) -> Self
    where
        B: EventBus + Sessions + Spool + ReceiptBook + PresenceBook + 'static,
    {
        let bus = Arc::new(bus);
        let (sessions, spool) = (bus.clone(), bus.clone());
        let (receipts, presence) = (bus.clone(), bus.clone());
        Self { bus, sessions, spool, receipts, nodes, presence }
    }
}

/// Ports with the system's clock and randomness, and without files or a seal; the rest differs between
/// environments.
#[must_use]
pub fn ports<S>(
    store: S,
    BusParts { bus, sessions, spool, receipts, nodes, presence }: BusParts,
    tokens: Arc<dyn TokenVerifier>,
    tickets: Arc<dyn Tickets>,
) -> Ports
where
    S: Store + 'static,
{
    let store = Arc::new(store);
    Ports {
        messages: Arc::<S>::clone(&store),
        attachments: Arc::<S>::clone(&store),
        files: Arc::new(NoFiles),
        channels: Arc::<S>::clone(&store),
        members: Arc::<S>::clone(&store),
        devices: Arc::<S>::clone(&store),
        mentions: Arc::<S>::clone(&store),
        pins: Arc::<S>::clone(&store),
        threads: Arc::<S>::clone(&store),
        read_marks: Arc::<S>::clone(&store),
        revocations: Arc::<S>::clone(&store),
        profiles: store,
        bus,
        sessions,
        spool,
        receipts,
        seal: Arc::new(NoSeal),
        nodes,
        presence,
        tokens,
        tickets,
        clock: Arc::new(SystemClock),
        randomness: Arc::new(SystemRandomness),
        health_checks: Vec::new(),
    }
}

/// A function's ports: the tables, tokens, and what else is configured. Connects to nothing yet.
///
/// # Errors
/// [`EndpointError`] if the address of Redis cannot be used.
#[cfg(feature = "lambda")]
pub async fn ports_of_function(config: &FunctionConfig) -> Result<Ports, EndpointError> {
    let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
    let tokens = Arc::new(JwtTokens::new(&config.tokens));
    let bus = match &config.redis {
        Some(url) => redis(url)?,
        None => BusParts::of(NoRedis, Arc::new(NoRedis)),
    };
    let tickets: Arc<dyn Tickets> = match &config.ticket_secrets {
        Some(secrets) => Arc::new(SignedTickets::new(secrets)),
        None => Arc::new(NoTickets),
    };
    let ports = ports(store, bus, tokens, tickets);
    match &config.files {
        Some(files) => Ok(Ports { files: s3_files(files, &config.store).await, ..ports }),
        None => Ok(ports),
    }
}

/// Files in S3. Connects to nothing yet.
#[cfg(feature = "lambda")]
async fn s3_files(files: &FilesConfig, store: &StoreConfig) -> Arc<dyn FileStore> {
    let FilesConfig { bucket, endpoint } = files.clone();
    let (region, credentials) = (store.region.clone(), CredentialSource::Environment);
    let client = ClientConfig { region: region.clone(), endpoint: endpoint.clone(), credentials };
    let sdk = dynamo::sdk_config(&client).await;
    let bucket = Bucket { name: bucket, region, endpoint };
    Arc::new(S3Files::new(&bucket, &sdk, Arc::new(SystemClock)))
}

/// A node's ports. Unlike a function, a node accepts no tokens, looks Redis up if a replication
/// group is configured, and checks its store and its Redis.
///
/// # Errors
/// [`EndpointError`] if the address of Redis cannot be used.
#[cfg(feature = "node")]
pub async fn ports_of_node(config: &NodeConfig) -> Result<Ports, EndpointError> {
    let store = paced_store(&config.store).await;
    let bus = RedisBus::at(endpoint(&config.redis, &config.store).await?);
    let health_checks: Vec<Arc<dyn HealthCheck>> =
        vec![Arc::new(bus.clone()), Arc::new(store.clone())];
    let tickets = Arc::new(SignedTickets::new(&config.ticket_secrets));
    let ports = ports(store, parts(bus), Arc::new(NoTokens), tickets);
    let seal = Arc::new(SecretSeal::new(&config.ticket_secrets));
    Ok(Ports { health_checks, seal, ..ports })
}

/// The store on DynamoDB, or on a compatible engine at the endpoint.
pub async fn store(
    config: &StoreConfig,
    credentials: CredentialSource,
    capacity: Capacity,
) -> DynamoStore {
    let client = dynamo::client(&client_config(config, credentials)).await;
    DynamoStore::new(client, &config.table_prefix, capacity)
}

/// A node's store: nodes pace and retry their reads themselves.
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
    Ok(parts(RedisBus::at(url.endpoint()?)))
}

fn parts(bus: RedisBus) -> BusParts {
    let nodes = Arc::new(bus.directory());
    BusParts::of(bus, nodes)
}

/// A health check of Redis. Connects when it runs.
///
/// # Errors
/// [`EndpointError`] if the address cannot be used.
pub fn redis_health_check(url: &RedisUrl) -> Result<Arc<dyn HealthCheck>, EndpointError> {
    Ok(Arc::new(RedisBus::at(url.endpoint()?)))
}

/// Returns the endpoint of a node's Redis.
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

/// The relay's port to Redis. Connects when it is first used.
///
/// # Errors
/// [`EndpointError`] if the address cannot be used.
pub fn relay_bus(url: &RedisUrl, replicas: u32) -> Result<Arc<dyn RelayBus>, EndpointError> {
    Ok(Arc::new(RedisRelayBus::at(url.endpoint()?, replicas)))
}

/// A relay on a store and a bus, with the system's clock.
#[must_use]
pub fn relay(store: DynamoStore, relay_bus: Arc<dyn RelayBus>) -> Relay {
    Relay::new(Arc::new(store), relay_bus, Arc::new(SystemClock))
}

/// An archiver on a store and a bus, with the system's clock.
#[must_use]
pub fn archiver(store: DynamoStore, BusParts { bus, spool, receipts, .. }: BusParts) -> Archiver {
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    let messages = Arc::new(store);
    let (members, devices) = (messages.clone(), messages.clone());
    Archiver::new(ArchiverPorts {
        spool,
        bus,
        messages,
        members,
        devices,
        receipts,
        clock,
        randomness,
    })
}

/// A deriver on a store and its files, with the system's clock.
#[must_use]
pub fn deriver(store: DynamoStore, files: Arc<dyn FileStore>) -> Deriver {
    let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
    Deriver::new(DeriverPorts::of_store(Arc::new(store), files, clock, randomness))
}

/// The derive function's deriver, on the messages table. Connects to nothing yet.
#[cfg(feature = "lambda")]
pub async fn deriver_of_function(config: &DeriveConfig) -> Deriver {
    let files = s3_files(&config.files, &config.store).await;
    deriver(store(&config.store, CredentialSource::Environment, Capacity::default()).await, files)
}

/// The archive function's archiver, on the messages table and Redis. Connects to nothing yet.
///
/// # Errors
/// [`EndpointError`] if the address of Redis cannot be used.
#[cfg(feature = "lambda")]
pub async fn archiver_of_function(config: &ArchiveConfig) -> Result<Archiver, EndpointError> {
    let parts = redis(&config.redis)?;
    let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
    Ok(archiver(store, parts))
}

/// The relay function's relay, on the channels table and Redis. Connects to nothing yet.
///
/// # Errors
/// [`EndpointError`] if the address of Redis cannot be used.
pub async fn relay_of_function(config: &RelayConfig) -> Result<Relay, EndpointError> {
    let relay_bus = relay_bus(&config.redis, config.redis_replicas)?;
    let store = store(&config.store, CredentialSource::Environment, Capacity::default()).await;
    Ok(relay(store, relay_bus))
}
