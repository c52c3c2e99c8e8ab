//! Real processes with real faults between them: what is promised holds, and what it costs.
//!
//! A scenario's history is judged by `checker`; a figure is printed as one line, `figure: …`. The
//! scenarios whose time or number is a bar of its own are ignored here and run by
//! `tests/run --full`, built with optimisation.

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
