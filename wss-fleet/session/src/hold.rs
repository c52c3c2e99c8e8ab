//! Publications that wait for what their delivery needs: a newer view, or a text (G6).

use std::collections::{BTreeMap, VecDeque};

use model::{ChannelId, Position, Timestamp, limits};

/// What the first publication of a hold needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A view of at least this version.
    View(u64),
    /// Its text, which travels by reference.
    Text,
}

/// The held publications of a workspace: by channel, in order, as numbers of ring links.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    channels: BTreeMap<ChannelId, Hold>,
    /// Every held number and the position of the entry before it.
    before: BTreeMap<u64, Position>,
}

#[derive(Debug)]
struct Hold {
    numbers: VecDeque<u64>,
    since: Timestamp,
    asked_for: Option<Need>,
}

impl Holds {
    pub(crate) fn is_held(&self, channel: &ChannelId) -> bool {
        self.channels.contains_key(channel)
    }

    pub(crate) fn holds(&self, number: u64) -> bool {
        self.before.contains_key(&number)
    }

    /// Holds a publication behind those of its channel; false if the hold is too long.
    pub(crate) fn push(
        &mut self,
        channel: &ChannelId,
        number: u64,
        before: Position,
        now: Timestamp,
    ) -> bool {
        let hold = self.channels.entry(channel.clone()).or_insert_with(|| Hold {
            numbers: VecDeque::new(),
            since: now,
            asked_for: None,
        });
        hold.numbers.push_back(number);
        self.before.insert(number, before);
        hold.numbers.len() <= limits::HELD_PUBLICATIONS_MAX
    }

    /// The first held publication of a channel.
    pub(crate) fn first(&self, channel: &ChannelId) -> Option<u64> {
        self.channels.get(channel)?.numbers.front().copied()
    }

    /// Notes what the first one needs; true if that was not asked for yet.
    pub(crate) fn ask(&mut self, channel: &ChannelId, need: Need) -> bool {
        match self.channels.get_mut(channel) {
            Some(hold) if hold.asked_for != Some(need) => {
                hold.asked_for = Some(need);
                true
            }
            _ => false,
        }
    }

    /// An answer came: the same need may be asked for again.
    pub(crate) fn answered(&mut self, channel: &ChannelId) {
        if let Some(hold) = self.channels.get_mut(channel) {
            hold.asked_for = None;
        }
    }

    /// Lets the first publication of a channel go; the time of the next one starts now.
    pub(crate) fn pop(&mut self, channel: &ChannelId, now: Timestamp) {
        let Some(hold) = self.channels.get_mut(channel) else { return };
        if let Some(number) = hold.numbers.pop_front() {
            self.before.remove(&number);
        }
        hold.since = now;
        if hold.numbers.is_empty() {
            self.channels.remove(channel);
        }
    }

    /// Gives a channel's hold up; the numbers that nobody decided upon.
    pub(crate) fn drop_channel(&mut self, channel: &ChannelId) -> VecDeque<u64> {
        let numbers = self.channels.remove(channel).map(|hold| hold.numbers).unwrap_or_default();
        for number in &numbers {
            self.before.remove(number);
        }
        numbers
    }

    /// Gives all holds up; the numbers that nobody decided upon.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        self.channels.clear();
        std::mem::take(&mut self.before).into_keys().collect()
    }

    /// Channels that were held for too long.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<ChannelId> {
        let is_overdue = |hold: &Hold| now.since(hold.since) >= limits::HOLD_MAX;
        let overdue = self.channels.iter().filter(|(_, hold)| is_overdue(hold));
        overdue.map(|(channel, _)| channel.clone()).collect()
    }

    /// The position before the oldest held publication: no cursor goes beyond it.
    pub(crate) fn safe(&self) -> Option<Position> {
        self.before.first_key_value().map(|(_, position)| *position)
    }

    /// The same for the links up to `number`: what a replayed link may carry.
    pub(crate) fn safe_at(&self, number: u64) -> Option<Position> {
        self.before.range(..=number).next().map(|(_, position)| *position)
    }
}
