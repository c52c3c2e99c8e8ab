//! What a slow or silent store or Redis costs, and how soon the system recovers.
//!
//! Each row is one kind of brownout. The same messages are sent at the same rate with and without
//! it, half of them in channels that no node has a view of yet. Three numbers judge a row:
//!
//! - amplification: store reads and frames to sockets, during the brownout and for ten seconds
//!   after it, divided by those of a quiet period with as many messages;
//! - calm: seconds from the end of the brownout until the p99 of deliveries is quiet again;
//! - what the checker finds lost, doubled or leaked.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checker::Change;
use client::Event;
use model::{ChannelId, MessageId};
use tests::percentile;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::flap;
use tests::proxy::http::{Rule, StoreFault};
use tests::proxy::tcp::{Fault, Flow, Scope};
use tests::record::Sender;
use tests::redis::{Flavor, RedisServer};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::figures::{figure, lost, names, strs};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_silent_store_costs_little_and_recovery_is_fast() {
    rows(&Brownout::SLOW_STORE, IN_CI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttling_or_flapping_store_costs_little_and_recovery_is_fast() {
    rows(&Brownout::FAILING_STORE, IN_CI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_or_slow_redis_commands_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::CommandsSilent, Brownout::CommandsSlow], IN_CI).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_or_slow_redis_pushes_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::PushesSilent, Brownout::PushesSlow], IN_CI).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_minute_of_a_slow_or_silent_store_costs_little_and_recovery_is_fast() {
    rows(&Brownout::SLOW_STORE, A_MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_minute_of_a_throttling_or_flapping_store_costs_little_and_recovery_is_fast() {
    rows(&Brownout::FAILING_STORE, A_MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_minute_of_any_redis_brownout_costs_little_and_recovery_is_fast() {
    rows(&Brownout::REDIS, A_MINUTE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_ten_minutes_of_a_silent_store_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::StoreSilent], TEN_MINUTES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_ten_minutes_of_a_store_silent_to_nodes_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::NodesStoreSilent], TEN_MINUTES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_ten_minutes_of_silent_redis_commands_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::CommandsSilent], TEN_MINUTES).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_ten_minutes_of_silent_redis_pushes_cost_little_and_recovery_is_fast() {
    rows(&[Brownout::PushesSilent], TEN_MINUTES).await;
}

/// The kinds of brownout. They concern functions and nodes alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brownout {
    StoreSlow,
    StoreSilent,
    /// For nodes only: functions still store and publish.
    NodesStoreSilent,
    StoreThrottles,
    StoreFlaps,
    CommandsSilent,
    CommandsSlow,
    PushesSilent,
    PushesSlow,
}

impl Brownout {
    const SLOW_STORE: [Self; 3] = [Self::StoreSlow, Self::StoreSilent, Self::NodesStoreSilent];
    const FAILING_STORE: [Self; 2] = [Self::StoreThrottles, Self::StoreFlaps];
    const REDIS: [Self; 4] =
        [Self::CommandsSilent, Self::CommandsSlow, Self::PushesSilent, Self::PushesSlow];

    const fn name(self) -> &'static str {
        match self {
            Self::StoreSlow => "DynamoDB slow, p50 2 s",
            Self::StoreSilent => "DynamoDB silent",
            Self::NodesStoreSilent => "DynamoDB silent to nodes",
            Self::StoreThrottles => "DynamoDB throttles 90 %",
            Self::StoreFlaps => "DynamoDB silent every other 3 s",
            Self::CommandsSilent => "Redis commands silent",
            Self::CommandsSlow => "Redis commands 2 s slow",
            Self::PushesSilent => "Redis pushes silent",
            Self::PushesSlow => "Redis pushes 2 s slow",
        }
    }

    fn switch(self, proxied: &ProxiedCluster, is_on: bool) {
        let late = Flow::Late(SLOW);
        match self {
            Self::StoreSlow => store(proxied, is_on, Rule::all(StoreFault::Slow(SLOW))),
            Self::StoreSilent | Self::StoreFlaps => {
                store(proxied, is_on, Rule::all(StoreFault::Silent));
            }
            Self::NodesStoreSilent => {
                let silent = vec![Rule::all(StoreFault::Silent)];
                proxied.node_store.set(if is_on { silent } else { Vec::new() });
            }
            Self::StoreThrottles => {
                store(proxied, is_on, Rule::all(StoreFault::Throttle).share(90));
            }
            Self::CommandsSilent => {
                redis(proxied, is_on, Fault { scope: Scope::Commands, ..Fault::PARTITION });
            }
            Self::CommandsSlow => {
                redis(proxied, is_on, Fault { down: late, scope: Scope::Commands, ..Fault::NONE });
            }
            Self::PushesSilent => {
                redis(proxied, is_on, Fault { scope: Scope::Subscribers, ..Fault::PARTITION });
            }
            Self::PushesSlow => {
                redis(
                    proxied,
                    is_on,
                    Fault { down: late, scope: Scope::Subscribers, ..Fault::NONE },
                );
            }
        }
    }

    async fn last(self, proxied: &ProxiedCluster, time: Duration) {
        if self == Self::StoreFlaps {
            return flap(time, FLAP, |is_on| self.switch(proxied, is_on)).await;
        }
        self.switch(proxied, true);
        tokio::time::sleep(time).await;
        self.switch(proxied, false);
    }
}

