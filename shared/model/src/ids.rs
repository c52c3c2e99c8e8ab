//! Identifiers. Each type has one form and one `parse`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::channel::Contract;
use crate::limits;
use crate::time::Timestamp;

/// Why a string is not an identifier. Never contains the string itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 1 to 64 of `A-Za-z0-9_-`, or reserved.
    #[error("not 1 to 64 characters of A-Z a-z 0-9 _ -")]
    Name,
    /// Not 26 upper-case Crockford characters with the first at most `7`.
    #[error("not 26 upper-case Crockford base 32 characters")]
    Ulid,
    /// Neither `C` + ULID nor `D` + 26 Crockford characters.
    #[error("not a channel id")]
    Channel,
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident $(except $reserved:literal)?) => {
        $(#[$doc])*
        ///
        /// Clones share the string.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses an identifier.
            ///
            /// # Errors
            /// [`IdError::Name`] if it has another form.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let is_free = true $(&& text != $reserved)?;
                if is_free && is_name(text) { Ok(Self(text.into())) } else { Err(IdError::Name) }
            }

            /// The identifier in its wire form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

name_id! {
    /// A tenant: 1-64 of `A-Za-z0-9_-`, from the caller's token.
    WorkspaceId
}
name_id! {
    /// A person within a workspace: 1-64 of `A-Za-z0-9_-`; unique within the workspace only. `me`
    /// is no user's id: in paths it stands for the caller.
    UserId except "me"
}
name_id! {
    /// A device of a user: 1-64 of `A-Za-z0-9_-`, chosen by its client.
    DeviceId
}
name_id! {
    /// One start of one node: minted as `N` + ULID, accepted as 1-64 of `A-Za-z0-9_-`.
    NodeId
}
name_id! {
    /// One socket: `S` + ULID.
    ConnectionId
}

impl NodeId {
    /// Mints the id of a node's start.
    #[must_use]
    pub fn mint(now: Timestamp, random: u128) -> Self {
        Self(format!("N{}", MessageId::mint(now, random)).into())
    }
}

impl ConnectionId {
    /// Mints a socket's id.
    #[must_use]
    pub fn mint(now: Timestamp, random: u128) -> Self {
        Self(format!("S{}", MessageId::mint(now, random)).into())
    }
}

/// The bits of a ULID, big endian, so that bytes compare as ULIDs do. As a number they would be aligned
/// to 16 bytes, and an optional id would take 32.
type UlidBytes = [u8; 16];

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(UlidBytes);

        impl $name {
            /// Parses 26 upper-case Crockford characters, the first at most `7`.
            ///
            /// # Errors
            /// [`IdError::Ulid`] if it has another form; aliases (`l` for `1`) are refused.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let well_formed = text.len() == ULID_CHARS
                    && text.bytes().all(is_crockford)
                    && text.as_bytes().first().is_some_and(|first| *first <= b'7');
                if !well_formed {
                    return Err(IdError::Ulid);
                }
                Ulid::from_string(text).map(Self::of).or(Err(IdError::Ulid))
            }

            /// Makes an id from a time (at most 48 bits) and 80 random bits (others are ignored).
            #[must_use]
            pub fn mint(at: Timestamp, random: u128) -> Self {
                Self::of(Ulid::from_parts(at.min(Timestamp::MAX).unix_ms(), random & RANDOM_MASK))
            }

            /// The time in the id's first 48 bits.
            #[must_use]
            pub fn time(self) -> Timestamp {
                Timestamp::from_unix_ms(self.ulid().timestamp_ms())
            }

            /// The id as a number.
            #[must_use]
            pub fn bits(self) -> u128 {
                u128::from_be_bytes(self.0)
            }

            /// Writes the id's text into a buffer.
            pub fn text_in(self, buffer: &mut [u8; ULID_CHARS]) -> &str {
                self.ulid().array_to_str(buffer)
            }

            const fn of(ulid: Ulid) -> Self {
                Self(ulid.to_bytes())
            }

            const fn ulid(self) -> Ulid {
                Ulid::from_bytes(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.ulid()).finish()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text_in(&mut [0; ULID_CHARS]))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

ulid_id! {
    /// A message: a ULID that IS the table's sort key `created_at`. Sorts by creation time.
    MessageId
}
ulid_id! {
    /// A publication on the bus: the message's id for a message, its own ULID for anything else.
    PublicationId
}

ulid_id! {
    /// A file of a channel. Unique within its channel only.
    FileId
}

ulid_id! {
    /// One change of a message, made by a client: of two edits, the one with the greater id wins.
    ChangeId
}

impl ChangeId {
    /// The next id in order; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.bits().checked_add(1).map(|value| Self(value.to_be_bytes()))
    }
}

