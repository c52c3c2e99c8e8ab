//! The messages that this client has, and the gaps where it may miss some, by channel.
//!
//! A channel is **in step** at a given time if its timeline holds everything published before it.
//! A frame with `fresh:true` proves that for every channel without a gap, a catch-up that read all
//! channels for all of them. Later messages are pushed, or a gap opens.
//!
//! What a catch-up of one channel proves is in that channel's `verified_at`.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    Channel, ChannelId, KnownMessages, LateArrivals, Message, MessageId, MessageText, Timestamp,
    limits,
};

use crate::timeline::Timeline;

/// The timelines of all channels and their gaps. All times are by the server's clock.
#[derive(Debug, Clone)]
pub struct Inbox {
    channels: BTreeMap<ChannelId, Entry>,
    /// Set while all channels have a gap, including channels that this client does not know yet.
    list_gap: Option<Opening>,
    openings: u64,
    in_step_at: Option<Timestamp>,
    messages_max: usize,
    overlap: Duration,
}

/// The number of a gap's last opening. A catch-up closes a gap only if it was not opened again
/// since the catch-up began: the newly missing messages may be in a part that it had already read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Opening(u64);

#[derive(Debug, Clone)]
struct Entry {
    /// The gap's opening when the channel started (afresh). What was asked for before may be
    /// outdated: the user may have been no member since.
    started: Opening,
    timeline: Timeline,
    known_at: Timestamp,
    newest_sent: Option<MessageId>,
    /// When the last complete catch-up of this channel started; earlier if copies are here that it
    /// did not read. Everything stored before it is here, and every copy is as it was then or newer.
    verified_at: Option<Timestamp>,
    gap: Option<Gap>,
    /// Whether the user is not a member any more.
    has_left: bool,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    opening: Opening,
    /// Whether the channel appeared while the gap was open: its newest page is to be read.
    is_new: bool,
    /// `None` if the channel is new, and what reached this client since is not outdated.
    start: Option<GapStart>,
}

/// How far a channel was complete when its gap opened. Messages pushed while the gap is open must
/// not advance it, or the missing messages before them would never be read.
#[derive(Debug, Clone, Copy)]
struct GapStart {
    /// When the channel was last in step. If it never was: the time of its newest message, or when
    /// a new channel became known.
    at: Timestamp,
    was_in_step: bool,
}

impl Inbox {
    /// An empty inbox that keeps the newest `messages_max` messages of each channel.
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

    /// Sets another overlap than the protocol's. A shorter one loses messages.
    #[must_use]
    pub fn with_overlap(self, overlap: Duration) -> Self {
        Self { overlap, ..self }
    }

    /// Upserts a message by id. Returns `true` if it is new, or a newer revision than the one here.
    pub fn upsert(&mut self, message: Message) -> bool {
        let (messages_max, known_at) = (self.messages_max, changed_at(&message));
        let entry = self.entry(&message.channel_id, known_at);
        let is_news = entry.timeline.upsert(message, messages_max);
        // A catch-up would have brought it if it had read so far back: this copy may be outdated.
        if is_news {
            entry.verified_at = entry.verified_at.map(|at| at.min(known_at));
        }
        is_news
    }

    /// Upserts a message that was read for this opening of its channel's gap. `None` if the channel
    /// started afresh since: the message may be outdated, and is read again.
    pub(crate) fn upsert_read(&mut self, message: Message, opening: Opening) -> Option<bool> {
        let is_outdated =
            self.channels.get(&message.channel_id).is_some_and(|entry| entry.started > opening);
        let (messages_max, known_at) = (self.messages_max, changed_at(&message));
        (!is_outdated).then(|| {
            self.entry(&message.channel_id, known_at).timeline.upsert(message, messages_max)
        })
    }

