//! The cost of a delivery, and when the last receiver has it: scenarios A, A16, B and C.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::floor::Style;
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::record::{Record, progress, say};
use crate::stats::{Median, middle_of, ratio};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Turns of the node and each floor.
    #[arg(long, default_value_t = 15)]
    repetitions: usize,
    /// Only these scenarios.
    #[arg(long, value_enum, num_args = 1.., default_values = ["a", "a16", "b", "c"])]
    scenarios: Vec<Scenario>,
    /// Also measure a floor with a tokio task per socket.
    #[arg(long)]
    tasks: bool,
    /// Also measure the node of this other build of `load`, such as one of an earlier commit.
    #[arg(long, value_name = "PROGRAM")]
    other: Option<PathBuf>,
    /// Divides every amount by this, for a quick try.
    #[arg(long, default_value_t = 1)]
    less: u64,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) fn smoke() -> Self {
        let scenarios = vec![Scenario::A, Scenario::A16, Scenario::C];
        Self { repetitions: 1, scenarios, tasks: true, other: None, less: 50 }
    }
}

/// A scenario, with its own table of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// 1,000 receivers, one publication in flight: CPU of a delivery.
    A,
    /// 1,000 receivers, 16 publications in flight.
    A16,
    /// 10,000 receivers of one publication: the time until the last one has it.
    B,
    /// 10,000 sockets in channels of ten, 20,000 deliveries a second: the latency.
    C,
}

impl Scenario {
    const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::A16 => "A16",
            Self::B => "B",
            Self::C => "C",
        }
    }

    const fn population(self) -> Population {
        match self {
            Self::A | Self::A16 => Population::one_channel(1_000),
            Self::B => Population::one_channel(10_000),
            Self::C => Population { channel_size: 10, ..Population::one_channel(10_000) },
        }
    }

    fn command(self, less: u64) -> CrowdCommand {
        let burst =
            |rounds, size, pause_ms| CrowdCommand::Burst { rounds, size, channel: 0, pause_ms };
        match self {
            Self::A => burst(200 / less + 1, 1, 0),
            Self::A16 => burst(60 / less + 1, 16, 0),
            Self::B => burst(8 / less + 1, 1, 20),
            Self::C => CrowdCommand::Steady {
                per_second: 2_000 / less,
                seconds: 4 / less + 1,
                channel: 0,
                channels: self.population().channels(),
            },
        }
    }

    const fn floor(self) -> Style {
        match self {
            Self::A | Self::B | Self::C => Style::Write,
            Self::A16 => Style::Writev8,
        }
    }

    /// The field to compare, and the aim for its ratio to the floor.
    const fn aim(self) -> (&'static str, f64) {
        match self {
            Self::A => ("cpu_ns", 1.15),
            Self::A16 => ("cpu_ns", 1.0),
            Self::B => ("last_p50_ms", 1.2),
            Self::C => ("p99_ms", 2.0),
        }
    }
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    machine::pin(CLIENT_CORE)?;
    let redis = RedisServer::start(Flavor::Redis);
    say(
        "scenario  subject         CPU ns/delivery   × floor [95 %]      measure         × floor [95 %]",
    );
    for scenario in &plan.scenarios {
        one(*scenario, plan, &redis.url(), record)?;
    }
    Ok(())
}

fn one(scenario: Scenario, plan: &Plan, redis: &str, record: &mut Record) -> Result<(), Failed> {
    let mut subjects = vec![Subject::Floor(scenario.floor()), Subject::Node];
    if plan.tasks {
        subjects.push(Subject::Floor(Style::Tasks));
    }
    if plan.other.is_some() {
        subjects.push(Subject::OtherNode);
    }
    let options = Options { other: plan.other.clone(), ..Options::default() };
    let mut pairs = Vec::new();
    for subject in &subjects {
        progress(&format!("{}: {} opens its sockets", scenario.name(), subject.name()));
        let mut pair = Pair::start(*subject, redis, scenario.population(), &options)?;
        pair.crowd.ask(&CrowdCommand::Open { until: usize::MAX, in_flight: 64 })?;
        // The first deliveries allocate buffers, views and wakers.
        pair.crowd.ask(&scenario.command(plan.less))?;
        pair.pause()?;
        pairs.push(pair);
    }
    let mut taken: Vec<Vec<Value>> = vec![Vec::new(); subjects.len()];
    for repetition in 0..plan.repetitions {
        // The order rotates, so that no subject is always first.
        let turn = |at: usize| (at + repetition) % subjects.len();
        for at in (0..subjects.len()).map(turn) {
            progress(&format!(
                "{}: turn {} of {}",
                scenario.name(),
                repetition + 1,
                plan.repetitions
            ));
            let (Some(pair), Some(subject), Some(taken)) =
                (pairs.get_mut(at), subjects.get(at), taken.get_mut(at))
            else {
                continue;
            };
            pair.resume(&scenario.command(plan.less * 8))?;
            let (mut answer, cpu) = pair.measure(scenario.command(plan.less))?;
            pair.pause()?;
            let deliveries = answer.get("deliveries").and_then(Value::as_f64).unwrap_or_default();
            if let Some(fields) = answer.as_object_mut() {
                let cpu_ns = cpu.as_nanos() as f64 / deliveries;
                fields.insert("cpu_ns".to_owned(), json!(cpu_ns));
                fields.insert("scenario".to_owned(), json!(scenario.name()));
                fields.insert("subject".to_owned(), json!(subject.name()));
                fields.insert("repetition".to_owned(), json!(repetition));
            }
            record.write("fanout", answer.clone())?;
            taken.push(answer);
        }
    }
    for (subject, of_subject) in subjects.iter().zip(&taken) {
        let floor = taken.first().ok_or("no floor")?;
        show(scenario, *subject, of_subject, floor);
        let lost = lost(of_subject);
        if lost > 0 {
            return Err(format!("{}: {} lost {lost}", scenario.name(), subject.name()).into());
        }
    }
    Ok(())
}

fn show(scenario: Scenario, subject: Subject, taken: &[Value], floor: &[Value]) {
    let (measure, aim) = scenario.aim();
    let value = |name| middle_of(taken, name);
    let ratio = |name: &str| ratio(taken, floor, name);
    let shown = |ratio: Option<Median>| match ratio {
        Some(Median { middle, low, high }) => format!("{middle:.2} [{low:.2}, {high:.2}]"),
        None => String::new(),
    };
    let lost = lost(taken);
    let is_met = ratio(measure).is_some_and(|ratio| ratio.low <= aim) && lost == 0;
    let verdict = match subject {
        Subject::Node if is_met => format!("aim {measure} <= {aim}: met"),
        Subject::Node => format!("aim {measure} <= {aim}: missed"),
        Subject::OtherNode | Subject::Floor(_) => String::new(),
    };
    say(&format!(
        "{:<9} {:<15} {:>15.0}   {:<18}  {measure} {:<8.3} {:<18}  lost {lost}  {verdict}",
        scenario.name(),
        subject.name(),
        value("cpu_ns"),
        shown(ratio("cpu_ns")),
        value(measure),
        shown(ratio(measure)),
    ));
}

fn lost(taken: &[Value]) -> u64 {
    taken.iter().filter_map(|one| one.get("lost")?.as_u64()).sum()
}
