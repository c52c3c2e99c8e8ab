//! What this client has: messages per channel, one per id, in id order.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Channel, ChannelId, Message, MessageId, Timestamp, limits};

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// On the socket.
    Pushed,
    /// By `GET /scroll`, after a gap or on the first visit.
    CaughtUp,
}

/// The messages of one channel, in id order. Delivery is at least once; this makes it once.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    messages: BTreeMap<MessageId, Message>,
    /// The newest message that was dropped to keep the bound.
    dropped: Option<MessageId>,
    pushed_again: u64,
    caught_up_again: u64,
}

impl Timeline {
    /// Takes a message; `true` if it is new here.
    fn upsert(&mut self, message: Message, how: How, messages_max: usize) -> bool {
        if self.dropped.is_some_and(|dropped| message.id <= dropped) {
            return false;
        }
        // A pushed message may be older than the newest one: the map sorts it in.
        let fresh = self.messages.insert(message.id, message).is_none();
        match how {
            _ if fresh => {}
            How::Pushed => self.pushed_again += 1,
            How::CaughtUp => self.caught_up_again += 1,
        }
        while self.messages.len() > messages_max.max(1) {
            self.dropped = self.messages.pop_first().map(|(id, _)| id);
        }
        fresh
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.values()
    }

    /// The ids, oldest first.
    #[must_use]
    pub fn ids(&self) -> Vec<MessageId> {
        self.messages.keys().copied().collect()
    }

    /// Whether it holds a message.
    #[must_use]
    pub fn contains(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id)
    }

    /// The newest message's id.
    #[must_use]
    pub fn newest(&self) -> Option<MessageId> {
        self.messages.last_key_value().map(|(id, _)| *id)
    }

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Messages that the socket brought although they were here: raw duplicates.
    #[must_use]
    pub const fn pushed_again(&self) -> u64 {
        self.pushed_again
    }

    /// Messages that a scroll brought although they were here: the overlap at work.
    #[must_use]
    pub const fn caught_up_again(&self) -> u64 {
        self.caught_up_again
    }
}

/// Where the reading of a channel starts after `resumed:false` or `resync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUpFrom {
    /// Never seen: its newest page will do, history is scrolled when somebody wants it.
    FirstVisit,
    /// Everything newer than this position.
    NewerThan(MessageId),
}

/// The timelines of all channels, and what is known to be missing in them.
#[derive(Debug, Clone)]
pub struct Inbox {
    channels: BTreeMap<ChannelId, Entry>,
    /// Set while a gap is open: where each channel stood when it opened.
    gap: Option<BTreeMap<ChannelId, MessageId>>,
    synced_at: Option<Timestamp>,
    messages_max: usize,
    overlap: Duration,
}

#[derive(Debug, Clone)]
struct Entry {
    timeline: Timeline,
    known_at: Timestamp,
    newest_sent: Option<MessageId>,
}

impl Inbox {
    /// An empty inbox that keeps the newest `messages_max` of each channel.
    #[must_use]
    pub const fn new(messages_max: usize) -> Self {
        let overlap = limits::OVERLAP;
        Self { channels: BTreeMap::new(), gap: None, synced_at: None, messages_max, overlap }
    }

    /// The same with another overlap than the protocol's: a shorter one loses messages.
    #[must_use]
    pub fn with_overlap(self, overlap: Duration) -> Self {
        Self { overlap, ..self }
    }

    /// Takes a message by its id; `true` if it is new here.
    pub fn upsert(&mut self, message: Message, how: How) -> bool {
        let messages_max = self.messages_max;
        let known_at = message.id.time();
        self.entry(&message.channel_id, known_at).timeline.upsert(message, how, messages_max)
    }

    /// A channel's timeline.
    #[must_use]
    pub fn timeline(&self, channel: &ChannelId) -> Option<&Timeline> {
        self.channels.get(channel).map(|entry| &entry.timeline)
    }

    /// Remembers that the caller's own message was stored.
    pub fn note_sent(&mut self, channel: &ChannelId, id: MessageId) {
        let entry = self.entry(channel, id.time());
        entry.newest_sent = entry.newest_sent.max(Some(id));
    }

    /// The newest message that this client has seen or sent in a channel: `after` of the next one.
    #[must_use]
    pub fn newest_seen(&self, channel: &ChannelId) -> Option<MessageId> {
        self.channels.get(channel).and_then(|entry| entry.timeline.newest().max(entry.newest_sent))
    }

    /// Remembers that a channel exists since `at`: from then on the socket brings its messages.
    pub fn note_channel(&mut self, channel: &ChannelId, at: Timestamp) {
        self.entry(channel, at);
    }

    /// Notes that messages may be missing from here on.
    ///
    /// Freezes where each channel stands. What the socket pushes until the gap is closed must not
    /// move these positions, or the messages before it would never be read; and a socket that
    /// breaks meanwhile leaves the gap open.
    pub fn open_gap(&mut self) {
        let stand = |entry: &Entry| {
            entry.timeline.newest().unwrap_or_else(|| MessageId::first_of(entry.known_at))
        };
        let channels = &self.channels;
        self.gap.get_or_insert_with(|| {
            channels.iter().map(|(id, entry)| (id.clone(), stand(entry))).collect()
        });
    }

    /// Whether messages may be missing.
    #[must_use]
    pub const fn has_gap(&self) -> bool {
        self.gap.is_some()
    }

    /// Where to read a channel from while a gap is open.
    ///
    /// From [`limits::OVERLAP`] before the last message: ids are not published in order, so an
    /// older one may have been on its way. From the channel's `late` mark where a message was even
    /// later than that, and came after the last time that this client was in step.
    #[must_use]
    pub fn catch_up_from(&self, channel: &Channel) -> CatchUpFrom {
        let Some(stood) = self.gap.as_ref().and_then(|gap| gap.get(&channel.id)) else {
            return CatchUpFrom::FirstVisit;
        };
        let overlap = MessageId::first_of(stood.time().minus(self.overlap));
        // `FUTURE` is what the clocks of two servers may differ by.
        let is_news = |at: Timestamp| {
            self.synced_at.is_none_or(|synced_at| at.plus(limits::FUTURE) > synced_at)
        };
        let late = channel.late.filter(|late| is_news(late.at));
        // A position is exclusive, and the late message itself is wanted.
        let late = late.map(|late| late.id.previous().unwrap_or(MessageId::MIN));
        CatchUpFrom::NewerThan(late.map_or(overlap, |late| late.min(overlap)))
    }

    /// Notes that everything was read by a reading that started at `started_at`.
    pub fn close_gap(&mut self, started_at: Timestamp) {
        self.gap = None;
        self.synced_at = Some(started_at);
    }

    fn entry(&mut self, channel: &ChannelId, known_at: Timestamp) -> &mut Entry {
        self.channels.entry(channel.clone()).or_insert_with(|| Entry {
            timeline: Timeline::default(),
            known_at,
            newest_sent: None,
        })
    }
}

#[cfg(test)]
mod tests;