    /// The text of a message that was pushed without it, if it is here.
    pub(crate) fn text_of(&self, pushed: &Message) -> Option<MessageText> {
        self.timeline(&pushed.channel_id)?.text(pushed.id, &pushed.text_rev())
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

    /// Forgets a channel's messages up to `last`, whose changes the server has no longer: the copies
    /// here may be outdated, and the history is read on demand.
    pub(crate) fn forget_through(&mut self, channel: &ChannelId, last: MessageId) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.timeline.forget_through(last);
        }
    }

    /// Remembers that a message of this client was stored.
    pub fn record_sent(&mut self, channel: &ChannelId, id: MessageId) {
        let entry = self.entry(channel, id.time());
        entry.newest_sent = entry.newest_sent.max(Some(id));
    }

    /// The newest message that this client has seen or sent in a channel: the next one's `after`.
    #[must_use]
    pub fn newest_seen(&self, channel: &ChannelId) -> Option<MessageId> {
        self.channels.get(channel).and_then(|entry| entry.timeline.newest().max(entry.newest_sent))
    }

    /// Adds a channel that exists since `at`: the socket brings its messages from then on.
    pub fn add_channel(&mut self, channel: &ChannelId, at: Timestamp) {
        self.entry(channel, at);
    }

    /// Records that the user is not a member of a channel any more: nothing can be read.
    pub fn leave_channel(&mut self, channel: &ChannelId) {
        if let Some(entry) = self.channels.get_mut(channel) {
            (entry.gap, entry.has_left) = (None, true);
        }
    }

    /// Whether the user has left a channel, as far as this client knows.
    #[must_use]
    pub fn has_left(&self, channel: &ChannelId) -> bool {
        self.channels.get(channel).is_some_and(|entry| entry.has_left)
    }

    /// Starts a channel afresh, because the user was added to it: what was sent or changed while they
    /// were no member did not reach this client. Its newest page is to be read.
    pub fn restart_channel(&mut self, channel: &ChannelId, at: Timestamp) {
        self.openings += 1;
        let entry = Entry::new(at, Some(Opening(self.openings)));
        self.channels.insert(channel.clone(), entry);
    }

    /// Records that every channel without a gap is in step, as a frame with `fresh:true` proves.
    pub fn record_in_step(&mut self, at: Timestamp) {
        self.in_step_at = self.in_step_at.max(Some(at));
    }

    /// Opens a gap in these channels, or in all channels for `None`: messages may be missing. It is
    /// `at` now.
    ///
    /// A channel whose gap is already open keeps the earlier position. Other channels are not
    /// affected.
    pub fn open_gap(&mut self, channels: Option<&[ChannelId]>, at: Timestamp) {
        self.openings += 1;
        let opening = Opening(self.openings);
        let in_step_at = self.in_step_at;
        let Some(named) = channels else {
            self.list_gap = Some(opening);
            self.channels.values_mut().for_each(|entry| entry.open_gap(opening, in_step_at));
            return;
        };
        for id in named {
            match self.channels.entry(id.clone()) {
                MapEntry::Occupied(known) => known.into_mut().open_gap(opening, in_step_at),
                MapEntry::Vacant(place) => drop(place.insert(Entry::new(at, Some(opening)))),
            }
        }
    }

    /// Whether messages may be missing in any channel.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.list_gap.is_some() || self.channels.values().any(|entry| entry.gap.is_some())
    }

    /// Whether a channel is new to this client: its newest page is to be read. Older history is read
    /// on demand.
    pub(crate) fn is_new(&self, channel: &ChannelId) -> bool {
        self.channels.get(channel).and_then(|entry| entry.gap).is_some_and(|gap| gap.is_new)
    }

    /// The position after which to read a channel whose gap is open, given the channel's `late`
    /// mark. `None` if nothing that is here can be outdated: a new channel whose gap did not open
    /// again.
    ///
    /// The start is [`limits::OVERLAP`] before the channel was last in step: messages are not
    /// published in id order, so an older one may still have been on its way. If a message was
    /// published even later than that, after the channel was in step, the start is the `late` mark.
    ///
    /// The start is never more than [`limits::VERIFIED_OVERLAP`] before the last complete catch-up
    /// started. That catch-up read everything stored until then, with strongly consistent reads,
    /// and messages stored later have later ids (ADR 0023). A `late` mark does not move this bound:
    /// it is about late publishing, and any message below the bound was already stored and read.
    #[must_use]
    pub fn catch_up_from(
        &self,
        channel: &ChannelId,
        late: Option<LateArrivals>,
    ) -> Option<MessageId> {
        let entry = self.channels.get(channel)?;
        let start = entry.gap?.start?;
        let overlap = MessageId::first_of(start.at.minus(self.overlap));
        // `FUTURE` covers the difference between the clocks of two servers.
        let is_news =
            |late: &LateArrivals| !start.was_in_step || late.until.plus(limits::FUTURE) > start.at;
        // A position is exclusive, and the late message itself must be read.
        let late =
            late.filter(is_news).map(|late| late.reread_from.previous().unwrap_or(MessageId::MIN));
        let from = late.map_or(overlap, |late| late.min(overlap));
        Some(from).max(entry.floor())
    }

    /// Whether a `late` mark could change where a channel's catch-up starts.
    pub(crate) fn needs_late(&self, channel: &ChannelId) -> bool {
        let earliest = LateArrivals { reread_from: MessageId::MIN, until: Timestamp::MAX };
        self.catch_up_from(channel, Some(earliest)) != self.catch_up_from(channel, None)
    }

    /// The messages after `offset` that this client already has, for the next page of a catch-up.
    #[must_use]
    pub fn known_after(&self, channel: &ChannelId, offset: MessageId) -> Option<KnownMessages> {
        self.channels.get(channel)?.timeline.known(offset)
    }

    /// What the next catch-up has to read: the list of channels first, if its gap is open, and
    /// these channels.
    pub(crate) fn due(&self) -> (Option<Opening>, Vec<ChannelId>) {
        let with_gap = self.channels.iter().filter(|(_, entry)| entry.gap.is_some());
        (self.list_gap, with_gap.map(|(id, _)| id.clone()).collect())
    }

    /// Applies the list of channels: those that are no longer on it were left, and new ones have a
    /// gap. Those that were left and are on it again start afresh, and are returned.
    pub(crate) fn list_read(
        &mut self,
        opening: Opening,
        list: &[Channel],
        at: Timestamp,
    ) -> Vec<ChannelId> {
        let mut restarted = Vec::new();
        let listed: BTreeSet<&ChannelId> = list.iter().map(|channel| &channel.id).collect();
        for (id, entry) in &mut self.channels {
            if !listed.contains(id) {
                (entry.gap, entry.has_left) = (None, true);
            } else if entry.has_left {
                *entry = Entry::new(at, Some(opening));
                restarted.push(id.clone());
            }
        }
        for id in listed {
            self.channels.entry(id.clone()).or_insert_with(|| Entry::new(at, Some(opening)));
        }
        restarted
    }

    /// The opening of a channel's gap, if it is still open.
    pub(crate) fn opening_of(&self, channel: &ChannelId) -> Option<Opening> {
        self.channels.get(channel)?.gap.map(|gap| gap.opening)
    }

    /// Records that a channel's catch-up, which began at `at`, is complete. If it read the newest page
    /// only, it did not read the messages before `unread_before`.
    pub(crate) fn channel_read(
        &mut self,
        channel: &ChannelId,
        opening: Opening,
        unread_before: Option<MessageId>,
        at: Timestamp,
    ) {
        let entry = self.entry(channel, at);
        if entry.started > opening {
            return;
        }
        // Everything stored before `at` is here, even if the gap opened again since. But copies that
        // are older than what was read may have changed since they were pushed.
        let unread = entry.timeline.messages().take_while(|here| Some(here.id) < unread_before);
        let verified_at = unread.map(changed_at).fold(at, Timestamp::min);
        entry.verified_at = entry.verified_at.max(Some(verified_at));
        let still_open = entry.gap.filter(|gap| gap.opening != opening);
        entry.gap = still_open.map(|gap| Gap { is_new: false, ..gap });
    }

    /// Records that a catch-up, which began at `started_at` with this list, read its channels.
    /// Returns whether no gap is left. All channels are in step only if all of them were read: what
    /// others missed may still be on its way.
    pub(crate) fn all_read(&mut self, list: Option<Opening>, started_at: Timestamp) -> bool {
        self.list_gap = self.list_gap.filter(|opening| Some(*opening) != list);
        let is_complete = !self.has_gap();
        let is_verified = |entry: &Entry| entry.has_left || entry.verified_at >= Some(started_at);
        if is_complete && self.channels.values().all(is_verified) {
            self.record_in_step(started_at);
        }
        is_complete
    }

    /// Adds the newest messages of a channel, read before the first socket opened. They must
    /// include every message after the [`settled_position`] of the newest one.
    pub(crate) fn stored_before(&mut self, channel: &ChannelId, messages: Vec<Message>) {
        let read_at = messages.iter().map(|message| read_at(message.id)).max();
        for message in messages {
            self.upsert(message);
        }
        self.entry(channel, Timestamp::default()).verified_at = read_at;
    }

    fn entry(&mut self, channel: &ChannelId, known_at: Timestamp) -> &mut Entry {
        // A channel that appears while all channels have a gap has a gap too.
        let list_gap = self.list_gap;
        self.channels.entry(channel.clone()).or_insert_with(|| Entry::new(known_at, list_gap))
    }
}

