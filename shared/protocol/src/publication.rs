//! The envelope on the bus: who must get a frame, and the frame itself.
//!
//! Nodes match on [`Recipients`] alone. The frame's JSON is made once, where it is published, and a
//! node passes it on unread: a new kind of event needs no new node (ADR 0031).

use std::sync::Arc;

use model::{
    ChannelChange, ChannelId, Message, MessageId, Position, PublicationId, Timestamp, TraceId,
    UserId, limits,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::close::CloseCode;
use crate::frame;

/// One event of a workspace, published after it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Identifies it within the workspace's stream: the message's id, or a ULID of its own.
    pub id: PublicationId,
    /// Who must get it.
    pub to: Recipients,
    /// What it is a state of; `None` for an event that nothing replaces.
    pub subject: Option<Subject>,
    /// What they get.
    pub payload: Payload,
    /// Where it began, if the call that stored it published it: the store does not keep it.
    pub origin: Option<Origin>,
}

/// Who must get a publication: all that a node needs to know of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// The members of a channel.
    #[serde(rename = "c")]
    Channel(ChannelRecipients),
    /// All sockets of one user.
    #[serde(rename = "u")]
    User(#[serde(with = "text")] UserId),
    /// Every socket of the workspace.
    #[serde(rename = "w")]
    Workspace,
    /// Nobody: a link that gives an empty stream a position to resume from.
    #[serde(rename = "n")]
    Nobody,
    /// Written by a later version in a form that this one cannot read: everybody has to read again.
    #[serde(skip)]
    Unknown,
}

/// The members of a channel, as of a version of its membership (G6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecipients {
    /// The channel.
    #[serde(rename = "i", with = "text")]
    pub channel_id: ChannelId,
    /// The `members_version` that the event was stored at; after its own changes, if it has any.
    #[serde(rename = "v")]
    pub members_version: u64,
    /// What this event changes of the membership: one version for all of them.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<MemberChange>,
    /// Users who get it, members or not.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    pub also: Vec<UserId>,
}

/// One user's membership after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// The user.
    #[serde(rename = "u", with = "text")]
    pub user_id: UserId,
    /// Whether they are a member from now on.
    #[serde(rename = "m")]
    pub is_member: bool,
}

/// What a publication is a state of, and which state: of two, the one whose `rev` is greater byte by
/// byte is the newer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Names the thing, such as one message of one log. Nodes only compare it.
    #[serde(rename = "o")]
    pub of: Arc<str>,
    /// The revision.
    #[serde(rename = "r")]
    pub rev: Box<str>,
    /// Whether the payload is the whole state: it then replaces every older one; else only those
    /// that were not whole either.
    #[serde(rename = "w", default)]
    pub is_whole: bool,
}

/// What the recipients get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A frame's JSON but for its cursor, passed on unread: an object.
    Frame(Box<str>),
    /// The message of this id in the recipients' channel, which is too long to travel: each node
    /// reads it from the store ([`limits::INLINE_TEXT_BYTES_MAX`]).
    Stored(MessageId),
    /// Their sockets close.
    Close(CloseCode),
    /// Nothing: a marker, or a state that a newer one replaced.
    Nothing,
}

/// Where an event began. For operators: clients never see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// When its call was received, by the clock of the function.
    pub received_at: Timestamp,
    /// The trace of that call.
    pub trace: TraceId,
}

impl Subject {
    /// The state of a message.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        Self {
            of: format!("{}:{}", message.channel_id, message.id).into(),
            rev: message.rev.as_str().into(),
            is_whole: true,
        }
    }
}

impl Publication {
    /// The publication of a stored message.
    #[must_use]
    pub fn of_message(message: &Message, members_version: u64) -> Self {
        let is_short = message.text.as_str().len() <= limits::INLINE_TEXT_BYTES_MAX;
        let payload =
            if is_short { Payload::message(message) } else { Payload::Stored(message.id) };
        Self {
            id: message.id.into(),
            to: Recipients::Channel(ChannelRecipients {
                channel_id: message.channel_id.clone(),
                members_version,
                changes: Vec::new(),
                also: Vec::new(),
            }),
            subject: Some(Subject::of_message(message)),
            payload,
            origin: None,
        }
    }

