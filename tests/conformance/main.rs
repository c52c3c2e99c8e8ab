//! One suite per port, taking a factory, run on every adapter.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod acl;
mod bus;
mod directory;
mod replay;
mod store;
mod wire;
