//! What this node announces of its own users.

use std::collections::{BTreeMap, BTreeSet};

use model::{Presence, Timestamp, UserId, backoff, limits};
use protocol::presence::Announcement;

use super::{Announced, PresenceEffect, UserPresence, is_over};

/// The users who changed, those who left a moment ago, and what the book has.
#[derive(Debug)]
pub(crate) struct Announcing {
    /// The last number. The first one is the time, so that numbers also grow if the workspace starts
    /// again on this node.
    number: u64,
    book: Book,
    /// Users whose presence may differ from the book's.
    changed: BTreeSet<UserId>,
    /// Users without a socket who still count as present, as they were.
    leaving: BTreeMap<UserId, (Presence, Timestamp)>,
    is_under_way: bool,
    begun_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    failures: u32,
    renew_at: Timestamp,
    /// The book may have been lost: do not wait for `renew_at`.
    renews_now: bool,
}

/// What the book has of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Book {
    /// Nothing.
    Empty,
    /// The last announcement.
    Written,
    /// Nobody knows: write everything.
    Unknown,
}

impl Announcing {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            number: now.unix_ms(),
            book: Book::Empty,
            changed: BTreeSet::new(),
            leaving: BTreeMap::new(),
            is_under_way: false,
            begun_at: None,
            retry_at: None,
            failures: 0,
            renew_at: now,
            renews_now: false,
        }
    }

    /// Records that a user's presence changed.
    pub(crate) fn changes(&mut self, user: &UserId) {
        self.changed.insert(user.clone());
    }

    /// Records that a user's last socket ended. They stay as they were for a while.
    pub(crate) fn leaves(&mut self, user: &UserId, as_was: Presence, now: Timestamp) {
        self.leaving.insert(user.clone(), (as_was, now));
    }

    /// Records that a user has a socket again; returns how others know them, if they still do.
    pub(crate) fn is_back(&mut self, user: &UserId) -> Option<Presence> {
        self.leaving.remove(user).map(|(as_was, _)| as_was)
    }

    /// The users whose grace is over now.
    pub(crate) fn gone(&mut self, now: Timestamp) -> Vec<UserId> {
        let is_gone = |at: Timestamp| is_over(at, limits::OFFLINE_GRACE, now);
        let gone = self.leaving.iter().filter(|(_, (_, at))| is_gone(*at));
        let gone: Vec<UserId> = gone.map(|(user, _)| user.clone()).collect();
        for user in &gone {
            self.leaving.remove(user);
            self.changes(user);
        }
        gone
    }

    /// Whether a user who left still counts as present.
    pub(crate) fn leaving(&self, user: &UserId) -> Presence {
        self.leaving.get(user).map(|(as_was, _)| *as_was).unwrap_or_default()
    }

    /// All users who left and still count as present.
    pub(crate) fn all_leaving(&self) -> impl Iterator<Item = UserPresence> {
        self.leaving.iter().map(|(user, (as_was, _))| (user.clone(), *as_was))
    }

    /// The book may have been lost with the subscription: confirm at once.
    pub(crate) fn is_linked(&mut self) {
        self.renews_now = self.book == Book::Written;
        self.retry_at = None;
    }

    /// What is to be written now, if anything. `attached` tells what a user's sockets say, and
    /// `all_attached` what everybody's do.
    pub(crate) fn due(
        &mut self,
        now: Timestamp,
        attached: impl Fn(&UserId) -> Presence,
        all_attached: impl FnOnce() -> Vec<UserPresence>,
    ) -> Option<PresenceEffect> {
        let waits = |at: Timestamp| now < at && at.since(now) <= limits::PRESENCE_RETRY.1;
        let is_soon = self.begun_at.is_some_and(|at| !is_over(at, limits::PRESENCE_BATCH, now));
        if self.is_under_way || is_soon || self.retry_at.is_some_and(waits) {
            return None;
        }
        let effect = match (self.book, self.changed.is_empty()) {
            (Book::Unknown, _) | (Book::Empty, false) => {
                self.changed.clear();
                // Skips a number: it is a hole for the other nodes, which read the book.
                self.number += 2;
                let (number, mut users) = (self.number, all_attached());
                users.extend(self.all_leaving());
                PresenceEffect::Announce(Announcement { number, is_whole: true, users })
            }
            (Book::Written, false) => {
                let mut users = Vec::new();
                while users.len() < limits::PRESENCE_BATCH_USERS_MAX
                    && let Some(user) = self.changed.pop_first()
                {
                    let presence = attached(&user).max(self.leaving(&user));
                    users.push((user, presence));
                }
                self.number += 1;
                let number = self.number;
                PresenceEffect::Announce(Announcement { number, is_whole: false, users })
            }
            (Book::Written, true) if self.is_renewal_due(now) => PresenceEffect::Renew(self.number),
            (Book::Written | Book::Empty, true) => return None,
        };
        (self.is_under_way, self.begun_at, self.renews_now) = (true, Some(now), false);
        Some(effect)
    }

    fn is_renewal_due(&self, now: Timestamp) -> bool {
        let is_far = self.renew_at.since(now) > limits::PRESENCE_RENEW;
        self.renews_now || now >= self.renew_at || is_far
    }

    /// Records what became of the last effect. `is_deserted`: nobody is present now.
    pub(crate) fn on_announced(
        &mut self,
        number: u64,
        outcome: Announced,
        is_deserted: bool,
        now: Timestamp,
    ) {
        if number != self.number {
            return;
        }
        self.is_under_way = false;
        (self.retry_at, self.book) = match outcome {
            Announced::Written => {
                (self.failures, self.renew_at) = (0, now.plus(limits::PRESENCE_RENEW));
                let is_empty = is_deserted && self.changed.is_empty();
                (None, if is_empty { Book::Empty } else { Book::Written })
            }
            Announced::Lacking => (None, Book::Unknown),
            Announced::Failed => {
                let wait = backoff(limits::PRESENCE_RETRY, self.failures);
                self.failures = self.failures.saturating_add(1);
                (Some(now.plus(wait)), Book::Unknown)
            }
        };
    }

    /// When the book is to be told that this node is still here; `None` if it has nothing of it. Never
    /// before [`Self::due`] would do so: the node's timer would spin.
    pub(crate) fn renew_at(&self) -> Option<Timestamp> {
        let soonest = self.begun_at.map_or(self.renew_at, |at| at.plus(limits::PRESENCE_BATCH));
        let is_next = self.book == Book::Written && !self.is_under_way;
        is_next.then_some(self.renew_at.max(soonest))
    }

    /// Whether nothing is to be written, now or later, and the book has nothing of this node.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_under_way
            && self.book == Book::Empty
            && self.changed.is_empty()
            && self.leaving.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        let has_news = self.book == Book::Unknown || !self.changed.is_empty() || self.renews_now;
        (has_news && !self.is_under_way) || !self.leaving.is_empty()
    }
}
