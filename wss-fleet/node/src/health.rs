//! Health checks of what the node depends on: before its first client, after a failure, and every
//! minute.
//!
//! A problem never ends a socket: sockets outlive Redis and the store (ADR 0019).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use messaging::outage::Outage;
use messaging::ports::{Finding, HealthCheck, Issue, Scope};
use model::limits;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// A problem, where it was found and its fix. The system's own error text is left out, because it
/// may differ each time: first a reset, then an end of stream.
type Kind = (Issue, &'static str, Option<String>);

/// The results of the last check.
#[derive(Debug)]
pub(crate) struct Health {
    issues: Mutex<BTreeSet<Issue>>,
    /// What was logged about each kind of problem.
    outages: Mutex<BTreeMap<Kind, Outage>>,
    /// Checks that timed out.
    overdue: Outage,
    /// How far this clock was ahead of Redis's at the last renewal, in ms.
    clock_ahead_ms: AtomicI64,
    was_well: watch::Sender<bool>,
    doubted: Notify,
}

impl Health {
    /// Healthy from the start if there is nothing to check.
    pub(crate) fn of(health_checks: &[Arc<dyn HealthCheck>]) -> Self {
        Self {
            issues: Mutex::default(),
            outages: Mutex::default(),
            overdue: Outage::default(),
            clock_ahead_ms: AtomicI64::new(0),
            was_well: watch::Sender::new(health_checks.is_empty()),
            doubted: Notify::new(),
        }
    }

    /// Checks for as long as the node lives.
    pub(crate) async fn run(&self, health_checks: &[Arc<dyn HealthCheck>]) {
        let mut scope = Scope::All;
        loop {
            let checked_at = Instant::now();
            let checks = health_checks.iter().map(|check| check.run(scope));
            match timeout(CHECK_MAX, join_all(checks)).await {
                Ok(found) => {
                    self.overdue.succeeded(Instant::now());
                    self.ingest(found.into_iter().flatten().collect());
                }
                Err(_) => {
                    if let Some(failing) = self.overdue.failed(Instant::now()) {
                        let failures = failing.failures;
                        tracing::warn!(
                            failures,
                            "the health check of Redis and the store timed out"
                        );
                    }
                }
            }
            scope = Scope::All;
            if self.issues().is_empty() && self.was_well() {
                let doubted = timeout_at(checked_at + CHECK_EVERY, self.doubted.notified()).await;
                if doubted.is_err() {
                    scope = Scope::Running;
                }
            }
            sleep_until(checked_at + CHECK_PAUSE).await;
        }
    }

    /// Requests a check soon: a failure may mean more.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Whether at least one check in this node's life found nothing that stops a node.
    pub(crate) fn was_well(&self) -> bool {
        *self.was_well.borrow()
    }

    /// Waits until [`Health::was_well`] is true.
    pub(crate) async fn well(&self) {
        // The sender lives as long as `self`.
        let _closed = self.was_well.subscribe().wait_for(|was_well| *was_well).await.is_err();
    }

    /// The current problems, each kind once, in the order of [`Issue`].
    pub(crate) fn issues(&self) -> Vec<Issue> {
        let mut issues = self.issues.lock().clone();
        if self.is_clock_doubted() {
            issues.insert(Issue::ClockSkew);
        }
        issues.into_iter().collect()
    }

    /// Whether this clock and Redis's are so far apart that one of them is wrong.
    pub(crate) fn is_clock_doubted(&self) -> bool {
        let ahead_ms = self.clock_ahead_ms.load(Ordering::Relaxed);
        Duration::from_millis(ahead_ms.unsigned_abs()) > limits::CLOCK_SKEW_MAX
    }

    /// Records how far this clock is ahead of Redis's.
    pub(crate) fn record_clock(&self, ahead_ms: i64) {
        self.clock_ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let kind = (Issue::ClockSkew, "clock", None);
        if self.is_clock_doubted() {
            let line = format!(
                "this clock is {ahead_ms} ms ahead of Redis's, so the node gets no new clients \
                 where others can take them; fix: synchronise both hosts with NTP"
            );
            self.log_trouble(kind, [&*line]);
        } else {
            self.log_resolved([&kind.0]);
        }
    }

    /// Records what a check found; logs problems that are new, that last and that are over.
    fn ingest(&self, found: Vec<Finding>) {
        // A problem that four tables share is reported once.
        let mut kinds: BTreeMap<Kind, BTreeSet<&str>> = BTreeMap::new();
        for Finding { item, line, issue } in &found {
            if let Some(issue) = issue {
                let fix = line.rsplit_once("fix: ").map(|(_, fix)| fix.to_owned());
                kinds.entry((*issue, item, fix)).or_default().insert(line);
            }
        }
        let issues: BTreeSet<Issue> = kinds.keys().map(|kind| kind.0).collect();
        // Logged before `/healthz` shows it: whoever sees a problem there finds its line.
        for (kind, lines) in kinds {
            self.log_trouble(kind, lines);
        }
        let before = self.issues.lock().clone();
        self.log_resolved(before.difference(&issues));
        *self.issues.lock() = issues.clone();
        if !issues.into_iter().any(Issue::stops_a_node) {
            self.was_well.send_replace(true);
        }
    }

    /// Logs findings of one kind, unless that was done within the last minute.
    fn log_trouble<'a>(&self, kind: Kind, lines: impl IntoIterator<Item = &'a str>) {
        let (issue, item) = (kind.0.as_str(), kind.1);
        let mut outages = self.outages.lock();
        if outages.len() >= KINDS_MAX {
            outages.clear();
        }
        if let Some(failing) = outages.entry(kind).or_default().failed(Instant::now()) {
            let lasting_ms = failing.lasting_ms();
            for line in lines {
                tracing::error!(issue, item, lasting_ms, "{line}");
            }
        }
    }

    fn log_resolved<'a>(&self, over: impl IntoIterator<Item = &'a Issue>) {
        let outages = self.outages.lock();
        for issue in over {
            let of_it = outages.iter().filter(|((kind, ..), _)| kind == issue);
            let ended = of_it.filter_map(|(_, outage)| outage.succeeded(Instant::now()));
            if let Some(lasted_ms) = ended.map(|over| over.lasted_ms()).max() {
                tracing::info!(issue = issue.as_str(), lasted_ms, "resolved");
            }
        }
    }
}

