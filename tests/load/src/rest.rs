//! What REST calls cost: instructions, allocations, round trips and units of a call, pages of
//! channels of every size.
//!
//! **Main path.** `calls` and `instructions` run [`operate`] (a loop over one call) and the
//! functions' own programs under valgrind, once with so many calls and once with twice as many:
//! the difference is calls alone. [`profile`] reads what callgrind counted and tells whose it is.
//! `scroll` seeds channels straight into engines' files, and reads pages through the handler.

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

/// An error of a scenario: told, and the end of it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Scenarios of the REST path.
#[derive(Debug, Subcommand)]
pub(crate) enum Rest {
    /// Pages of channels of 10^3 to 10^7 messages, in turns, beside the naive schema.
    Scroll(scroll::Options),
    /// A call of each function: instructions, allocations, round trips, units.
    Calls(calls::Options),
    /// Instructions of hot paths against the committed baseline; fails when there are more.
    Instructions(instructions::Options),
    /// Makes calls, for the others to measure.
    #[command(hide = true)]
    Operate(operate::Options),
}

/// Runs a scenario.
///
/// # Errors
/// What went wrong, in one line.
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
