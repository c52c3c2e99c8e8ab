//! Starts real parts for tests: servers, stacks, node processes, and people who use them.
//!
//! Tests wait on predicates with a deadline ([`eventually`]), never for a time. Whatever cannot be
//! started is a failure that says what to install: nothing is skipped.

#![expect(
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test whose parts do not start cannot go on"
)]

pub mod authority;
pub mod cluster;
pub mod crowd;
pub mod failover;
pub mod lambda;
pub mod logs;
pub mod person;
pub mod process;
pub mod proxy;
pub mod record;
pub mod redis;
pub mod scene;
pub mod system;
pub mod watched;

use std::time::Duration;

use tokio::time::Instant;

/// Waits until a predicate holds; generous, because the machine may be busy.
///
/// # Panics
/// If it does not within `within`.
pub async fn eventually(what: &str, within: Duration, mut predicate: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !predicate().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How long tests wait for what should happen at once.
pub const SOON: Duration = Duration::from_secs(20);
