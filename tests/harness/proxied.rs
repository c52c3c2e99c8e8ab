//! A cluster with a proxy on every connection, for the fault tests.

use std::sync::Arc;
use std::time::Duration;

use checker::{Bounds, Verdict};
use client::{Api, Trust};
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use model::{ChannelId, limits};
use service::config::RedisUrl;

use crate::authority::Authority;
use crate::cluster::{Cluster, options};
use crate::eventually;
use crate::person::Person;
use crate::port::free_port;
use crate::process::{NodeProcess, NodeSetup};
use crate::proxy::http::StoreProxy;
use crate::proxy::tcp::TcpProxy;
use crate::record::{Recorder, Sender};

/// A node process and the proxies on its connections.
#[derive(Debug)]
pub struct ProxiedNode {
    /// The process.
    pub process: NodeProcess,
    /// The proxy between the node and Redis.
    pub bus: TcpProxy,
    /// The proxy between its clients and the node.
    pub door: TcpProxy,
    /// The resources that it held before any client connected.
    base: Holding,
}

/// The resources that a node process holds.
#[derive(Debug, Clone, Copy)]
struct Holding {
    files: usize,
    threads: u64,
    resident_bytes: u64,
}

impl Holding {
    fn of(node: &NodeProcess) -> Self {
        Self {
            files: node.open_files(),
            threads: node.threads(),
            resident_bytes: node.resident_bytes(),
        }
    }
}

impl ProxiedNode {
    /// The resources that it holds beyond those at its start and of its sockets (K6), if any.
    ///
    /// # Panics
    /// If it ended by itself.
    async fn excess(&self) -> Option<String> {
        if !self.process.is_running() {
            assert!(
                self.process.was_asked_to_end(),
                "the node {} ended by itself",
                self.process.url
            );
            return None;
        }
        let (now, base) = (Holding::of(&self.process), self.base);
        let sockets = self.process.metric("inkwire_sockets").await;
        let files = base.files + usize::try_from(sockets).unwrap_or_default() + FILES_SPARE;
        let bounded = now.files <= files
            && now.threads <= base.threads + THREADS_SPARE
            && now.resident_bytes <= base.resident_bytes + GROWTH_MAX;
        (!bounded).then(|| format!("{now:?}, at its start {base:?}, {sockets} sockets"))
    }
}

/// How many `resync` frames a client may get for each fault.
const RESYNCS_A_FAULT: u32 = 2;
/// How long a node may take to release the resources that it held because of a fault.
const REST_MAX: Duration = Duration::from_secs(60);
/// Connections to the store, which its client keeps for a while, and some that are just ending.
const FILES_SPARE: usize = limits::STORE_READS_MAX + limits::BACKFILLS_MAX + 8;
/// Threads that look up DNS names and end when idle.
const THREADS_SPARE: u64 = 8;
/// How much a node may grow under a fault: rings, views, and memory that the allocator keeps.
const GROWTH_MAX: u64 = 64 << 20;

/// Gateway, functions and relay in this process, nodes as processes, and an external Redis.
#[derive(Debug)]
pub struct ProxiedCluster {
    /// The stack, without nodes of its own.
    pub cluster: Cluster,
    /// The proxy between functions and relay and Redis.
    pub bus: TcpProxy,
    /// The proxy between functions and the store.
    pub store: StoreProxy,
    /// The proxy between nodes and the store.
    pub node_store: StoreProxy,
    /// The nodes that were started.
    pub nodes: Vec<ProxiedNode>,
    /// Records the history of the run.
    pub recorder: Arc<Recorder>,
    /// The authority of the nodes' certificates, if they use TLS.
    pub authority: Option<Authority>,
    redis_port: u16,
    plan: Plan,
}

/// The parameters of a proxied cluster.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The port of its Redis.
    pub redis_port: u16,
    /// Number of nodes.
    pub nodes: usize,
    /// Replicas that the relay expects.
    pub replicas: u32,
    /// Seed that decides which store calls a fault hits.
    pub seed: u64,
    /// A node's limit of open files; `None` for the limit of this process.
    pub open_files: Option<u32>,
    /// Whether clients reach nodes, and functions the store, through proxies. Off in tests with
    /// thousands of clients.
    pub doors: bool,
    /// Whether functions reach the store through the proxy even without `doors`.
    pub store_proxy: bool,
    /// Whether nodes use TLS, each with its own certificate.
    pub tls: bool,
}

impl Plan {
    /// A plan with two nodes.
    #[must_use]
    pub const fn on(redis_port: u16) -> Self {
        Self {
            redis_port,
            nodes: 2,
            replicas: 0,
            seed: 1,
            open_files: None,
            doors: true,
            store_proxy: false,
            tls: false,
        }
    }
}

