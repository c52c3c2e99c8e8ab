//! The envelope on the bus: recipients, and the frame for them.
//!
//! Nodes match on [`Recipients`] only. The frame's JSON is made once, by the publisher, and a node
//! passes it on unread: new kinds of events need no new nodes (ADR 0031).

mod texts;

use std::sync::Arc;

use model::{
    Channel, ChannelChange, ChannelId, Message, MessageId, MessageRef, Position, PublicationId,
    Rev, Timestamp, TraceId, UserId, limits,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::close::CloseCode;
use crate::{frame, json};

/// One event of a workspace, published after it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its id within the workspace's stream: the message's id, or its own ULID.
    pub id: PublicationId,
    /// The recipients.
    pub to: Recipients,
    /// The thing whose state it is; `None` for an event that nothing replaces.
    pub subject: Option<Subject>,
    /// What the recipients get.
    pub payload: Payload,
    /// The origin, if the call that stored the event also published it: the store does not keep it.
    pub origin: Option<Origin>,
}

/// The recipients of a publication: all that a node must know about an event.
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
    /// Nobody: an entry that gives an empty stream a position to resume from.
    #[serde(rename = "n")]
    Nobody,
    /// Written by a later version in a form that this one cannot read: everybody must read again.
    #[serde(skip)]
    Unknown,
}

/// The members of a channel at a version of its membership (G6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecipients {
    /// The channel.
    #[serde(rename = "i", with = "text")]
    pub channel_id: ChannelId,
    /// The `members_version` at which the event was stored, after its own changes, if any.
    #[serde(rename = "v")]
    pub members_version: u64,
    /// The membership changes of this event; all of them are one version.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<MemberChange>,
    /// Users who get it even if they are not members.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    pub also: Vec<UserId>,
}

/// One user's membership after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// The user.
    #[serde(rename = "u", with = "text")]
    pub user_id: UserId,
    /// Whether the user is a member from now on.
    #[serde(rename = "m")]
    pub is_member: bool,
}

/// The thing whose state a publication is, and the state's revision: the greater `rev`, compared
/// byte by byte, is newer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// The name of the thing, such as one message of one log. Nodes only compare it.
    #[serde(rename = "o")]
    pub of: Arc<str>,
    /// The revision.
    #[serde(rename = "r")]
    pub rev: Rev,
    /// Whether the payload is the whole state. Then it replaces all older states; otherwise, it
    /// replaces only older ones that were not whole either.
    #[serde(rename = "w", default)]
    pub is_whole: bool,
    /// Whether no store had it yet: if the bus loses it, nobody can read it until it is sent again (G13).
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unstored: bool,
    /// Whether it is stored only if some device lacks it (ADR 0046).
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    pub until_acked: bool,
}

/// What the recipients get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A frame's JSON without its cursor: an object, passed on unread.
    Frame(Box<str>),
    /// This message of the recipients' channel, which is too long to travel: each node reads it from the
    /// store ([`limits::INLINE_TEXT_BYTES_MAX`]).
    Stored(MessageRef),
    /// Their sockets are closed.
    Close(CloseCode),
    /// Nothing: a marker, or a state that a newer one has replaced.
    Nothing,
}

/// The origin of an event. For operators: clients never see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// When the function received the call, by its own clock.
    pub received_at: Timestamp,
    /// The trace of that call.
    pub trace: TraceId,
}

impl Subject {
    /// The state of a message.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        Self {
            of: match message.thread {
                None => Self::name(&message.channel_id, message.id).into(),
                Some(_) => format!("{}:{}", message.log(), message.id).into(),
            },
            rev: message.rev.clone(),
            is_whole: !message.has_old_long_text(),
            is_unstored: false,
            until_acked: false,
        }
    }

    /// The name of a message of a channel's main log.
    #[must_use]
    pub fn name(channel: &ChannelId, id: MessageId) -> String {
        format!("{channel}:{id}")
    }

    /// Whether the message has not changed since it was sent: its first revision is its id, with
    /// which its subject ends.
    #[must_use]
    pub fn is_first(&self) -> bool {
        let first = self.rev.with_text(|rev| self.of.strip_suffix(rev));
        first.is_some_and(|rest| rest.ends_with(':'))
    }
}

