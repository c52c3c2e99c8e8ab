//! The system by its two doors only: HTTP and WebSocket.
//!
//! Tests in `everywhere` run on each environment: the embedded stack, and the embedded engine with
//! a real redis-server.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a test that finds something else has failed; figures are printed"
)]

mod answers;
mod configuration;
mod cost;
mod discovery;
mod embedded;
mod everywhere;
mod failover;
mod figures;
mod health;
mod own_name;
mod page;
mod redaction;
mod relay;
mod sockets;
mod tls;
mod traces;

/// Runs each test on each environment.
macro_rules! on_each_environment {
    ($($test:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(tests::cluster::Environment::Embedded).await; })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(tests::cluster::Environment::Redis).await; })*
        }
    };
}
pub(crate) use on_each_environment;
