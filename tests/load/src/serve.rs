//! The node under test: the node's own library and a real Redis. The store is in memory and has the
//! population's rows, or is an endpoint that has them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use auth::tokens::NoTokens;
use dynamo::{Capacity, CredentialSource, DynamoStore};
use memory::MemoryStore;
use messaging::Ports;
use messaging::ports::Store;
use node::{Config, Node};
use serde_json::json;
use service::certificate::Certificate;
use service::compose::BusParts;
use service::config::{RedisUrl, StoreConfig};

use crate::Failed;
use crate::population::{self, Population};
use crate::record::say;
use crate::silent::MaybeSilent;

/// How a node under test is set up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Setup {
    /// The bus.
    #[arg(long)]
    pub(crate) redis: String,
    /// Files with a certificate chain and its key, for TLS.
    #[arg(long, num_args = 2)]
    pub(crate) certificate: Option<Vec<PathBuf>>,
    /// Endpoint of a store that holds the population's rows; one in memory if absent.
    #[arg(long)]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) population: Population,
}

/// Serves until the process is killed.
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
        // Not limited: the limit per second is not measured.
        handshakes_per_second: u32::MAX,
    };
    let bus = service::compose::redis(&RedisUrl::parse(&setup.redis)?)?;
    let ports = match &setup.store {
        Some(endpoint) => ports(store(endpoint, Capacity::default()).await, bus)?,
        None => {
            let store = MemoryStore::new();
            setup.population.fill(&store).await?;
            ports(MaybeSilent::on_command(store), bus)?
        }
    };
    let node = Node::bind(config, ports).await?;
    let address = node.url().trim_start_matches("ws://").trim_end_matches("/socket");
    let admin = node.admin_address().map(|admin| admin.to_string());
    let about = json!({ "address": address, "node_id": node.node_id().as_str(), "admin": admin });
    say(&about.to_string());
    node.serve(std::future::pending()).await;
    Ok(())
}

/// A node's ports.
pub(crate) fn ports<S>(store: S, bus: BusParts) -> Result<Ports, Failed>
where
    S: Store + 'static,
{
    Ok(service::compose::ports(store, bus, Arc::new(NoTokens), Arc::new(population::tickets()?)))
}

/// The DynamoDB adapter on an engine at an endpoint. `capacity` counts what it costs.
pub(crate) async fn store(endpoint: &str, capacity: Capacity) -> DynamoStore {
    let config = StoreConfig {
        region: "local".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        table_prefix: embedded_stack::TABLE_PREFIX.to_owned(),
    };
    service::compose::store(&config, CredentialSource::local(), capacity).await
}
