//! One suite per port. Each gets a factory, and runs on every adapter.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

mod acl;
mod bus;
mod directory;
mod presence;
mod relay_bus;
mod sessions;
mod spool;
mod store;
mod wire;
