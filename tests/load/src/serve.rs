//! The node under test: the node's own library and a real Redis, over a store in memory that has
//! the world's rows, or over a store at an endpoint that has them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use dynamo::{Capacity, ClientConfig, CredentialSource, DynamoStore};
use memory::MemoryStore;
use messaging::ports::{
    ChannelStore, EventBus, MemberStore, MessageStore, NodeDirectory, RevocationStore,
};
use node::{Config, Node};
use redis_bus::RedisBus;
use runtime::certificate::Certificate;
use runtime::clock::{SystemClock, SystemRandomness};
use runtime::tokens::NoTokens;
use runtime::wire::Parts;
use serde_json::json;

use crate::Failed;
use crate::record::say;
use crate::world::{self, World};

/// How a node under test is set up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Setup {
    /// The bus.
    #[arg(long)]
    pub(crate) redis: String,
    /// Files with a chain and its key, if it speaks TLS.
    #[arg(long, num_args = 2)]
    pub(crate) certificate: Option<Vec<PathBuf>>,
    /// A store that has the world's rows; one in memory if absent.
    #[arg(long)]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) world: World,
}

/// Serves until it is killed.
#[tokio::main]
pub(crate) async fn run(setup: &Setup) -> Result<(), Failed> {
    let certificate = match setup.certificate.as_deref() {
        Some([chain, key]) => {
            let read = std::fs::read_to_string;
            Some(Certificate::parse(&read(chain)?, &read(key)?)?)
        }
        _ => None,
    };
    let config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        url: None,
        awaits_name: false,
        certificate,
        allowed_origins: Vec::new(),
        // The bound of a second is not what is measured.
        handshakes_per_second: u32::MAX,
    };
    let bus = RedisBus::connect(&setup.redis)?;
    let nodes = Arc::new(bus.directory());
    let bus = Arc::new(bus);
    let parts = match &setup.store {
        Some(endpoint) => on(store(endpoint).await, bus, nodes)?,
        None => {
            let store = MemoryStore::new();
            setup.world.fill(&store).await?;
            on(store, bus, nodes)?
        }
    };
    let node = Node::bind(config, parts).await?;
    let address = node.url().trim_start_matches("ws://").trim_end_matches("/socket");
    let admin = node.admin_address().map(|admin| admin.to_string());
    let about = json!({ "address": address, "node_id": node.node_id().as_str(), "admin": admin });
    say(&about.to_string());
    node.serve(std::future::pending()).await;
    Ok(())
}

/// A node's ports on a store.
pub(crate) fn on<S>(
    store: S,
    bus: Arc<dyn EventBus>,
    nodes: Arc<dyn NodeDirectory>,
) -> Result<Parts, Failed>
where
    S: MessageStore + ChannelStore + MemberStore + RevocationStore + 'static,
{
    let store = Arc::new(store);
    Ok(Parts {
        messages: Arc::<S>::clone(&store),
        channels: Arc::<S>::clone(&store),
        members: Arc::<S>::clone(&store),
        revocations: store,
        bus,
        nodes,
        tokens: Arc::new(NoTokens),
        tickets: Arc::new(world::tickets()?),
        clock: Arc::new(SystemClock),
        randomness: Arc::new(SystemRandomness),
        checkups: Vec::new(),
    })
}

/// How an engine at an endpoint is reached.
pub(crate) fn client(endpoint: &str) -> ClientConfig {
    ClientConfig {
        region: "local".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        credentials: CredentialSource::Given {
            access_key_id: "local".to_owned(),
            secret_access_key: "local".to_owned(),
        },
    }
}

/// The adapter on an engine at an endpoint.
pub(crate) async fn store(endpoint: &str) -> DynamoStore {
    let client = dynamo::client(&client(endpoint)).await;
    DynamoStore::new(client, embedded_stack::TABLE_PREFIX, Capacity::default())
}
