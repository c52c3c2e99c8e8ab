//! What REST calls cost: instructions, allocations, round trips and units per call, and pages of
//! channels of every size.
//!
//! **Main path.** `calls` and `instructions` run [`operate`] (a loop over one call) and the
//! functions' own programs under valgrind, twice: the second run makes twice as many calls, and
//! only the difference counts. [`profile`] reads callgrind's output. `scroll` seeds channels
//! straight into engines' files, and reads pages through the handler.

mod baseline;
mod calls;
mod fan_out;
mod handlers;
mod instructions;
mod naive;
mod operate;
mod parts;
mod profile;
mod scroll;
mod seed;
pub(crate) mod valgrind;

use std::error::Error;
use std::path::Path;

use clap::Subcommand;
use model::chain;

use crate::record::Record;

pub(crate) use handlers::redis;

/// The result of a scenario. An error is printed and ends the run.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Scenarios of the REST path.
#[derive(Debug, Subcommand)]
pub(crate) enum Rest {
    /// Pages of channels of 10^3 to 10^7 messages, in turns, compared with the naive schema.
    Scroll(scroll::Options),
    /// One call of each function: instructions, allocations, round trips, units.
    Calls(calls::Options),
    /// Instructions of hot paths, compared with the committed baseline. Fails if there are more.
    Instructions(instructions::Options),
    /// Internal: makes calls for the other scenarios to measure.
    #[command(hide = true)]
    Operate(operate::Options),
}

/// Runs a scenario.
///
/// # Errors
/// A line that says what went wrong.
pub(crate) fn run(scenario: Rest, out: &Path) -> Result<(), String> {
    let done = match scenario {
        Rest::Scroll(options) => record(out).and_then(|record| scroll::run(&options, record)),
        Rest::Calls(options) => record(out).and_then(|record| calls::run(&options, record)),
        Rest::Instructions(options) => {
            record(out).and_then(|record| instructions::run(&options, record))
        }
        Rest::Operate(options) => operate::run(&options),
    };
    done.map_err(|error| chain(error.as_ref()))
}

fn record(out: &Path) -> Outcome<Record> {
    Ok(Record::open(out)?)
}
