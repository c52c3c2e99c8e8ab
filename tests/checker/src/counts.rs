//! K9: every summary of reactions counts what the users did, by their acts counted by hand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use model::{ChangeId, ChannelId, Emoji, MessageId, UserId};

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
            Event::Reacted { change_id } => Some(*change_id),
            _ => None,
        })
        .collect();
    verdict.changes += answered.len() as u64;
    let expected = expected(history, &answered);
    let none = Counts::new();
    for item in &history.stored {
        let counts = expected.get(&(&item.channel, item.id)).unwrap_or(&none);
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

fn expected<'a>(
    history: &'a History,
    answered: &HashSet<ChangeId>,
) -> HashMap<(&'a ChannelId, MessageId), Counts<'a>> {
    // The last act that was answered, and the last one at all.
    let mut acts: HashMap<(&ChannelId, MessageId, &Emoji, &UserId), (Act, Act)> = HashMap::new();
    for (_, event) in &history.events {
        let Event::Reacts { channel, id, user, emoji, change_id, is_made } = event else {
            continue;
        };
        let (last_answered, last) = acts.entry((channel, *id, emoji, user)).or_default();
        let act = Some((*change_id, *is_made));
        *last = act.max(*last);
        if answered.contains(change_id) {
            *last_answered = act.max(*last_answered);
        }
    }
    let mut expected: HashMap<(&ChannelId, MessageId), Counts<'_>> = HashMap::new();
    for ((channel, id, emoji, _), (last_answered, last)) in acts {
        let counts = expected.entry((channel, id)).or_default();
        let (least, most) = counts.entry(emoji).or_default();
        let is_made = last.is_some_and(|(_, is_made)| is_made);
        // Acts without an answer may or may not count.
        let is_certain = last == last_answered;
        *least += u64::from(is_certain && is_made);
        *most += u64::from(!is_certain || is_made);
    }
    expected
}
