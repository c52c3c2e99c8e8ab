//! The envelope on the bus: what is published after something was stored.

use std::sync::Arc;

use model::{
    ChannelChange, ChannelId, Message, MessageId, MessageText, Position, PublicationId, Timestamp,
    TraceId, UserId, limits,
};
use serde::{Deserialize, Serialize};

/// One event of a workspace, published after persistence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What makes publishing it again a no-op: the message's id, or a ULID of its own.
    pub id: PublicationId,
    /// What happened.
    pub body: PublicationBody,
}

/// What a publication tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicationBody {
    /// A message was stored.
    Message(PublishedMessage),
    /// A channel, or its membership, changed.
    Channel(PublishedChange),
    /// A user was revoked in the workspace: their sockets close.
    Revoked {
        /// Who.
        user_id: UserId,
    },
    /// Nothing happened: a link that gives an empty stream a position to resume from.
    Marker,
    /// A link of the chain that this version of the code cannot read. It keeps its place and is
    /// delivered to nobody.
    Unreadable,
}

/// A stored message on its way to its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedMessage {
    /// The channel.
    pub channel_id: ChannelId,
    /// The sender.
    pub sender_id: UserId,
    /// The text; `None` if it is over [`limits::INLINE_TEXT_BYTES_MAX`] and each node reads it from
    /// the store.
    pub text: Option<MessageText>,
    /// The `members_version` that its send read (G6).
    pub members_version: u64,
    /// Where its way began, if its send published it: the store does not keep it.
    pub origin: Option<Origin>,
}

/// Where a message's way began. For operators: clients never see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// When its `POST` was received, by the clock of the function.
    pub received_at: Timestamp,
    /// The trace of that request.
    pub trace: TraceId,
}

/// A membership change on its way to the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedChange {
    /// The channel.
    pub channel_id: ChannelId,
    /// What changed.
    pub change: ChannelChange,
    /// The user that the change is about: the creator, the added or the removed one, the first of
    /// several added.
    pub user_id: UserId,
    /// The version after the change (G6).
    pub members_version: u64,
    /// All first members where `change` is `created`, all added ones where it is `members_added`;
    /// else empty.
    pub members: Vec<UserId>,
}

impl PublishedChange {
    /// The users that the change is about, members or not.
    #[must_use]
    pub fn concerned(&self) -> &[UserId] {
        match self.change {
            ChannelChange::MembersAdded => &self.members,
            ChannelChange::Created | ChannelChange::MemberAdded | ChannelChange::MemberRemoved => {
                std::slice::from_ref(&self.user_id)
            }
        }
    }
}

impl Publication {
    /// The publication of a stored message.
    #[must_use]
    pub fn of_message(message: &Message, members_version: u64) -> Self {
        let inline = message.text.as_str().len() <= limits::INLINE_TEXT_BYTES_MAX;
        Self {
            id: message.id.into(),
            body: PublicationBody::Message(PublishedMessage {
                channel_id: message.channel_id.clone(),
                sender_id: message.sender_id.clone(),
                text: inline.then(|| message.text.clone()),
                members_version,
                origin: None,
            }),
        }
    }

