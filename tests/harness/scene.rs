//! A whole system with a proxy on every way: what the fault tests run on.

use std::sync::Arc;
use std::time::Duration;

use checker::{Bounds, Verdict};
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use model::ChannelId;
use runtime::config::RedisUrl;

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
}

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
}

impl Plan {
    /// Two nodes.
    #[must_use]
    pub const fn on(redis_port: u16) -> Self {
        Self { redis_port, nodes: 2, replicas: 0, seed: 1, open_files: None, doors: true }
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
        let way = if plan.doors { store.url() } else { engine.endpoint() };
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
            ..NodeSetup::on(&bus.redis_url(), self.node_store.url())
        };
        let process = NodeProcess::of(&setup).await;
        let nodes = &self.cluster.stack.parts().nodes;
        eventually("the node is known", crate::SOON, async || {
            let fleet = nodes.fleet().await.unwrap_or_default();
            fleet.iter().any(|node| node.lease.url == process.url)
        })
        .await;
        self.nodes.push(SceneNode { process, bus, door });
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

    /// A user's sending half.
    #[must_use]
    pub fn sender(&self, name: &str) -> Sender {
        self.recorder.sender(name, &self.cluster.api(name))
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
        let start = |name: &&str| self.recorder.follow(name, self.cluster.api(name));
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
        let people: Vec<&Person> = people.iter().collect();
        let bounds = Bounds { settle: within, resyncs_per_fault: 2 };
        let deadline = tokio::time::Instant::now() + within + Duration::from_secs(2);
        loop {
            let verdict = self.recorder.verdict(self.cluster.stack.parts(), &people, &bounds).await;
            if verdict.holds() || tokio::time::Instant::now() > deadline {
                assert!(verdict.holds(), "{verdict}");
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
