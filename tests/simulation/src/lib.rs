//! The whole system in one thread, on paused time, under a seed: real nodes, functions, relay and
//! clients over a model network, a model Redis and a model store that fail in every known way.
//!
//! **Main path.**
//! 1. [`Plan::of_seed`] decides what a run is made of and what goes wrong in it when.
//! 2. [`run`] builds the `World`: servers, tables, functions' environments, nodes, devices.
//! 3. `work` lets people send, come and go, add and remove each other; `faults` injects.
//! 4. Everything that happens is written into one history, and when faults are over and everything
//!    had its time, the checker judges it.
//! 5. [`sweep`] does that for many seeds and adds up what they came to.
//!
//! **Invariants.** One source of chance per run; no thread, no file, no socket, no clock of the
//! machine. Two runs of one seed have byte-equal traces. A planted bug is a wrapper around a port or
//! around what a client receives, a client that was set up wrongly, or a switch in the model of Redis:
//! never one in the product.
//!
//! **Not here.** No rule about what is right (`checker`), no promise that real Redis and DynamoDB
//! behave like the models: tests with real processes look for that.

#![expect(clippy::wildcard_enum_match_arm, reason = "a fault and a bug are at home in one family")]
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
pub use sweep::{Tally, sweep};