    /// The same with where its way began. Only messages have a place for that.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        if let PublicationBody::Message(message) = &mut self.body {
            message.origin = Some(origin);
        }
        self
    }

    /// Where its way began: as its send told; else, for one that the relay was first to publish, as
    /// its id tells, whose time may be a client's.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let of_id = || Origin { received_at: self.id.time(), trace: self.id.into() };
        match &self.body {
            PublicationBody::Message(message) => message.origin.unwrap_or_else(of_id),
            PublicationBody::Channel(_)
            | PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => of_id(),
        }
    }

    /// What makes publishing this again a no-op. A message's id is unique within its channel only:
    /// a client may use one id in two.
    #[must_use]
    pub fn guard(&self) -> String {
        match &self.body {
            PublicationBody::Message(message) => format!("{}:{}", message.channel_id, self.id),
            PublicationBody::Channel(_)
            | PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => self.id.to_string(),
        }
    }

    /// Writes the payload that travels on the bus and lies in the stream.
    #[must_use]
    pub fn encode(&self) -> String {
        let (kind, id) = (self.kind(), self.id.to_string());
        let mut wire = Wire { kind, id, ..Wire::default() };
        match &self.body {
            PublicationBody::Message(message) => {
                wire.channel = Some(message.channel_id.to_string());
                wire.user = Some(message.sender_id.to_string());
                wire.text = message.text.as_ref().map(|text| text.as_str().to_owned());
                wire.version = Some(message.members_version);
                wire.received_ms = message.origin.map(|origin| origin.received_at.unix_ms());
                wire.trace = message.origin.map(|origin| origin.trace);
            }
            PublicationBody::Channel(change) => {
                wire.channel = Some(change.channel_id.to_string());
                wire.user = Some(change.user_id.to_string());
                wire.change = Some(change.change.as_str().to_owned());
                wire.version = Some(change.members_version);
                wire.members = change.members.iter().map(ToString::to_string).collect();
            }
            PublicationBody::Revoked { user_id } => wire.user = Some(user_id.to_string()),
            PublicationBody::Marker | PublicationBody::Unreadable => {}
        }
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a payload. Nothing is refused: what cannot be read becomes
    /// [`PublicationBody::Unreadable`] under the id that the entry names, so that the chain holds.
    #[must_use]
    pub fn decode(id: PublicationId, payload: &str) -> Self {
        let body = serde_json::from_str::<Wire>(payload)
            .ok()
            .or_else(|| without_origin(payload))
            .filter(|wire| wire.id == id.to_string())
            .and_then(body_of)
            .unwrap_or(PublicationBody::Unreadable);
        Self { id, body }
    }

    fn kind(&self) -> Kind {
        match self.body {
            PublicationBody::Message(_) => Kind::Message,
            PublicationBody::Channel(_) => Kind::Channel,
            PublicationBody::Revoked { .. } => Kind::Revoked,
            PublicationBody::Marker => Kind::Marker,
            PublicationBody::Unreadable => Kind::Unknown,
        }
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

/// Names are one letter: a stream holds thousands of these.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "k")]
    kind: Kind,
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    change: Option<String>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    received_ms: Option<u64>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none", with = "trace_digits")]
    trace: Option<TraceId>,
}

/// A trace in its text form, read without a copy. What is none is as good as absent: it must not
/// cost anybody the message.
mod trace_digits {
    use std::fmt;

    use model::TraceId;
    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(
        trace: &Option<TraceId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match trace {
            Some(trace) => serializer.collect_str(trace),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TraceId>, D::Error> {
        deserializer.deserialize_str(Digits)
    }

    struct Digits;

    impl Visitor<'_> for Digits {
        type Value = Option<TraceId>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a trace")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(TraceId::parse(text))
        }
    }
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "m")]
    Message,
    #[serde(rename = "c")]
    Channel,
    #[serde(rename = "r")]
    Revoked,
    #[serde(rename = "n")]
    Marker,
    #[default]
    #[serde(other, rename = "?")]
    Unknown,
}

/// A trace and a time decide nothing: in a form that is not known they must not cost anybody the
/// message.
fn without_origin(payload: &str) -> Option<Wire> {
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(payload).ok()?;
    let is_there = [fields.remove("a"), fields.remove("x")].iter().any(Option::is_some);
    is_there.then(|| serde_json::from_value(fields.into()).ok()).flatten()
}

fn body_of(wire: Wire) -> Option<PublicationBody> {
    if matches!(wire.kind, Kind::Marker) {
        return Some(PublicationBody::Marker);
    }
    let user = UserId::parse(&wire.user?).ok()?;
    if matches!(wire.kind, Kind::Revoked) {
        return Some(PublicationBody::Revoked { user_id: user });
    }
    let channel_id = ChannelId::parse(&wire.channel?).ok()?;
    let members_version = wire.version?;
    match wire.kind {
        Kind::Message => Some(PublicationBody::Message(PublishedMessage {
            channel_id,
            sender_id: user,
            text: wire.text.map(MessageText::from_stored),
            members_version,
            origin: wire
                .received_ms
                .zip(wire.trace)
                .map(|(ms, trace)| Origin { received_at: Timestamp::from_unix_ms(ms), trace }),
        })),
        Kind::Channel => Some(PublicationBody::Channel(PublishedChange {
            channel_id,
            change: ChannelChange::parse(&wire.change?)?,
            user_id: user,
            members_version,
            members: wire
                .members
                .iter()
                .map(|id| UserId::parse(id))
                .collect::<Result<_, _>>()
                .ok()?,
        })),
        Kind::Revoked | Kind::Marker | Kind::Unknown => None,
    }
}

