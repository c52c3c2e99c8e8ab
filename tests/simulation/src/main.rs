//! The command `simulate`: replays a seed, or runs many.

use std::process::ExitCode;

use clap::Parser;
use simulation::{Plan, run};

/// Runs the whole system under seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// One seed: prints what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// Many seeds, such as `0..200`.
    #[arg(long, value_parser = range)]
    seeds: Option<std::ops::Range<u64>>,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("not a range such as 0..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let report = run(seed, Plan::of_seed(seed));
        eprintln!("{}", report.trace());
        eprintln!("{:?} {}", report.stopped, report.verdict);
    }
    for seed in arguments.seeds.into_iter().flatten() {
        let report = run(seed, Plan::of_seed(seed));
        eprintln!("{seed} {:?} {:?} {}", report.virtual_time, report.stopped, report.verdict);
    }
    ExitCode::SUCCESS
}
