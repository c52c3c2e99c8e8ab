//! Which messages the sockets of a workspace have had, so that a backfill pushes none of them again.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use model::limits;
use protocol::publication::Subject;
use rustc_hash::FxBuildHasher;

/// Counts the events after which a socket that resumes may lack what others were pushed: backfills,
/// which push what no link of the chain names, and forks, which take links out of it. A socket is of
/// the era in which it attached.
pub(crate) type Era = u32;

/// The messages that were delivered lately: at least the newest [`limits::DELIVERED_MIN`], at most
/// twice as many. It outlives the ring: a stream that is lost twice within ten minutes is read from
/// the store twice, and the second reading meets what the first one brought.
///
/// A subject and its revision are hashed with keys of this process: nobody can choose ones that
/// collide, and by chance two of 2^64 do not.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    keys: RandomState,
    newer: Reached,
    older: Reached,
}

/// Which sockets a message reached, by its keyed hash, which needs no second key: those of an era
/// before this one.
type Reached = HashMap<u64, Era, FxBuildHasher>;

/// Every socket has had it, by push, by replay, or by its own reading.
pub(crate) const ALL: Era = Era::MAX;

impl Delivered {
    /// Remembers that a message reached the sockets of the eras before `before`.
    pub(crate) fn insert(&mut self, state: &Subject, before: Era) {
        if self.newer.len() >= limits::DELIVERED_MIN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(self.hash(state), before);
    }

    /// Whom a message reached: sockets of the eras before this one; nobody if `None`.
    pub(crate) fn reached(&self, state: &Subject) -> Option<Era> {
        let hash = self.hash(state);
        self.newer.get(&hash).or_else(|| self.older.get(&hash)).copied()
    }

    fn hash(&self, state: &Subject) -> u64 {
        self.keys.hash_one((&state.of, &state.rev))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_the_newest_messages_and_a_bounded_number_of_them() {
        let mut delivered = Delivered::default();
        let state = |of: &str, rev: usize| {
            let rev = rev.to_string().into();
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
