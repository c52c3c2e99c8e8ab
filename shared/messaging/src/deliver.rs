//! Sending in a channel that delivers first (G13): published and spooled in one step, stored later by
//! [`crate::archive`]. Nodes call it; `POST /messages` is the other way, which stores first.

use model::{
    Channel, Contract, ErrorCode, Mentions, Message, MessageId, MessageText, TextDigest, Timestamp,
    UserId, limits,
};
use protocol::publication::Publication;

use crate::app::Ports;
use crate::error::{Refusal, StoreError};
use crate::ports::{BusError, LogEntry, Offered, SpoolEntry, StoredMessage};

/// A message to be delivered first.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The channel, as it was read at most [`limits::VIEW_LEASE`] ago.
    pub channel: Channel,
    /// The sender, and the version of the membership in which they were found; `None` if they are yet
    /// to be looked up.
    pub sender: UserId,
    /// See `sender`.
    pub members_version: Option<u64>,
    /// The client's id, which the message keeps.
    pub id: MessageId,
    /// The text.
    pub text: MessageText,
    /// The newest message that the sender has seen.
    pub after: Option<MessageId>,
    /// The message that it quotes.
    pub quote: Option<MessageId>,
}

/// A message that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Whether it would survive the loss of the primary: a replica has it, or the store.
    pub replicated: bool,
}

/// Why a message was not delivered. Nothing was, except perhaps after `Store` and `Bus`: sending it
/// again under its id finds out.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The sender is no member.
    #[error("no such channel for the sender")]
    ChannelNotFound,
    /// The text is over [`limits::SEND_TEXT_BYTES_MAX`].
    #[error("the text is too long")]
    TooLong,
    /// The text mentions too many users.
    #[error("the text mentions too many users")]
    TooManyMentions,
    /// The id cannot be taken.
    #[error(transparent)]
    Id(#[from] BadId),
    /// The id was used for another message.
    #[error("the id was used for another message")]
    IdConflict,
    /// The channel is archived.
    #[error("the channel is archived")]
    Archived,
    /// Too much waits to be stored.
    #[error("too much waits to be stored")]
    Full,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus did not accept it.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why a message's id is not taken in a channel that delivers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// The id is over 24 h old or over 1 s ahead; or `after` is over 10 s ahead.
    #[error("the id's time is out of range")]
    OutOfRange {
        /// `id` or `after`.
        field: &'static str,
    },
    /// The id is not above `after`.
    #[error("the id does not sort after the newest message that was seen")]
    NotAfter,
}

impl Refusal for DeliverError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::TooLong => ErrorCode::MessageTooLong,
            Self::TooManyMentions => ErrorCode::InvalidField,
            Self::Id(BadId::OutOfRange { .. }) => ErrorCode::IdOutOfRange,
            Self::Id(BadId::NotAfter) => ErrorCode::InvalidId,
            Self::IdConflict => ErrorCode::IdConflict,
            Self::Archived => ErrorCode::ChannelArchived,
            Self::Store(error) => error.code(),
            Self::Full | Self::Bus(_) => ErrorCode::Unavailable,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::TooLong | Self::TooManyMentions => Some("message"),
            Self::Id(BadId::OutOfRange { field }) => Some(field),
            Self::Id(BadId::NotAfter) => Some("after"),
            Self::ChannelNotFound
            | Self::IdConflict
            | Self::Archived
            | Self::Full
            | Self::Store(_)
            | Self::Bus(_) => None,
        }
    }
}

/// Delivers a message: publishes it to the members' sockets and puts it into the spool.
///
/// # Errors
/// [`DeliverError`].
///
/// # Cancel safety
/// A dropped call may or may not have delivered it.
pub async fn deliver(ports: &Ports, sending: &Sending) -> Result<Delivered, DeliverError> {
    let now = ports.clock.now();
    let members_version = sender_version(ports, sending).await?;
    if sending.text.as_str().len() > limits::SEND_TEXT_BYTES_MAX {
        return Err(DeliverError::TooLong);
    }
    check_ids(sending.id, sending.after, now)?;
    if sending.channel.details.archived {
        return Err(DeliverError::Archived);
    }
    let message = sending.message()?;
    // Its guard may be gone, and then it would be delivered twice.
    if now.since(sending.id.time()) >= limits::DELIVER_LOOK_UP_AFTER
        && let Some(stored) = stored(ports, &message).await?
    {
        return stored;
    }
    let publication = if sending.channel.contract == Contract::DeliverUntilAcked {
        Publication::of_unacked(&message, members_version)
    } else {
        Publication::of_delivered(&message, members_version)
    };
    match ports
        .spool
        .deliver(&sending.channel.workspace_id, &publication, &digest(&message))
        .await?
    {
        Offered::Accepted { replicated } => Ok(Delivered { replicated }),
        Offered::Conflict => Err(DeliverError::IdConflict),
        Offered::Full => Err(DeliverError::Full),
        Offered::Stored => {
            let not_there = || StoreError::Unavailable("a stored message is gone".into());
            stored(ports, &message).await?.unwrap_or_else(|| Err(not_there().into()))
        }
    }
}