impl ProxiedCluster {
    /// Starts everything.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(plan: Plan) -> Self {
        let engine = Arc::new(Engine::start(EngineData::Memory).expect("an engine in memory"));
        let store = StoreProxy::start(engine.endpoint(), plan.seed).await;
        let node_store = StoreProxy::start(engine.endpoint(), plan.seed + 1).await;
        let bus = TcpProxy::start(plan.redis_port).await;
        let way = if plan.doors || plan.store_proxy { store.url() } else { engine.endpoint() };
        let stack = StackOptions {
            nodes: 0,
            data: Data::Endpoint(way.to_owned()),
            engine: Some(engine),
            bus: Bus::Redis(RedisUrl::parse(&bus.redis_url()).expect("a URL of ours")),
            replicas: plan.replicas,
            ..options()
        };
        let cluster = Cluster::of(stack, None).await;
        let mut proxied = Self {
            cluster,
            bus,
            store,
            node_store,
            nodes: Vec::new(),
            recorder: Recorder::new(),
            authority: plan.tls.then(Authority::new),
            redis_port: plan.redis_port,
            plan,
        };
        for _ in 0..plan.nodes {
            proxied.add_node().await;
        }
        proxied
    }

    /// Starts one more node and waits until clients can be assigned to it.
    pub async fn add_node(&mut self) {
        let (bus, port) = (TcpProxy::start(self.redis_port).await, free_port());
        let door = TcpProxy::start(port).await;
        let setup = NodeSetup {
            port,
            door: self.plan.doors.then_some(door.port()),
            open_files: self.plan.open_files,
            certificate: self.authority.as_ref().map(Authority::issue),
            ..NodeSetup::plain(&bus.redis_url(), self.node_store.url())
        };
        let process = NodeProcess::of(&setup).await;
        let nodes = &self.cluster.stack.ports().nodes;
        eventually("the node is known", crate::SOON, async || {
            let fleet = nodes.fleet().await.unwrap_or_default();
            fleet.iter().any(|node| node.lease.url == process.url)
        })
        .await;
        let base = Holding::of(&process);
        self.nodes.push(ProxiedNode { process, bus, door, base });
    }

    /// Redirects new Redis connections of all parts to another server, as a DNS change does.
    pub fn switch_name(&mut self, redis_port: u16) {
        self.redis_port = redis_port;
        self.buses().for_each(|bus| bus.retarget(redis_port));
    }

    /// The Redis proxies of all parts.
    pub fn buses(&self) -> impl Iterator<Item = &TcpProxy> {
        std::iter::once(&self.bus).chain(self.nodes.iter().map(|node| &node.bus))
    }

    /// An API client for a user that trusts the nodes' authority.
    ///
    /// # Panics
    /// If the stack's URL is invalid.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        let trust = self.authority.as_ref().map_or_else(Trust::public, Authority::trust);
        self.cluster.api_trusting(name, trust)
    }

    /// A recorded sender for a user.
    #[must_use]
    pub fn sender(&self, name: &str) -> Sender {
        self.recorder.sender(name, &self.api(name))
    }

    /// Creates a channel of these users, as the first one of them.
    ///
    /// # Panics
    /// If there are no users.
    pub async fn group(&self, names: &[&str]) -> ChannelId {
        let (creator, members) = names.split_first().expect("a creator");
        self.recorder.group(creator, &self.cluster.api(creator), members).await.id
    }

    /// Starts a recorded client for each of these users, and waits until all have caught up.
    pub async fn people(&self, names: &[&str]) -> Vec<Person> {
        let start = |name: &&str| self.recorder.follow(name, self.api(name));
        let people: Vec<Person> = names.iter().map(start).collect();
        for person in &people {
            person
                .until("caught up", |event| matches!(event, client::Event::CaughtUp { .. }))
                .await;
        }
        people
    }

    /// Waits until every client has every message, and returns the verdict.
    ///
    /// # Panics
    /// If a rule is broken, or a message is missing at the deadline.
    pub async fn settled(&self, people: &[Person], within: Duration) -> Verdict {
        let verdict = self.judged(people, within, RESYNCS_A_FAULT).await;
        assert!(verdict.holds(), "{verdict}");
        self.at_rest().await;
        verdict
    }

    /// The verdict as soon as it holds, or at the deadline.
    pub async fn judged(
        &self,
        people: &[Person],
        within: Duration,
        resyncs_a_fault: u32,
    ) -> Verdict {
        let people: Vec<&Person> = people.iter().collect();
        let bounds = Bounds::of_any_fault(within, resyncs_a_fault);
        let deadline = tokio::time::Instant::now() + within + Duration::from_secs(2);
        loop {
            let verdict = self.recorder.verdict(self.cluster.stack.ports(), &people, &bounds).await;
            if verdict.holds() || tokio::time::Instant::now() > deadline {
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// K6: waits until each node holds no more resources than at its start plus those of its
    /// sockets.
    ///
    /// # Panics
    /// If one still holds more after a minute, or ended by itself.
    pub async fn at_rest(&self) {
        for node in &self.nodes {
            let deadline = tokio::time::Instant::now() + REST_MAX;
            while let Some(excess) = node.excess().await {
                assert!(tokio::time::Instant::now() < deadline, "a node holds {excess}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