    /// The publication of a channel that was created, or whose members changed. It is `about` these
    /// users, who get it whether they are members afterwards or not; `changed` are those who became
    /// members, or ceased to be.
    #[must_use]
    pub fn of_change(
        id: PublicationId,
        channel_id: &ChannelId,
        change: ChannelChange,
        members_version: u64,
        about: &[UserId],
        changed: &[UserId],
    ) -> Self {
        let is_member = change != ChannelChange::MemberRemoved;
        let changed = changed.iter().cloned();
        Self {
            id,
            to: Recipients::Channel(ChannelRecipients {
                channel_id: channel_id.clone(),
                members_version,
                changes: changed.map(|user_id| MemberChange { user_id, is_member }).collect(),
                also: about.to_vec(),
            }),
            subject: None,
            payload: Payload::Frame(frame::channel(change, channel_id, about).into()),
            origin: None,
        }
    }

    /// The publication of a user's revocation: their sockets close.
    #[must_use]
    pub const fn of_revocation(id: PublicationId, user: UserId) -> Self {
        let payload = Payload::Close(CloseCode::Revoked);
        Self { id, to: Recipients::User(user), subject: None, payload, origin: None }
    }

    /// A link that tells nobody anything.
    #[must_use]
    pub const fn marker(id: PublicationId) -> Self {
        let (to, payload) = (Recipients::Nobody, Payload::Nothing);
        Self { id, to, subject: None, payload, origin: None }
    }

    /// What this version makes of a link that it cannot read.
    #[must_use]
    pub const fn unknown(id: PublicationId) -> Self {
        let (to, payload) = (Recipients::Unknown, Payload::Nothing);
        Self { id, to, subject: None, payload, origin: None }
    }

    /// The same with where it began.
    #[must_use]
    pub const fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same with another payload.
    #[must_use]
    pub fn with_payload(&self, payload: Payload) -> Self {
        let Self { id, to, subject, payload: _, origin } = self.clone();
        Self { id, to, subject, payload, origin }
    }

