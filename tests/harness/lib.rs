//! Starts real parts for tests: servers, stacks, node processes, and users with clients.
//!
//! Tests wait for predicates with a deadline ([`eventually`]), never for a fixed time. If a part
//! cannot be started, the test fails and says what to install: nothing is skipped.

#![expect(
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test whose parts do not start cannot continue"
)]

pub mod authority;
pub mod cluster;
pub mod crowd;
pub mod deployment;
pub mod failover;
pub mod lambda;
pub mod logs;
pub mod person;
pub mod port;
pub mod process;
pub mod proxied;
pub mod proxy;
pub mod record;
pub mod redis;
pub mod store;
pub mod watched;

use std::time::Duration;

use tokio::time::Instant;

/// Waits until a predicate holds. Deadlines are generous, because the machine may be busy.
///
/// # Panics
/// If it does not hold within `within`.
pub async fn eventually(what: &str, within: Duration, mut predicate: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !predicate().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The time that `percent` of these times do not exceed; zero without times.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// Deadline for what should happen at once.
pub const SOON: Duration = Duration::from_secs(20);
