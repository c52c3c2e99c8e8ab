//! A fleet on one machine. Each node has its own thread and is killed and replaced like a real one.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dynamo::Capacity;
use messaging::ports::Cause;
use model::{NodeId, limits};
use node::Node;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::stop::Stopped;
use crate::wiring::Wiring;

/// A running node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHandle {
    /// Its id, which is new at every start.
    pub node_id: NodeId,
    /// The URL that clients connect to.
    pub url: String,
    /// The address of its `/metrics`.
    pub admin: Option<SocketAddr>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[error("a node cannot be started")]
pub(crate) struct NodeError(#[source] pub(crate) Cause);

/// The running nodes. Starts more of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    wiring: Arc<Wiring>,
    config: node::Config,
    running: Mutex<Vec<Running>>,
    ended: mpsc::Sender<NodeId>,
}

#[derive(Debug)]
struct Running {
    handle: NodeHandle,
    order: oneshot::Sender<Order>,
    gone: oneshot::Receiver<()>,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    /// Drain: withdraw the lease, then close the sockets.
    Drain,
    /// Die, as after `kill -9`.
    Die,
}

impl Fleet {
    /// Makes a fleet without nodes, and a queue that receives the nodes that ended.
    pub(crate) fn new(
        wiring: Arc<Wiring>,
        allowed_origins: Vec<String>,
        handshakes_per_second: u32,
    ) -> (Arc<Self>, mpsc::Receiver<NodeId>) {
        let (ended, ends) = mpsc::channel(ENDED_MAX);
        let running = Mutex::default();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = node::Config {
            listen: any_port,
            admin: Some(any_port),
            url: None,
            awaits_name: false,
            certificate: None,
            allowed_origins,
            handshakes_per_second,
        };
        (Arc::new(Self { wiring, config, running, ended }), ends)
    }

    /// The running nodes, oldest first.
    pub(crate) fn handles(&self) -> Vec<NodeHandle> {
        self.running.lock().iter().map(|running| running.handle.clone()).collect()
    }

    /// Starts one more node and waits until it accepts sockets.
    pub(crate) async fn start_node(&self) -> Result<NodeHandle, NodeError> {
        let (started, start) = oneshot::channel();
        let (order, orders) = oneshot::channel();
        let (gone_tx, gone) = oneshot::channel();
        let thread = NodeThread {
            wiring: Arc::clone(&self.wiring),
            config: self.config.clone(),
            started,
            orders,
            ended: self.ended.clone(),
            gone: gone_tx,
        };
        let spawned = thread::Builder::new().name("node".to_owned()).spawn(move || thread.run());
        spawned.map_err(|error| NodeError(error.into()))?;
        let handle = match start.await {
            Ok(result) => result?,
            Err(_) => return Err(NodeError("its thread ended".into())),
        };
        self.running.lock().push(Running { handle: handle.clone(), order, gone });
        Ok(handle)
    }

    /// Kills a node without closing its sockets or withdrawing its lease; `false` if none runs.
    pub(crate) async fn kill(&self, node: &NodeId) -> bool {
        let Some(victim) = self.take(node) else { return false };
        victim.end(Order::Die, KILL_WAIT_MAX).await;
        true
    }

    /// Drains all nodes at the same time.
    pub(crate) async fn drain(&self) {
        let leaving = std::mem::take(&mut *self.running.lock());
        let ends = leaving.into_iter().map(|node| node.end(Order::Drain, DRAIN_WAIT_MAX));
        futures_util::future::join_all(ends).await;
    }

