//! The wire: what crosses a process boundary, but not what is done with it.
//!
//! **Main path.** [`routes::resolve`] finds the call, [`json::parse`] and [`http`] read its body
//! and query, and [`problem`] writes refusals. [`publication`] is the envelope on the bus,
//! [`signal`] what is pushed beside the stream, [`frame`] what a socket carries to a client, [`client_frame`] what a
//! client says, [`presence`] what nodes tell each other about users, [`close`] why a socket closes.
//!
//! **Invariants.** All serde of the wire is here or in `model`. No input causes a panic: every
//! decoder returns an error with a code.
//!
//! **Not here.** A store, a socket, a use case.

pub mod client_frame;
pub mod close;
pub mod frame;
pub mod http;
pub mod json;
pub mod presence;
pub mod problem;
pub mod publication;
pub mod receipts;
pub mod routes;
pub mod signal;
pub mod token;
