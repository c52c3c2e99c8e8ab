//! What this client has and what it may miss: a timeline and a gap per channel.
//!
//! A channel is **in step** at a time if everything that was published before that time is in its
//! timeline. A frame with `fresh:true` says so for every channel without a gap, and a finished
//! reading for the channel that it read. What comes after is pushed, or a gap opens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    Channel, ChannelId, KnownMessages, LateArrivals, Message, MessageId, Timestamp, limits,
};

use crate::timeline::{How, Timeline};

/// Where the reading of a channel starts after `resumed:false` or `resync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUpFrom {
    /// Never seen: its newest page will do, history is scrolled when somebody wants it.
    FirstVisit,
    /// Everything newer than this position.
    NewerThan(MessageId),
}

/// The timelines of all channels, and what is known to be missing in them. All times are the
/// server's.
#[derive(Debug, Clone)]
pub struct Inbox {
    channels: BTreeMap<ChannelId, Entry>,
    /// Set while a gap concerns all channels, those included that this client has not heard of.
    list_gap: Option<Opening>,
    openings: u64,
    in_step_at: Option<Timestamp>,
    messages_max: usize,
    overlap: Duration,
}

/// Numbers the openings of gaps. A reading closes only gaps that were not opened again since it
/// began: it may have passed what is missing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening(u64);

#[derive(Debug, Clone)]
struct Entry {
    timeline: Timeline,
    known_at: Timestamp,
    newest_sent: Option<MessageId>,
    /// When the last complete reading of this channel started.
    verified_at: Option<Timestamp>,
    gap: Option<Gap>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    opening: Opening,
    /// `None`: the channel appeared while the gap was open, so nothing of it is here.
    stood: Option<Stood>,
}

/// Where a channel stood when its gap opened. Frozen: what the socket pushes until the gap is
/// closed must not move it, or the messages before would never be read.
#[derive(Debug, Clone, Copy)]
struct Stood {
    /// When the channel was last in step, or the time of its newest message if it never was.
    at: Timestamp,
    was_in_step: bool,
}

/// What a reading has to do.
#[derive(Debug)]
pub(crate) struct Due {
    /// Read the list of channels first.
    pub(crate) list: Option<Opening>,
    /// The channels to read.
    pub(crate) channels: Vec<ChannelId>,
}

impl Inbox {
    /// An empty inbox that keeps the newest `messages_max` of each channel.
    #[must_use]
    pub const fn new(messages_max: usize) -> Self {
        Self {
            channels: BTreeMap::new(),
            list_gap: None,
            openings: 0,
            in_step_at: None,
            messages_max,
            overlap: limits::OVERLAP,
        }
    }

    /// The same with another overlap than the protocol's: a shorter one loses messages.
    #[must_use]
    pub fn with_overlap(self, overlap: Duration) -> Self {
        Self { overlap, ..self }
    }

    /// Takes a message by its id; `true` if it is new here, or a newer revision of what is here.
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

    /// All timelines, by channel.
    pub fn timelines(&self) -> impl Iterator<Item = (&ChannelId, &Timeline)> {
        self.channels.iter().map(|(id, entry)| (id, &entry.timeline))
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

    /// Notes that every channel without a gap is in step: a frame with `fresh:true` said so.
    pub fn in_step(&mut self, at: Timestamp) {
        self.in_step_at = self.in_step_at.max(Some(at));
    }

    /// Notes that messages of these channels may be missing, or of all channels for `None`.
    ///
    /// A channel whose gap is open already keeps its earlier position. A channel that is not named
    /// moves on.
    pub fn open_gap(&mut self, channels: Option<&[ChannelId]>) {
        self.openings += 1;
        let opening = Opening(self.openings);
        let in_step_at = self.in_step_at;
        match channels {
            Some(named) => {
                for id in named {
                    let seen_first = || Entry::new(Timestamp::default(), Some(opening));
                    self.channels
                        .entry(id.clone())
                        .or_insert_with(seen_first)
                        .open_gap(opening, in_step_at);
                }
            }
            None => {
                self.list_gap = Some(opening);
                for entry in self.channels.values_mut() {
                    entry.open_gap(opening, in_step_at);
                }
            }
        }
    }

    /// Whether messages may be missing.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.list_gap.is_some() || self.channels.values().any(|entry| entry.gap.is_some())
    }

    /// Where to read a channel from while its gap is open, given the channel's `late` mark.
    ///
    /// From [`limits::OVERLAP`] before the channel was last in step: messages are not published in
    /// the order of their ids, so an older one may have been on its way. From the `late` mark where
    /// a message was even later than that, and came after the channel was in step.
    ///
    /// Never from further back than [`limits::VERIFIED_OVERLAP`] before the last complete reading
    /// started: it read, strongly, all that was stored until then, and what is stored later has a
    /// later id (ADR 0023). The `late` mark changes nothing about that: it is about when messages
    /// are published, and what it names below this position was stored, and so was read.
    #[must_use]
    pub fn catch_up_from(&self, channel: &ChannelId, late: Option<LateArrivals>) -> CatchUpFrom {
        let Some(entry) = self.channels.get(channel) else { return CatchUpFrom::FirstVisit };
        let Some(stood) = entry.gap.and_then(|gap| gap.stood) else {
            return CatchUpFrom::FirstVisit;
        };
        let overlap = MessageId::first_of(stood.at.minus(self.overlap));
        // `FUTURE` is what the clocks of two servers may differ by.
        let is_news =
            |late: &LateArrivals| !stood.was_in_step || late.until.plus(limits::FUTURE) > stood.at;
        // A position is exclusive, and the late message itself is wanted.
        let late =
            late.filter(is_news).map(|late| late.reread_from.previous().unwrap_or(MessageId::MIN));
        let from = late.map_or(overlap, |late| late.min(overlap));
        CatchUpFrom::NewerThan(entry.floor().map_or(from, |floor| from.max(floor)))
    }

