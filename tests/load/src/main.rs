//! Measures Inkwire against floors in the same run: programs that do the least that could do the
//! job. `README.md` beside this says how each figure is repeated.
//!
//! **Main path.** A scenario starts its servers (`serve`, `floor`) as processes on one core, clients
//! (`crowd`) on the other, and takes turns between them; `record` keeps each measurement as a line.

mod machine;
mod record;
mod rest;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Inkwire against floors in the same run.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where measurements are appended, a JSON object a line.
    #[arg(long, global = true, default_value = "target/load.jsonl")]
    out: PathBuf,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// What this machine is.
    Machine,
    #[command(flatten)]
    Rest(rest::Rest),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.scenario {
        Scenario::Machine => {
            record::say(&machine::description());
            Ok::<(), String>(())
        }
        Scenario::Rest(scenario) => rest::run(scenario, &arguments.out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
