//! What programs need to run the engine: configuration, telemetry, the HTTP and Lambda adapters,
//! and the composition of the ports.
//!
//! **Main path.**
//! 1. [`config`] reads a program's whole environment and reports every problem at once.
//! 2. [`compose`] builds the ports from it: store, bus, tokens, tickets, clock, randomness.
//! 3. `lambda::run` (or the local gateway) hands a request to a handler through [`http::serve`].
//! 4. The handler calls [`http::authenticate`] and one use case, and answers with
//!    [`http::respond`], the only place where a refusal becomes a response.
//!
//! **Invariants.** The environment is read only here, and its values are never printed. No `Debug`
//! shows a secret. A handler's panic costs one call.
//!
//! **Not here.** No business rule, no route, no socket.

pub mod certificate;
pub mod clock;
pub mod compose;
pub mod config;
pub mod http;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod metrics;
pub mod stream;
pub mod telemetry;
pub mod version;

mod no_files;
#[cfg(feature = "lambda")]
mod no_redis;
