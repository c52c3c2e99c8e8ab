//! The engine: what each API call does, over narrow ports. A deployed function decodes a request,
//! runs one use case of this package, and encodes the answer.
//!
//! **Main path of a message.**
//! 1. [`send::post_message`] reads the caller's standing in the channel (`access`), strongly.
//! 2. It appends the message with one conditional put ([`ports::MessageStore::append`]).
//! 3. [`publisher::Publisher::publish`] offers it to the bus within its budget.
//! 4. It answers even if step 3 failed, since the message is stored already.
//! 5. [`relay::Relay::relay`] publishes every stored message again, until it is safe on the bus.
//!
//! A channel that delivers first has another path: [`deliver`], then [`archive`].
//!
//! **Invariants.** Any other message is published only after the store acknowledged it. A membership
//! change returns only after both rows are written and the version is bumped, in this order.
//! Every operation compares the channel's workspace with the caller's.
//!
//! **Not here.** No HTTP, no JSON, no AWS, no Redis, no wall clock, no randomness of its own.

pub mod ports;

mod access;
pub mod amend;
mod app;
pub mod archive;
pub mod attachments;
mod contract;
mod error;
mod fold;
mod guarded;
mod known;
pub mod outage;
pub mod publisher;
mod revising;

pub mod channels;
pub mod circuit;
pub mod connect;
pub mod counters;
pub mod deliver;
pub mod derive;
pub mod details;
pub mod fleet;
pub mod members;
pub mod mentions;
pub mod pins;
pub mod profiles;
pub mod react;
pub mod read_state;
pub mod receipts;
pub mod relay;
mod rev;
pub mod revoke;
pub mod scroll;
pub mod send;
pub mod threads;

pub use app::{App, Ports};
pub use contract::{ContractNotServed, WrongContract};
pub use error::{Refusal, StoreError};