/// A position before all messages that are stored after a channel's `newest` message was read.
pub(crate) fn settled_position(newest: MessageId) -> MessageId {
    MessageId::first_of(read_at(newest).minus(limits::VERIFIED_OVERLAP))
}

/// When a message became as it is; a change of an old one is as young as its revision.
fn changed_at(message: &Message) -> Timestamp {
    message.rev.id().unwrap_or(message.id).time()
}

/// A time no later than when a channel's newest message was read: a page holds no message further
/// ahead of the server's clock than [`limits::NEWEST_AHEAD`].
fn read_at(newest: MessageId) -> Timestamp {
    newest.time().minus(limits::NEWEST_AHEAD)
}

impl Entry {
    fn new(known_at: Timestamp, seen_in: Option<Opening>) -> Self {
        Self {
            started: seen_in.unwrap_or_default(),
            timeline: Timeline::default(),
            known_at,
            newest_sent: None,
            verified_at: None,
            gap: seen_in.map(|opening| Gap { opening, is_new: true, start: None }),
            has_left: false,
        }
    }

    fn open_gap(&mut self, opening: Opening, in_step_at: Option<Timestamp>) {
        if let Some(gap) = &mut self.gap {
            gap.opening = opening;
            // What reached a new channel since it is known may be outdated from now on, and may be
            // older than the newest page.
            let at = self.known_at;
            gap.start.get_or_insert(GapStart { at, was_in_step: false });
            return;
        }
        let newest = || self.timeline.newest().map_or(self.known_at, MessageId::time);
        let (at, was_in_step) = (in_step_at.unwrap_or_else(newest), in_step_at.is_some());
        let start = Some(GapStart { at, was_in_step });
        self.gap = Some(Gap { opening, is_new: false, start });
    }

    /// The position below which no new message can be, or below which messages are dropped.
    fn floor(&self) -> Option<MessageId> {
        let verified = self.verified_at.map(|at| at.minus(limits::VERIFIED_OVERLAP));
        verified.map(MessageId::first_of).max(self.timeline.dropped)
    }
}

#[cfg(test)]
mod tests;