/// How often to check while all is well.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between checks, and the interval while something is wrong.
const CHECK_PAUSE: Duration = Duration::from_secs(3);
/// The longest check: the deadlines of its calls, one after the other, if nothing answers.
const CHECK_MAX: Duration = Duration::from_secs(45);

/// Kinds of problems that the log distinguishes; more than problems times tables.
const KINDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(issue: Issue, line: &str) -> Finding {
        Finding::bad("x", issue, line.to_owned())
    }

    #[test]
    fn trouble_of_one_kind_is_reported_once_and_is_over_when_it_is_no_longer_found() {
        let nothing: Vec<Arc<dyn HealthCheck>> = Vec::new();
        assert!(Health::of(&nothing).was_well());
        let health = Health { was_well: watch::Sender::new(false), ..Health::of(&nothing) };
        health.ingest(vec![
            bad(Issue::StoreDenied, "a table"),
            bad(Issue::RedisReadOnly, "a replica"),
            bad(Issue::StoreDenied, "another table"),
            Finding::good("y", "fine".to_owned()),
        ]);
        assert_eq!(health.issues(), [Issue::RedisReadOnly, Issue::StoreDenied]);
        assert!(!health.was_well());
        health.ingest(vec![Finding::good("y", "fine".to_owned())]);
        assert!(health.issues().is_empty() && health.was_well());
        health.ingest(vec![bad(Issue::RedisReadOnly, "a replica")]);
        assert!(health.was_well(), "what was well once goes on serving");
        let health = Health { was_well: watch::Sender::new(false), ..Health::of(&nothing) };
        health.ingest(vec![bad(Issue::TableSettings, "no time to live")]);
        assert_eq!(health.issues(), [Issue::TableSettings]);
        assert!(health.was_well(), "it is reported, and stops no node");
    }

    #[test]
    fn a_clock_that_is_five_seconds_off_is_a_trouble_until_it_is_right() {
        let nothing: Vec<Arc<dyn HealthCheck>> = Vec::new();
        let health = Health::of(&nothing);
        for (ahead_ms, is_doubted) in
            [(0, false), (5_000, false), (5_001, true), (-5_001, true), (-40, false)]
        {
            health.record_clock(ahead_ms);
            assert_eq!(health.is_clock_doubted(), is_doubted, "{ahead_ms}");
            assert_eq!(health.issues().contains(&Issue::ClockSkew), is_doubted, "{ahead_ms}");
        }
        assert!(health.was_well(), "it stops no node");
    }
}
