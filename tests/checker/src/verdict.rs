//! The result of a run: the rules, the counts, and what was broken.

use std::fmt;
use std::time::Duration;

/// The bounds that a run must keep.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long a message may take, from its 200 or the last fault's end, whichever is later.
    pub settle: Duration,
    /// How much longer it may take where messages are delivered first: its sender sends it again then, if
    /// Redis has lost it.
    pub sent_again: Duration,
    /// Whether a fault of this kind explains that clients get a resync.
    pub explains: fn(&str) -> bool,
    /// How many resyncs a client may get for each fault that explains them.
    pub resyncs_per_fault: u32,
    /// How many more it may get in any case.
    pub resyncs_besides: u32,
    /// Whether a fault of this kind explains that the session of a channel that keeps nothing ends, and
    /// that what was not stored yet is lost: Redis loses data.
    pub ends_sessions: fn(&str) -> bool,
    /// How soon a removal is known where nothing is kept, at the latest.
    pub removals_known: Duration,
}

impl Bounds {
    /// Bounds by which every fault explains `resyncs_per_fault` resyncs, whatever its kind.
    #[must_use]
    pub fn of_any_fault(settle: Duration, resyncs_per_fault: u32) -> Self {
        Self {
            settle,
            sent_again: Duration::ZERO,
            explains: |_| true,
            resyncs_per_fault,
            resyncs_besides: 0,
            ends_sessions: |_| true,
            removals_known: Duration::ZERO,
        }
    }
}

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Stored exactly once.
    K1Stored,
    /// Delivered to every client that must have it, once after de-duplication.
    K2Delivered,
    /// Shown in order, and only if stored.
    K3Order,
    /// Not delivered to users who were removed before.
    K4Leak,
    /// Delivered in time, without needless resyncs.
    K7Alive,
    /// Every copy of a message ends as the store has it.
    K8Converged,
    /// Every summary of reactions counts what the users did, and pins are those of the last acts.
    K9Counted,
    /// What is unread is what a count by hand says, and no read mark moved back.
    K10Unread,
    /// What is said in a channel that keeps nothing reaches nobody who has not joined.
    K11Apart,
    /// Its numbers grow without repetition, and what was missed is exact.
    K12Numbers,
    /// Nothing is left of it, and a stream has publications only.
    K13Lasting,
    /// Clients show who is there, and nobody else.
    K14Present,
    /// In channels that deliver first, each message is stored once and reaches every member.
    K15Archived,
    /// Redis or the store has each accepted message. No receipt is ahead of what a device said.
    K16Accepted,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub check: Check,
    /// What happened.
    pub what: String,
}

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sends that were answered 200.
    pub acknowledged: u64,
    /// Pairs of a message and a client that must receive it.
    pub deliveries: u64,
    /// Acknowledged messages that are missing in the store, or at a client that must have them.
    pub lost: u64,
    /// Messages that were stored, or shown as new, more than once.
    pub doubled: u64,
    /// Messages that reached a user who had been removed before.
    pub leaked: u64,
    /// Edits, deletions, and reactions and pins made or withdrawn that were answered 200.
    pub changes: u64,
    /// Copies of messages that ended in another revision than the store's.
    pub diverged: u64,
    /// Summaries, pins and unread counts that ended otherwise than a count by hand says.
    pub miscounted: u64,
    /// Repeated deliveries. They are allowed, but counted.
    pub raw_duplicates: u64,
    /// Removals that were acknowledged.
    pub removals: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Resyncs of all clients.
    pub resyncs: u64,
    /// The most resyncs of one client.
    pub resyncs_most: u32,
    /// The longest that a message took to a client, from its 200 or the last fault's end.
    pub slowest: Duration,
    /// How often a client joined a channel that keeps nothing.
    pub joins: u64,
    /// What was accepted in such channels.
    pub said: u64,
    /// How often it reached a client.
    pub heard: u64,
    /// How much clients that joined were told they missed.
    pub missed: u64,
    /// Texts of such channels that are found at the end.
    pub left: u64,
    /// Messages that clients sent in channels that deliver first.
    pub taken: u64,
    /// Of these, the ones that a node accepted.
    pub accepted: u64,
    /// Of these, the ones that are stored.
    pub archived: u64,
    /// Of these, the ones that nobody stored, because all devices have them.
    pub dropped: u64,
    /// Repeated sends of these on sockets.
    pub repeated: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// Accepted messages that Redis lost and nobody sent again.
    pub hole: u64,
    /// The broken rules, up to a maximum.
    pub violations: Vec<Violation>,
    /// The number of all broken rules, with those that are not listed.
    pub violations_total: u64,
}

impl Verdict {
    /// Whether every rule held.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.violations_total == 0
    }

    /// Whether a rule was broken.
    #[must_use]
    pub fn breaks(&self, check: Check) -> bool {
        self.violations.iter().any(|violation| violation.check == check)
    }

    /// Adds the results of another run.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.deliveries += other.deliveries;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.leaked += other.leaked;
        self.changes += other.changes;
        self.diverged += other.diverged;
        self.miscounted += other.miscounted;
        self.raw_duplicates += other.raw_duplicates;
        self.removals += other.removals;
        self.faults += other.faults;
        self.resyncs += other.resyncs;
        self.resyncs_most = self.resyncs_most.max(other.resyncs_most);
        self.slowest = self.slowest.max(other.slowest);
        self.joins += other.joins;
        self.said += other.said;
        self.heard += other.heard;
        self.missed += other.missed;
        self.left += other.left;
        self.taken += other.taken;
        self.accepted += other.accepted;
        self.archived += other.archived;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.hole += other.hole;
        self.violations_total += other.violations_total;
        self.violations.extend(other.violations);
        self.violations.truncate(LISTED_MAX);
    }

    pub(crate) fn note(&mut self, check: Check, what: String) {
        self.violations_total += 1;
        if self.violations.len() < LISTED_MAX {
            self.violations.push(Violation { check, what });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} deliveries, {} lost, {} doubled, {} leaked, {} changes, {} diverged, \
             {} miscounted, {} removals, {} faults, {} resyncs (at most {} of one client), {} raw duplicates, the slowest after {:.1?}",
            self.acknowledged,
            self.deliveries,
            self.lost,
            self.doubled,
            self.leaked,
            self.changes,
            self.diverged,
            self.miscounted,
            self.removals,
            self.faults,
            self.resyncs,
            self.resyncs_most,
            self.raw_duplicates,
            self.slowest
        )?;
        if self.joins > 0 {
            let Self { joins, said, heard, missed, left, .. } = self;
            write!(
                f,
                "; {joins} joins, {said} said, {heard} heard, {missed} told missed, {left} left"
            )?;
        }
        if self.taken > 0 {
            let Self { taken, accepted, archived, dropped, repeated, refused, hole, .. } = self;
            write!(
                f,
                "; delivered first: {taken} sent, {accepted} accepted, {archived} archived, \
                 {dropped} had by all, {repeated} repeated, {refused} refused, {hole} in the hole"
            )?;
        }
        for violation in &self.violations {
            write!(f, "\n  {:?}: {}", violation.check, violation.what)?;
        }
        Ok(())
    }
}

const LISTED_MAX: usize = 20;
