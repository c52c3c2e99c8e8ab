//! Which messages the sockets of a workspace have, so that a backfill does not repeat them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use model::limits;
use protocol::publication::Subject;
use rustc_hash::FxBuildHasher;

/// A counter of backfills, forks and losses of the stream. After each, a socket that resumes may
/// lack messages that attached sockets have: a backfill pushes messages that are not in the chain,
/// a fork removes entries from it, and the stream that follows a lost one may be an older one. A
/// socket belongs to the era in which it attached.
pub(crate) type Era = u32;

/// The messages that were delivered recently: at least the newest [`limits::DELIVERED_MIN`], at
/// most twice as many. It outlives the ring: if the stream is lost twice within ten minutes, the
/// store is read twice, and the second read returns what the first one delivered.
///
/// A subject and its revision are hashed with random keys of this process, so nobody can choose
/// values that collide, and a chance collision among 2^64 is negligible.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    keys: RandomState,
    newer: Reached,
    older: Reached,
}

/// From a message's hash to the era before which a socket must have attached to have received it.
/// The hash is keyed already, so the map needs no second key.
type Reached = HashMap<u64, Era, FxBuildHasher>;

/// Every socket has it, by push, by replay or by its own read.
pub(crate) const ALL: Era = Era::MAX;

impl Delivered {
    /// Records that a message reached the sockets of the eras before `before`.
    pub(crate) fn insert(&mut self, state: &Subject, before: Era) {
        if self.newer.len() >= limits::DELIVERED_MIN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(self.hash(state), before);
    }

    /// The era before which sockets received the message; `None` if no socket did.
    pub(crate) fn reached(&self, state: &Subject) -> Option<Era> {
        let hash = self.hash(state);
        self.newer.get(&hash).or_else(|| self.older.get(&hash)).copied()
    }

    /// Records that the chain has none of the messages any more: sockets that attach in the era
    /// `from` or later do not get them by a replay.
    pub(crate) fn chain_lost(&mut self, from: Era) {
        let reached = self.newer.values_mut().chain(self.older.values_mut());
        reached.filter(|before| **before == ALL).for_each(|before| *before = from);
    }

    fn hash(&self, state: &Subject) -> u64 {
        self.keys.hash_one((&state.of, &state.rev))
    }
}

#[cfg(test)]
mod tests {
    use model::Rev;

    use super::*;

    #[test]
    fn it_remembers_the_newest_messages_and_a_bounded_number_of_them() {
        let mut delivered = Delivered::default();
        let state = |of: &str, rev: usize| {
            let rev = Rev::parse(&rev.to_string()).unwrap();
            Subject { of: of.into(), rev, is_whole: true }
        };
        delivered.insert(&state("a", 0), 3);
        assert_eq!(delivered.reached(&state("a", 0)), Some(3));
        assert_eq!(delivered.reached(&state("b", 0)), None, "another subject");
        let count = 3 * limits::DELIVERED_MIN;
        for rev in 1..=count {
            delivered.insert(&state("a", rev), ALL);
        }
        assert_eq!(delivered.reached(&state("a", 0)), None);
        let mut newest = count + 1 - limits::DELIVERED_MIN..=count;
        assert!(newest.all(|rev| delivered.reached(&state("a", rev)) == Some(ALL)));
        let held = delivered.newer.len() + delivered.older.len();
        assert!(held <= 2 * limits::DELIVERED_MIN, "{held}");
    }
}