    /// Replaces nodes that ended until the stack stops, as the scheduler of a real fleet does.
    pub(crate) async fn replace_ended(
        self: Arc<Self>,
        mut ends: mpsc::Receiver<NodeId>,
        mut stopped: Stopped,
    ) {
        let mut replacements = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped.wait() => return,
                Some(node_id) = ends.recv() => {
                    if self.take(&node_id).is_some() {
                        tracing::error!(node = %node_id, "a node stopped unexpectedly");
                    }
                    tracing::info!(node = %node_id, "a replacement starts soon");
                    replacements.spawn(tokio::time::sleep(REPLACE_AFTER));
                }
                Some(_) = replacements.join_next() => match self.start_node().await {
                    Ok(new) => tracing::info!(node = %new.node_id, "the replacement node is up"),
                    Err(error) => {
                        tracing::error!(cause = %model::chain(&error), "no replacement node");
                        replacements.spawn(tokio::time::sleep(REPLACE_AFTER));
                    }
                },
            }
        }
    }

    fn take(&self, node: &NodeId) -> Option<Running> {
        let mut running = self.running.lock();
        let at = running.iter().position(|running| running.handle.node_id == *node)?;
        Some(running.remove(at))
    }
}

impl Running {
    async fn end(self, order: Order, wait: Duration) {
        // The send fails if the node has already ended.
        if self.order.send(order).is_ok() && tokio::time::timeout(wait, self.gone).await.is_err() {
            tracing::warn!(node = %self.handle.node_id, ?order, "a node takes too long to stop");
        }
    }
}

struct NodeThread {
    wiring: Arc<Wiring>,
    config: node::Config,
    started: oneshot::Sender<Result<NodeHandle, NodeError>>,
    orders: oneshot::Receiver<Order>,
    ended: mpsc::Sender<NodeId>,
    gone: oneshot::Sender<()>,
}

impl NodeThread {
    fn run(self) {
        let Self { wiring, config, started, orders, ended, gone } = self;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("node-worker")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return notify(started, Err(NodeError(error.into()))),
        };
        let node = match runtime.block_on(bind(&wiring, config)) {
            Ok(node) => node,
            Err(error) => return notify(started, Err(error)),
        };
        let node_id = node.node_id().clone();
        let handle = NodeHandle {
            node_id: node_id.clone(),
            url: node.url().to_owned(),
            admin: node.admin_address(),
        };
        notify(started, Ok(handle));
        let drained = live(&runtime, node, orders);
        // Drops a killed node's tasks wherever they are, and their sockets without a close frame.
        // Waits for the tasks to end: a node reported as gone must not accept another socket.
        runtime.shutdown_timeout(RUNTIME_STOP_MAX);
        if !drained && ended.try_send(node_id).is_err() {
            tracing::debug!("nodes are no longer replaced");
        }
        notify(gone, ());
    }
}

async fn bind(wiring: &Wiring, config: node::Config) -> Result<Node, NodeError> {
    let ports = wiring.ports(Capacity::default()).await;
    let ports = ports.map_err(|error| NodeError(error.into()))?;
    Node::bind(config, ports).await.map_err(|error| NodeError(error.into()))
}

/// Lets a node serve until it is ordered to end. Returns whether it drained.
fn live(runtime: &Runtime, node: Node, orders: oneshot::Receiver<Order>) -> bool {
    let (drain, drained) = oneshot::channel();
    runtime.block_on(async {
        let mut serve = pin!(node.serve(async {
            // A dropped sender means drain, too.
            drained.await.unwrap_or_default();
        }));
        let order = tokio::select! {
            () = &mut serve => return false,
            order = orders => order,
        };
        match order {
            Ok(Order::Drain) => {
                notify(drain, ());
                serve.await;
                true
            }
            // The stack itself was dropped.
            Ok(Order::Die) | Err(_) => false,
        }
    })
}

/// Sends a value, and ignores a dropped receiver.
fn notify<T>(to: oneshot::Sender<T>, value: T) {
    to.send(value).unwrap_or_default();
}

/// How long replacing a node takes, as with a real fleet's scheduler.
const REPLACE_AFTER: Duration = Duration::from_secs(10);
/// How long a killed node may take to end.
const KILL_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a node may take to drain, including its runtime.
const DRAIN_WAIT_MAX: Duration = limits::DRAIN_MAX.saturating_add(Duration::from_secs(3));
/// How long the tasks of an ended node may delay the end of its thread.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(1);
/// Ended nodes that are not yet replaced. More nodes than this do not fit on one machine.
const ENDED_MAX: usize = 256;
