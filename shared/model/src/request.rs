//! Callers' requests: well formed, but not yet checked against the store.

use crate::channel::{ChannelChange, ChannelDetails, Contract, Visibility};
use crate::ids::{ChangeId, FileId, LogId, MessageId, UserId};
use crate::mentions::Mentions;
use crate::message::{MessageText, Rev, TextDigest};
use crate::read_mark::ReadMark;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The log: the channel's main log, or a thread.
    pub log: LogId,
    /// The text.
    pub text: MessageText,
    /// Whom it mentions.
    pub mentions: Mentions,
    /// Files of the channel; if there are any, the text may be empty. At most
    /// [`crate::limits::ATTACHMENTS_MAX`], each once.
    pub attachments: Vec<FileId>,
    /// The client's id; it makes every retry safe (G1).
    pub id: Option<MessageId>,
    /// The newest message that the sender has seen; the stored id sorts after it (G2).
    pub after: Option<MessageId>,
    /// The message that it quotes.
    pub quote: Option<MessageId>,
}

impl NewMessage {
    /// The digest of what makes a retry the same message: the text, and the quote and the
    /// files if there are any.
    #[must_use]
    pub fn digest(&self) -> TextDigest {
        // No text has a NUL.
        let quote = self.quote.map(|quote| format!("\0{quote}")).unwrap_or_default();
        let files: String = self.attachments.iter().map(|file| format!("\0f{file}")).collect();
        TextDigest::of(&[self.text.as_str(), &quote, &files])
    }
}

/// A new text for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditMessage {
    /// The text.
    pub text: MessageText,
    /// Whom it mentions.
    pub mentions: Mentions,
    /// Makes every retry safe. Of two edits, the one with the greater id wins.
    pub change_id: ChangeId,
    /// The revision that the text must have for the edit to happen.
    pub if_rev: Option<Rev>,
}

/// A user has read a log up to here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReadMark {
    /// The log: a channel's main log, or a thread. Threads have no epochs but the first.
    pub log: LogId,
    /// How far, in the epoch that the client knows.
    pub mark: ReadMark,
}

/// A channel to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// Its kind and members.
    pub kind: NewChannelKind,
    /// When its messages count as sent, and whether they are kept.
    pub contract: Contract,
}

/// The kind of a new channel, and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewChannelKind {
    /// A group with a name.
    Group {
        /// Who may find and join it.
        visibility: Visibility,
        /// 1-80 characters.
        name: String,
        /// At most 100, distinct; the caller may be among them.
        members: Vec<UserId>,
    },
    /// A DM with one other user.
    Dm {
        /// The other user; may be the caller.
        other: UserId,
    },
}

/// Changes of a channel's details: what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelUpdate {
    /// 1-80 characters.
    pub name: Option<String>,
    /// Up to 250 characters; may be empty.
    pub topic: Option<String>,
    /// Whether the channel takes no messages any more.
    pub archived: Option<bool>,
}

impl ChannelUpdate {
    /// The details after this change.
    #[must_use]
    pub fn applied_to(&self, before: &ChannelDetails) -> ChannelDetails {
        ChannelDetails {
            name: self.name.clone().or_else(|| before.name.clone()),
            topic: self.topic.clone().unwrap_or_else(|| before.topic.clone()),
            archived: self.archived.unwrap_or(before.archived),
            version: before.version.saturating_add(1),
        }
    }

    /// The changes that its frames name, in the order of the fields.
    #[must_use]
    pub fn changes(&self) -> Vec<ChannelChange> {
        let archived = self.archived.map(|archived| {
            if archived { ChannelChange::Archived } else { ChannelChange::Unarchived }
        });
        let renamed = self.name.as_ref().map(|_| ChannelChange::Renamed);
        let topic = self.topic.as_ref().map(|_| ChannelChange::Topic);
        [renamed, topic, archived].into_iter().flatten().collect()
    }
}

/// The direction of a page of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Newest first.
    #[default]
    Older,
    /// Oldest first.
    Newer,
}

impl Direction {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::Newer => "newer",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Older, Self::Newer].into_iter().find(|direction| direction.as_str() == text)
    }
}
