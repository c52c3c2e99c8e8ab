//! The messages of one channel, one per id, in id order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};

use model::{KnownMessages, Message, MessageId};

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// On the socket.
    Pushed,
    /// By `GET /scroll`, after a gap or on the first visit.
    CaughtUp,
}

/// The messages of one channel, in id order. Delivery is at least once; this removes duplicates.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    messages: BTreeMap<MessageId, Message>,
    /// The newest message that was dropped to stay within the bound.
    dropped: Option<MessageId>,
    pushed_again: u64,
    caught_up: u64,
    caught_up_again: u64,
}

impl Timeline {
    /// Upserts a message. Returns `true` if it is new, or a newer revision than the one here. Keeps
    /// the greatest revision, in whatever order the copies arrive.
    pub(crate) fn upsert(&mut self, message: Message, source: Source, messages_max: usize) -> bool {
        self.caught_up += u64::from(source == Source::CaughtUp);
        if self.dropped.is_some_and(|dropped| message.id <= dropped) {
            return false;
        }
        // A pushed message may be older than the newest one: the map keeps the order.
        let fresh = match self.messages.entry(message.id) {
            Entry::Vacant(vacant) => {
                vacant.insert(message);
                true
            }
            Entry::Occupied(mut here) => {
                let is_newer = message.rev > here.get().rev;
                if is_newer {
                    here.insert(message);
                }
                is_newer
            }
        };
        match source {
            _ if fresh => {}
            Source::Pushed => self.pushed_again += 1,
            Source::CaughtUp => self.caught_up_again += 1,
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

    /// How many pushed messages were already here.
    #[must_use]
    pub const fn pushed_again(&self) -> u64 {
        self.pushed_again
    }

    /// How many messages reads brought, including those already here.
    #[must_use]
    pub const fn caught_up(&self) -> u64 {
        self.caught_up
    }

    /// How many messages that reads brought were already here.
    #[must_use]
    pub const fn caught_up_again(&self) -> u64 {
        self.caught_up_again
    }

    /// The newest message that was dropped to stay within the bound. Messages up to it are ignored.
    pub(crate) const fn dropped(&self) -> Option<MessageId> {
        self.dropped
    }

    /// The known messages after a position, as many as a call can name; `None` if there are none.
    pub(crate) fn known(&self, after: MessageId) -> Option<KnownMessages> {
        let beyond = self.messages.range((Excluded(after), Unbounded));
        KnownMessages::of(Some(after), beyond.map(|(id, _)| *id))
    }
}

#[cfg(test)]
mod tests;