impl MessageId {
    /// The smallest id.
    pub const MIN: Self = Self([0; 16]);

    /// The largest id.
    pub const MAX: Self = Self([u8::MAX; 16]);

    /// The largest id with this time: the upper bound of a read.
    #[must_use]
    pub fn last_of(at: Timestamp) -> Self {
        Self::mint(at, u128::MAX)
    }

    /// The smallest id with this time: the lower bound of a read.
    #[must_use]
    pub fn first_of(at: Timestamp) -> Self {
        Self::mint(at, 0)
    }

    /// The next id in order; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        // Not `Ulid::increment`, which stops at the last id of each millisecond.
        self.bits().checked_add(1).map(|value| Self(value.to_be_bytes()))
    }

    /// An id above this one, in the same millisecond as a rule; `None` near the last. The random bits
    /// keep clients that have seen the same id from making the same one above it.
    #[must_use]
    pub fn above(self, random: u128) -> Option<Self> {
        let step = (random >> 64) + 1;
        self.bits().checked_add(step).map(|value| Self(value.to_be_bytes()))
    }

    /// The id before in order; `None` before the first.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.bits().checked_sub(1).map(|value| Self(value.to_be_bytes()))
    }
}

impl From<MessageId> for ChangeId {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

impl From<MessageId> for PublicationId {
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

/// A channel: `C` + ULID for a group, `D` + 26 Crockford characters derived from its members for a
/// DM. Globally unique. Clones share the string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(Arc<str>);

impl ChannelId {
    /// Parses either form.
    ///
    /// # Errors
    /// [`IdError::Channel`] if it has neither.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let well_formed = match text.split_at_checked(1) {
            Some(("C", ulid)) => MessageId::parse(ulid).is_ok(),
            Some(("D", digest)) => digest.len() == ULID_CHARS && digest.bytes().all(is_crockford),
            _ => false,
        };
        if well_formed { Ok(Self(text.into())) } else { Err(IdError::Channel) }
    }

    /// Mints the id of a group channel.
    #[must_use]
    pub fn mint_group(now: Timestamp, random: u128) -> Self {
        Self(format!("C{}", MessageId::mint(now, random)).into())
    }

    /// Derives the id of the DM between two users under a contract, whoever opens it, and however often.
    ///
    /// It is the first 130 bits of SHA-256 over `workspace NUL lower NUL higher`, and `NUL contract`
    /// unless that is the default one, in Crockford base 32. Ids contain no NUL, so the fields cannot
    /// run into each other.
    #[must_use]
    pub fn of_dm(
        workspace: &WorkspaceId,
        one: &UserId,
        other: &UserId,
        contract: Contract,
    ) -> Self {
        let (lower, higher) = if one <= other { (one, other) } else { (other, one) };
        let mut hash = Sha256::new();
        for part in [workspace.as_str(), "\0", lower.as_str(), "\0", higher.as_str()] {
            hash.update(part.as_bytes());
        }
        // The ids of DMs were made before there were contracts.
        if contract != Contract::default() {
            hash.update(b"\0");
            hash.update(contract.as_str().as_bytes());
        }
        let digest = hash.finalize();
        let byte = |index: usize| u32::from(digest.get(index).copied().unwrap_or(0));
        let mut text = String::with_capacity(1 + ULID_CHARS);
        text.push('D');
        for first_bit in (0..ULID_CHARS * 5).step_by(5) {
            let pair = (byte(first_bit / 8) << 8) | byte(first_bit / 8 + 1);
            text.push(crockford(pair >> (11 - first_bit % 8)));
        }
        Self(text.into())
    }