    /// Whether a `late` mark could change where the reading of a channel starts.
    pub(crate) fn needs_late(&self, channel: &ChannelId) -> bool {
        let earliest = LateArrivals { reread_from: MessageId::MIN, until: Timestamp::MAX };
        self.catch_up_from(channel, Some(earliest)) != self.catch_up_from(channel, None)
    }

    /// What this client has of a channel after `offset`, for the next page of its reading.
    #[must_use]
    pub fn known_after(&self, channel: &ChannelId, offset: MessageId) -> Option<KnownMessages> {
        self.channels.get(channel)?.timeline.known(offset)
    }

    /// What has to be read.
    pub(crate) fn due(&self) -> Due {
        let with_gap = self.channels.iter().filter(|(_, entry)| entry.gap.is_some());
        Due { list: self.list_gap, channels: with_gap.map(|(id, _)| id.clone()).collect() }
    }

    /// Takes the list of channels: those that are not on it have nothing to read any more. The new
    /// ones have everything to read.
    pub(crate) fn list_read(&mut self, opening: Opening, list: &[Channel], at: Timestamp) {
        let listed: BTreeSet<&ChannelId> = list.iter().map(|channel| &channel.id).collect();
        for (id, entry) in &mut self.channels {
            if !listed.contains(id) {
                entry.gap = None;
            }
        }
        for id in listed {
            self.channels.entry(id.clone()).or_insert_with(|| Entry::new(at, Some(opening)));
        }
    }

    /// The opening of a channel's gap, if it is still open.
    pub(crate) fn opening_of(&self, channel: &ChannelId) -> Option<Opening> {
        self.channels.get(channel)?.gap.map(|gap| gap.opening)
    }

    /// Notes that a reading of a channel, begun at `started_at`, is complete.
    pub(crate) fn channel_read(
        &mut self,
        channel: &ChannelId,
        opening: Opening,
        started_at: Timestamp,
    ) {
        let entry = self.entry(channel, started_at);
        // Whatever was missed since, all that was stored before is here.
        entry.verified_at = entry.verified_at.max(Some(started_at));
        entry.gap = entry.gap.filter(|gap| gap.opening != opening);
    }

    /// Notes that the caller is no member of a channel any more: there is nothing to read.
    pub(crate) fn channel_gone(&mut self, channel: &ChannelId) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.gap = None;
        }
    }

    /// Notes that a reading that began at `started_at`, with this list, went through all channels.
    pub(crate) fn all_read(&mut self, list: Option<Opening>, started_at: Timestamp) {
        if self.list_gap == list {
            self.list_gap = None;
        }
        if !self.has_gap() {
            self.in_step(started_at);
        }
    }

    /// Takes the newest messages of a channel, read before the first socket. They must include all
    /// after the position that [`floor_of_present`] gives for the newest one.
    pub(crate) fn stored_before(&mut self, channel: &ChannelId, messages: Vec<Message>) {
        let read_at = messages.iter().map(|message| read_at(message.id)).max();
        for message in messages {
            self.upsert(message, How::CaughtUp);
        }
        self.entry(channel, Timestamp::default()).verified_at = read_at;
    }

    fn entry(&mut self, channel: &ChannelId, known_at: Timestamp) -> &mut Entry {
        // One that appears while all channels are to be read has a history to be read.
        let list_gap = self.list_gap;
        self.channels.entry(channel.clone()).or_insert_with(|| Entry::new(known_at, list_gap))
    }
}

/// Messages that are stored after a channel's newest one was read lie after this position.
pub(crate) fn floor_of_present(newest: MessageId) -> MessageId {
    MessageId::first_of(read_at(newest).minus(limits::VERIFIED_OVERLAP))
}

/// When a channel's newest message was read, or before: no page reaches further ahead of the
/// server's clock.
fn read_at(newest: MessageId) -> Timestamp {
    newest.time().minus(limits::NEWEST_AHEAD)
}

impl Entry {
    fn new(known_at: Timestamp, seen_in: Option<Opening>) -> Self {
        Self {
            timeline: Timeline::default(),
            known_at,
            newest_sent: None,
            verified_at: None,
            gap: seen_in.map(|opening| Gap { opening, stood: None }),
        }
    }

    fn open_gap(&mut self, opening: Opening, in_step_at: Option<Timestamp>) {
        if let Some(gap) = &mut self.gap {
            gap.opening = opening;
            return;
        }
        let newest = || self.timeline.newest().map_or(self.known_at, MessageId::time);
        let stood =
            Stood { at: in_step_at.unwrap_or_else(newest), was_in_step: in_step_at.is_some() };
        self.gap = Some(Gap { opening, stood: Some(stood) });
    }

    /// The position below which nothing new can lie, or nothing is taken.
    fn floor(&self) -> Option<MessageId> {
        let verified = self.verified_at.map(|at| at.minus(limits::VERIFIED_OVERLAP));
        verified.map(MessageId::first_of).max(self.timeline.dropped())
    }
}

#[cfg(test)]
mod tests;