fn store(proxied: &ProxiedCluster, is_on: bool, rule: Rule) {
    let rules = if is_on { vec![rule] } else { Vec::new() };
    proxied.store.set(rules.clone());
    proxied.node_store.set(rules);
}

fn redis(proxied: &ProxiedCluster, is_on: bool, fault: Fault) {
    let fault = if is_on { fault } else { Fault::NONE };
    proxied.buses().for_each(|bus| bus.set(fault));
}

/// Runs some brownouts one after the other, and judges each.
async fn rows(brownouts: &[Brownout], time: Duration) {
    let mut run = BrownoutRun::start(2 * brownouts.len()).await;
    let quiet = run.phase(None, (time + AFTER).min(QUIET_MAX) - AFTER).await;
    let mut missed = Vec::new();
    for brownout in brownouts {
        // A machine that is busy with something else can delay a few deliveries. It does not do so
        // at the same moment twice, so a row fails only if it misses its bars twice.
        for is_last in [false, true] {
            let phase = run.phase(Some(*brownout), time).await;
            let row = phase.against(&quiet);
            figure!("brownout, {} for {time:?}: {row}", brownout.name());
            match row.missed(brownout.name()) {
                None => break,
                Some(miss) if is_last => missed.push(miss),
                Some(_) => {}
            }
        }
    }
    let verdict = run.proxied.judged(&run.people, SETTLE, RESYNCS_A_FAULT).await;
    figure!("brownout, {} rows: {verdict}", brownouts.len());
    assert!(missed.is_empty(), "{}", missed.join("; "));
    assert!(verdict.holds(), "{verdict}");
    run.proxied.at_rest().await;
}

/// People in all channels. One of them is removed from some channels and added again.
struct BrownoutRun {
    _redis: RedisServer,
    proxied: ProxiedCluster,
    names: Vec<String>,
    people: Vec<Person>,
    /// Many senders that each send rarely: after a failure, a client pauses only itself.
    speakers: Vec<Sender>,
    warm: Vec<ChannelId>,
    /// For each phase, channels in which nothing was sent before.
    cold: VecDeque<Vec<ChannelId>>,
    /// Messages so far. Each text has its own number, by which the checker distinguishes them.
    said: AtomicU64,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    started: Instant,
    stored: Option<(MessageId, Instant)>,
}

/// What was counted from a phase's start until some seconds after the end of its brownout.
struct Phase {
    ended: Instant,
    reads: u64,
    frames: u64,
    resyncs: usize,
    closed: usize,
    sent: Vec<Sent>,
    /// When each message reached each person.
    reached: Vec<HashMap<MessageId, Instant>>,
}

impl BrownoutRun {
    async fn start(rows: usize) -> Self {
        let redis = RedisServer::start(Flavor::Redis);
        let proxied = ProxiedCluster::start(Plan::on(redis.port())).await;
        let names = names(PEOPLE);
        let mut channels = Vec::new();
        for _ in 0..CHANNELS * (rows + 2) {
            channels.push(proxied.group(&strs(&names)).await);
        }
        let mut sets = channels.chunks(CHANNELS).map(<[_]>::to_vec);
        let warm = sets.next().unwrap_or_default();
        let cold = sets.collect();
        let stay = names.iter().take(PEOPLE - 1).cycle();
        let speakers: Vec<Sender> = stay.take(SPEAKERS).map(|name| proxied.sender(name)).collect();
        let people = proxied.people(&strs(&names)).await;
        for channel in &warm {
            speakers[0].says(channel, "warm").await;
            for person in &people {
                person.hears(channel, "warm").await;
            }
        }
        Self {
            _redis: redis,
            proxied,
            names,
            people,
            speakers,
            warm,
            cold,
            said: AtomicU64::new(0),
        }
    }

