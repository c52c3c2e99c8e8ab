//! The whole system in one process: gateway, functions, engine, bus and nodes.
//!
//! **Main path.**
//! 1. [`Stack::start`] takes the gateway's port, starts the [`engine`] (or finds the endpoint that
//!    it is given), makes the tables, and wires the ports ([`runtime::compose`]).
//! 2. `seed` fills an empty store with a demo workspace.
//! 3. `nodes` starts the nodes, each on a thread and runtime of its own, and replaces the dead.
//! 4. `feed` hands the engine's stream of messages to the relay, as Lambda's mapping does.
//! 5. `gateway` hands each request to the same handlers that run on Lambda.
//!
//! **Invariants.** Handlers, nodes, and the store's adapter are the real ones; only what they
//! stand on is local. The routes under `/dev` exist here and in no deployed build, and answer
//! only to a name of this machine.
//!
//! **Not here.** No rule about messages, channels or sockets.

pub mod engine;

mod feed;
mod gateway;
mod nodes;
mod options;
mod report;
mod secrets;
mod seed;
mod stack;
mod stop;
mod wiring;

pub use nodes::NodeHandle;
pub use options::{Format, GivenUrl, Options};
pub use report::report;
pub use secrets::SecretsError;
pub use stack::{Bus, Data, Stack, StackError, StackOptions, TABLE_PREFIX};
