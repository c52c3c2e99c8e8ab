//! The options of a stack.

use std::path::PathBuf;
use std::sync::Arc;

use auth::Secrets;
use model::limits;
use service::config::RedisUrl;

use crate::engine::Engine;

/// Where rows are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In the embedded engine's memory.
    Memory,
    /// In the embedded engine, in this directory.
    Directory(PathBuf),
    /// At a DynamoDB-compatible endpoint.
    Endpoint(String),
}

/// Which bus and node directory to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bus {
    /// In this process.
    InProcess,
    /// In a real Redis or Valkey.
    Redis(RedisUrl),
}

/// The options of a stack.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Port of the gateway on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Nodes to start.
    pub nodes: usize,
    /// Where rows are stored.
    pub data: Data,
    /// A running engine that serves the endpoint in `data`, perhaps through a proxy. Without it, a
    /// stack with an endpoint has no stream to feed its relay.
    pub engine: Option<Arc<Engine>>,
    /// Which bus and node directory to use.
    pub bus: Bus,
    /// How many replicas Redis should have; the relay does not assume that they are connected.
    pub replicas: u32,
    /// Directory of the stack's own secrets. `None` keeps them in memory only.
    pub keep_secrets_in: Option<PathBuf>,
    /// Secrets that sign tokens. `None` uses a secret of the stack.
    pub token_secrets: Option<Secrets>,
    /// Secrets that sign tickets. `None` uses a secret of the stack.
    pub ticket_secrets: Option<Secrets>,
    /// Whether an empty store gets the demo workspace.
    pub seed: bool,
    /// Origins whose pages may call the gateway and connect to nodes, besides the gateway's own.
    pub allowed_origins: Vec<String>,
    /// Handshakes per second that a node accepts.
    pub handshakes_per_second: u32,
}

impl Default for StackOptions {
    /// Two nodes, everything in memory, on a port that is free, without the demo workspace.
    fn default() -> Self {
        Self {
            port: 0,
            nodes: 2,
            data: Data::Memory,
            engine: None,
            bus: Bus::InProcess,
            replicas: 0,
            keep_secrets_in: None,
            token_secrets: None,
            ticket_secrets: None,
            seed: false,
            allowed_origins: Vec::new(),
            handshakes_per_second: limits::HANDSHAKES_PER_SECOND_MAX,
        }
    }
}
