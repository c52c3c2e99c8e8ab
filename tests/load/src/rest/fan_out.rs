//! A loop over one publication's way through a node: from the bus in process to a hundred sockets
//! on pipes, so that neither the kernel nor Redis is counted.

use std::sync::Arc;

use memory::MemoryStore;
use messaging::ports::EventBus;
use node::{Node, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::Outcome;
use super::handlers::memory_bus;
use crate::client::{frame, hello, number, upgrade};
use crate::population::{Population, publication};
use crate::{Failed, serve};

/// A node and its clients in this process.
pub(crate) struct FanOut {
    bus: Arc<dyn EventBus>,
    population: Population,
    clients: Vec<(DuplexStream, Vec<u8>)>,
    next: u64,
}

impl FanOut {
    /// Starts the node and attaches its clients.
    ///
    /// # Errors
    /// If a client does not attach.
    pub(crate) async fn start() -> Outcome<Self> {
        let population = Population::one_channel(SOCKETS);
        let store = MemoryStore::new();
        population.fill(&store).await?;
        let parts = memory_bus();
        let bus = Arc::clone(&parts.bus);
        let ports = serve::ports(store, parts)?;
        let (streams, accepted) = mpsc::channel::<Box<dyn Stream>>(SOCKETS);
        let node = Node::handed("ws://node.example/socket".to_owned(), ports, 1, accepted);
        let node_id = node.node_id().clone();
        tokio::spawn(node.serve(std::future::pending()));
        let mut clients = Vec::new();
        for socket in 0..SOCKETS {
            let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            streams.send(Box::new(theirs)).await.map_err(|_gone| "the node is gone")?;
            ours.write_all(upgrade(([127, 0, 0, 1], 80).into()).as_bytes()).await?;
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                ours.read_buf(&mut read).await?;
            }
            ours.write_all(&hello(&population.ticket(socket, &node_id)?)).await?;
            read.clear();
            while frame(&read).is_none() {
                ours.read_buf(&mut read).await?;
            }
            read.clear();
            clients.push((ours, read));
        }
        Ok(Self { bus, population, clients, next: 0 })
    }

    /// Publishes messages one after the other. Each waits until every client has the one before.
    ///
    /// # Errors
    /// If the node ends.
    pub(crate) async fn publish(&mut self, times: u32) -> Result<(), Failed> {
        for _ in 0..times {
            let (workspace, message) = self.population.message(0, self.next, TEXT_BYTES)?;
            self.bus.publish(&workspace, &publication(&message)).await?;
            for (client, read) in &mut self.clients {
                while !take(read, self.next) {
                    if client.read_buf(read).await? == 0 {
                        return Err("the node ended a socket".into());
                    }
                }
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Takes whole frames off. Returns whether the message with this number was among them.
fn take(read: &mut Vec<u8>, wanted: u64) -> bool {
    while let Some((payload, rest)) = frame(read) {
        let (is_wanted, left) = (number(payload) == Some(wanted), rest.len());
        read.drain(..read.len() - left);
        if is_wanted {
            return true;
        }
    }
    false
}

/// Sockets in the channel.
const SOCKETS: usize = 100;
/// Capacity of a pipe.
const PIPE_BYTES: usize = 64 * 1024;
/// Length of a message's text, without its number.
const TEXT_BYTES: usize = 100;
