//! A seeded random schedule of faults while people send, are removed and added (H). A failure
//! prints its seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checker::{Bounds, Change, Verdict};
use memory::SeededRng;
use model::ChannelId;
use tests::failover::RedisPair;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::http::{Rule, StoreFault};
use tests::proxy::tcp::{Fault, Flow, Scope, TcpProxy};
use tests::record::{Recorder, Sender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figures::{ClientTraffic, figure, names, strs};

#[tokio::test(flavor = "multi_thread")]
async fn g1_g3_g4_g5_g6_g7_random_faults_lose_double_and_leak_nothing() {
    let seconds = number("INKWIRE_FAULT_SECONDS").unwrap_or(15);
    let seed = number("INKWIRE_FAULT_SEED").unwrap_or(1);
    let (verdict, traffic) = round(seed, Duration::from_secs(seconds), SENDERS).await;
    figure!("H random faults, seed {seed}, {seconds} s: {verdict}; {traffic}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_random_faults_over_a_hundred_thousand_sends() {
    let first = number("INKWIRE_FAULT_SEED").unwrap_or(100);
    let seconds = number("INKWIRE_FAULT_SECONDS").unwrap_or(45);
    let wanted = number("INKWIRE_FAULT_SENDS").unwrap_or(100_000);
    let mut total = Verdict::default();
    let begun = Instant::now();
    for seed in first.. {
        let (verdict, traffic) = round(seed, Duration::from_secs(seconds), SENDERS).await;
        figure!("H random faults, seed {seed}, {seconds} s: {verdict}; {traffic}");
        total.add(verdict);
        if total.acknowledged >= wanted {
            let took = begun.elapsed();
            figure!("H random faults, seeds {first}-{seed}, {took:.0?} in all: {total}");
            return;
        }
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

/// Injects random faults, one at a time.
pub(crate) struct RandomFaults {
    pair: RedisPair,
    proxied: ProxiedCluster,
    rng: SeededRng,
    failed_over: bool,
}

/// Random faults for some time, under load. Returns the verdict and what the clients received.
pub(crate) async fn round(seed: u64, time: Duration, senders: usize) -> (Verdict, ClientTraffic) {
    let pair = RedisPair::start().await;
    let plan = Plan { seed, ..Plan::on(pair.old.port()) };
    let proxied = ProxiedCluster::start(plan).await;
    let names = names(8);
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(proxied.group(&strs(&names)).await);
    }
    let people = proxied.people(&strs(&names)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = JoinSet::new();
    for number in 0..senders {
        let rng = SeededRng::new(seed ^ ((number as u64 + 1) << 32));
        let sender = proxied.sender(&names[number % 6]);
        work.spawn(send(sender, channels.clone(), rng, number, Arc::clone(&stop)));
    }
    for name in names.iter().skip(6) {
        let api = proxied.cluster.api(&names[0]);
        let recorder = Arc::clone(&proxied.recorder);
        work.spawn(race(recorder, api, channels.clone(), name.clone(), Arc::clone(&stop)));
    }
    let mut faults = RandomFaults::of(pair, proxied, seed);
    let end = Instant::now() + time;
    while Instant::now() < end {
        faults.pause().await;
        faults.fault().await;
    }
    stop.store(true, Ordering::Relaxed);
    work.join_all().await;
    let (proxied, _pair) = faults.into_parts();
    let verdict = settled(&proxied, &people, seed).await;
    let traffic = ClientTraffic::of(&people);
    figure!("seed {seed}: {traffic}");
    let is_news = traffic.read < ROWS_MIN || traffic.read_again_share() <= KNOWN_SHARE_MAX;
    assert!(is_news, "seed {seed}: {traffic}");
    (verdict, traffic)
}

async fn settled(proxied: &ProxiedCluster, people: &[Person], seed: u64) -> Verdict {
    let people: Vec<&Person> = people.iter().collect();
    let bounds = Bounds::of_any_fault(SETTLE, 2);
    let end = Instant::now() + SETTLE;
    loop {
        let ports = proxied.cluster.stack.ports();
        let verdict = proxied.recorder.verdict(ports, &people, &bounds).await;
        if verdict.holds() {
            proxied.at_rest().await;
            return verdict;
        }
        assert!(Instant::now() < end, "seed {seed}: {verdict}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn send(
    sender: Sender,
    channels: Vec<ChannelId>,
    rng: SeededRng,
    number: usize,
    stop: Arc<AtomicBool>,
) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let channel = &channels[rng.index(channels.len())];
        sender.says(channel, &format!("{number}: {n}")).await;
        n += 1;
    }
}

/// Removes a member and adds them again, over and over. Ends with an addition.
async fn race(
    recorder: Arc<Recorder>,
    api: client::Api,
    channels: Vec<ChannelId>,
    name: String,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        for channel in &channels {
            // A call without an answer may have taken effect, so repeat it until it is answered.
            for change in [Change::Remove, Change::Add] {
                while !recorder.change(&api, channel, &name, change).await {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

impl RandomFaults {
    pub(crate) fn of(pair: RedisPair, proxied: ProxiedCluster, seed: u64) -> Self {
        Self { pair, proxied, rng: SeededRng::new(seed), failed_over: false }
    }

    /// The cluster and its Redis, once no more faults are wanted.
    pub(crate) fn into_parts(self) -> (ProxiedCluster, RedisPair) {
        (self.proxied, self.pair)
    }

    /// Waits a moment without a fault.
    pub(crate) async fn pause(&mut self) {
        let pause = self.rng.ms(100..=800);
        tokio::time::sleep(pause).await;
    }

    pub(crate) async fn fault(&mut self) {
        let kinds: u64 = if self.failed_over { 18 } else { 19 };
        let kind = self.rng.below(kinds);
        let time = self.rng.ms(300..=2_500);
        let node = self.rng.index(2);
        let name = match kind {
            0..=5 => self.on_the_way(kind, node, time).await,
            6..=10 => self.in_redis(kind, time).await,
            11..=14 => self.in_the_store(kind, time).await,
            15..=17 => self.in_a_node(kind, node, time).await,
            _ => self.failover().await,
        };
        self.proxied.recorder.healed(name);
    }

    fn begins(&self, name: &'static str) -> &'static str {
        self.proxied.recorder.fault(name);
        name
    }

    async fn on_the_way(&self, kind: u64, node: usize, time: Duration) -> &'static str {
        let node = &self.proxied.nodes[node];
        let slow = Flow::Slow(Duration::from_millis(30));
        let (name, way, fault) = match kind {
            0 => ("a node's Redis refuses", &node.bus, Fault::REFUSE),
            1 => ("a node's Redis is partitioned", &node.bus, Fault::PARTITION),
            2 => {
                let one_way =
                    Fault { down: Flow::Swallow, scope: Scope::Subscribers, ..Fault::NONE };
                ("a half-open subscription", &node.bus, one_way)
            }
            3 => ("the functions' Redis is a black hole", &self.proxied.bus, Fault::BLACK_HOLE),
            4 => ("a node's clients are partitioned", &node.door, Fault::PARTITION),
            _ => {
                ("a node's link is slow", &node.door, Fault { up: slow, down: slow, ..Fault::NONE })
            }
        };
        self.begins(name);
        way.set(fault);
        if kind == 0 {
            way.reset_all();
        }
        tokio::time::sleep(time).await;
        way.set(Fault::NONE);
        if kind == 4 {
            way.reset_all();
        }
        name
    }

    async fn in_redis(&self, kind: u64, time: Duration) -> &'static str {
        let redis = if self.failed_over { &self.pair.new } else { &self.pair.old };
        match kind {
            6 => {
                let name = self.begins("Redis hangs");
                redis.pause();
                tokio::time::sleep(time).await;
                redis.resume();
                name
            }
            7 => {
                let name = self.begins("FLUSHALL");
                redis.command(&["FLUSHALL"]);
                name
            }
            8 => {
                let name = self.begins("CLIENT KILL TYPE pubsub");
                redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                name
            }
            9 => {
                let name = self.begins("NOSCRIPT");
                redis.command(&["SCRIPT", "FLUSH"]);
                name
            }
            _ => {
                let name = self.begins("OOM");
                redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
                tokio::time::sleep(time).await;
                redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
                name
            }
        }
    }

    async fn in_the_store(&self, kind: u64, time: Duration) -> &'static str {
        let all = Rule::all;
        let (name, rules) = match kind {
            11 => ("answers of the store are lost", vec![all(StoreFault::LoseAnswer).share(30)]),
            12 => {
                let throttle = all(StoreFault::Throttle).share(30);
                let fail = all(StoreFault::ServerError).share(10);
                ("the store throttles and fails", vec![throttle, fail])
            }
            13 => ("the store is down", vec![all(StoreFault::Refuse)]),
            _ => {
                let stale = all(StoreFault::Stale).of(&["Query", "GetItem", "BatchGetItem"]);
                let twice = all(StoreFault::Twice).of(&["PutItem", "TransactWriteItems"]);
                ("writes arrive twice, reads are stale", vec![stale, twice])
            }
        };
        self.begins(name);
        self.proxied.store.set(rules.clone());
        self.proxied.node_store.set(rules);
        tokio::time::sleep(time).await;
        self.proxied.store.set(Vec::new());
        self.proxied.node_store.set(Vec::new());
        name
    }

    async fn in_a_node(&mut self, kind: u64, node: usize, time: Duration) -> &'static str {
        if kind == 15 {
            let name = self.begins("SIGSTOP");
            self.proxied.nodes[node].process.pause();
            tokio::time::sleep(time).await;
            self.proxied.nodes[node].process.resume();
            return name;
        }
        let name = self.begins(if kind == 16 { "SIGKILL" } else { "SIGTERM" });
        let mut leaving = self.proxied.nodes.remove(node);
        if kind == 16 {
            leaving.process.kill();
        } else {
            leaving.process.terminate();
        }
        self.proxied.add_node().await;
        tokio::time::sleep(time).await;
        name
    }

    /// Once per round: the tail of the stream is lost, and connections break.
    async fn failover(&mut self) -> &'static str {
        let name = self.begins("failover");
        self.failed_over = true;
        self.pair.stop_replication();
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.pair.old.kill();
        self.pair.promote().await;
        self.proxied.switch_name(self.pair.new.port());
        self.proxied.buses().for_each(TcpProxy::reset_all);
        name
    }
}

const SENDERS: usize = 48;
/// The largest share of read messages that may be known already, if there are enough of them.
const KNOWN_SHARE_MAX: f64 = 0.3;
const ROWS_MIN: usize = 500;
const SETTLE: Duration = Duration::from_secs(60);
