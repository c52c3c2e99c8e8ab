//! The whole system in one thread under a seed.
#![expect(clippy::wildcard_enum_match_arm, reason = "a fault and a bug are at home in one family")]
mod chance;
mod faults;
mod feed;
mod fleet;
mod functions;
mod host;
mod identity;
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
pub use plan::Plan;
pub use planted::Planted;
pub use run::{Report, run};
pub use sweep::{Tally, sweep};
