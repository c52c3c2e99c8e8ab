//! All ports, in process.

use std::sync::Arc;

use messaging::Ports;
use messaging::ports::{Clock, Tickets, TokenVerifier};

use crate::{MemoryBus, MemoryDirectory, MemoryFiles, MemoryStore, PlainSeal, SeededRandomness};

/// Ports on one store, one bus and one node directory, without health checks. Files are in memory, too.
#[must_use]
pub fn ports(
    store: Arc<MemoryStore>,
    bus: Arc<MemoryBus>,
    nodes: Arc<MemoryDirectory>,
    (tokens, tickets): (Arc<dyn TokenVerifier>, Arc<dyn Tickets>),
    clock: Arc<dyn Clock>,
    randomness: SeededRandomness,
) -> Ports {
    Ports {
        messages: store.clone(),
        attachments: store.clone(),
        files: Arc::new(MemoryFiles::new()),
        channels: store.clone(),
        members: store.clone(),
        devices: store.clone(),
        mentions: store.clone(),
        pins: store.clone(),
        threads: store.clone(),
        read_marks: store.clone(),
        revocations: store.clone(),
        profiles: store,
        bus: bus.clone(),
        sessions: bus.clone(),
        spool: bus.clone(),
        receipts: bus.clone(),
        seal: Arc::new(PlainSeal),
        nodes,
        presence: bus,
        tokens,
        tickets,
        clock,
        randomness: Arc::new(randomness),
        health_checks: Vec::new(),
    }
}
