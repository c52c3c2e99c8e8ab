//! How much a small channel is delayed by a huge one of another workspace on the same node.

use serde_json::{Value, json};
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::record::{Record, progress, say};
use crate::stats::{middle_of, ratio};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Turns, each with the small channel alone and beside the huge one.
    #[arg(long, default_value_t = 15)]
    repetitions: usize,
    /// Members of the huge channel.
    #[arg(long, default_value_t = 10_000)]
    huge: usize,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) const fn smoke() -> Self {
        Self { repetitions: 1, huge: 300 }
    }
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails, or something is lost.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    machine::pin(CLIENT_CORE)?;
    let redis = RedisServer::start(Flavor::Redis);
    // The second workspace is as large, but only a few of its users connect.
    let population = Population { workspaces: 2, ..Population::one_channel(plan.huge) };
    let mut pair = Pair::start(Subject::Node, &redis.url(), population, &Options::default())?;
    let mut small = pair.crowd_of(plan.huge, SMALL)?;
    pair.crowd.ask(&CrowdCommand::Open { until: plan.huge, in_flight: 64 })?;
    small.ask(&CrowdCommand::Open { until: SMALL, in_flight: 64 })?;
    let steady = |channel, per_second, seconds| CrowdCommand::Steady {
        per_second,
        seconds,
        channel,
        channels: 1,
    };
    let (of_huge, of_small) = (steady(0, HUGE_A_SECOND, SECONDS + 1), steady(1, 100, SECONDS));
    let (mut alone, mut beside): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    // The first turn is not measured: it allocates buffers and views.
    for repetition in 0..=plan.repetitions {
        progress(&format!("turn {repetition} of {}", plan.repetitions));
        let one = small.ask(&of_small)?;
        pair.crowd.send(&of_huge)?;
        let mut other = small.ask(&of_small)?;
        let huge = pair.crowd.answer()?;
        if let (Some(fields), Some(last)) = (other.as_object_mut(), huge.get("max_ms")) {
            fields.insert("huge_last_ms".to_owned(), last.clone());
        }
        if repetition > 0 {
            alone.push(one);
            beside.push(other);
        }
    }
    say("a channel of 100          p50 ms   p99 ms   greatest ms");
    for (neighbour, taken) in [("none", &alone), ("huge", &beside)] {
        let middle = |name| middle_of(taken, name);
        let (p50, p99, max) = (middle("p50_ms"), middle("p99_ms"), middle("max_ms"));
        say(&format!("neighbour: {neighbour:<12} {p50:>8.2} {p99:>8.2} {max:>13.2}"));
        for (repetition, one) in taken.iter().enumerate() {
            let mut line = one.clone();
            if let Some(fields) = line.as_object_mut() {
                fields.insert("neighbour".to_owned(), json!(neighbour));
                fields.insert("members".to_owned(), json!(plan.huge));
                fields.insert("repetition".to_owned(), json!(repetition));
            }
            record.write("fairness", line)?;
        }
    }
    if let Some(p99) = ratio(&beside, &alone, "p99_ms") {
        say(&format!(
            "p99 beside a channel of {}, of which each message takes {:.0} ms: x {:.2} [{:.2}, {:.2}]",
            plan.huge,
            middle_of(&beside, "huge_last_ms"),
            p99.middle,
            p99.low,
            p99.high
        ));
    }
    let lost =
        |taken: &[Value]| taken.iter().filter_map(|one| one.get("lost")?.as_u64()).sum::<u64>();
    let lost = lost(&alone) + lost(&beside);
    if lost > 0 { Err(format!("{lost} deliveries are lost").into()) } else { Ok(()) }
}

/// Sockets of the small channel.
const SMALL: usize = 100;
/// Messages per second in the huge channel: at 10,000 members, they take half a core.
const HUGE_A_SECOND: u64 = 4;
/// Seconds of half a turn.
const SECONDS: u64 = 4;