    async fn counts(&self) -> (u64, u64) {
        let mut frames = 0;
        for node in &self.proxied.nodes {
            frames += node.process.metric("inkwire_frames_delivered_total").await;
        }
        (self.proxied.store.reads() + self.proxied.node_store.reads(), frames)
    }

    fn resyncs(&self) -> usize {
        let is = |event: &Event| matches!(event, Event::Resync { .. });
        self.people.iter().map(|person| person.count(is)).sum()
    }

    /// Sends at a steady rate through a brownout, or through none, and for some seconds more.
    async fn phase(&mut self, brownout: Option<Brownout>, time: Duration) -> Phase {
        let cold = self.cold.pop_front().unwrap();
        let channels: Vec<ChannelId> = self.warm.iter().chain(&cold).cloned().collect();
        let guest = self.names.last().cloned().unwrap();
        let (resyncs, closed) = (self.resyncs(), lost(&self.people));
        let (reads_before, frames_before) = self.counts().await;
        let lasts = async {
            // In a quiet phase, every delivery is timed from its sending.
            let Some(brownout) = brownout else { return Instant::now() };
            self.proxied.recorder.fault(brownout.name());
            brownout.last(&self.proxied, time).await;
            self.proxied.recorder.healed(brownout.name());
            Instant::now()
        };
        let removes = async {
            tokio::time::sleep(time / 4).await;
            for channel in [&self.warm[0], &cold[0]] {
                self.change(channel, &guest, Change::Remove).await;
            }
        };
        let sends = self.send(&channels, time + AFTER);
        let (ended, (), mut sends) = tokio::join!(lasts, removes, sends);
        let (reads, frames) = self.counts().await;
        let mut sent = Vec::new();
        while let Some(one) = sends.join_next().await {
            sent.push(one.unwrap());
        }
        let reached = self.drained(&sent).await;
        for channel in [&self.warm[0], &cold[0]] {
            self.change(channel, &guest, Change::Add).await;
        }
        Phase {
            ended,
            reads: reads - reads_before,
            frames: frames - frames_before,
            resyncs: self.resyncs() - resyncs,
            closed: lost(&self.people) - closed,
            sent,
            reached,
        }
    }