impl Publication {
    /// The publication of a stored message.
    #[must_use]
    pub fn of_message(message: &Message, members_version: u64) -> Self {
        let subject = Subject::of_message(message);
        let payload = if !subject.is_whole {
            Payload::Frame(frame::message_without_text(message).into())
        } else if message.text.as_str().len() <= limits::INLINE_TEXT_BYTES_MAX {
            Payload::message(message)
        } else {
            Payload::Stored(MessageRef { id: message.id, thread: message.thread })
        };
        Self {
            // A change has its own id; a message as it was sent has its own as its revision.
            id: message.rev.id().unwrap_or(message.id).into(),
            to: Recipients::Channel(ChannelRecipients {
                channel_id: message.channel_id.clone(),
                members_version,
                changes: Vec::new(),
                also: Vec::new(),
            }),
            subject: Some(subject),
            payload,
            origin: None,
        }
    }

    /// The publication of a message that no store has yet: the whole of it travels, however long it is.
    #[must_use]
    pub fn of_delivered(message: &Message, members_version: u64) -> Self {
        Self::delivered(message, members_version, false)
    }

    /// The same for one that is stored only if some device lacks it.
    #[must_use]
    pub fn of_unacked(message: &Message, members_version: u64) -> Self {
        Self::delivered(message, members_version, true)
    }

    fn delivered(message: &Message, members_version: u64, until_acked: bool) -> Self {
        let of = Subject::of_message(message);
        let subject = Subject { is_unstored: true, until_acked, ..of };
        let (subject, payload) = (Some(subject), Payload::message(message));
        Self { subject, payload, ..Self::of_message(message, members_version) }
    }

