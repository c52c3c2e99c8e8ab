//! Which messages the sockets of a workspace have, so that a backfill does not repeat them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use model::limits;
use protocol::publication::Subject;
use rustc_hash::FxBuildHasher;

/// A counter of backfills, forks and losses of the stream, and of pushes that no store has. After each,
/// a socket that comes may lack messages that attached sockets have: a backfill pushes messages that are
/// not in the chain, a fork removes entries from it, the stream that follows a lost one may be an older
/// one, and what no store has can be lost before a client reads it. A socket belongs to the era in which
/// it attached, or in which its user last joined a channel.
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
    /// The era in which a message was last pushed that no store had.
    unstored_in: Option<Era>,
}

/// By a message's hash, who has it. The hash is keyed already, so the map needs no second key.
type Reached = HashMap<u64, Reach, FxBuildHasher>;

#[derive(Debug, Clone, Copy)]
struct Reach {
    /// The era before which a socket must have attached to have received it.
    before: Era,
    /// The same without what sockets read by themselves: if the chain loses a message that no store had,
    /// those that attached after its push lack it. [`ALL`] if a store has it.
    before_by_push: Era,
}

impl Reach {
    /// The chain lost it: who attaches in the era `from` or later does not get it by a replay.
    fn lose(&mut self, from: Era) {
        self.before = from.min(self.before_by_push);
    }
}

/// Every socket has it, by push, by replay or by its own read.
pub(crate) const ALL: Era = Era::MAX;

impl Delivered {
    /// Records that a message reached the sockets of the eras before `before`.
    pub(crate) fn insert(&mut self, state: &Subject, before: Era) {
        self.put(state, Reach { before, before_by_push: ALL });
    }

    /// Records that a message is pushed in this era: every socket has it, as long as the chain does.
    pub(crate) fn pushed(&mut self, state: &Subject, era: Era) {
        let mut before_by_push = ALL;
        if state.is_unstored {
            self.unstored_in = Some(era);
            before_by_push = era.wrapping_add(1);
        }
        self.put(state, Reach { before: ALL, before_by_push });
    }

    fn put(&mut self, state: &Subject, reach: Reach) {
        if self.newer.len() >= limits::DELIVERED_MIN {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(self.hash(state), reach);
    }

    /// Whether a message was ever pushed that no store had.
    pub(crate) const fn had_unstored(&self) -> bool {
        self.unstored_in.is_some()
    }

    /// Whether sockets that attach now need an era of their own: what was pushed in this one may be
    /// nowhere that they can read.
    pub(crate) fn ends_era(&self, era: Era) -> bool {
        self.unstored_in == Some(era)
    }

    /// The era before which sockets received the message; `None` if no socket did.
    pub(crate) fn reached(&self, state: &Subject) -> Option<Era> {
        let hash = self.hash(state);
        let reach = self.newer.get(&hash).or_else(|| self.older.get(&hash));
        reach.map(|reach| reach.before)
    }

    /// Records that the chain does not have this message any more.
    pub(crate) fn lost(&mut self, state: &Subject, from: Era) {
        let hash = self.hash(state);
        let newer = self.newer.get_mut(&hash);
        if let Some(reach) = newer.or_else(|| self.older.get_mut(&hash)) {
            reach.lose(from);
        }
    }

    /// Records that the chain has none of the messages any more.
    pub(crate) fn chain_lost(&mut self, from: Era) {
        let reached = self.newer.values_mut().chain(self.older.values_mut());
        reached.filter(|reach| reach.before == ALL).for_each(|reach| reach.lose(from));
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
            Subject { of: of.into(), rev, is_whole: true, is_unstored: false, until_acked: false }
        };
        delivered.insert(&state("a", 0), 3);
        assert_eq!(delivered.reached(&state("a", 0)), Some(3));
        assert_eq!(delivered.reached(&state("b", 0)), None, "another subject");
        let count = 3 * limits::DELIVERED_MIN;
        for rev in 1..=count {
            delivered.pushed(&state("a", rev), 3);
        }
        assert_eq!(delivered.reached(&state("a", 0)), None);
        let mut newest = count + 1 - limits::DELIVERED_MIN..=count;
        assert!(newest.all(|rev| delivered.reached(&state("a", rev)) == Some(ALL)));
        let held = delivered.newer.len() + delivered.older.len();
        assert!(held <= 2 * limits::DELIVERED_MIN, "{held}");
    }
}
