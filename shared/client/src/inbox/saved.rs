//! What a store keeps of an inbox: a journal of its messages, and the rest of its state.
//!
//! Both are taken at one moment, so that no state is stored without the messages it speaks of.

use std::collections::{BTreeMap, BTreeSet};

use model::{ChannelId, Contract, LogId, Message, MessageId, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, Gap, GapStart, Log, Unsure};
use super::{Inbox, Opening};

/// What happened to messages, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// A message is new, or has a greater revision.
    Upsert(Message),
    /// The messages of a channel's main log up to this one are forgotten, and its threads.
    ForgetThrough(ChannelId, MessageId),
    /// All messages of a channel are forgotten.
    Restart(ChannelId),
}

/// What a store is to write.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) changes: Vec<Change>,
    pub(crate) channels: Vec<(ChannelId, ChannelState)>,
    pub(crate) inbox: InboxState,
}

/// The state of an inbox beside its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct InboxState {
    list_gap: Option<u64>,
    openings: u64,
    in_step_at: Option<u64>,
}

/// The state of a channel beside its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChannelState {
    started: u64,
    contract: Option<Word<Contract>>,
    pub(crate) main: LogState,
    pub(crate) threads: BTreeMap<Word<MessageId>, LogState>,
    unsure: Option<(Word<MessageId>, BTreeSet<Word<MessageId>>)>,
    threads_due: BTreeMap<Word<MessageId>, Word<MessageId>>,
    pushed_roots: BTreeMap<Word<MessageId>, Word<MessageId>>,
    known_at: u64,
    verified_at: Option<u64>,
    gap: Option<GapState>,
    has_left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LogState {
    /// Messages up to this one are dropped.
    pub(crate) dropped: Option<Word<MessageId>>,
    newest_sent: Option<Word<MessageId>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct GapState {
    opening: u64,
    is_new: bool,
    start: Option<(u64, bool)>,
}

/// A value that is a word in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word<T>(pub(crate) T);

impl Serialize for Word<MessageId> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word<MessageId> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Word<Contract> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Word<Contract> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let contract = Contract::parse(&String::deserialize(from)?).map(Self);
        contract.ok_or_else(|| D::Error::custom("no contract of this version"))
    }
}

impl Inbox {
    /// Keeps a journal from now on, which starts with all messages that are here; or none any more.
    pub(crate) fn keep_journal(&mut self, keep: bool) {
        if !keep {
            self.journal = None;
        } else if self.journal.is_none() {
            let logs = self.channels.values().flat_map(Entry::logs);
            let messages = logs.flat_map(|log| log.timeline.messages());
            self.journal = Some(messages.cloned().map(Change::Upsert).collect());
        }
    }

    /// Notes that a message is new here, or has a greater revision.
    pub(super) fn journal_message(&mut self, log: &LogId, id: MessageId) {
        if self.journal.is_some() {
            let message = self.timeline(log).and_then(|timeline| timeline.get(id)).cloned();
            self.journal(message.map(Change::Upsert));
        }
    }

    pub(super) fn journal(&mut self, change: Option<Change>) {
        if let (Some(journal), Some(change)) = (&mut self.journal, change) {
            journal.push(change);
        }
    }

    /// Takes the journal, with the state at the same moment.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let channels = self.channels.iter().map(|(id, entry)| (id.clone(), entry.state()));
        let channels = channels.collect();
        let changes = self.journal.as_mut().map(std::mem::take).unwrap_or_default();
        let inbox = InboxState {
            list_gap: self.list_gap.map(|opening| opening.0),
            openings: self.openings,
            in_step_at: self.in_step_at.map(Timestamp::unix_ms),
        };
        Snapshot { changes, channels, inbox }
    }

    /// An inbox as it was stored. It keeps a journal.
    pub(crate) fn restored(
        messages_max: usize,
        inbox: InboxState,
        channels: impl IntoIterator<Item = (ChannelId, ChannelState)>,
        messages: impl IntoIterator<Item = Message>,
    ) -> Self {
        let mut restored = Self::new(messages_max);
        restored.list_gap = inbox.list_gap.map(Opening);
        restored.openings = inbox.openings;
        restored.in_step_at = inbox.in_step_at.map(Timestamp::from_unix_ms);
        let entries = channels.into_iter().map(|(id, state)| (id, Entry::restored(&state)));
        restored.channels = entries.collect();
        for message in messages {
            let Some(entry) = restored.channels.get_mut(&message.channel_id) else { continue };
            let log = match message.thread {
                None => Some(&mut entry.main),
                Some(root) => entry.threads.get_mut(&root),
            };
            if let Some(log) = log {
                log.timeline.upsert(message, messages_max);
            }
        }
        restored.journal = Some(Vec::new());
        restored
    }
}

impl Entry {
    fn logs(&self) -> impl Iterator<Item = &Log> {
        std::iter::once(&self.main).chain(self.threads.values())
    }

    fn state(&self) -> ChannelState {
        let pair = |(root, at): (&MessageId, &MessageId)| (Word(*root), Word(*at));
        let unsure = self
            .unsure
            .as_ref()
            .map(|unsure| (Word(unsure.from), unsure.checked.iter().copied().map(Word).collect()));
        ChannelState {
            started: self.started.0,
            contract: self.contract.map(Word),
            main: self.main.state(),
            threads: self.threads.iter().map(|(root, log)| (Word(*root), log.state())).collect(),
            unsure,
            threads_due: self.threads_due.iter().map(pair).collect(),
            pushed_roots: self.pushed_roots.iter().map(pair).collect(),
            known_at: self.known_at.unix_ms(),
            verified_at: self.verified_at.map(Timestamp::unix_ms),
            gap: self.gap.map(|gap| GapState {
                opening: gap.opening.0,
                is_new: gap.is_new,
                start: gap.start.map(|start| (start.at.unix_ms(), start.was_in_step)),
            }),
            has_left: self.has_left,
        }
    }

    fn restored(state: &ChannelState) -> Self {
        let at = Timestamp::from_unix_ms;
        let pair = |(root, of): (&Word<MessageId>, &Word<MessageId>)| (root.0, of.0);
        Self {
            started: Opening(state.started),
            contract: state.contract.map(|contract| contract.0),
            main: Log::restored(state.main),
            threads: state
                .threads
                .iter()
                .map(|(root, log)| (root.0, Log::restored(*log)))
                .collect(),
            unsure: state.unsure.as_ref().map(|(from, checked)| Unsure {
                from: from.0,
                checked: checked.iter().map(|root| root.0).collect(),
            }),
            threads_due: state.threads_due.iter().map(pair).collect(),
            pushed_roots: state.pushed_roots.iter().map(pair).collect(),
            known_at: at(state.known_at),
            verified_at: state.verified_at.map(at),
            gap: state.gap.map(|gap| Gap {
                opening: Opening(gap.opening),
                is_new: gap.is_new,
                start: gap.start.map(|(ms, was_in_step)| GapStart { at: at(ms), was_in_step }),
            }),
            has_left: state.has_left,
        }
    }
}

impl Log {
    fn state(&self) -> LogState {
        let dropped = self.timeline.dropped.map(Word);
        LogState { dropped, newest_sent: self.newest_sent.map(Word) }
    }

    fn restored(state: LogState) -> Self {
        let mut log = Self { newest_sent: state.newest_sent.map(|id| id.0), ..Self::default() };
        log.timeline.dropped = state.dropped.map(|id| id.0);
        log
    }
}