    /// Whether this is a DM's id.
    #[must_use]
    pub fn is_dm(&self) -> bool {
        self.0.starts_with('D')
    }

    /// The identifier in its wire form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ChannelId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

/// A log of messages: a channel's main log, or one of its threads. A message's id is unique within one
/// log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The channel.
    pub channel_id: ChannelId,
    /// The root of the thread: a message of the main log. `None` for the main log itself.
    pub thread: Option<MessageId>,
}

impl LogId {
    /// The log of this thread of a channel, or its main log.
    #[must_use]
    pub const fn new(channel_id: ChannelId, thread: Option<MessageId>) -> Self {
        Self { channel_id, thread }
    }

    /// The main log of the same channel.
    #[must_use]
    pub fn main(&self) -> Self {
        self.channel_id.clone().into()
    }

    /// Parses `<channel>` or `<channel>.<root>`.
    ///
    /// # Errors
    /// [`IdError`] for the part that has another form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (channel, root) = match text.split_once('.') {
            Some((channel, root)) => (channel, Some(MessageId::parse(root)?)),
            None => (text, None),
        };
        Ok(Self::new(ChannelId::parse(channel)?, root))
    }
}

impl From<ChannelId> for LogId {
    /// The channel's main log.
    fn from(channel_id: ChannelId) -> Self {
        Self::new(channel_id, None)
    }
}

impl From<&ChannelId> for LogId {
    fn from(channel_id: &ChannelId) -> Self {
        channel_id.clone().into()
    }
}

impl From<&Self> for LogId {
    fn from(log: &Self) -> Self {
        log.clone()
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channel_id, thread } = self;
        match thread {
            Some(root) => write!(f, "{channel_id}.{root}"),
            None => channel_id.fmt(f),
        }
    }
}

/// A thread: its root, which is a message of the channel's main log. Ordered by the root's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId {
    /// The root.
    pub root: MessageId,
    /// Its channel.
    pub channel_id: ChannelId,
}

impl ThreadId {
    /// The log of its replies.
    #[must_use]
    pub fn log(&self) -> LogId {
        LogId::new(self.channel_id.clone(), Some(self.root))
    }
}

/// A message within its channel. Ordered by its id, then by its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// Its id.
    pub id: MessageId,
    /// The root of the thread that it is in; `None` for a message of the main log.
    pub thread: Option<MessageId>,
}

impl MessageRef {
    /// The one before in order; `None` before the first.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        let Self { id, thread } = self;
        match thread {
            Some(root) => Some(Self { id, thread: root.previous() }),
            None => id.previous().map(|id| Self { id, thread: Some(MessageId::MAX) }),
        }
    }

    /// Parses `<id>` or `<id>.<root>`.
    ///
    /// # Errors
    /// [`IdError::Ulid`] if a part has another form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (id, thread) = match text.split_once('.') {
            Some((id, root)) => (id, Some(MessageId::parse(root)?)),
            None => (text, None),
        };
        Ok(Self { id: MessageId::parse(id)?, thread })
    }
}

impl fmt::Display for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, thread } = self;
        match thread {
            Some(root) => write!(f, "{id}.{root}"),
            None => id.fmt(f),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=limits::ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn is_crockford(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'H' | b'J' | b'K' | b'M' | b'N' | b'P'..=b'T' | b'V'..=b'Z')
}

fn crockford(five_bits: u32) -> char {
    CROCKFORD.get((five_bits & 31) as usize).map_or('0', |byte| char::from(*byte))
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The length of a ULID's text.
pub(crate) const ULID_CHARS: usize = 26;
const RANDOM_MASK: u128 = (1 << 80) - 1;

#[cfg(test)]
mod tests;
