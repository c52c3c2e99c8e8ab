//! Runs the whole system in one thread, on paused time, under a seed: real nodes, functions, relay
//! and clients over a model network, a model Redis and a model store that fail in every known way.
//!
//! **Main path.**
//! 1. [`Plan::of_seed`] decides what a run consists of, and which faults happen when.
//! 2. [`run`] builds the `World`: servers, tables, functions' environments, nodes, devices.
//! 3. `work` makes people send, come and go, add and remove each other; `faults` injects faults.
//! 4. Every event goes into one history, which the checker judges at the end.
//! 5. [`sweep`] does that for many seeds and adds up the verdicts.
//!
//! **Invariants.** Each run has one source of randomness and uses no thread, file, socket or
//! machine clock. Two runs of one seed have byte-equal traces. A planted bug is a wrapper around a
//! port or around a client's connection, a misconfigured client, or a switch in the model of Redis.
//! The product has no switch for it.
//!
//! **Not here.** The rules of the verdict are in `checker`. That real Redis and DynamoDB behave like
//! the models is shown by tests with real processes.

#![expect(clippy::wildcard_enum_match_arm, reason = "a fault and a bug are at home in one family")]
mod contracts;
mod faults;
mod feed;
mod fleet;
mod functions;
mod host;
mod identity;
mod judgement;
mod network;
mod person;
mod plan;
mod planted;
mod presence;
mod reading;
mod record;
mod redis;
mod run;
pub mod scenario;
mod store;
mod sweep;
mod time;
mod work;
mod world;

pub use faults::{Family, Kind};
pub use judgement::Judgement;
pub use plan::Plan;
pub use planted::Planted;
pub use run::{Report, run};
pub use sweep::{SweepTotals, sweep};
