//! The use cases over the in-process ports: every guarantee that the engine makes by itself, tested
//! in milliseconds without any real dependency.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that finds something else has failed"
)]

mod amend;
mod archive;
mod attachments;
mod balancer;
mod cut;
mod failing_store;
mod fixture;
mod members;
mod mentions;
mod people;
mod pins;
mod react;
mod read_state;
mod read_state_model;
mod relay;
mod scroll;
mod send;
mod threads;
