//! One suite per port. Each gets a factory, and runs on every adapter.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot continue fails"
)]

/// Runs each test on memory, Redis and Valkey, on what the file's `on_memory` and `on_server` make.
macro_rules! suite {
    ($($test:ident)*) => {
        mod on_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::on_memory()).await; })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::on_server(super::Flavor::Redis)).await; })*
        }
        mod on_valkey {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::on_server(super::Flavor::Valkey)).await; })*
        }
    };
}

mod acl;
mod bus;
mod directory;
mod presence;
mod relay_bus;
mod sessions;
mod spool;
mod store;
mod wire;
