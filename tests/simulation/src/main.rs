//! The command `simulate`: replays a seed, runs many, or shows a planted bug.
//!
//! **Main path.** [`simulation::run`] for one seed, [`simulation::sweep`] for many.
//!
//! **Invariants.** Each failure is printed with the command that replays it, and sets exit code 1.
//!
//! **Not here.** The rules of the verdict: see `checker`.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;

use checker::Verdict;
use clap::Parser;
use simulation::{Plan, Planted, SweepTotals, run, scenario, sweep};

/// Runs the whole system in one thread under a seed, with faults, and judges what happened.
#[derive(Debug, Parser)]
#[command(name = "simulate", version = model::version())]
struct Arguments {
    /// Replays one seed and prints everything that happened in it.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs many seeds, such as `0..200`.
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Runs each seed twice and compares the two traces.
    #[arg(long)]
    twice: bool,
    /// Plants a bug in the scenario that must expose it (a few seeds, or the one of `--seed`).
    #[arg(long, value_parser = planted)]
    planted: Option<Planted>,
    /// With `--planted`: runs the same scenario without the bug.
    #[arg(long)]
    without_bug: bool,
    /// Worlds in which people do little else than send in channels that deliver first.
    #[arg(long)]
    deliver: bool,
    /// Runs seeds until a million sends were acknowledged and 20,000 members were removed; with
    /// `--deliver`, until 500,000 messages were sent in channels that deliver first.
    #[arg(long)]
    full: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("not a range such as 0..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn planted(text: &str) -> Result<Planted, String> {
    let named = Planted::ALL.iter().find(|(name, _)| *name == text);
    let names = || Planted::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    named.map(|(_, bug)| *bug).ok_or_else(|| format!("one of {}", names()))
}

#[expect(clippy::disallowed_methods, reason = "how long the machine takes, not the run")]
fn main() -> ExitCode {
    let started_at = std::time::Instant::now();
    let arguments = Arguments::parse();
    let plan = |seed: u64| match arguments.planted {
        Some(bug) if arguments.without_bug => scenario::of(bug),
        Some(bug) => Plan { planted: Some(bug), ..scenario::of(bug) },
        None if arguments.deliver => Plan::delivering_of_seed(seed),
        None => Plan::of_seed(seed),
    };
    let holds = if let Some(seed) = arguments.seed {
        let report = run(seed, plan(seed));
        say(&report.trace());
        say(&format!("seed {seed}, {:?} of virtual time", report.virtual_time));
        report.unfinished.iter().for_each(|what| say(what));
        say(&report.verdict.to_string());
        report.holds()
    } else if arguments.full {
        full(&plan, arguments.deliver)
    } else {
        let few = if arguments.planted.is_some() { scenario::SEEDS } else { 0..20 };
        let seeds = arguments.seeds.clone().unwrap_or(few);
        let totals = sweep(seeds, threads(), arguments.twice, plan);
        print(&totals);
        totals.failures.is_empty()
    };
    say(&format!("{:.1?} of the machine's time", started_at.elapsed()));
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn full(plan: &(impl Fn(u64) -> Plan + Sync), delivers: bool) -> bool {
    let is_enough = |verdict: &Verdict| {
        if delivers {
            verdict.taken >= DELIVERED_MIN
        } else {
            verdict.acknowledged >= ACKNOWLEDGED_MIN && verdict.removals >= REMOVALS_MIN
        }
    };
    let mut all = SweepTotals::default();
    let mut from = 0;
    while !is_enough(&all.verdict) {
        let SweepTotals { runs, verdict, faults, failures } =
            sweep(from..from + CHUNK, threads(), false, plan);
        from += CHUNK;
        all.runs += runs;
        all.verdict.add(verdict);
        all.failures.extend(failures);
        for (kind, count) in faults {
            *all.faults.entry(kind).or_insert(0) += count;
        }
        let Verdict { acknowledged, taken, .. } = all.verdict;
        say(&format!("{} seeds: {acknowledged} acknowledged, {taken} delivered first", all.runs));
    }
    print(&all);
    all.failures.is_empty()
}

fn print(totals: &SweepTotals) {
    for (kind, count) in &totals.faults {
        say(&format!("{count:>8} {kind}"));
    }
    for (seed, why) in &totals.failures {
        say(&format!("seed {seed} (cargo run -p simulation -- --seed {seed}): {why}"));
    }
    say(&format!("{} runs, {} failed: {}", totals.runs, totals.failures.len(), totals.verdict));
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

fn say(line: &str) {
    // A closed output pipe is not an error.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}

const ACKNOWLEDGED_MIN: u64 = 1_000_000;
const DELIVERED_MIN: u64 = 500_000;
const REMOVALS_MIN: u64 = 20_000;
const CHUNK: u64 = 200;
