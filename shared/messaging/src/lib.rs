//! The engine: what each call does, over narrow ports. Every function of the system is one use
//! case of this package between a decoder and an encoder.
//!
//! **Main path of a message.**
//! 1. [`send::post_message`] reads the caller's standing in the channel (`access`), strongly.
//! 2. It appends the message with one conditional put ([`ports::MessageStore::append`]).
//! 3. [`publisher::Publisher::publish`] offers it to the bus within its budget.
//! 4. The answer goes out whatever step 3 said: written in ink, then put on the wire.
//! 5. [`relay::Relay::relay`] does step 3 again for every stored message, until it is safe there.
//!
//! **Invariants.** A message is published only after the store acknowledged it. A membership
//! change returns only after both rows are written and the version is bumped, in this order.
//! Every operation compares the channel's workspace with the caller's.
//!
//! **Not here.** No HTTP, no JSON, no AWS, no Redis, no wall clock, no randomness of its own.

pub mod ports;

mod access;
mod app;
mod contract;
mod error;
mod guarded;
pub mod outage;
pub mod publisher;

pub mod channels;
pub mod circuit;
pub mod connect;
pub mod fleet;
pub mod members;
pub mod relay;
pub mod revoke;
pub mod scroll;
pub mod send;
pub mod tally;

pub use app::{App, Ports};
pub use contract::ContractNotServed;
pub use error::{Refusal, StoreError};
