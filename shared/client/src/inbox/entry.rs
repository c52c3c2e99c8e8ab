//! What the inbox knows about one channel: its messages, its threads, and the gap where it may miss some.

use std::collections::{BTreeMap, BTreeSet};

use model::{Contract, Message, MessageId, Replies, Timestamp, limits};

use super::Opening;
use crate::timeline::Timeline;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The gap's opening when the channel started (afresh). What was asked for before may be
    /// outdated: the user may have been no member since.
    pub(super) started: Opening,
    /// `None` until a call has said it; it never changes.
    pub(super) contract: Option<Contract>,
    pub(super) main: Log,
    /// The threads of which something reached this client, by their roots.
    pub(super) threads: BTreeMap<MessageId, Log>,
    /// Set once a catch-up is complete: replies from before it may be unknown here.
    pub(super) unsure: Option<Unsure>,
    /// Threads to be read, and after which reply.
    pub(super) threads_due: BTreeMap<MessageId, MessageId>,
    /// Roots that were pushed while the gap is open: the catch-up may have read them before.
    pub(super) pushed_roots: BTreeMap<MessageId, MessageId>,
    pub(super) known_at: Timestamp,
    /// When the last complete catch-up of this channel started; earlier if copies are here that it
    /// did not read. Everything stored before it is here, and every copy is as it was then or newer.
    pub(super) verified_at: Option<Timestamp>,
    pub(super) gap: Option<Gap>,
    /// Whether the user is not a member any more.
    pub(super) has_left: bool,
}

/// The messages of a channel's main log, or of a thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) timeline: Timeline,
    pub(super) newest_sent: Option<MessageId>,
}

/// Replies that were stored before a catch-up, and counted into their root after it.
#[derive(Debug, Clone)]
pub(super) struct Unsure {
    /// None of them is older.
    pub(super) from: MessageId,
    /// Roots whose threads were read since.
    pub(super) checked: BTreeSet<MessageId>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) opening: Opening,
    /// Whether the channel appeared while the gap was open: its newest page is to be read.
    pub(super) is_new: bool,
    /// `None` if the channel is new, and what reached this client since is not outdated.
    pub(super) start: Option<GapStart>,
}

/// How far a channel was complete when its gap opened. Messages pushed while the gap is open must
/// not advance it, or the missing messages before them would never be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct GapStart {
    /// When the channel was last in step. If it never was: the time of its newest message, or when
    /// a new channel became known.
    pub(super) at: Timestamp,
    pub(super) was_in_step: bool,
}

impl Entry {
    pub(super) fn new(known_at: Timestamp, seen_in: Option<Opening>) -> Self {
        Self {
            started: seen_in.unwrap_or_default(),
            contract: None,
            main: Log::default(),
            threads: BTreeMap::new(),
            unsure: None,
            threads_due: BTreeMap::new(),
            pushed_roots: BTreeMap::new(),
            known_at,
            verified_at: None,
            gap: seen_in.map(|opening| Gap { opening, is_new: true, start: None }),
            has_left: false,
        }
    }

    /// Starts afresh. Returns whether it forgot its messages: they may be outdated, unless the channel is one
    /// in which nothing changes, and this device may have their only copy.
    pub(super) fn restart(&mut self, at: Timestamp, opening: Opening) -> bool {
        let keeps = self.contract == Some(Contract::DeliverUntilAcked);
        let main = if keeps { std::mem::take(&mut self.main) } else { Log::default() };
        *self = Self { contract: self.contract, main, ..Self::new(at, Some(opening)) };
        !keeps
    }

    /// The log of a thread, or the main log.
    pub(super) fn log(&mut self, thread: Option<MessageId>) -> &mut Log {
        let Some(root) = thread else { return &mut self.main };
        if !self.threads.contains_key(&root) && self.threads.len() >= limits::CLIENT_THREADS_MAX {
            // The one in which nothing happened for the longest time; it is read on demand.
            let newest = |(_, log): &(&MessageId, &Log)| log.timeline.newest();
            let oldest = self.threads.iter().min_by_key(newest).map(|(root, _)| *root);
            oldest.and_then(|oldest| self.threads.remove(&oldest));
        }
        self.threads.entry(root).or_default()
    }

    /// Whether its contract is to be asked for. A channel with a gap learns it when it is read.
    pub(super) fn lacks_contract(&self) -> bool {
        self.gap.is_none() && !self.has_left && self.contract.is_none()
    }

    /// Notes that a root was pushed: its thread may have replies from before the last catch-up.
    pub(super) fn doubt_thread(&mut self, root: MessageId, last: MessageId) {
        if self.gap.is_some() {
            self.pushed_roots.insert(root, last);
        }
        if let Some(Unsure { from, checked }) = &mut self.unsure
            && last > *from
            && checked.insert(root)
        {
            self.threads_due.insert(root, *from);
        }
    }

    /// Notes a thread of which the root that was pushed counts replies that are not here: their pushes
    /// were lost, as when a stream is lost before they are counted, and no node reads them.
    pub(super) fn find_missing_replies(&mut self, root: MessageId, replies: &Replies) {
        let since = self.verified_at.unwrap_or(self.known_at);
        if self.gap.is_some() || replies.last.time() <= since {
            return;
        }
        let thread = self.threads.get(&root).map(|log| &log.timeline);
        let has_last = thread.is_some_and(|thread| thread.get(replies.last).is_some());
        // What the copy of the root that is here counts; `None` if it is not here.
        let counted = self.main.timeline.get(root).map(|root| {
            root.replies.as_deref().map_or((0, MessageId::MIN), |it| (it.count, it.last))
        });
        let has_others = counted.is_none_or(|(count, last)| {
            let is_new = |reply: &&Message| reply.deleted.is_none() && reply.id > last;
            let new = thread.map_or(0, |thread| thread.messages().filter(is_new).count());
            replies.count.saturating_sub(count) <= new as u64
        });
        if !(has_last && has_others) {
            let last = counted.map_or(replies.last, |(_, last)| last.min(replies.last));
            let from = last.time().max(since).minus(limits::OVERLAP);
            self.threads_due.entry(root).or_insert(MessageId::first_of(from));
        }
    }

    pub(super) fn open_gap(&mut self, opening: Opening, in_step_at: Option<Timestamp>) {
        if let Some(gap) = &mut self.gap {
            gap.opening = opening;
            // What reached a new channel since it is known may be outdated from now on, and may be
            // older than the newest page.
            let at = self.known_at;
            gap.start.get_or_insert(GapStart { at, was_in_step: false });
            return;
        }
        let newest = || self.main.timeline.newest().map_or(self.known_at, MessageId::time);
        let (at, was_in_step) = (in_step_at.unwrap_or_else(newest), in_step_at.is_some());
        let start = Some(GapStart { at, was_in_step });
        self.gap = Some(Gap { opening, is_new: false, start });
    }

    /// The position below which no new message can be, or below which messages are dropped.
    pub(super) fn floor(&self) -> Option<MessageId> {
        let verified = self.verified_at.map(|at| at.minus(limits::VERIFIED_OVERLAP));
        verified.map(MessageId::first_of).max(self.main.timeline.dropped)
    }
}
