//! What grows with the number of sockets, workspaces, members and nodes, and what must not.

use std::time::Duration;

use model::limits;
use serde_json::{Value, json};
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::fleet::{Fleet, Spread};
use crate::population::Population;
use crate::process::Process;
use crate::record::{Record, progress, say};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Only these.
    #[arg(long, value_enum, num_args = 1..,
          default_values = ["sockets", "workspaces", "members", "nodes"])]
    kinds: Vec<Kind>,
    /// Seconds of load in each step.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Sockets of one workspace in channels of ten, on as many nodes as they need.
    Sockets,
    /// Workspaces of one node, with 9,000 sockets in all.
    Workspaces,
    /// Members of a channel, of whom at most a hundred are connected.
    Members,
    /// Nodes, for the same sockets: a workspace kept together, and spread.
    Nodes,
}

/// One row of the table.
struct Step {
    kind: &'static str,
    x: usize,
    nodes: usize,
    population: Population,
    spread: Spread,
    per_second: u64,
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    let redis = RedisServer::start(Flavor::Redis);
    say(
        "grows                     to  nodes  sockets  bytes a socket  idle CPU us/s  ns a delivery  copies a publication",
    );
    for step in plan.kinds.iter().flat_map(|kind| steps(*kind)) {
        one(&step, plan.seconds, &redis.url(), record)?;
    }
    Ok(())
}

fn steps(kind: Kind) -> Vec<Step> {
    let tens = |sockets| Population { channel_size: 10, ..Population::one_channel(sockets) };
    let together = Spread::Together;
    match kind {
        Kind::Sockets => [10, 100, 1_000, 10_000, 50_000, 100_000]
            .map(|x: usize| Step {
                kind: "sockets",
                x,
                nodes: x.div_ceil(18_000),
                population: tens(x),
                spread: together,
                per_second: 500,
            })
            .into(),
        Kind::Workspaces => [1, 10, 100, 1_000, 4_500, 10_000]
            .map(|x: usize| Step {
                kind: "workspaces",
                x,
                nodes: 1,
                population: Population {
                    workspaces: x,
                    users: 9_000_usize.div_ceil(x),
                    channel_size: 2,
                    sockets_per_user: 1,
                },
                spread: together,
                per_second: 1_000,
            })
            .into(),
        Kind::Members => [2, 10, 100, 1_000, 10_000, 50_000]
            .map(|x| Step {
                kind: "members",
                x,
                nodes: x.div_ceil(100),
                population: Population::one_channel(x),
                spread: together,
                per_second: 200,
            })
            .into(),
        Kind::Nodes => [(1, together), (2, together), (4, together), (8, together)]
            .into_iter()
            .chain([(2, Spread::Apart), (4, Spread::Apart), (8, Spread::Apart)])
            .map(|(x, spread)| Step {
                kind: if spread == together { "nodes, affinity" } else { "nodes, none" },
                x,
                nodes: x,
                population: Population {
                    workspaces: 80,
                    users: 100,
                    channel_size: 10,
                    sockets_per_user: 1,
                },
                spread,
                per_second: 500,
            })
            .collect(),
    }
}

fn one(step: &Step, seconds: u64, redis: &str, record: &mut Record) -> Result<(), Failed> {
    progress(&format!("{}: {}", step.kind, step.x));
    // Only the first node's members of a channel are connected.
    let started = if step.kind == "members" { 1 } else { step.nodes };
    let mut fleet = Fleet::of(started, step.nodes, step.population, step.spread, redis)?;
    let before = fleet.bytes();
    fleet.open()?;
    let sockets: u64 = (0..started).map(|crowd| fleet.sockets(crowd)).sum();
    let load = |fleet: &mut Fleet, seconds| drive(fleet, step, seconds);
    load(&mut fleet, 2)?;
    let bytes = fleet.bytes().saturating_sub(before) / sockets;
    let idle_before = fleet.cpu_ns();
    std::thread::sleep(IDLE);
    let idle_us = (fleet.cpu_ns() - idle_before) / 1e3 / IDLE.as_secs_f64() / started as f64;
    let (cpu_before, copies_before) = (fleet.cpu_ns(), fleet.copies()?);
    let (got, lost) = load(&mut fleet, seconds)?;
    let cpu_ns = (fleet.cpu_ns() - cpu_before) / got as f64;
    let published = (step.per_second * seconds) as f64;
    let copies = (fleet.copies()? - copies_before) as f64 / published;
    say(&format!(
        "{:<20} {:>7} {started:>6} {sockets:>8} {bytes:>15} {idle_us:>14.0} {cpu_ns:>14.0} {copies:>21.2}  lost {lost}",
        step.kind, step.x
    ));
    record.write(
        "growth",
        json!({ "kind": step.kind, "x": step.x, "nodes": started, "sockets": sockets,
                "bytes": bytes, "idle_us": idle_us, "cpu_ns": cpu_ns, "copies": copies,
                "lost": lost }),
    )?;
    Ok(())
}

/// Publishes for a while. Returns the number of deliveries, and of those that are missing.
fn drive(fleet: &mut Fleet, step: &Step, seconds: u64) -> Result<(u64, u64), Failed> {
    let (messages, channels) = (step.per_second * seconds, step.population.channels());
    let wanted = |crowd| -> u64 {
        let each: Vec<u64> = (0..channels).map(|channel| fleet.here(crowd, channel)).collect();
        (0..messages).zip(each.iter().cycle()).map(|(_, here)| here).sum()
    };
    let wanted: Vec<u64> = (0..fleet.crowds.len()).map(wanted).collect();
    for (crowd, messages) in fleet.crowds.iter_mut().zip(&wanted).skip(1) {
        crowd.send(&CrowdCommand::Listen { messages: *messages, seconds: seconds + 10 })?;
    }
    let first = fleet.crowds.first_mut().ok_or("no clients")?;
    first.send(&CrowdCommand::Steady {
        per_second: step.per_second,
        seconds,
        channel: 0,
        channels,
    })?;
    let number = |value: &Value, name| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let answers: Vec<Value> =
        fleet.crowds.iter_mut().map(Process::answer).collect::<Result<_, _>>()?;
    let got: u64 = answers
        .iter()
        .map(|answer| number(answer, "deliveries") + number(answer, "messages"))
        .sum();
    Ok((got, wanted.iter().sum::<u64>().saturating_sub(got)))
}

/// How long the sockets are idle, to see what that costs. Each gets one tick in this time.
const IDLE: Duration = limits::TICK;
