//! K10: what users are told to be unread is what a count by hand says, and no mark moved back.

use std::collections::{HashMap, HashSet};

use model::{ChannelId, LogId, ReadMark, UnreadCount, UserId};

use crate::history::{Change, Event, History, Unread};
use crate::verdict::{Check, Verdict};

pub(crate) fn read_state(history: &History, verdict: &mut Verdict) {
    let marks = marks(history);
    for Unread { user, channel, mark, count } in &history.unread {
        let kept = marks.get(&(user, channel)).copied();
        if kept.is_some_and(|kept| *mark < kept) {
            verdict.miscounted += 1;
            verdict.note(Check::K10Unread, format!("{user}'s mark in {channel} moved back"));
        }
        let is_unread = |item: &&crate::StoredItem| {
            item.log == LogId::from(channel)
                && item.id > mark.up_to
                && item.sender != *user
                && !item.is_deleted
        };
        let by_hand = history.stored.iter().filter(is_unread).count();
        let expected = match u32::try_from(by_hand) {
            Ok(by_hand @ 0..=99) => UnreadCount::Exact(by_hand),
            Ok(100..) | Err(_) => UnreadCount::Over,
        };
        if *count != expected {
            verdict.miscounted += 1;
            let what = format!("{user} has {count:?} unread in {channel}, not {expected:?}");
            verdict.note(Check::K10Unread, what);
        }
    }
}

/// The greatest mark that each user was told to have, of those who were never removed: with the
/// membership, a mark is lost, and an answer from before may come after.
fn marks(history: &History) -> HashMap<(&UserId, &ChannelId), ReadMark> {
    let mut marks: HashMap<(&UserId, &ChannelId), ReadMark> = HashMap::new();
    let mut removed = HashSet::new();
    for (_, event) in &history.events {
        match event {
            Event::Marked { user, channel, mark } => {
                let kept = marks.entry((user, channel)).or_insert(*mark);
                *kept = (*kept).max(*mark);
            }
            Event::ChangeStarted { channel, user, change: Change::Remove } => {
                removed.insert((user, channel));
            }
            _ => {}
        }
    }
    marks.retain(|key, _| !removed.contains(key));
    marks
}
