//! Measures Inkwire against floors in the same run. A floor is a program that does the least that
//! could do the job. `README.md` beside this says how to repeat each figure.
//!
//! **Main path.** A scenario runs its servers (`serve`, `floor`) as processes on one core and their
//! clients (`crowd`) on the other, in turns. `record` appends each measurement as a line.

#![expect(
    clippy::disallowed_methods,
    reason = "it measures time; no code of the product reads these clocks"
)]

mod archive;
mod brownout;
mod client;
mod connects;
mod crowd;
mod fairness;
mod fanout;
mod fleet;
mod floor;
mod growth;
mod idle;
mod idle_parts;
mod listen;
mod machine;
mod pair;
mod population;
mod process;
mod publish;
mod reconnect;
mod record;
mod rest;
mod serve;
mod silent;
mod stats;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use record::Record;

/// Why a run failed.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Measures Inkwire against floors in the same run.
#[derive(Debug, Parser)]
#[command(version = model::version())]
struct Arguments {
    /// The file to append measurements to, one JSON object per line.
    #[arg(long, global = true, default_value = "target/load.jsonl")]
    out: PathBuf,
    /// The only core to run on.
    #[arg(long, global = true)]
    core: Option<usize>,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Runs a little of each socket scenario, to see that they work. Measures nothing.
    Smoke,
    /// Fan-out: A, A16, B and C, against floors.
    Fanout(fanout::Plan),
    /// How much a small channel is delayed by a huge one.
    Fairness(fairness::Plan),
    /// Memory of an idle socket: plain, over TLS, and of floors.
    Idle(idle::Plan),
    /// The memory of an idle socket by owner: blocks of the heap, under valgrind.
    IdleParts(idle_parts::Plan),
    /// What opening a socket costs: upgrade, ticket, membership.
    Connects(connects::Plan),
    /// One channel with 90,000 sockets on five nodes.
    Fleet(fleet::Plan),
    /// How long messages that are delivered first wait until they are stored.
    Archive(archive::Plan),
    /// What a store that does not answer costs, during the brownout and afterwards.
    Brownout(brownout::Plan),
    /// Store requests when thousands of clients reconnect after an outage of the store.
    Reconnect(reconnect::Plan),
    /// What grows with sockets, workspaces, members and nodes.
    Growth(growth::Plan),
    /// Internal: a floor, a program that only writes.
    #[command(hide = true)]
    Floor {
        /// How it writes.
        #[arg(long)]
        style: floor::Style,
    },
    /// Internal: a node.
    #[command(hide = true)]
    Serve(serve::Setup),
    /// Internal: clients and their publisher.
    #[command(hide = true)]
    Crowd(crowd::CrowdOptions),
    #[command(flatten)]
    Rest(rest::Rest),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failed> {
    if let Some(core) = arguments.core {
        machine::pin(core)?;
    }
    machine::open_files_max()?;
    let record = || Record::open(&arguments.out);
    match arguments.scenario {
        Scenario::Smoke => {
            let mut record = record()?;
            fanout::run(&fanout::Plan::smoke(), &mut record)?;
            fairness::run(&fairness::Plan::smoke(), &mut record)?;
            connects::run(&connects::Plan::smoke(), &mut record)?;
            fleet::run(&fleet::Plan::smoke(), &mut record)?;
            brownout::run(&brownout::Plan::smoke(), &mut record)?;
            reconnect::run(&reconnect::Plan::smoke(), &mut record)
        }
        Scenario::Fanout(plan) => fanout::run(&plan, &mut record()?),
        Scenario::Fairness(plan) => fairness::run(&plan, &mut record()?),
        Scenario::Idle(plan) => idle::run(&plan, &mut record()?),
        Scenario::IdleParts(plan) => idle_parts::run(&plan, &mut record()?),
        Scenario::Connects(plan) => connects::run(&plan, &mut record()?),
        Scenario::Fleet(plan) => fleet::run(&plan, &mut record()?),
        Scenario::Archive(plan) => archive::run(&plan, &mut record()?),
        Scenario::Brownout(plan) => brownout::run(&plan, &mut record()?),
        Scenario::Reconnect(plan) => reconnect::run(&plan, &mut record()?),
        Scenario::Growth(plan) => growth::run(&plan, &mut record()?),
        Scenario::Floor { style } => floor::run(style),
        Scenario::Serve(setup) => serve::run(&setup),
        Scenario::Crowd(crowd) => crowd::run(&crowd),
        Scenario::Rest(scenario) => rest::run(scenario, &arguments.out).map_err(Into::into),
    }
}
