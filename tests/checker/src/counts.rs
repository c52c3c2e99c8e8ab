//! K9: every summary of reactions counts what the users did, by their acts counted by hand, every summary
//! of replies counts the replies in the store, and every message is pinned if the last act pinned it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use model::{ChangeId, Emoji, LogId, MessageId, UserId};

use crate::history::{Event, History};
use crate::verdict::{Check, Verdict};

/// An act's id, and whether it makes the reaction.
type Act = Option<(ChangeId, bool)>;

/// Of one message: the least and the most that each emoji's count may be.
type Counts<'a> = BTreeMap<&'a Emoji, (u64, u64)>;

pub(crate) fn counted(history: &History, verdict: &mut Verdict) {
    let answered: HashSet<ChangeId> = history
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Acted { change_id } => Some(*change_id),
            _ => None,
        })
        .collect();
    verdict.changes += answered.len() as u64;
    pinned(history, &answered, verdict);
    replied(history, verdict);
    let expected = expected(history, &answered);
    let none = Counts::new();
    for item in &history.stored {
        let counts = expected.get(&(&item.log, item.id)).unwrap_or(&none);
        let emoji = counts.keys().copied().chain(item.reactions.keys());
        for emoji in emoji.collect::<HashSet<_>>() {
            let found = item.reactions.get(emoji).copied().unwrap_or_default();
            let (least, most) = counts.get(emoji).copied().unwrap_or_default();
            let bounds: RangeInclusive<u64> = if item.is_deleted { 0..=0 } else { least..=most };
            if !bounds.contains(&found) {
                verdict.miscounted += 1;
                let what = format!("{} counts {found} of {emoji}, not {bounds:?}", item.id);
                verdict.note(Check::K9Counted, what);
            }
        }
    }
}

/// The last act that was answered, and the last one at all.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    answered: Act,
    any: Act,
}

impl Last {
    fn add(&mut self, change_id: ChangeId, is_made: bool, is_answered: bool) {
        let act = Some((change_id, is_made));
        self.any = act.max(self.any);
        if is_answered {
            self.answered = act.max(self.answered);
        }
    }

    /// Whether it is certain that the last act counts; `None` if that act had no answer.
    fn is_made(self) -> Option<bool> {
        let is_made = self.any.is_some_and(|(_, is_made)| is_made);
        (self.any == self.answered).then_some(is_made)
    }
}

fn pinned(history: &History, answered: &HashSet<ChangeId>, verdict: &mut Verdict) {
    let mut acts: HashMap<(&LogId, MessageId), Last> = HashMap::new();
    for (_, event) in &history.events {
        if let Event::Pins { log, id, change_id, is_made } = event {
            let last = acts.entry((log, *id)).or_default();
            last.add(*change_id, *is_made, answered.contains(change_id));
        }
    }
    for item in &history.stored {
        let last = acts.get(&(&item.log, item.id)).copied().unwrap_or_default();
        let expected = if item.is_deleted { Some(false) } else { last.is_made() };
        if expected.is_some_and(|expected| expected != item.is_pinned) {
            verdict.miscounted += 1;
            let what = format!("{} says pinned: {}", item.id, item.is_pinned);
            verdict.note(Check::K9Counted, what);
        }
    }
}

/// The summary of each root's replies, against the replies in the store.
fn replied(history: &History, verdict: &mut Verdict) {
    let mut by_thread: HashMap<LogId, Vec<MessageId>> = HashMap::new();
    for item in history.stored.iter().filter(|item| !item.is_deleted) {
        by_thread.entry(item.log.clone()).or_default().push(item.id);
    }
    for root in history.stored.iter().filter(|item| item.log.thread.is_none()) {
        let thread = LogId::new(root.log.channel_id.clone(), Some(root.id));
        let replies = by_thread.get(&thread);
        let expected = replies.map(|replies| (replies.len() as u64, replies.iter().max().copied()));
        let found = root.replies.as_ref().map(|found| (found.count, Some(found.last)));
        if found != expected {
            verdict.miscounted += 1;
            let what = format!("{} has replies {expected:?}, its summary says {found:?}", root.id);
            verdict.note(Check::K9Counted, what);
        }
    }
}

fn expected<'a>(
    history: &'a History,
    answered: &HashSet<ChangeId>,
) -> HashMap<(&'a LogId, MessageId), Counts<'a>> {
    let mut acts: HashMap<(&LogId, MessageId, &Emoji, &UserId), Last> = HashMap::new();
    for (_, event) in &history.events {
        let Event::Reacts { log, id, user, emoji, change_id, is_made } = event else {
            continue;
        };
        let last = acts.entry((log, *id, emoji, user)).or_default();
        last.add(*change_id, *is_made, answered.contains(change_id));
    }
    let mut expected: HashMap<(&LogId, MessageId), Counts<'_>> = HashMap::new();
    for ((log, id, emoji, _), last) in acts {
        let counts = expected.entry((log, id)).or_default();
        let (least, most) = counts.entry(emoji).or_default();
        // Acts without an answer may or may not count.
        *least += u64::from(last.is_made() == Some(true));
        *most += u64::from(last.is_made() != Some(false));
    }
    expected
}
