//! Faults between real processes, and large numbers: the guarantees hold, and costs stay within their
//! bounds.
//!
//! `checker` judges the history of each run. A figure is printed as one line, `figure: …`. Tests with
//! a bound on time or count are ignored by default; `tests/run --full` runs them in a release build.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that finds something else has failed; figures are printed"
)]

mod figures;

mod absence;
mod brownout;
mod bus;
mod clients;
mod deliver_first;
mod failover;
mod fault_run;
mod incidents;
mod many;
mod nodes;
mod outage;
mod presence;
mod random;
mod receipts;
mod store;
mod storm;
mod typists;
mod unread;