    /// Where it began: as the call that stored it told; else, for one that the relay was first to
    /// publish, as its id tells, whose time may be a client's.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin.unwrap_or(Origin { received_at: self.id.time(), trace: self.id.into() })
    }

    /// What makes publishing this again a no-op. A message's id is unique within its channel only, and
    /// each of its revisions is published once.
    #[must_use]
    pub fn guard(&self) -> String {
        let Some(subject) = &self.subject else { return self.id.to_string() };
        let Subject { of, rev, .. } = subject;
        // Before it changes, a message's revision is its id, with which its subject ends.
        let is_first = of.strip_suffix(&**rev).is_some_and(|rest| rest.ends_with(':'));
        if is_first { of.to_string() } else { format!("{of}:{rev}") }
    }

    /// The channel of its recipients.
    #[must_use]
    pub const fn channel(&self) -> Option<&ChannelRecipients> {
        match &self.to {
            Recipients::Channel(channel) => Some(channel),
            Recipients::User(_)
            | Recipients::Workspace
            | Recipients::Nobody
            | Recipients::Unknown => None,
        }
    }

    /// Writes what travels on the bus and is kept in the stream.
    #[must_use]
    pub fn encode(&self) -> String {
        let head = Head {
            id: self.id.to_string(),
            to: &self.to,
            subject: self.subject.as_ref(),
            received_ms: self.origin.map(|origin| origin.received_at.unix_ms()),
            trace: self.origin.map(|origin| origin.trace.to_string()),
        };
        // The form of a link that nobody can read is not known.
        let mut wire = serde_json::to_string(&head).unwrap_or_else(|_| "{}".to_owned());
        let payload = match &self.payload {
            Payload::Frame(frame) => format!(r#","p":{frame}}}"#),
            Payload::Stored(id) => format!(r#","r":"{id}"}}"#),
            Payload::Close(code) => format!(r#","z":{}}}"#, code.number()),
            Payload::Nothing => return wire,
        };
        wire.truncate(wire.len().saturating_sub(1));
        wire.push_str(&payload);
        wire
    }

    /// Reads what travels on the bus. Nothing is refused: what cannot be read is
    /// [`Publication::unknown`] under the id that its entry names, so that the chain holds.
    #[must_use]
    pub fn decode(id: PublicationId, wire: &str) -> Self {
        Self::read(id, wire).unwrap_or_else(|| Self::unknown(id))
    }

    fn read(id: PublicationId, wire: &str) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_str(wire).ok()?;
        if wire.id != id.to_string() {
            return None;
        }
        let payload = match (wire.frame, wire.stored, wire.close) {
            (Some(frame), None, None) if frame.get().starts_with('{') => {
                Payload::Frame(frame.get().into())
            }
            (None, Some(id), None) => Payload::Stored(id.parse().ok()?),
            (None, None, Some(code)) => Payload::Close(CloseCode::of_number(code)?),
            (None, None, None) if wire.to.get() == r#""n""# => Payload::Nothing,
            _ => return None,
        };
        Some(Self {
            id,
            to: read(wire.to)?,
            // Without its subject it is delivered all the same: clients keep the greatest revision.
            subject: wire.subject.and_then(read),
            payload,
            origin: origin_of(wire.received_ms, wire.trace),
        })
    }
}

impl Payload {
    /// The frame of a message.
    #[must_use]
    pub fn message(message: &Message) -> Self {
        Self::Frame(frame::message(message).into())
    }
}

/// One entry of a workspace's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// Where the entry before it stood when it was added; `None` for the first of a stream.
    pub prev: Option<Position>,
    /// What it says, decoded once for all who need it.
    pub publication: Arc<Publication>,
}

/// All but the payload. Names are one letter: a stream holds thousands of these.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "i")]
    id: String,
    to: &'a Recipients,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    subject: Option<&'a Subject>,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    received_ms: Option<u64>,
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// Parts are read one by one: one that a later version writes in another form must not cost more
/// than it says.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "i")]
    id: &'a str,
    #[serde(borrow)]
    to: &'a RawValue,
    #[serde(rename = "s", default, borrow)]
    subject: Option<&'a RawValue>,
    #[serde(rename = "p", default, borrow)]
    frame: Option<&'a RawValue>,
    #[serde(rename = "r", default)]
    stored: Option<&'a str>,
    #[serde(rename = "z", default)]
    close: Option<u16>,
    #[serde(rename = "a", default, borrow)]
    received_ms: Option<&'a RawValue>,
    #[serde(rename = "x", default, borrow)]
    trace: Option<&'a RawValue>,
}

fn read<'a, T: Deserialize<'a>>(part: &'a RawValue) -> Option<T> {
    serde_json::from_str(part.get()).ok()
}

fn origin_of(received_ms: Option<&RawValue>, trace: Option<&RawValue>) -> Option<Origin> {
    let received_at = Timestamp::from_unix_ms(read(received_ms?)?);
    Some(Origin { received_at, trace: TraceId::parse(read(trace?)?)? })
}

/// Ids as their text.
mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error>
    where
        T::Err: Display,
    {
        let text: Cow<'de, str> = Cow::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Lists of ids as lists of their texts.
mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<T: Display, S: Serializer>(
        ids: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error>
    where
        T::Err: Display,
    {
        let ids: Vec<String> = Vec::deserialize(from)?;
        let parsed: Result<_, _> = ids.iter().map(|id| id.parse()).collect();
        parsed.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
