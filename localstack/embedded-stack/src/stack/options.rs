//! What a stack is made of.

use std::path::PathBuf;
use std::sync::Arc;

use model::limits;
use runtime::Secrets;
use runtime::config::RedisUrl;

use crate::engine::Engine;

/// Where rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In the embedded engine's memory.
    Memory,
    /// In the embedded engine, in this directory.
    Directory(PathBuf),
    /// Behind a DynamoDB-compatible endpoint.
    Endpoint(String),
}

/// Where publications and leases are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bus {
    /// In this process.
    InProcess,
    /// In a real Redis or Valkey.
    Redis(RedisUrl),
}

/// What to start.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Port of the gateway on 127.0.0.1; 0 picks one.
    pub port: u16,
    /// Nodes to start.
    pub nodes: usize,
    /// Where rows are.
    pub data: Data,
    /// An engine that runs already, behind the endpoint that `data` names: something may stand in
    /// between. Without it nothing feeds the relay of a stack with an endpoint.
    pub engine: Option<Arc<Engine>>,
    /// Where publications and leases are.
    pub bus: Bus,
    /// Replicas that the bus is given: the relay takes none of them for granted.
    pub replicas: u32,
    /// Where the stack's own secrets are kept; in memory only if nowhere.
    pub keep_secrets_in: Option<PathBuf>,
    /// What signs tokens, instead of a secret of the stack's own.
    pub token_secrets: Option<Secrets>,
    /// What signs tickets, instead of a secret of the stack's own.
    pub ticket_secrets: Option<Secrets>,
    /// Whether an empty store gets the demo workspace.
    pub seed: bool,
    /// Origins that browsers may connect to nodes from, besides the gateway's own.
    pub allowed_origins: Vec<String>,
    /// Handshakes a second that a node takes.
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
