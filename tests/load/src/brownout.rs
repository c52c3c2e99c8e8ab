//! What a store that does not answer costs: resyncs, late messages, memory, and the latency of a
//! neighbouring workspace. Measures during the brownout and until everything has recovered.

use std::time::Duration;

use serde_json::{Value, json};
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::fleet::metric;
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::process::Process;
use crate::record::{Record, progress, say};
use crate::silent::StoreCommand;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Seconds for which the store answers no read.
    #[arg(long, default_value_t = 12)]
    silent_s: u64,
    /// Seconds to measure afterwards.
    #[arg(long, default_value_t = 60)]
    after_s: u64,
    /// Only the variant of this name: `busy` or `quiet`.
    #[arg(long)]
    only: Option<String>,
    /// Sockets for each thousand of the variant.
    #[arg(long, default_value_t = 1_000)]
    scale: usize,
    /// Judges only what is counted, not times and memory: they depend on the machine and the build.
    #[arg(long)]
    counts_only: bool,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) const fn smoke() -> Self {
        Self { silent_s: 7, after_s: 8, only: None, scale: 40, counts_only: true }
    }
}

/// The sockets and channels, and the load while the store is silent.
#[derive(Debug, Clone, Copy)]
struct Variant {
    name: &'static str,
    sockets: usize,
    /// No node has a view of any of them when the silence begins.
    channels: usize,
    per_second: u64,
    /// The most resyncs that a socket may get.
    resyncs_max: u64,
    /// Whether the neighbours' latency must meet its bound. Not in the busy variant: its own load
    /// takes a share of the cores that has nothing to do with the store.
    judges_neighbours: bool,
}

impl Variant {
    fn all(scale: usize) -> [Self; 2] {
        let share = |count: usize| (count * scale / 1_000).max(1);
        let busy = Self {
            name: "busy",
            sockets: share(10_000),
            channels: share(1_000),
            per_second: share(1_000) as u64,
            resyncs_max: 1,
            judges_neighbours: false,
        };
        let quiet = Self {
            name: "quiet",
            sockets: share(2_000),
            channels: share(50),
            per_second: share(50) as u64,
            resyncs_max: 0,
            judges_neighbours: true,
        };
        [busy, quiet]
    }
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails, or a bound is missed.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    machine::pin(CLIENT_CORE)?;
    let mut missed = Vec::new();
    let chosen = |variant: &Variant| plan.only.as_ref().is_none_or(|only| only == variant.name);
    for variant in Variant::all(plan.scale).into_iter().filter(chosen) {
        let measured = measure(plan, variant)?;
        say(&summary(plan, variant, &measured));
        missed.extend(bars(variant, &measured, plan.counts_only));
        record.write("brownout", measured)?;
    }
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ").into()) }
}

fn measure(plan: &Plan, variant: Variant) -> Result<Value, Failed> {
    let redis = RedisServer::start(Flavor::Redis);
    let Variant { sockets, channels, per_second, .. } = variant;
    let size = sockets.div_ceil(channels);
    let population =
        Population { workspaces: 2, users: sockets, channel_size: size, sockets_per_user: 1 };
    progress(&format!("{}: opening {sockets} sockets", variant.name));
    let mut pair = Pair::start(Subject::Node, &redis.url(), population, &Options::default())?;
    // The second workspace is as large, but only a few of its users connect.
    let neighbours = (NEIGHBOUR_CHANNELS * size).min(sockets);
    let mut neighbour = pair.crowd_of(sockets, neighbours)?;
    pair.crowd.ask(&CrowdCommand::Open { until: sockets, in_flight: 64 })?;
    neighbour.ask(&CrowdCommand::Open { until: neighbours, in_flight: 64 })?;
    let here = neighbours.div_ceil(size);
    let steady = |seconds| CrowdCommand::Steady {
        per_second: NEIGHBOUR_A_SECOND,
        seconds,
        channel: channels,
        channels: here,
    };
    neighbour.ask(&steady(WARM_UP_S))?;
    let before = neighbour.ask(&steady(plan.silent_s))?;
    let resident_before = pair.server.peak_resident_bytes();
    let took = |server: &Process| metric(&server.text("admin"), "inkwire_publications_total").ok();
    let taken_before = took(&pair.server);

    progress(&format!("{}: the store is silent for {} s", variant.name, plan.silent_s));
    pair.server.ask(&StoreCommand::Silent(true))?;
    let back_ms = plan.silent_s * 1_000;
    let listen_s = plan.silent_s + plan.after_s;
    let publish_s = plan.silent_s + LIVE_S.min(plan.after_s);
    let through =
        CrowdCommand::Through { per_second, publish_s, channel: 0, channels, back_ms, listen_s };
    pair.crowd.send(&through)?;
    neighbour.send(&steady(publish_s))?;
    std::thread::sleep(Duration::from_millis(back_ms));
    pair.server.ask(&StoreCommand::Silent(false))?;
    let during = neighbour.answer()?;
    let mut measured = pair.crowd.answer()?;

    let resyncs_told = metric(&pair.server.text("admin"), "inkwire_resyncs_total").ok();
    let taken = took(&pair.server);
    let resident = pair.server.peak_resident_bytes();
    let p99 = |one: &Value| one.get("p99_ms").and_then(Value::as_f64);
    let neighbours_lost = during.get("lost").cloned();
    let more = json!({
        "variant": variant.name, "sockets": sockets, "channels": channels,
        "per_second": per_second, "silent_s": plan.silent_s, "after_s": plan.after_s,
        "resyncs_told": resyncs_told,
        // Without the neighbours' publications, whose rate is constant.
        "taken": taken.zip(taken_before).map(|(taken, before)| {
            (taken - before).saturating_sub(NEIGHBOUR_A_SECOND * publish_s)
        }),
        "published": per_second * publish_s,
        "resident_before": resident_before, "resident_peak": resident,
        "neighbours_before_p99_ms": p99(&before), "neighbours_p99_ms": p99(&during),
        "neighbours_lost": neighbours_lost,
    });
    if let (Some(fields), Value::Object(more)) = (measured.as_object_mut(), more) {
        fields.extend(more);
    }
    Ok(measured)
}

