//! The messages of one log, one per id, in id order.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use model::{KnownMessages, Message, MessageId, MessageText, Rev};

/// The messages of a channel's main log or of a thread, in id order. Delivery is at least once; this removes duplicates.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    messages: BTreeMap<MessageId, Message>,
    /// The newest message that was dropped to stay within the bound. Messages up to it are ignored.
    pub(crate) dropped: Option<MessageId>,
}

impl Timeline {
    /// Upserts a message. Returns `true` if it is new, or a newer revision than the one here. Keeps
    /// the greatest revision, in whatever order the copies arrive.
    pub(crate) fn upsert(&mut self, mut message: Message, messages_max: usize) -> bool {
        let is_dropped = self.dropped.is_some_and(|dropped| message.id <= dropped);
        if is_dropped {
            return false;
        }
        match self.messages.get_mut(&message.id) {
            Some(here) if message.rev <= here.rev => {
                if message.rev == here.rev {
                    keep_own(here, &message);
                }
                return false;
            }
            Some(here) => keep_own(&mut message, here),
            None => {}
        }
        // A pushed message may be older than the newest one: the map keeps the order.
        self.messages.insert(message.id, message);
        while self.messages.len() > messages_max.max(1) {
            self.dropped = self.messages.pop_first().map(|(id, _)| id);
        }
        true
    }

    /// A message, if it is here.
    #[must_use]
    pub fn get(&self, id: MessageId) -> Option<&Message> {
        self.messages.get(&id)
    }

    /// A message's text, if it is here as this revision left it.
    pub(crate) fn text(&self, id: MessageId, text_rev: &Rev) -> Option<MessageText> {
        let here = self.messages.get(&id).filter(|here| *here.text_rev() == *text_rev)?;
        here.deleted.is_none().then(|| here.text.clone())
    }

    /// Forgets the messages up to `last`. Unlike dropped ones, they may be read again.
    pub(crate) fn forget_through(&mut self, last: MessageId) {
        self.messages.retain(|id, _| *id > last);
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

    /// The known messages after a position, as many as a call can name; `None` if there are none.
    pub(crate) fn known(&self, after: MessageId) -> Option<KnownMessages> {
        let beyond = self.messages.range((Excluded(after), Unbounded));
        KnownMessages::of(Some(after), beyond.map(|(_, message)| &message.rev))
    }
}

/// Keeps what another copy says about which reactions are the reader's, where the message itself
/// says nothing and does not name everybody: pushes are the same for all readers.
fn keep_own(message: &mut Message, other: &Message) {
    for reaction in &mut message.reactions {
        if reaction.mine.is_some() || reaction.count <= reaction.users.len() as u64 {
            continue;
        }
        let known = other.reactions.iter().find(|known| known.emoji == reaction.emoji);
        reaction.mine = known.and_then(|known| known.mine);
    }
}

#[cfg(test)]
mod tests;