    /// Repeats the change until it is answered: a call without an answer may have taken effect.
    async fn change(&self, channel: &ChannelId, name: &str, change: Change) {
        let api = self.proxied.api(&self.names[0]);
        while !self.proxied.recorder.change(&api, channel, name, change).await {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// An open loop: a send that waits for its answer does not delay the others.
    async fn send(&self, channels: &[ChannelId], time: Duration) -> JoinSet<Sent> {
        let mut sends = JoinSet::new();
        let mut pace = tokio::time::interval(PACE);
        let end = Instant::now() + time;
        for (channel, speaker) in channels.iter().cycle().zip(self.speakers.iter().cycle()) {
            pace.tick().await;
            let started = Instant::now();
            if started >= end {
                break;
            }
            let (speaker, channel) = (speaker.clone(), channel.clone());
            let text = format!("number {}", self.said.fetch_add(1, Ordering::Relaxed));
            sends.spawn(async move {
                let id = speaker.says(&channel, &text).await;
                Sent { started, stored: id.map(|id| (id, Instant::now())) }
            });
        }
        sends
    }

    /// Waits until all who stay have everything. Returns when each message reached each person.
    async fn drained(&self, sent: &[Sent]) -> Vec<HashMap<MessageId, Instant>> {
        let stay = &self.people[..self.people.len() - 1];
        let reached = || stay.iter().map(first_seen).collect::<Vec<_>>();
        let stored: Vec<MessageId> = sent.iter().filter_map(|one| Some(one.stored?.0)).collect();
        let end = Instant::now() + SETTLE;
        while Instant::now() < end {
            let now = reached();
            if now.iter().all(|seen| stored.iter().all(|id| seen.contains_key(id))) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        reached()
    }
}

/// When each message first reached a person, on any path.
fn first_seen(person: &Person) -> HashMap<MessageId, Instant> {
    let mut seen = HashMap::new();
    person.look(|log| {
        for logged in log {
            if let Event::Message { message, .. } = &logged.event {
                seen.entry(message.id).or_insert(logged.at);
            }
        }
    });
    seen
}

/// A brownout, compared with a quiet phase.
struct Row {
    work: (u64, u64),
    quiet_work: (f64, f64),
    quiet_p99: Duration,
    calm: Option<Duration>,
    missing: usize,
    resyncs: usize,
    closed: usize,
    not_stored: usize,
    sent: usize,
}

impl Phase {
    fn against(&self, quiet: &Self) -> Row {
        let scale = self.sent.len() as f64 / quiet.sent.len().max(1) as f64;
        let latencies: Vec<Duration> = quiet.arrivals().iter().map(|(_, late)| *late).collect();
        let quiet_p99 = percentile(&latencies, 99);
        let stored = self.sent.iter().filter(|one| one.stored.is_some()).count();
        let missing = stored * self.reached.len() - self.arrivals().len();
        Row {
            work: (self.reads, self.frames),
            quiet_work: (quiet.reads as f64 * scale, quiet.frames as f64 * scale),
            quiet_p99,
            calm: (missing == 0).then(|| self.calm(quiet_p99.mul_f64(1.5) + NOISE)),
            missing,
            resyncs: self.resyncs,
            closed: self.closed,
            not_stored: self.sent.len() - stored,
            sent: self.sent.len(),
        }
    }

    /// The time and delay of each arrival. A message sent during the brownout is timed from its
    /// answer or the brownout's end, whichever is later; one sent afterwards, from its sending.
    fn arrivals(&self) -> Vec<(Instant, Duration)> {
        let mut arrivals = Vec::new();
        for Sent { started, stored } in &self.sent {
            let Some((id, answered)) = stored else { continue };
            let due = if *started >= self.ended { *started } else { (*answered).max(self.ended) };
            for seen in &self.reached {
                let at = seen.get(id).copied();
                arrivals.extend(at.map(|at| (at, at.saturating_duration_since(due))));
            }
        }
        arrivals
    }

    /// Time from the brownout's end until the p99 of each half second is at most `bar`.
    fn calm(&self, bar: Duration) -> Duration {
        let mut windows: HashMap<u32, Vec<Duration>> = HashMap::new();
        for (at, late) in self.arrivals() {
            if let Some(after) = at.checked_duration_since(self.ended) {
                let window = after.as_millis() / WINDOW.as_millis();
                windows.entry(u32::try_from(window).unwrap()).or_default().push(late);
            }
        }
        let restless = windows.iter().filter(|(_, late)| percentile(late, 99) > bar);
        restless.map(|(window, _)| WINDOW * (window + 1)).max().unwrap_or_default()
    }
}

impl Row {
    fn amplification(&self) -> f64 {
        (self.work.0 + self.work.1) as f64 / (self.quiet_work.0 + self.quiet_work.1).max(1.0)
    }

    fn missed(&self, name: &str) -> Option<String> {
        let is_met = self.amplification() <= AMPLIFICATION_MAX
            && self.calm.is_some_and(|calm| calm <= CALM_MAX)
            && self.closed == 0;
        (!is_met).then(|| format!("{name}: {self}"))
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ((reads, frames), (quiet_reads, quiet_frames)) = (self.work, self.quiet_work);
        let calm = match self.calm {
            Some(calm) => format!("calm after {calm:.1?}"),
            None => format!("never calm, {} deliveries missing", self.missing),
        };
        write!(
            f,
            "amplification x{:.2} (bar x{AMPLIFICATION_MAX:.0}; reads {reads}, quiet {quiet_reads:.0}; \
             frames {frames}, quiet {quiet_frames:.0}); {calm} (bar {CALM_MAX:?}, quiet p99 {:.0?}); \
             {} resyncs, {} sockets lost; {} of {} sends not stored",
            self.amplification(),
            self.quiet_p99,
            self.resyncs,
            self.closed,
            self.not_stored,
            self.sent
        )
    }
}

/// How long a brownout lasts in CI.
const IN_CI: Duration = Duration::from_secs(12);
const A_MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// How long counting continues after the brownout.
const AFTER: Duration = Duration::from_secs(10);
/// The longest quiet phase. A shorter one lasts as long as the brownout and what follows it.
const QUIET_MAX: Duration = Duration::from_secs(14);
const SLOW: Duration = Duration::from_secs(2);
const FLAP: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(40);
const PEOPLE: usize = 8;
/// Channels in a set. In a phase, messages are sent in two sets, a warm one and a cold one.
const CHANNELS: usize = 3;
const SPEAKERS: usize = 21;
const PACE: Duration = Duration::from_millis(200);
/// Bounds, and what two busy cores may add to a p99.
const AMPLIFICATION_MAX: f64 = 2.0;
const CALM_MAX: Duration = Duration::from_secs(5);
const NOISE: Duration = Duration::from_millis(150);
const WINDOW: Duration = Duration::from_millis(500);
/// How many resyncs a client may get for each brownout.
const RESYNCS_A_FAULT: u32 = 1;
