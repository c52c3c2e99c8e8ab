//! A whole system with a proxy on every way: what the fault tests run on.

use std::sync::Arc;
use std::time::Duration;

use checker::{Bounds, Verdict};
use client::{Api, Trust};
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use model::{ChannelId, limits};
use runtime::config::RedisUrl;

use crate::authority::Authority;
use crate::cluster::{Cluster, options};
use crate::eventually;
use crate::person::Person;
use crate::process::{NodeProcess, NodeSetup, free_port};
use crate::proxy::http::StoreProxy;
use crate::proxy::tcp::TcpProxy;
use crate::record::{Recorder, Sender};

/// A node process, and what stands on its ways.
#[derive(Debug)]
pub struct SceneNode {
    /// The process.
    pub process: NodeProcess,
    /// Its way to Redis.
    pub bus: TcpProxy,
    /// Its clients' way to it.
    pub door: TcpProxy,
    /// What it held before anybody came.
    base: Holding,
}

/// What a node holds of its machine.
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

impl SceneNode {
    /// What it holds beyond its start and what those who are on it need (K6); `None`: nothing.
    ///
    /// # Panics
    /// If it ended, and the test had not told it to.
    async fn excess(&self) -> Option<String> {
        if !self.process.is_running() {
            assert!(self.process.is_told_to_end(), "the node {} ended by itself", self.process.url);
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

/// How often a client may be told to read again, for each fault.
const RESYNCS_A_FAULT: u32 = 2;
/// How long a node may take to let go of what a fault made it hold.
const REST_MAX: Duration = Duration::from_secs(60);
/// Connections to the store, which a client of it keeps for a while, and one that is just ending.
const FILES_SPARE: usize = limits::STORE_READS_MAX + limits::BACKFILLS_MAX + 8;
/// Threads that look names up, and end when there are none to look up.
const THREADS_SPARE: u64 = 8;
/// What a node may grow by under a fault: rings, views and an allocator that keeps what it had.
const GROWTH_MAX: u64 = 64 << 20;

/// Gateway, functions and relay in this process; nodes as processes; Redis outside.
#[derive(Debug)]
pub struct Scene {
    /// The stack, without nodes of its own.
    pub cluster: Cluster,
    /// The way of functions and relay to Redis.
    pub bus: TcpProxy,
    /// The way of functions to the store.
    pub store: StoreProxy,
    /// The way of nodes to the store.
    pub node_store: StoreProxy,
    /// Nodes, as far as they are there.
    pub nodes: Vec<SceneNode>,
    /// What happens.
    pub recorder: Arc<Recorder>,
    /// Who issues the nodes' certificates, if they have some.
    pub authority: Option<Authority>,
    redis_port: u16,
    plan: Plan,
}

/// What a scene is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The port of its Redis.
    pub redis_port: u16,
    /// Nodes.
    pub nodes: usize,
    /// Replicas that the relay expects.
    pub replicas: u32,
    /// What decides which calls of the store a fault hits.
    pub seed: u64,
    /// Files that a node may have open, if not as many as this process.
    pub open_files: Option<u32>,
    /// Whether clients reach nodes, and functions the store, through proxies: not where thousands
    /// do at once.
    pub doors: bool,
    /// Whether functions reach the store through the proxy even where there are no doors.
    pub store_proxy: bool,
    /// Whether nodes show certificates: each has one of its own.
    pub tls: bool,
}

impl Plan {
    /// Two nodes.
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

impl Scene {
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
        let mut scene = Self {
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
            scene.add_node().await;
        }
        scene
    }

    /// Starts one more node and waits until it is given to clients.
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
        self.nodes.push(SceneNode { process, bus, door, base });
    }

    /// Leads the names of everybody's Redis to another server from here on.
    pub fn switch_name(&mut self, redis_port: u16) {
        self.redis_port = redis_port;
        self.buses().for_each(|bus| bus.retarget(redis_port));
    }

    /// Everybody's way to Redis.
    pub fn buses(&self) -> impl Iterator<Item = &TcpProxy> {
        std::iter::once(&self.bus).chain(self.nodes.iter().map(|node| &node.bus))
    }

    /// Calls as a user, who trusts the nodes' authority.
    ///
    /// # Panics
    /// If the stack's URL is none.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        let trust = self.authority.as_ref().map_or_else(Trust::public, Authority::trust);
        self.cluster.api_trusting(name, trust)
    }

    /// A user's sending half.
    #[must_use]
    pub fn sender(&self, name: &str) -> Sender {
        self.recorder.sender(name, &self.api(name))
    }

    /// A channel of these users, the first of whom makes it.
    ///
    /// # Panics
    /// If there is none.
    pub async fn group(&self, names: &[&str]) -> ChannelId {
        let (creator, members) = names.split_first().expect("somebody makes it");
        self.recorder.group(creator, &self.cluster.api(creator), members).await.id
    }

    /// Recorded, connected and caught-up clients of these users.
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

    /// Waits until everybody has everything, and gives the verdict.
    ///
    /// # Panics
    /// If a rule is broken, or somebody misses something at the end of the time.
    pub async fn settled(&self, people: &[Person], within: Duration) -> Verdict {
        let verdict = self.judged(people, within, RESYNCS_A_FAULT).await;
        assert!(verdict.holds(), "{verdict}");
        self.at_rest().await;
        verdict
    }

    /// The verdict as soon as it holds, or at the end of the time.
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

    /// K6: waits until each node holds no more than it did at its start, and what those who are on
    /// it need.
    ///
    /// # Panics
    /// If one still does after a minute, or ended by itself.
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
