//! Faults between real processes: the guarantees hold, and costs stay within their bounds.
//!
//! `checker` judges a scenario's history. A figure is printed as one line, `figure: …`. Scenarios
//! with a bound on time or count are ignored here; `tests/run --full` runs them, built with
//! optimisation.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that finds something else has failed; figures are printed"
)]

mod figures;

mod brownout;
mod bus;
mod clients;
mod failover;
mod incidents;
mod many;
mod nodes;
mod outage;
mod random;
mod stage;
mod store;