impl Sending {
    fn message(&self) -> Result<Message, DeliverError> {
        let (id, channel, sender) = (self.id, self.channel.id.clone(), self.sender.clone());
        let mut message = Message::new(id, channel, sender, self.text.clone());
        let mentions = Mentions::of(self.text.as_str());
        message.mentions = mentions.or(Err(DeliverError::TooManyMentions))?;
        message.quote = self.quote;
        Ok(message)
    }
}

/// Checks the ids of a channel that delivers first. They are kept as they are on both paths: a message
/// must not get two of them.
pub(crate) fn check_ids(
    id: MessageId,
    after: Option<MessageId>,
    now: Timestamp,
) -> Result<(), BadId> {
    if after.is_some_and(|after| after.time() > now.plus(limits::AFTER_MAX)) {
        return Err(BadId::OutOfRange { field: "after" });
    }
    if id.time() < now.minus(limits::REDIRECT_PAST_MAX) || id.time() > now.plus(limits::FUTURE) {
        return Err(BadId::OutOfRange { field: "id" });
    }
    if after.is_some_and(|after| id <= after) {
        return Err(BadId::NotAfter);
    }
    Ok(())
}

/// Whether readers who read on from ten minutes before they were last in step miss an id that was
/// accepted at this time: then its place is in the change log, too.
pub(crate) fn is_late(id: MessageId, accepted_at: Timestamp) -> bool {
    id.time() < accepted_at.minus(limits::PAST)
}

/// The version by which the sender is a member. A view that is older than the channel is not trusted.
async fn sender_version(ports: &Ports, sending: &Sending) -> Result<u64, DeliverError> {
    let Sending { channel, sender, members_version, .. } = sending;
    if let Some(version) = members_version.filter(|version| *version >= channel.members_version) {
        return Ok(version);
    }
    let standing = ports.channels.standing(&channel.id, sender).await.map_err(StoreError::from)?;
    let found = standing.channel.filter(|_| standing.is_member);
    let version = found.ok_or(DeliverError::ChannelNotFound)?.members_version;
    Ok(version.max(members_version.unwrap_or(0)))
}

/// What the store has under the message's id: this message, or another one; `None` if nothing.
async fn stored(
    ports: &Ports,
    message: &Message,
) -> Result<Option<Result<Delivered, DeliverError>>, StoreError> {
    let entry = ports.messages.entry(&message.log(), message.id).await?;
    Ok(entry.map(|entry| match entry {
        LogEntry::Message(stored) if is_same(&stored.message, message) => {
            Ok(Delivered { replicated: true })
        }
        LogEntry::Message(_) | LogEntry::Redirect(_) | LogEntry::Unknown { .. } => {
            Err(DeliverError::IdConflict)
        }
    }))
}

/// Whether two messages of one id are the same one.
pub(crate) fn is_same(one: &Message, other: &Message) -> bool {
    (&one.sender_id, &one.text, one.quote) == (&other.sender_id, &other.text, other.quote)
}

/// The digest of what makes a repetition the same message.
fn digest(message: &Message) -> String {
    let quote = message.quote.map(|quote| quote.to_string()).unwrap_or_default();
    // No id and no text has a NUL.
    let parts = [message.sender_id.as_str(), "\0", message.text.as_str(), "\0", &quote];
    let TextDigest(bytes) = TextDigest::of(&parts);
    bytes.iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

impl SpoolEntry {
    /// The message as the store is to have it; `None` if this version cannot read it.
    #[must_use]
    pub fn message(&self) -> Option<StoredMessage> {
        let message = self.publication.message()?;
        let members_version = self.publication.channel()?.members_version;
        let expires_at = self.accepted_at().plus(limits::UNACKED_KEPT);
        let expires_at = Some(expires_at).filter(|_| self.is_until_acked());
        Some(StoredMessage { expires_at, ..StoredMessage::new(message, members_version) })
    }

    /// Whether the message is stored only if some device lacks it (ADR 0046).
    #[must_use]
    pub fn is_until_acked(&self) -> bool {
        self.publication.subject.as_ref().is_some_and(|subject| subject.until_acked)
    }
}

/// Enough to tell the messages of one id apart.
const DIGEST_BYTES: usize = 16;
