//! One run from its seed to its verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use checker::{Bounds, Event, History, Verdict, check};
use memory::SeededRng;
use model::{MessageId, limits};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::contracts::{delivering, ephemeral, signals};
use crate::faults::Kind;
use crate::plan::Plan;
use crate::world::World;
use crate::{faults, presence, reading, work};

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What happened.
    pub history: History,
    /// The checker's verdict.
    pub verdict: Verdict,
    /// What the verdict does not cover: clients that stopped or never caught up, which the checker
    /// does not judge, and records that the relay has not published yet.
    pub unfinished: Vec<String>,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<String, u64>,
    /// How much virtual time it took.
    pub virtual_time: Duration,
    /// Pages of streams that nodes read after all devices had connected.
    pub pages_read: u64,
    /// For each second: the time, and the store calls and frames to clients so far.
    pub work: Vec<(Duration, u64)>,
}

impl Report {
    /// Whether every rule held and nothing was left unfinished.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.unfinished.is_empty()
    }

    /// Events and faults with their times. Equal for equal seeds.
    #[must_use]
    pub fn trace(&self) -> String {
        self.history.trace()
    }
}

/// Runs a plan under a seed, in this thread and on its own clock.
///
/// # Panics
/// If tokio's runtime cannot be built.
#[must_use]
#[expect(clippy::expect_used, reason = "a tool without a runtime can do nothing")]
pub fn run(seed: u64, plan: Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(live(seed, plan))
}

async fn live(seed: u64, plan: Plan) -> Report {
    let world = World::new(seed, plan);
    world.populate().await;
    let delivering_rng = SeededRng::new(seed ^ DELIVERING_SEED);
    if world.plan.deliver_every_ms.is_some() {
        delivering::open(&world, &delivering_rng).await;
    }
    presence::view_everybody(&world);
    let pages_before = world.redis.pages_read();
    let faulty_until = Instant::now() + world.plan.faulty;
    let sends_until = faulty_until + if world.plan.sends_on { SENDS_ON } else { Duration::ZERO };
    let mut work = JoinSet::new();
    for space in world.spaces() {
        for (at, room) in space.channels.iter().enumerate() {
            work.spawn(work::talk(world.clone(), space.clone(), at, sends_until));
            work.spawn(work::revise(world.clone(), space.clone(), at, faulty_until));
            work.spawn(work::react(world.clone(), space.clone(), at, faulty_until));
            work.spawn(work::pin(world.clone(), space.clone(), at, faulty_until));
            if room.is_group {
                work.spawn(work::change(world.clone(), space.clone(), at, faulty_until));
            }
        }
    }
    for person in world.people() {
        work.spawn(reading::read(world.clone(), person, faulty_until));
    }
    if world.plan.restless {
        for person in world.people() {
            work.spawn(work::be_restless(world.clone(), person, faulty_until));
        }
    }
    meet(&world, &mut work, &SeededRng::new(seed ^ MEETINGS_SEED), faulty_until);
    deliver(&world, &mut work, &delivering_rng, faulty_until);
    work.spawn(faults::run(world.clone()));
    work.spawn(presence::leave_for_good(world.clone()));
    let counted: Arc<Mutex<Vec<(Duration, u64)>>> = Arc::default();
    world.spawn(count(world.clone(), Arc::clone(&counted)));
    work.join_all().await;
    work::resolve(world.clone()).await;
    let mut report = judge(&world, seed, pages_before).await;
    report.work = std::mem::take(&mut counted.lock());
    report
}

/// Starts the work in channels that keep nothing.
fn meet(world: &World, work: &mut JoinSet<()>, rng: &SeededRng, until: Instant) {
    if world.plan.meet_every_ms.is_none() {
        return;
    }
    for space in world.spaces() {
        work.spawn(ephemeral::host(world.clone(), space, rng.fork(), until));
    }
    for person in world.people() {
        work.spawn(ephemeral::take_part(world.clone(), person, rng.fork(), until));
    }
}

/// Starts the work in channels that deliver first.
fn deliver(world: &World, work: &mut JoinSet<()>, rng: &SeededRng, until: Instant) {
    let rooms = delivering::rooms(world);
    for room in &rooms {
        work.spawn(delivering::change(world.clone(), Arc::clone(room), rng.fork(), until));
        work.spawn(delivering::read(world.clone(), Arc::clone(room), rng.fork(), until));
    }
    for person in world.people().into_iter().filter(|_| !rooms.is_empty()) {
        let (sending, sharing) = (Arc::clone(&person), person);
        work.spawn(delivering::send(world.clone(), sending, rng.fork(), until));
        work.spawn(delivering::share(world.clone(), sharing, rng.fork(), until));
    }
}