fn number(measured: &Value, name: &str) -> f64 {
    measured.get(name).and_then(Value::as_f64).unwrap_or(f64::INFINITY)
}

/// The neighbours' p99 during the brownout, as a multiple of their usual one.
fn neighbours_ratio(measured: &Value) -> f64 {
    number(measured, "neighbours_p99_ms") / number(measured, "neighbours_before_p99_ms")
}

fn grown_mib(measured: &Value) -> f64 {
    (number(measured, "resident_peak") - number(measured, "resident_before")) / f64::from(1 << 20)
}

fn summary(plan: &Plan, variant: Variant, measured: &Value) -> String {
    let n = |name| number(measured, name);
    let backlog = match measured.get("backlog_s").and_then(Value::as_f64) {
        Some(seconds) => {
            format!("everything due had arrived {seconds:.2} s after the store was up")
        }
        None => format!("not everything due had arrived {} s after the store was up", plan.after_s),
    };
    format!(
        "{}: {} sockets, {} channels without a view, {} messages a second, silent for {} s\n  \
         resyncs: {:.0} sent, {:.0} arrived, at most {:.0} at one socket\n  \
         publications: {:.0} of {:.0} taken; messages: {:.0} of {:.0} delivered, {:.0} twice; {backlog}; \
         p99 of what was said afterwards {:.1} ms\n  \
         sockets closed: {:.0}; memory: {:.0} MiB at its peak, {:.0} more than before\n  \
         neighbours: p99 {:.2} ms, before {:.2} ms: x {:.2}; {:.0} lost",
        variant.name,
        variant.sockets,
        variant.channels,
        variant.per_second,
        plan.silent_s,
        n("resyncs_told"),
        n("resyncs"),
        n("resyncs_a_socket"),
        n("taken"),
        n("published"),
        n("delivered"),
        n("due"),
        n("again"),
        n("live_p99_ms"),
        n("gone"),
        n("resident_peak") / f64::from(1 << 20),
        grown_mib(measured),
        n("neighbours_p99_ms"),
        n("neighbours_before_p99_ms"),
        neighbours_ratio(measured),
        n("neighbours_lost"),
    )
}

/// The bounds that were missed.
fn bars(variant: Variant, measured: &Value, counts_only: bool) -> Vec<String> {
    let n = |name| number(measured, name);
    let mut bars = vec![
        ("resyncs a socket", n("resyncs_a_socket"), variant.resyncs_max as f64),
        ("messages missing", n("missing"), 0.0),
        ("sockets closed", n("gone"), 0.0),
        ("neighbours' messages lost", n("neighbours_lost"), 0.0),
    ];
    if !counts_only {
        bars.push(("seconds until everything arrived", n("backlog_s"), BACKLOG_S));
        bars.push(("MiB more", grown_mib(measured), GROWTH_MIB));
    }
    if variant.judges_neighbours && !counts_only {
        bars.push(("times the neighbours' p99", neighbours_ratio(measured), NEIGHBOURS_RATIO));
    }
    let missed = bars.into_iter().filter(|(_, is, bar)| is > bar);
    missed.map(|(what, is, bar)| format!("{}: {is:.2} {what}, bar {bar}", variant.name)).collect()
}

/// Channels of the neighbouring workspace in which messages are sent.
const NEIGHBOUR_CHANNELS: usize = 5;
/// Messages a second there.
const NEIGHBOUR_A_SECOND: u64 = 100;
/// Seconds in which the neighbours' views are loaded.
const WARM_UP_S: u64 = 2;
/// How many seconds publishing continues after the silence.
const LIVE_S: u64 = 10;
/// Bound: seconds from the store's return until the backlog has arrived.
const BACKLOG_S: f64 = 2.0;
/// Bound: growth of the node in MiB, by held publications and the sockets' queues.
const GROWTH_MIB: f64 = 128.0;
/// Bound: the neighbours' p99, as a multiple of theirs before.
const NEIGHBOURS_RATIO: f64 = 1.5;
