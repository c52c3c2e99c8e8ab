//! The nodes: real ones, each with its own ports, clock and listener.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use memory::SeededRng;
use messaging::Ports;
use node::Node;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::network::{Cable, End, stream};

/// Makes the ports of a node that starts.
pub(crate) type MakePorts = Box<dyn Fn(u32) -> Ports + Send + Sync>;

/// All nodes. Clones share them.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<State>);

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

struct State {
    make_ports: MakePorts,
    rng: SeededRng,
    pipe_bytes: usize,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    serial: u32,
    nodes: BTreeMap<u32, Process>,
}

struct Process {
    door: mpsc::Sender<Box<dyn node::Stream>>,
    cables: Vec<Cable>,
    unreachable: bool,
    drain: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Fleet {
    /// No nodes yet. A socket's pipe holds `pipe_bytes` each way.
    #[must_use]
    pub(crate) fn new(make_ports: MakePorts, rng: SeededRng, pipe_bytes: usize) -> Self {
        let running = Mutex::default();
        Self(Arc::new(State { make_ports, rng, pipe_bytes, running }))
    }

    /// Starts one more node.
    pub(crate) fn start(&self) {
        let mut running = self.0.running.lock();
        running.serial += 1;
        let serial = running.serial;
        let ports = (self.0.make_ports)(serial);
        let (door, streams) = mpsc::channel(DOOR_MAX);
        let (drain, drained) = oneshot::channel();
        let node =
            Node::handed(format!("ws://{}/socket", authority(serial)), ports, SHARDS, streams);
        let task = tokio::spawn(node.serve(async {
            // A dropped sender means that the node was killed, or that the run is over.
            if drained.await.is_err() {
                std::future::pending().await
            }
        }));
        let (cables, drain) = (Vec::new(), Some(drain));
        running.nodes.insert(serial, Process { door, cables, unreachable: false, drain, task });
    }

    /// The running nodes.
    #[must_use]
    pub(crate) fn nodes(&self) -> Vec<u32> {
        self.0.running.lock().nodes.keys().copied().collect()
    }

    /// Kills a node. With `silently`, its host vanishes as well, so no socket is closed.
    pub(crate) fn kill(&self, node: u32, silently: bool) {
        let Some(process) = self.0.running.lock().nodes.remove(&node) else { return };
        if silently {
            process.cables.iter().for_each(|cable| cable.hole(true, true));
        }
        process.task.abort();
    }

    /// Drains a node.
    pub(crate) fn drain(&self, node: u32) {
        let mut running = self.0.running.lock();
        let drain = running.nodes.get_mut(&node).and_then(|process| process.drain.take());
        if let Some(drain) = drain {
            drain.send(()).unwrap_or_default();
        }
    }

    /// Removes nodes that have ended by themselves.
    pub(crate) fn reap(&self) {
        self.0.running.lock().nodes.retain(|_, process| !process.task.is_finished());
    }

    /// Blocks new sockets to a node, or lets them through again.
    pub(crate) fn set_unreachable(&self, node: u32, unreachable: bool) {
        if let Some(process) = self.0.running.lock().nodes.get_mut(&node) {
            process.unreachable = unreachable;
        }
    }

    /// All sockets of all nodes.
    #[must_use]
    pub(crate) fn cables(&self) -> Vec<Cable> {
        let mut running = self.0.running.lock();
        let of_each = running.nodes.values_mut().flat_map(|process| {
            process.cables.retain(Cable::is_alive);
            process.cables.clone()
        });
        of_each.collect()
    }

    /// Opens a client's connection.
    ///
    /// # Errors
    /// Refused, if no such node runs.
    pub(crate) async fn dial(&self, to: &str) -> io::Result<End> {
        sleep(self.0.rng.ms(1..=20)).await;
        let latency = self.0.rng.ms(1..=20);
        let opened = {
            let mut running = self.0.running.lock();
            let found = running.nodes.iter_mut().find(|(serial, _)| authority(**serial) == to);
            match found {
                Some((_, process)) if process.unreachable => None,
                Some((_, process)) => {
                    let (near, far, cable) = stream(latency, self.0.pipe_bytes);
                    process.cables.retain(Cable::is_alive);
                    process.cables.push(cable);
                    let taken = process.door.try_send(Box::new(far));
                    Some(taken.is_ok().then_some(near))
                }
                None => Some(None),
            }
        };
        match opened {
            Some(near) => near.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()),
            // The packets go nowhere: the dial ends only when the dialler gives up.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn authority(serial: u32) -> String {
    format!("node-{serial}.sim:80")
}

/// How long an orchestrator takes to replace a node.
pub(crate) const REPLACE_AFTER: Duration = Duration::from_secs(4);
/// Writer shards of a node: more than one, so that their order matters.
const SHARDS: usize = 2;
/// Connections that wait to be accepted, like a listen backlog.
const DOOR_MAX: usize = 256;
