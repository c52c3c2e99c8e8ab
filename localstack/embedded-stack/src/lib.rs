//! The whole system in one process: gateway, functions, engine, bus and nodes.
//!
//! **Main path.**
//! 1. [`Stack::start`] binds the gateway's port, starts the [`engine`] (or uses the endpoint that
//!    it is given), creates the tables, and wires the ports ([`service::compose`]).
//! 2. `seed` fills an empty store with a demo workspace.
//! 3. `nodes` starts the nodes, each on its own thread and runtime, and replaces dead ones.
//! 4. `feed` passes the engine's stream of messages to the relay, as Lambda does.
//! 5. `gateway` passes each request to the same handlers that run on Lambda, and takes and gives files
//!    as S3 does (`files`).
//!
//! **Invariants.** Handlers, nodes and the store adapter are the real ones; only the layer below
//! them is local. The routes under `/dev` exist in no deployed build, and here they only accept
//! requests whose `Host` is this machine.
//!
//! **Not here.** Rules about messages, channels or sockets.

mod archiving;
pub mod engine;

mod feed;
mod files;
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