/// The message that a publication with its text tells of.
#[must_use]
pub fn message_of(
    id: PublicationId,
    published: &PublishedMessage,
    text: MessageText,
) -> Option<Message> {
    Some(Message {
        id: MessageId::parse(&id.to_string()).ok()?,
        channel_id: published.channel_id.clone(),
        sender_id: published.sender_id.clone(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PublicationId {
        MessageId::mint(Timestamp::from_unix_ms(1), 2).into()
    }

    fn channel() -> ChannelId {
        ChannelId::mint_group(Timestamp::from_unix_ms(3), 4)
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    #[test]
    fn a_trace_or_a_time_of_another_form_costs_nobody_the_message() {
        let body = PublicationBody::Message(PublishedMessage {
            channel_id: channel(),
            sender_id: user("a"),
            text: Some(MessageText::from_stored("hi".into())),
            members_version: 7,
            origin: None,
        });
        let plain = Publication { id: id(), body };
        let payload = plain.encode();
        for more in [r#""x":7"#, r#""x":null"#, r#""x":["y"]"#, r#""a":"noon""#, r#""a":-1,"x":{}"#]
        {
            let changed = payload.replacen('{', &format!("{{{more},"), 1);
            assert_eq!(Publication::decode(id(), &changed), plain, "{more}");
        }
    }

    #[test]
    fn every_body_survives_the_wire() {
        let bodies = [
            PublicationBody::Message(PublishedMessage {
                channel_id: channel(),
                sender_id: user("a"),
                text: Some(MessageText::from_stored("hi \"there\"\n".into())),
                members_version: 7,
                origin: Some(Origin {
                    received_at: Timestamp::from_unix_ms(1_767_225_599_007),
                    trace: TraceId::of_bits(u128::MAX >> 3),
                }),
            }),
            PublicationBody::Message(PublishedMessage {
                channel_id: channel(),
                sender_id: user("a"),
                text: None,
                members_version: 7,
                origin: None,
            }),
            PublicationBody::Channel(PublishedChange {
                channel_id: channel(),
                change: ChannelChange::Created,
                user_id: user("a"),
                members_version: 1,
                members: vec![user("a"), user("b")],
            }),
            PublicationBody::Channel(PublishedChange {
                channel_id: channel(),
                change: ChannelChange::MembersAdded,
                user_id: user("a"),
                members_version: 9,
                members: vec![user("a"), user("b")],
            }),
            PublicationBody::Revoked { user_id: user("z") },
            PublicationBody::Marker,
            PublicationBody::Unreadable,
        ];
        for body in bodies {
            let publication = Publication { id: id(), body };
            assert_eq!(Publication::decode(id(), &publication.encode()), publication);
        }
    }

    #[test]
    fn what_cannot_be_read_keeps_its_place() {
        for payload in ["", "{}", "null", "\0", r#"{"k":"m","i":"x"}"#, r#"{"k":"new","i":""}"#] {
            let read = Publication::decode(id(), payload);
            assert_eq!(
                read,
                Publication { id: id(), body: PublicationBody::Unreadable },
                "{payload}"
            );
        }
    }

    #[test]
    fn where_a_message_comes_from_is_small_and_may_be_missing_or_malformed() {
        let (id, channel) = (id(), channel());
        let old = format!(r#"{{"k":"m","i":"{id}","c":"{channel}","u":"a","t":"hi","v":7}}"#);
        let read = Publication::decode(id, &old);
        assert_eq!(read.encode(), old, "as versions before wrote it");
        let by_id = Origin { received_at: id.time(), trace: id.into() };
        assert_eq!(read.origin(), by_id);
        let origin = Origin {
            received_at: Timestamp::from_unix_ms(1_767_225_599_007),
            trace: TraceId::of_bits(0xabc),
        };
        let new = read.clone().with_origin(origin).encode();
        assert_eq!(
            new.strip_prefix(old.trim_end_matches('}')),
            Some(r#","a":1767225599007,"x":"00000000000000000000000000000abc"}"#)
        );
        assert_eq!(Publication::decode(id, &new).origin(), origin);
        let none = new.replace("abc\"", "ABC\"");
        assert_eq!(Publication::decode(id, &none), read, "no trace, and still the message");
    }

    #[test]
    fn a_long_text_travels_as_a_reference() {
        let message = |text: String| Message {
            id: MessageId::mint(Timestamp::from_unix_ms(1), 2),
            channel_id: channel(),
            sender_id: user("a"),
            text: MessageText::from_stored(text),
        };
        let text_of = |publication: Publication| match publication.body {
            PublicationBody::Message(message) => message.text,
            PublicationBody::Channel(_)
            | PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => panic!("a message's publication is one"),
        };
        let (short, long) = ("x".repeat(4096), "x".repeat(4097));
        assert!(text_of(Publication::of_message(&message(short), 1)).is_some());
        assert!(text_of(Publication::of_message(&message(long), 1)).is_none());
    }
}
