//! Whether what the node stands on does its work: looked at before it takes its first client, when
//! something failed, and now and then.
//!
//! Trouble never ends a socket: sockets outlive Redis and the store (ADR 0019).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use messaging::ports::{Checkup, Depth, Finding, Trouble};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::hub::{Hub, lock};

/// What was found last.
#[derive(Debug)]
pub(crate) struct Health {
    findings: Mutex<Vec<Finding>>,
    was_well: watch::Sender<bool>,
    doubted: Notify,
}

impl Health {
    /// With nothing to look at, all is well from the start.
    pub(crate) fn of(checkups: &[Arc<dyn Checkup>]) -> Self {
        Self {
            findings: Mutex::default(),
            was_well: watch::Sender::new(checkups.is_empty()),
            doubted: Notify::new(),
        }
    }

    /// Something failed that may mean more: has it looked at soon.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Whether nothing that stops a node was found at least once in this node's life.
    pub(crate) fn was_well(&self) -> bool {
        *self.was_well.borrow()
    }

    /// Waits for that.
    pub(crate) async fn well(&self) {
        // The sender lives as long as `self`.
        self.was_well
            .subscribe()
            .wait_for(|was_well| *was_well)
            .await
            .map(drop)
            .unwrap_or_default();
    }

    /// What is wrong, each kind once, in the order of the list.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let findings = lock(&self.findings);
        let kinds: BTreeSet<Trouble> = findings.iter().filter_map(|one| one.trouble).collect();
        kinds.into_iter().collect()
    }

    /// Takes what was found, and tells what is new and what is over: a line each.
    fn take(&self, found: Vec<Finding>) {
        let mut troubles: Vec<Finding> = Vec::new();
        for one in found {
            // What is wrong with four tables alike is said once.
            if one.trouble.is_some() && !troubles.contains(&one) {
                troubles.push(one);
            }
        }
        let found = troubles;
        let before = std::mem::replace(&mut *lock(&self.findings), found.clone());
        let is_new = |one: &&Finding| before.iter().all(|known| !is_same(known, one));
        for Finding { item, line, trouble } in found.iter().filter(is_new) {
            let trouble = trouble.map_or("", Trouble::as_str);
            tracing::error!(trouble, item, "{line}");
        }
        let is_over = |one: &&Finding| found.iter().all(|now| now.trouble != one.trouble);
        let over: BTreeSet<_> = before.iter().filter(is_over).map(|one| one.trouble).collect();
        for trouble in over.into_iter().flatten() {
            tracing::info!(trouble = trouble.as_str(), "cured");
        }
        let stops = |one: &Finding| one.trouble.is_some_and(Trouble::stops_a_node);
        if !found.iter().any(stops) {
            self.was_well.send_replace(true);
        }
    }
}

/// Whether one cure is for both. What the system says in between may differ each time: a reset once,
/// an end the next time.
fn is_same(one: &Finding, other: &Finding) -> bool {
    let cure = |of: &Finding| of.line.rsplit_once("cure: ").map(|(_, cure)| cure.to_owned());
    one.trouble == other.trouble && one.item == other.item && cure(one) == cure(other)
}

/// Looks for as long as the node lives.
pub(crate) async fn run(hub: Arc<Hub>) {
    let health = &hub.health;
    let mut depth = Depth::Whole;
    loop {
        let looked_at = Instant::now();
        let looks = hub.parts.checkups.iter().map(|checkup| checkup.look(depth));
        match timeout(LOOK_MAX, join_all(looks)).await {
            Ok(found) => health.take(found.into_iter().flatten().collect()),
            Err(_) => tracing::warn!("a look at Redis and the store took too long"),
        }
        depth = Depth::Whole;
        if health.troubles().is_empty() && health.was_well() {
            let doubted = timeout_at(looked_at + LOOK_EVERY, health.doubted.notified()).await;
            if doubted.is_err() {
                depth = Depth::Running;
            }
        }
        sleep_until(looked_at + LOOK_AGAIN).await;
    }
}

/// How often it looks while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often at most, and while something is wrong.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// A look: the calls' own deadlines in a row, when nothing answers.
const LOOK_MAX: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(trouble: Trouble, line: &str) -> Finding {
        Finding::bad("x", trouble, line.to_owned())
    }

    #[test]
    fn trouble_of_one_kind_is_told_once_and_is_over_when_it_is_no_longer_found() {
        let nothing: Vec<Arc<dyn Checkup>> = Vec::new();
        assert!(Health::of(&nothing).was_well());
        let health = Health { was_well: watch::Sender::new(false), ..Health::of(&nothing) };
        health.take(vec![
            bad(Trouble::StoreDenied, "a table"),
            bad(Trouble::RedisReadOnly, "a replica"),
            bad(Trouble::StoreDenied, "another table"),
            Finding::good("y", "fine".to_owned()),
        ]);
        assert_eq!(health.troubles(), [Trouble::RedisReadOnly, Trouble::StoreDenied]);
        assert!(!health.was_well());
        health.take(vec![Finding::good("y", "fine".to_owned())]);
        assert!(health.troubles().is_empty() && health.was_well());
        health.take(vec![bad(Trouble::RedisReadOnly, "a replica")]);
        assert!(health.was_well(), "what was well once goes on serving");
        let health = Health { was_well: watch::Sender::new(false), ..Health::of(&nothing) };
        health.take(vec![bad(Trouble::TableSettings, "no time to live")]);
        assert_eq!(health.troubles(), [Trouble::TableSettings]);
        assert!(health.was_well(), "it is told, and stops no node");
    }
}
