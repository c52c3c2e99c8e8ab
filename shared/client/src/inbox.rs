//! The messages that this client has, and the gaps where it may miss some, by channel.
//!
//! Threads are part of their channel: they have no gap of their own. Whatever happens in a thread shows as
//! a change of its root, so whoever reads the main log learns which threads to read. The summary of a
//! root comes a moment after the reply. So after a catch-up, the first push of each root says that its
//! thread is to be read once more, and a summary that counts a reply which is not here shows that its
//! push was lost.
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
    Channel, ChannelId, KnownMessages, LateArrivals, LogId, Message, MessageId, MessageText,
    Timestamp, limits,
};

use crate::timeline::Timeline;

mod contracts;
mod entry;
pub(crate) mod saved;

use entry::{Entry, Gap, Log, Unsure};
use saved::Change;

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
    /// What a store has not written yet; `None` without a store.
    journal: Option<Vec<Change>>,
}

/// The number of a gap's last opening. A catch-up closes a gap only if it was not opened again
/// since the catch-up began: the newly missing messages may be in a part that it had already read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Opening(u64);

/// How far a catch-up read a channel.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChannelRead {
    /// Where the newest page begins, if nothing older was read.
    pub(crate) unread_before: Option<MessageId>,
    /// After which reply the threads were read, if they were.
    pub(crate) threads_from: Option<MessageId>,
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
            journal: None,
        }
    }

    /// Sets another overlap than the protocol's. A shorter one loses messages.
    #[must_use]
    pub fn with_overlap(self, overlap: Duration) -> Self {
        Self { overlap, ..self }
    }

    /// Upserts a message by id. Returns `true` if it is new, or a newer revision than the one here.
    pub fn upsert(&mut self, message: Message) -> bool {
        let (log, id) = (message.log(), message.id);
        let is_news = self.put(message);
        if is_news {
            self.journal_message(&log, id);
        }
        is_news
    }

    fn put(&mut self, message: Message) -> bool {
        let (messages_max, known_at) = (self.messages_max, changed_at(&message));
        let entry = self.entry(&message.channel_id, known_at);
        if message.thread.is_some() {
            return entry.log(message.thread).timeline.upsert(message, messages_max);
        }
        if let Some(replies) = &message.replies {
            entry.doubt_thread(message.id, replies.last);
            entry.find_missing_replies(message.id, replies);
        }
        let is_news = entry.main.timeline.upsert(message, messages_max);
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
        if is_outdated {
            return None;
        }
        let (log, id) = (message.log(), message.id);
        let entry = self.entry(&message.channel_id, known_at);
        let is_news = entry.log(message.thread).timeline.upsert(message, messages_max);
        if is_news {
            self.journal_message(&log, id);
        }
        Some(is_news)
    }

    /// The text of a message that was pushed without it, if it is here.
    pub(crate) fn text_of(&self, pushed: &Message) -> Option<MessageText> {
        self.timeline(pushed.log())?.text(pushed.id, &pushed.text_rev())
    }

    /// The timeline of a channel's main log, or of a thread.
    #[must_use]
    pub fn timeline(&self, log: impl Into<LogId>) -> Option<&Timeline> {
        self.log(&log.into()).map(|log| &log.timeline)
    }

    fn log(&self, log: &LogId) -> Option<&Log> {
        let entry = self.channels.get(&log.channel_id)?;
        match log.thread {
            None => Some(&entry.main),
            Some(root) => entry.threads.get(&root),
        }
    }

    /// All timelines of main logs, by channel.
    pub fn timelines(&self) -> impl Iterator<Item = (&ChannelId, &Timeline)> {
        self.channels.iter().map(|(id, entry)| (id, &entry.main.timeline))
    }

    /// The roots of the threads of which something is here, and their timelines.
    pub fn threads(&self, channel: &ChannelId) -> impl Iterator<Item = (MessageId, &Timeline)> {
        let threads = self.channels.get(channel).into_iter().flat_map(|entry| &entry.threads);
        threads.map(|(root, log)| (*root, &log.timeline))
    }

    /// Forgets a channel's messages up to `last`, whose changes the server has no longer: the copies
    /// here may be outdated, and the history is read on demand. So are threads, whole.
    pub(crate) fn forget_through(&mut self, channel: &ChannelId, last: MessageId) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.main.timeline.forget_through(last);
            for log in entry.threads.values_mut() {
                log.timeline.forget_through(MessageId::MAX);
            }
        }
        self.journal(Some(Change::ForgetThrough(channel.clone(), last)));
    }

    /// Remembers that a message of this client was stored.
    pub fn record_sent(&mut self, log: impl Into<LogId>, id: MessageId) {
        let LogId { channel_id, thread } = log.into();
        let log = self.entry(&channel_id, id.time()).log(thread);
        log.newest_sent = log.newest_sent.max(Some(id));
    }

    /// The newest message that this client has seen or sent in a log: the next one's `after`.
    #[must_use]
    pub fn newest_seen(&self, log: impl Into<LogId>) -> Option<MessageId> {
        self.log(&log.into()).and_then(|log| log.timeline.newest().max(log.newest_sent))
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
        let opening = Opening(self.openings);
        let entry = self.channels.entry(channel.clone());
        let entry = entry.or_insert_with(|| Entry::new(at, Some(opening)));
        if entry.restart(at, opening) {
            self.journal(Some(Change::Restart(channel.clone())));
        }
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
        let from = self.published_from(entry, late)?;
        Some(from).max(entry.floor())
    }

    /// The position after which to read the channel's threads. What is below the last complete catch-up
    /// counts here: a reply may have been stored before it, and counted into its root after it.
    #[must_use]
    pub(crate) fn threads_from(
        &self,
        channel: &ChannelId,
        late: Option<LateArrivals>,
    ) -> Option<MessageId> {
        let entry = self.channels.get(channel).filter(|entry| entry.gap.is_some())?;
        // In a new channel, what was written before is read on demand.
        let known = || MessageId::first_of(entry.known_at.minus(self.overlap));
        let from = self.published_from(entry, late).unwrap_or_else(known);
        Some(entry.unsure.as_ref().map_or(from, |unsure| unsure.from.min(from)))
    }

    /// The roots whose threads are to be read too: all that have a reply after `from`, and of the threads
    /// of which something is here those whose root was read, or is not below `start`: a root that is as
    /// it was here is not read again.
    pub(crate) fn roots_of(
        &self,
        channel: &ChannelId,
        read: &BTreeSet<MessageId>,
        start: MessageId,
        from: MessageId,
    ) -> BTreeSet<MessageId> {
        let Some(entry) = self.channels.get(channel) else { return BTreeSet::new() };
        let has_news = |message: &&Message| {
            message.replies.as_ref().is_some_and(|replies| replies.last > from)
        };
        let active = entry.main.timeline.messages().filter(has_news).map(|message| message.id);
        let is_held = |(root, _): &(&MessageId, &Log)| read.contains(root) || **root >= start;
        let held = entry.threads.iter().filter(is_held).map(|(root, _)| *root);
        active.chain(held).collect()
    }

    fn published_from(&self, entry: &Entry, late: Option<LateArrivals>) -> Option<MessageId> {
        let start = entry.gap?.start?;
        let overlap = MessageId::first_of(start.at.minus(self.overlap));
        // `FUTURE` covers the difference between the clocks of two servers.
        let is_news =
            |late: &LateArrivals| !start.was_in_step || late.until.plus(limits::FUTURE) > start.at;
        // A position is exclusive, and the late message itself must be read.
        let late =
            late.filter(is_news).map(|late| late.reread_from.previous().unwrap_or(MessageId::MIN));
        Some(late.map_or(overlap, |late| late.min(overlap)))
    }

    /// Whether a `late` mark could change where a channel's catch-up starts.
    pub(crate) fn needs_late(&self, channel: &ChannelId) -> bool {
        let earliest = LateArrivals { reread_from: MessageId::MIN, until: Timestamp::MAX };
        self.catch_up_from(channel, Some(earliest)) != self.catch_up_from(channel, None)
    }

    /// The messages after `offset` that this client already has, for the next page of a catch-up.
    #[must_use]
    pub fn known_after(&self, log: impl Into<LogId>, offset: MessageId) -> Option<KnownMessages> {
        self.log(&log.into())?.timeline.known(offset)
    }

    /// Threads to be read though their channel has no gap, and after which reply.
    pub(crate) fn threads_due(&self) -> Vec<(LogId, MessageId)> {
        let of_channel = |(id, entry): (&ChannelId, &Entry)| {
            let due = entry.threads_due.clone().into_iter();
            let id = id.clone();
            due.map(move |(root, from)| (LogId::new(id.clone(), Some(root)), from))
        };
        let without_gap = self.channels.iter().filter(|(_, entry)| entry.gap.is_none());
        without_gap.flat_map(of_channel).collect()
    }

    /// Records that such a thread was read.
    pub(crate) fn thread_read(&mut self, log: &LogId) {
        let entry = self.channels.get_mut(&log.channel_id);
        if let (Some(entry), Some(root)) = (entry, log.thread) {
            entry.threads_due.remove(&root);
        }
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
        let listed: BTreeSet<&ChannelId> = list.iter().map(|channel| &channel.id).collect();
        let unlisted = self.channels.iter_mut().filter(|(id, _)| !listed.contains(id));
        for (_, entry) in unlisted {
            (entry.gap, entry.has_left) = (None, true);
        }
        let (mut restarted, mut forgotten) = (Vec::new(), Vec::new());
        for Channel { id, contract, .. } in list {
            let entry = self.channels.entry(id.clone());
            let entry = entry.or_insert_with(|| Entry::new(at, Some(opening)));
            entry.contract = Some(*contract);
            if entry.has_left {
                restarted.push(id.clone());
                forgotten.extend(entry.restart(at, opening).then(|| Change::Restart(id.clone())));
            }
        }
        forgotten.into_iter().for_each(|change| self.journal(Some(change)));
        restarted
    }

    /// The last opening of any gap: what is read for it is not outdated by an earlier fresh start.
    pub(crate) const fn latest_opening(&self) -> Opening {
        Opening(self.openings)
    }

    /// Channels without a gap that came by a push, so that no call has said their contract.
    pub(crate) fn contracts_due(&self) -> Vec<ChannelId> {
        let due = self.channels.iter().filter(|(_, entry)| entry.lacks_contract());
        due.map(|(id, _)| id.clone()).collect()
    }

    /// Whether something of a channel without a gap is to be read: threads, or its contract.
    pub(crate) fn has_more_due(&self, channel: &ChannelId) -> bool {
        let has_threads = |entry: &Entry| entry.gap.is_none() && !entry.threads_due.is_empty();
        let entry = self.channels.get(channel);
        entry.is_some_and(|entry| has_threads(entry) || entry.lacks_contract())
    }

    /// The opening of a channel's gap, if it is still open.
    pub(crate) fn opening_of(&self, channel: &ChannelId) -> Option<Opening> {
        self.channels.get(channel)?.gap.map(|gap| gap.opening)
    }

    /// Records that a channel's catch-up, which began at `at`, is complete.
    pub(crate) fn channel_read(
        &mut self,
        channel: &ChannelId,
        opening: Opening,
        read: ChannelRead,
        at: Timestamp,
    ) {
        let entry = self.entry(channel, at);
        if entry.started > opening {
            return;
        }
        // Everything stored before `at` is here, even if the gap opened again since. But copies that
        // are older than what was read may have changed since they were pushed.
        let is_unread = |here: &&Message| Some(here.id) < read.unread_before;
        let unread = entry.main.timeline.messages().take_while(is_unread);
        let verified_at = unread.map(changed_at).fold(at, Timestamp::min);
        entry.verified_at = entry.verified_at.max(Some(verified_at));
        let still_open = entry.gap.filter(|gap| gap.opening != opening);
        entry.gap = still_open.map(|gap| Gap { is_new: false, ..gap });
        if let Some(from) = read.threads_from {
            let counted_by = MessageId::first_of(at.minus(limits::COUNTED_WITHIN));
            let before = entry.unsure.take().map(|unsure| unsure.from.max(counted_by));
            let from = before.map_or(from, |before| before.min(from));
            entry.unsure = Some(Unsure { from, checked: BTreeSet::new() });
            for (root, last) in std::mem::take(&mut entry.pushed_roots) {
                entry.doubt_thread(root, last);
            }
        }
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

#[cfg(test)]
mod tests;
