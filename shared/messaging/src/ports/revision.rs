//! Changes of stored messages: a log of their positions, and updates of the rows in place.

use model::{
    Attribution, ChangeId, Edit, LogId, Mentions, MessageId, MessageText, Reaction, Replies, Rev,
    Timestamp, UserId,
};

use super::{CountedReplies, Folded, LogEntry, StoredMessage};

/// An entry of a change log: at this position, a message changed. It holds no content, and
/// is written before the change: an entry without a change only makes somebody read an unchanged
/// message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedChange {
    /// The log.
    pub log: LogId,
    /// Its place among the ids of the log's messages, minted like one of them.
    pub position: MessageId,
    /// The message.
    pub target: MessageId,
    /// When the store may delete the entry.
    pub expires_at: Timestamp,
}

/// Entries of a change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// Positions and messages, oldest first.
    pub changes: Vec<(MessageId, MessageId)>,
    /// Whether more may follow within the bounds; then reading goes on at the last position.
    pub more: bool,
}

/// A change of a stored message, with the conditions under which it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The new revision. The change happens only if it is greater than the present one.
    pub rev: Rev,
    /// The version that its publication carries (G6).
    pub members_version: u64,
    /// If set, the change happens only if this user sent the message.
    pub only_of: Option<UserId>,
    /// The change. Only a count of replies happens to a deleted message.
    pub change: Change,
}

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The text, unless an edit with the same or a greater id happened.
    Edit {
        /// The new text.
        text: MessageText,
        /// Whom it mentions.
        mentions: Mentions,
        /// Its id.
        change_id: ChangeId,
        /// The revision that the present text must have.
        if_text_rev: Option<Rev>,
    },
    /// The text, its mentions, the reactions, the pin and the attachments are removed; the row stays.
    Delete(Attribution),
    /// The summary of reactions, if nothing changed since the fold read the message.
    Fold {
        /// The summary.
        reactions: Vec<Reaction>,
        /// What it was counted from.
        folded: Folded,
        /// The revision that the fold read.
        if_rev: Rev,
    },
    /// Whether it is pinned, unless an act with the same or a greater id is shown.
    Pin {
        /// Who pinned it and when; `None` unpins it.
        pinned: Option<Attribution>,
        /// The act's id.
        act: ChangeId,
    },
    /// The summary of its replies, if nothing changed since the count read the message. This happens to
    /// a deleted message too: its thread stays.
    Replies {
        /// The summary; `None` if no reply is left.
        replies: Option<Replies>,
        /// What it was counted from.
        counted: CountedReplies,
        /// The revision that the count read.
        if_rev: Rev,
    },
}

/// The result of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revised {
    /// The message as it is now.
    Done(StoredMessage),
    /// A condition failed; nothing was written. The entry as it is; `None` if there is none.
    Refused(Option<Box<LogEntry>>),
}

impl Revision {
    /// The message after this change; `None` if a condition fails. The rule of every store.
    #[must_use]
    pub fn applied_to(&self, stored: &StoredMessage) -> Option<StoredMessage> {
        let before = &stored.message;
        let is_allowed = self.only_of.as_ref().is_none_or(|user| *user == before.sender_id);
        let is_open = before.deleted.is_none() || matches!(self.change, Change::Replies { .. });
        if !is_allowed || !is_open || before.rev >= self.rev {
            return None;
        }
        let mut after = StoredMessage { members_version: self.members_version, ..stored.clone() };
        let message = &mut after.message;
        message.rev = self.rev.clone();
        match &self.change {
            Change::Edit { text, mentions, change_id, if_text_rev } => {
                let is_newest = before.edit.as_ref().is_none_or(|last| last.change_id < *change_id);
                let is_expected = if_text_rev.as_ref().is_none_or(|rev| *rev == *before.text_rev());
                if !is_newest || !is_expected {
                    return None;
                }
                message.text = text.clone();
                message.mentions = mentions.clone();
                message.edit = Some(Edit { rev: self.rev.clone(), change_id: *change_id });
            }
            Change::Delete(deletion) => {
                message.text = MessageText::absent();
                message.deleted = Some(deletion.clone());
                message.mentions = Mentions::default();
                message.reactions = Vec::new();
                message.pinned = None;
                message.quote = None;
                message.attachments = Vec::new();
                after.folded = None;
            }
            Change::Fold { reactions, folded, if_rev } => {
                if before.rev != *if_rev {
                    return None;
                }
                message.reactions.clone_from(reactions);
                after.folded = Some(*folded);
            }
            Change::Pin { pinned, act } => {
                if stored.pin_act.is_some_and(|shown| shown >= *act) {
                    return None;
                }
                message.pinned.clone_from(pinned);
                after.pin_act = Some(*act);
            }
            Change::Replies { replies, counted, if_rev } => {
                if before.rev != *if_rev {
                    return None;
                }
                message.replies = replies.clone().map(Box::new);
                after.counted = Some(Box::new(*counted));
            }
        }
        Some(after)
    }
}