    /// The message that it carries whole, as it was sent; `None` if it is something else.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        match &self.payload {
            Payload::Frame(frame) => frame::message_in(frame),
            Payload::Stored(_) | Payload::Close(_) | Payload::Nothing => None,
        }
    }

    /// The publication of a channel that was created, or whose members changed. The users in
    /// `about` get it, members or not; those in `changed` became members, or ceased to be.
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

    /// The publication of a channel whose details `user` changed. Its id makes it unique: a repeated
    /// one is published again, and clients keep the greatest version.
    #[must_use]
    pub fn of_details(
        id: PublicationId,
        channel: &Channel,
        change: ChannelChange,
        user: &UserId,
    ) -> Self {
        let (channel_id, users) = (&channel.id, std::slice::from_ref(user));
        let frame = frame::changed_channel(change, channel_id, users, &channel.details);
        Self {
            id,
            to: Recipients::Channel(ChannelRecipients {
                channel_id: channel_id.clone(),
                members_version: channel.members_version,
                changes: Vec::new(),
                also: Vec::new(),
            }),
            subject: None,
            payload: Payload::Frame(frame.into()),
            origin: None,
        }
    }

    /// The publication of a meeting's end, for its members.
    #[must_use]
    pub fn of_end(id: PublicationId, channel_id: &ChannelId, members_version: u64) -> Self {
        Self {
            id,
            to: Recipients::Channel(ChannelRecipients {
                channel_id: channel_id.clone(),
                members_version,
                changes: Vec::new(),
                also: Vec::new(),
            }),
            subject: None,
            payload: Payload::Frame(frame::ended(channel_id).into()),
            origin: None,
        }
    }

    /// The publication of a user's revocation: their sockets close.
    #[must_use]
    pub const fn of_revocation(id: PublicationId, user: UserId) -> Self {
        let payload = Payload::Close(CloseCode::Revoked);
        Self { id, to: Recipients::User(user), subject: None, payload, origin: None }
    }

    /// An entry without recipients and content.
    #[must_use]
    pub const fn marker(id: PublicationId) -> Self {
        let (to, payload) = (Recipients::Nobody, Payload::Nothing);
        Self { id, to, subject: None, payload, origin: None }
    }

    /// Replaces an entry that this version cannot read.
    #[must_use]
    pub const fn unknown(id: PublicationId) -> Self {
        let (to, payload) = (Recipients::Unknown, Payload::Nothing);
        Self { id, to, subject: None, payload, origin: None }
    }

    /// Adds the origin.
    #[must_use]
    pub const fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// A copy with another payload.
    #[must_use]
    pub fn with_payload(&self, payload: Payload) -> Self {
        let Self { id, to, subject, payload: _, origin } = self.clone();
        Self { id, to, subject, payload, origin }
    }

    /// The origin, as recorded by the call that stored the event. If the relay was the first to
    /// publish it, it is derived from the id, whose time may come from a client.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin.unwrap_or(Origin { received_at: self.id.time(), trace: self.id.into() })
    }

    /// The key that makes publishing this again a no-op. A message's id is unique only within its
    /// channel, and each of its revisions is published once.
    #[must_use]
    pub fn guard(&self) -> String {
        let Some(subject) = &self.subject else { return self.id.to_string() };
        let Subject { of, rev, .. } = subject;
        if subject.is_first() { of.to_string() } else { format!("{of}:{rev}") }
    }

    /// The channel whose members get it, if any.
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

    /// Encodes it for the bus and the stream.
    #[must_use]
    pub fn encode(&self) -> String {
        let head = Head {
            id: self.id.to_string(),
            to: &self.to,
            subject: self.subject.as_ref(),
            received_ms: self.origin.map(|origin| origin.received_at.unix_ms()),
            trace: self.origin.map(|origin| origin.trace.to_string()),
        };
        let payload_bytes = match &self.payload {
            Payload::Frame(frame) => frame.len(),
            Payload::Stored(_) | Payload::Close(_) | Payload::Nothing => 0,
        };
        // Unknown recipients cannot be written, since their form is not known: nothing is.
        let mut wire = json::write(&head, HEAD_BYTES + payload_bytes);
        wire.truncate(wire.len().saturating_sub(1));
        match &self.payload {
            Payload::Frame(frame) => wire.extend([r#","p":"#, frame]),
            Payload::Stored(id) => wire.extend([r#","r":""#, &id.to_string(), "\""]),
            Payload::Close(code) => wire.extend([r#","z":"#, &code.number().to_string()]),
            Payload::Nothing => {}
        }
        wire.push('}');
        wire
    }

    /// Decodes it. Nothing is refused: what cannot be read becomes [`Publication::unknown`] with
    /// the id of its entry, so that the chain has no hole.
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
            (None, Some(id), None) => Payload::Stored(MessageRef::parse(id).ok()?),
            (None, None, Some(code)) => Payload::Close(CloseCode::of_number(code)?),
            (None, None, None) if wire.to.get() == r#""n""# => Payload::Nothing,
            _ => return None,
        };
        Some(Self {
            id,
            to: read(wire.to)?,
            // Without its subject it can still be delivered: clients keep the greatest revision.
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
    /// Its position.
    pub position: Position,
    /// The position of the entry before it when it was added; `None` for the first of a stream.
    pub prev: Option<Position>,
    /// Its publication, decoded once for all uses.
    pub publication: Arc<Publication>,
}

/// Everything except the payload. Names have one letter, because a stream has thousands of these.
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

/// About the length of a message's head: ids, a subject, an origin.
const HEAD_BYTES: usize = 384;

/// Parts are parsed separately, so that a part in the form of a later version loses only itself.
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

/// Serde for an id as its text.
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

#[cfg(test)]
mod tests;
