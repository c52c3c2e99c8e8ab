//! The wire: what crosses a process boundary, and nothing about what is done with it.
//!
//! **Main path.** [`routes::resolve`] finds the call, [`json::parse`] and [`http`] read its body
//! and query, [`problem`] writes what went wrong; [`publication`] is the envelope on the bus,
//! [`frame`] what a socket carries, [`close`] why a socket ends.
//!
//! **Invariants.** All serde of the wire lives here. Nothing read from outside panics: every
//! decoder answers an error with a code.
//!
//! **Not here.** No store, no socket, no use case.

pub mod close;
pub mod frame;
pub mod http;
pub mod json;
pub mod problem;
pub mod publication;
pub mod routes;