/// Records once a second how much work was done so far.
async fn count(world: World, counted: Arc<Mutex<Vec<(Duration, u64)>>>) {
    loop {
        let done = world.store.calls() + world.recorder.frames();
        counted.lock().push((world.clock.elapsed(), done));
        sleep(Duration::from_secs(1)).await;
    }
}

/// Judges the run as soon as every rule holds, and at the latest when the settle time is over.
async fn judge(world: &World, seed: u64, pages_before: u64) -> Report {
    let settle = world.plan.settle;
    let longer = if world.plan.keeps_acked { STORED_LATE } else { Duration::ZERO };
    let bounds = Bounds {
        settle,
        sent_again: longer,
        explains: Kind::named_explains_resyncs,
        resyncs_per_fault: 1,
        resyncs_besides: world.plan.resyncs_besides,
        ends_sessions: Kind::named_ends_sessions,
        removals_known: if world.plan.faults.is_empty() { Duration::ZERO } else { REMOVALS_KNOWN },
    };
    let mut settling = ephemeral::Settling::new(world, SeededRng::new(seed ^ SETTLING_SEED));
    // Devices that came later view them from now on.
    presence::view_everybody(world);
    let until = Instant::now() + settle + longer * 2;
    loop {
        settling.go_on(world).await;
        let unread = reading::unread(world).await;
        let is_told = unread.is_some();
        let history = History { unread: unread.unwrap_or_default(), ..history(world) };
        let verdict = check(&history, &bounds);
        let is_over = Instant::now() >= until;
        let mut unfinished = unfinished(&history, world);
        unfinished.extend(settling.wrong(world));
        unfinished.extend(delivering::wrong(world));
        if !is_told {
            unfinished.push("somebody was not told what is unread".to_owned());
        }
        let is_done = verdict.holds() && unfinished.is_empty();
        if is_over || (is_done && is_settled(&history, world)) {
            let mut faults = BTreeMap::new();
            for (_, event) in &history.events {
                if let Event::FaultBegan { kind } = event {
                    *faults.entry(kind.clone()).or_insert(0) += 1;
                }
            }
            let virtual_time = world.clock.elapsed();
            let pages_read = world.redis.pages_read() - pages_before;
            let work = Vec::new();
            let report = Report {
                seed,
                history,
                verdict,
                unfinished,
                faults,
                virtual_time,
                pages_read,
                work,
            };
            world.stop();
            return report;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn unfinished(history: &History, world: &World) -> Vec<String> {
    let mut waiting = BTreeSet::new();
    for (_, event) in &history.events {
        match event {
            Event::Starts { client, .. } => waiting.insert(*client),
            Event::Follows { client } | Event::Leaves { client } => waiting.remove(client),
            _ => false,
        };
    }
    let people = world.people();
    let stopped = people.iter().filter_map(|person| person.stopped());
    let mut unfinished: Vec<String> =
        stopped.map(|why| format!("a client stopped: {why}")).collect();
    unfinished.extend(waiting.iter().map(|client| format!("{client:?} never followed")));
    if !world.log.is_drained() {
        unfinished.push("the relay has not caught up".to_owned());
    }
    unfinished
}

/// Whether nothing has happened for a while: a forbidden event would have shown by now.
fn is_settled(history: &History, world: &World) -> bool {
    let last = history.events.last().map_or(Duration::ZERO, |(at, _)| *at);
    world.clock.elapsed().saturating_sub(last) >= QUIET
}

fn history(world: &World) -> History {
    let mut history = world.recorder.history();
    history.stored = world.log.messages();
    history.viewed = presence::viewed(world);
    history.lasting = signals::lasting(world);
    let lost = world.redis.lost();
    history.lost = lost.iter().filter_map(|id| MessageId::parse(id).ok()).collect();
    for person in world.people() {
        for space in world.spaces() {
            let rooms = world.rooms.logs(&space.id);
            let rooms = rooms.iter().map(|log| &log.channel_id);
            let shown = space.channels.iter().map(|room| &room.id).chain(rooms);
            let shown = shown.flat_map(|room| person.shown(room));
            history.shown.extend(shown.filter(|shown| !shown.ids.is_empty()));
        }
    }
    history
}

/// If the push of a removal is lost, a node that speaks for a member reads its version later.
const REMOVALS_KNOWN: Duration = limits::VIEW_LEASE.saturating_add(Duration::from_secs(2));
/// Randomness of its own, so that worlds without meetings are what they were.
const MEETINGS_SEED: u64 = 0x3ee7;
/// How much longer messages may wait that are stored only if somebody lacks them.
pub(crate) const STORED_LATE: Duration = limits::ACK_WAIT.saturating_add(Duration::from_secs(20));
const DELIVERING_SEED: u64 = 0xde11;
const SETTLING_SEED: u64 = 0x5e77;
/// How long sending continues after the last fault.
const SENDS_ON: Duration = Duration::from_secs(8);
const LOOK_AGAIN: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(6);
