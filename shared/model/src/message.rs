//! Messages and their texts.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::attachment::Attachment;
use crate::ids::{ChangeId, ChannelId, LogId, MessageId, UserId};
use crate::invisible::is_invisible;
use crate::limits;
use crate::mentions::Mentions;
use crate::reaction::Reaction;
use crate::time::Timestamp;

mod attachments;
mod json;
mod rev;

pub use json::PushedMessage;
pub use rev::{Rev, RevError};

/// Why a text cannot be a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Empty, or invisible.
    #[error("the text is empty")]
    Empty,
    /// Over 40,000 characters.
    #[error("the text is longer than {} characters", limits::MESSAGE_CHARS_MAX)]
    TooLong,
    /// A control character other than `\n`, `\r`, `\t`.
    #[error("the text holds a control character")]
    Control,
}

/// A message's text: 1-40,000 Unicode scalar values, not all of them invisible, without control
/// characters except `\n \r \t`. Kept as sent: never stripped or escaped. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageText(Arc<str>);

impl MessageText {
    /// Parses a text that a person wrote.
    ///
    /// # Errors
    /// [`TextError`] for the first rule that it breaks.
    pub fn parse(text: String) -> Result<Self, TextError> {
        if is_invisible(&text) {
            return Err(TextError::Empty);
        }
        // A scalar value takes at least one byte, so short texts need not be counted.
        if text.len() > limits::MESSAGE_CHARS_MAX
            && text.chars().count() > limits::MESSAGE_CHARS_MAX
        {
            return Err(TextError::TooLong);
        }
        if has_control(&text) { Err(TextError::Control) } else { Ok(Self(text.into())) }
    }

    /// No text: of a deleted message, or one that was left out.
    #[must_use]
    pub fn absent() -> Self {
        Self("".into())
    }

    /// Wraps a text from the store or the bus, which was parsed before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest that a redirect keeps instead of the text.
    #[must_use]
    pub fn digest(&self) -> TextDigest {
        TextDigest::of(&[self.as_str()])
    }
}

fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        // A search stops at each byte, this processes many at a time.
        let is_refused =
            |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\r' | b'\t');
        return text.bytes().fold(false, |found, byte| found | is_refused(&byte));
    }
    text.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t'))
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageText({} bytes)", self.0.len())
    }
}

/// SHA-256 of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextDigest(pub [u8; 32]);

impl TextDigest {
    /// The digest of these parts, one after the other.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part.as_bytes()));
        Self(hash.finalize().into())
    }
}

/// A message, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, which has its time and its place in the channel.
    pub id: MessageId,
    /// The channel it belongs to.
    pub channel_id: ChannelId,
    /// The root of the thread that it is a reply in; `None` for a message of the main log.
    pub thread: Option<MessageId>,
    /// The sender.
    pub sender_id: UserId,
    /// Its text; empty once it is deleted.
    pub text: MessageText,
    /// The revision of this copy.
    pub rev: Rev,
    /// The last edit of its text.
    pub edit: Option<Edit>,
    /// Set once it is deleted.
    pub deleted: Option<Attribution>,
    /// Whom its text mentions.
    pub mentions: Mentions,
    /// The files that it names, in its sender's order; none once it is deleted.
    pub attachments: Vec<Attachment>,
    /// Reactions to it, in the order of each emoji's first use.
    pub reactions: Vec<Reaction>,
    /// Set while it is pinned.
    pub pinned: Option<Attribution>,
    /// The replies in its thread; `None` while there are none. Boxed: most messages are no roots.
    pub replies: Option<Box<Replies>>,
    /// The message that it quotes, by its id. Nobody checked that it exists.
    pub quote: Option<MessageId>,
}

/// A summary of the replies in a message's thread that are not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replies {
    /// How many there are.
    pub count: u64,
    /// The last one.
    pub last: MessageId,
    /// Who sent the first ones, each user once; at most [`limits::REPLIES_USERS_MAX`].
    pub users: Vec<UserId>,
}

/// An edit of a message's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The revision that it made.
    pub rev: Rev,
    /// Its id, from the client.
    pub change_id: ChangeId,
}

/// Who did something to a message, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribution {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// The user.
    pub by: UserId,
}

impl Message {
    /// A message as it was sent.
    #[must_use]
    pub fn new(id: MessageId, channel_id: ChannelId, sender_id: UserId, text: MessageText) -> Self {
        Self {
            id,
            channel_id,
            thread: None,
            sender_id,
            text,
            rev: Rev::of(id),
            edit: None,
            deleted: None,
            mentions: Mentions::default(),
            attachments: Vec::new(),
            reactions: Vec::new(),
            pinned: None,
            replies: None,
            quote: None,
        }
    }

    /// The log that it is in.
    #[must_use]
    pub fn log(&self) -> LogId {
        LogId::new(self.channel_id.clone(), self.thread)
    }

    /// Whether it is in this log.
    #[must_use]
    pub fn is_in(&self, log: &LogId) -> bool {
        self.channel_id == log.channel_id && self.thread == log.thread
    }

    /// The revision at which its text was last changed.
    #[must_use]
    pub fn text_rev(&self) -> Cow<'_, Rev> {
        match &self.edit {
            Some(edit) => Cow::Borrowed(&edit.rev),
            None => Cow::Owned(Rev::of(self.id)),
        }
    }

    /// Whether it changed since it was sent.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.rev.id() != Some(self.id)
    }

    /// Whether its last change left a long text as it was: pushes do not repeat it.
    #[must_use]
    pub fn has_old_long_text(&self) -> bool {
        self.text.as_str().len() > limits::REPEATED_TEXT_BYTES_MAX && *self.text_rev() != self.rev
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MessageText, TextError> {
        MessageText::parse(text.to_owned())
    }

    #[test]
    fn white_space_alone_is_empty() {
        for text in ["", " ", "\n\t\r ", "\u{2003}\u{3000}", "\u{200b}", "\u{feff}\n", "\u{202e}"] {
            assert_eq!(parse(text), Err(TextError::Empty), "{text:?}");
        }
    }

    #[test]
    fn length_counts_scalar_values() {
        assert!(parse(&"😀".repeat(40_000)).is_ok());
        assert_eq!(parse(&"😀".repeat(40_001)), Err(TextError::TooLong));
        assert_eq!(parse(&"x".repeat(40_001)), Err(TextError::TooLong));
    }

    #[test]
    fn control_characters_are_refused_but_three() {
        assert!(parse("a\n\r\tb").is_ok());
        for text in ["a\0", "\u{7f}a", "a\u{85}b", "\u{1b}[31m"] {
            assert_eq!(parse(text), Err(TextError::Control), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", parse("secret").unwrap()), "MessageText(6 bytes)");
    }
}
