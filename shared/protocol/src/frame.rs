//! The JSON text frames that a node sends.

use std::time::Duration;

use model::{
    ChannelChange, ChannelDetails, ChannelId, ConnectionId, Epoch, LogId, Message, MessageId,
    NodeId, PushedMessage, ReadMark, Timestamp, UserId, WorkspaceId, limits,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json;

/// A frame from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// The socket is attached: from now on it misses nothing.
    Ready(Ready),
    /// A message of one of the user's channels, as it was sent or as it is after a change. Of two
    /// copies, the one with the greater `rev` is newer.
    Message {
        /// Where the stream is safe to resume.
        cursor: String,
        /// The message.
        message: Message,
        /// Whether a long text that did not change was left out. Whoever has the text of the
        /// message's `text_rev` keeps it; others read the message.
        lacks_text: bool,
    },
    /// A channel or its membership changed: a hint to read `GET /channels`.
    Channel {
        /// Where the stream is safe to resume.
        cursor: String,
        /// The change; `None` if this version does not know it.
        change: Option<ChannelChange>,
        /// The channel.
        channel_id: ChannelId,
        /// The users that it is about: one, or all that a `members_added` names. Who changed the
        /// details, if they changed.
        user_ids: Vec<UserId>,
        /// The details after the change, if they changed.
        details: Option<ChannelDetails>,
    },
    /// The socket is alive; `fresh` says whether publications reach it.
    Tick {
        /// Where the stream is safe to resume.
        cursor: String,
        /// The node's clock.
        server_time: Timestamp,
        /// Whether the node has every publication at present.
        fresh: bool,
        /// The new interval of ticks, if it changed.
        every: Option<Duration>,
    },
    /// Something could not be replayed: wait, then read again as after `resumed:false`.
    Resync {
        /// The reason, for people.
        reason: String,
        /// How long to wait, so that many clients do not read at once.
        delay_ms: u64,
        /// The channels to read again; all of them if `None`.
        channels: Option<Vec<ChannelId>>,
    },
    /// One of the user's devices moved a read mark. It has no cursor, and may be lost.
    Read {
        /// The log: the channel's main log, or a thread.
        log: LogId,
        /// The mark. A client keeps the greater one.
        mark: ReadMark,
    },
    /// The answer to a `ping`.
    Pong {
        /// Where the stream is safe to resume.
        cursor: String,
        /// The node's clock.
        server_time: Timestamp,
        /// Whether the node has every publication at present.
        fresh: bool,
    },
    /// Who types in a log that the client views: everybody who does, it replaces the last one. It
    /// is void after [`limits::TYPING_VOID`], and may be lost.
    Typing {
        /// The log.
        log: LogId,
        /// The last of them who said so first; at most [`limits::TYPING_USERS_MAX`].
        users: Vec<UserId>,
        /// How many others.
        more: u64,
    },
    /// A frame of a type that this version does not know.
    Unknown {
        /// Where the stream is safe to resume, if the frame has a cursor.
        cursor: Option<String>,
    },
}

/// The first frame from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// This socket.
    pub connection_id: ConnectionId,
    /// This node.
    pub node_id: NodeId,
    /// The tenant.
    pub workspace_id: WorkspaceId,
    /// The user of the socket.
    pub user_id: UserId,
    /// Where the stream is safe to resume.
    pub cursor: String,
    /// Whether everything after the client's cursor follows.
    pub resumed: bool,
    /// Frame types that the node accepts from this client after its `hello`.
    pub accepts: Vec<String>,
    /// The interval of ticks.
    pub tick: Duration,
    /// The node's clock.
    pub server_time: Timestamp,
}

impl Ready {
    /// Writes the text directly, since each socket has its own `ready`, and a reconnect storm many.
    fn encode(&self) -> String {
        let wire = ReadyWire {
            accepts: &self.accepts,
            connection_id: self.connection_id.as_str(),
            cursor: &self.cursor,
            node_id: self.node_id.as_str(),
            resumed: self.resumed,
            server_time: self.server_time.unix_ms(),
            tick_ms: millis(self.tick),
            kind: "ready",
            user_id: self.user_id.as_str(),
            workspace_id: self.workspace_id.as_str(),
        };
        // Serialising strings and numbers cannot fail.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

/// Fields sorted by name, as in the other frames.
#[derive(Serialize)]
struct ReadyWire<'a> {
    accepts: &'a [String],
    connection_id: &'a str,
    cursor: &'a str,
    node_id: &'a str,
    resumed: bool,
    server_time: u64,
    tick_ms: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    user_id: &'a str,
    workspace_id: &'a str,
}

impl ServerFrame {
    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Ready(ready) => return ready.encode(),
            Self::Message { cursor, message: said, lacks_text } => {
                let frame = if *lacks_text { message_without_text(said) } else { message(said) };
                return with_cursor(&frame, cursor);
            }
            Self::Channel { cursor, change, channel_id, user_ids, details } => {
                let frame = change.map(|change| match details {
                    None => channel(change, channel_id, user_ids),
                    Some(details) => changed_channel(change, channel_id, user_ids, details),
                });
                return with_cursor(frame.as_deref().unwrap_or("{}"), cursor);
            }
            Self::Tick { cursor, server_time, fresh, every } => {
                let mut frame = json!({
                    "type": "tick", "cursor": cursor, "server_time": server_time.unix_ms(),
                    "fresh": fresh,
                });
                if let (Some(every), Some(fields)) = (every, frame.as_object_mut()) {
                    fields.insert("tick_ms".into(), millis(*every).into());
                }
                frame
            }
            Self::Resync { reason, delay_ms, channels } => {
                let mut frame = json!({ "type": "resync", "reason": reason, "delay_ms": delay_ms });
                if let (Some(channels), Some(fields)) = (channels, frame.as_object_mut()) {
                    let ids: Vec<&str> = channels.iter().map(ChannelId::as_str).collect();
                    fields.insert("channels".into(), ids.into());
                }
                frame
            }
            Self::Read { log, mark } => {
                let frame = json!({
                    "type": "read", "channel_id": log.channel_id.as_str(),
                    "up_to": mark.up_to.to_string(), "epoch": mark.epoch.number(),
                });
                in_thread(frame, log)
            }
            Self::Pong { cursor, server_time, fresh } => json!({
                "type": "pong", "cursor": cursor, "server_time": server_time.unix_ms(), "fresh": fresh,
            }),
            Self::Typing { log, users, more } => {
                let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
                let frame = json!({
                    "type": "typing", "channel_id": log.channel_id.as_str(), "users": users,
                    "more": more,
                });
                in_thread(frame, log)
            }
            Self::Unknown { .. } => json!({}),
        }
        .to_string()
    }

    /// Reads a frame; `None` if it is not one of this protocol.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let Ok(wire) = serde_json::from_str::<Wire>(text) else { return Self::of_later(text) };
        match wire.kind.as_str() {
            "ready" => Some(Self::Ready(Ready {
                connection_id: wire.connection_id?.parse().ok()?,
                node_id: wire.node_id?.parse().ok()?,
                workspace_id: wire.workspace_id?.parse().ok()?,
                user_id: wire.user_id?.parse().ok()?,
                cursor: wire.cursor?,
                resumed: wire.resumed?,
                accepts: wire.accepts,
                tick: wire.tick_ms.map_or(limits::TICK, Duration::from_millis),
                server_time: Timestamp::from_unix_ms(wire.server_time?),
            })),
            "message" | "message_changed" => {
                let PushedMessage { message, lacks_text } = wire.message?;
                Some(Self::Message { cursor: wire.cursor?, message, lacks_text })
            }
            "channel" => Some(Self::Channel {
                details: wire.details(),
                cursor: wire.cursor?,
                change: ChannelChange::parse(&wire.change?),
                channel_id: wire.channel_id?.parse().ok()?,
                user_ids: match wire.user_ids {
                    Some(ids) => ids,
                    None => wire.user_id.into_iter().collect(),
                }
                .iter()
                .filter_map(|id| UserId::parse(id).ok())
                .collect(),
            }),
            "tick" => Some(Self::Tick {
                cursor: wire.cursor?,
                server_time: Timestamp::from_unix_ms(wire.server_time?),
                fresh: wire.fresh?,
                every: wire.tick_ms.map(Duration::from_millis),
            }),
            "resync" => Some(Self::Resync {
                reason: wire.reason?,
                delay_ms: wire.delay_ms?,
                // If an id cannot be read, the list is incomplete: read all channels.
                channels: wire.channels.and_then(|channels| {
                    channels.iter().map(|id| ChannelId::parse(id).ok()).collect()
                }),
            }),
            "pong" => Some(Self::Pong {
                cursor: wire.cursor?,
                server_time: Timestamp::from_unix_ms(wire.server_time?),
                fresh: wire.fresh?,
            }),
            "typing" => Some(Self::Typing {
                log: log(wire.channel_id, wire.thread)?,
                users: {
                    let parsed = |id: &Value| UserId::parse(id.as_str()?).ok();
                    wire.users.as_array()?.iter().map(parsed).collect::<Option<_>>()?
                },
                more: wire.more.as_u64()?,
            }),
            "read" => Some(Self::Read {
                log: log(wire.channel_id, wire.thread)?,
                mark: ReadMark {
                    epoch: Epoch::new(wire.epoch?)?,
                    up_to: wire.up_to?.parse().ok()?,
                },
            }),
            _ => Some(Self::Unknown { cursor: wire.cursor }),
        }
    }

    /// Reads a frame of an unknown type whose fields have the names of ours, but other types.
    fn of_later(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "type")]
            kind: String,
            cursor: Option<String>,
        }
        let Head { kind, cursor } = serde_json::from_str(text).ok()?;
        (!KNOWN.contains(&kind.as_str())).then_some(Self::Unknown { cursor })
    }
}

/// Names the thread in the frame of a log, if it is one.
fn in_thread(mut frame: Value, log: &LogId) -> Value {
    if let (Some(root), Some(fields)) = (log.thread, frame.as_object_mut()) {
        fields.insert("thread".into(), root.to_string().into());
    }
    frame
}

fn log(channel_id: Option<String>, thread: Option<Value>) -> Option<LogId> {
    let thread = match thread {
        Some(root) => Some(root.as_str()?.parse().ok()?),
        None => None,
    };
    Some(LogId::new(channel_id?.parse().ok()?, thread))
}

/// The JSON, without a cursor, of the frame that carries a message: `message` as it was sent,
/// `message_changed` for any later revision.
#[must_use]
pub fn message(message: &Message) -> String {
    let kind = if message.is_changed() { "message_changed" } else { "message" };
    json::write(&MessageFrame { kind, message }, FIELDS_BYTES + message.text.as_str().len())
}

/// Who sent the message of a `message` frame, and in which thread; `None` for any other frame.
#[must_use]
pub fn sender_of(frame: &str) -> Option<(UserId, Option<MessageId>)> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        message: Sent,
    }
    #[derive(Deserialize)]
    struct Sent {
        sender_id: String,
        #[serde(default)]
        thread: Option<String>,
    }
    let Frame { kind, message } = serde_json::from_str(frame).ok()?;
    let thread = match message.thread {
        Some(root) => Some(root.parse().ok()?),
        None => None,
    };
    let sender = message.sender_id.parse().ok()?;
    (kind == "message").then_some((sender, thread))
}

/// The JSON, without a cursor, of a `message_changed` frame that leaves the text out.
#[must_use]
pub fn message_without_text(message: &Message) -> String {
    let message = PushedMessage::without_text(message);
    json::write(&MessageFrame { kind: "message_changed", message }, FIELDS_BYTES)
}

#[derive(Serialize)]
struct MessageFrame<M> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: M,
}

/// The JSON of a `channel` frame, without a cursor; the change is about `users`.
#[must_use]
pub fn channel(change: ChannelChange, channel_id: &ChannelId, users: &[UserId]) -> String {
    channel_fields(change, channel_id, users).to_string()
}

/// The JSON of a `channel` frame after `users` changed the channel's details, without a cursor.
#[must_use]
pub fn changed_channel(
    change: ChannelChange,
    channel_id: &ChannelId,
    users: &[UserId],
    details: &ChannelDetails,
) -> String {
    let mut frame = channel_fields(change, channel_id, users);
    if let Some(fields) = frame.as_object_mut() {
        fields.insert("name".into(), details.name.as_deref().into());
        fields.insert("topic".into(), details.topic.as_str().into());
        fields.insert("archived".into(), details.archived.into());
        fields.insert("details_version".into(), details.version.into());
    }
    frame.to_string()
}

fn channel_fields(change: ChannelChange, channel_id: &ChannelId, users: &[UserId]) -> Value {
    let mut frame = json!({
        "type": "channel", "change": change.as_str(), "channel_id": channel_id.as_str(),
    });
    if let Some(fields) = frame.as_object_mut() {
        let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
        match (change, ids.first()) {
            (ChannelChange::MembersAdded, _) => fields.insert("user_ids".into(), ids.into()),
            (_, first) => fields.insert("user_id".into(), first.copied().into()),
        };
    }
    frame
}

/// Inserts a cursor, which is plain ASCII, before the other fields of a frame's JSON.
#[must_use]
pub fn with_cursor(frame: &str, cursor: &str) -> String {
    let fields = frame.strip_prefix('{').unwrap_or(frame);
    let comma = if fields.starts_with('}') { "" } else { "," };
    format!(r#"{{"cursor":"{cursor}"{comma}{fields}"#)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The types of frames that this version reads.
const KNOWN: [&str; 9] =
    ["ready", "message", "message_changed", "channel", "tick", "pong", "resync", "read", "typing"];
/// About the length of a message's fields without its text.
const FIELDS_BYTES: usize = 320;

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    kind: String,
    /// Absent in frames from nodes without `accepts`.
    #[serde(default)]
    accepts: Vec<String>,
    connection_id: Option<String>,
    node_id: Option<String>,
    workspace_id: Option<String>,
    user_id: Option<String>,
    user_ids: Option<Vec<String>>,
    cursor: Option<String>,
    resumed: Option<bool>,
    server_time: Option<u64>,
    message: Option<PushedMessage>,
    change: Option<String>,
    channel_id: Option<String>,
    fresh: Option<bool>,
    reason: Option<String>,
    delay_ms: Option<u64>,
    tick_ms: Option<u64>,
    channels: Option<Vec<String>>,
    up_to: Option<String>,
    epoch: Option<u64>,
    thread: Option<Value>,
    #[serde(default)]
    users: Value,
    #[serde(default)]
    more: Value,
    // Of a channel's details. Frames of other types may have fields of these names and other types.
    #[serde(default)]
    name: Value,
    #[serde(default)]
    topic: Value,
    #[serde(default)]
    archived: Value,
    #[serde(default)]
    details_version: Value,
}

impl Wire {
    /// A channel's details, if the frame has all of them.
    fn details(&self) -> Option<ChannelDetails> {
        Some(ChannelDetails {
            name: self.name.as_str().map(str::to_owned),
            topic: self.topic.as_str()?.to_owned(),
            archived: self.archived.as_bool()?,
            version: self.details_version.as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use model::{MessageId, MessageText};

    use super::*;

    #[test]
    fn server_frames_survive_the_wire() {
        let message = Message::new(
            MessageId::mint(Timestamp::from_unix_ms(1_000), 5),
            ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
            UserId::parse("a").unwrap(),
            MessageText::from_stored("\u{2028}</script>".into()),
        );
        let mut changed = message.clone();
        changed.rev = model::Rev::parse("01MCC5RM000000000000000009").unwrap();
        let frames = [
            ServerFrame::Message { cursor: "c".into(), message: changed, lacks_text: false },
            ServerFrame::Ready(Ready {
                connection_id: "S1".parse().unwrap(),
                node_id: "N1".parse().unwrap(),
                workspace_id: "w".parse().unwrap(),
                user_id: "a".parse().unwrap(),
                cursor: "c".into(),
                resumed: true,
                accepts: vec!["ping".into()],
                tick: Duration::from_millis(20_000),
                server_time: Timestamp::from_unix_ms(5),
            }),
            ServerFrame::Message {
                cursor: "c".into(),
                message: message.clone(),
                lacks_text: false,
            },
            ServerFrame::Channel {
                cursor: "c".into(),
                change: Some(ChannelChange::MemberRemoved),
                channel_id: message.channel_id.clone(),
                user_ids: vec![message.sender_id.clone()],
                details: None,
            },
            ServerFrame::Channel {
                cursor: "c".into(),
                change: Some(ChannelChange::MembersAdded),
                channel_id: message.channel_id,
                user_ids: vec![message.sender_id, UserId::parse("b").unwrap()],
                details: None,
            },
            ServerFrame::Tick {
                cursor: "c".into(),
                server_time: Timestamp::from_unix_ms(5),
                fresh: false,
                every: None,
            },
            ServerFrame::Tick {
                cursor: "c".into(),
                server_time: Timestamp::from_unix_ms(5),
                fresh: true,
                every: Some(Duration::from_secs(30)),
            },
            ServerFrame::Resync { reason: "hole".into(), delay_ms: 12, channels: None },
            ServerFrame::Resync {
                reason: "hole".into(),
                delay_ms: 12,
                channels: Some(vec![ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)]),
            },
        ];
        for frame in frames {
            assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
        }
        assert_eq!(ServerFrame::decode("[]"), None);
    }

    #[test]
    fn answers_and_signals_survive_the_wire() {
        let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
        let root = MessageId::mint(Timestamp::from_unix_ms(1_000), 5);
        let server_time = Timestamp::from_unix_ms(5);
        let users = vec![UserId::parse("b").unwrap()];
        let (main, thread) = (LogId::from(&channel_id), LogId::new(channel_id, Some(root)));
        for frame in [
            ServerFrame::Pong { cursor: "c".into(), server_time, fresh: true },
            ServerFrame::Typing { log: main, users, more: 3 },
            ServerFrame::Typing { log: thread, users: Vec::new(), more: 0 },
        ] {
            assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
        }
    }

    #[test]
    fn the_sender_of_a_new_message_is_read_from_its_frame() {
        let id = MessageId::mint(Timestamp::from_unix_ms(1_000), 5);
        let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
        let ada: UserId = "ada".parse().unwrap();
        let text = MessageText::from_stored("hi".into());
        let mut said = Message::new(id, channel_id, ada.clone(), text);
        assert_eq!(sender_of(&message(&said)), Some((ada.clone(), None)));
        said.thread = Some(id);
        assert_eq!(sender_of(&message(&said)), Some((ada, Some(id))));
        said.rev = model::Rev::parse("01MCC5RM000000000000000009").unwrap();
        assert_eq!(sender_of(&message(&said)), None, "a change");
        assert_eq!(sender_of("{}"), None);
    }

    #[test]
    fn a_change_of_details_survives_the_wire() {
        let frame = ServerFrame::Channel {
            cursor: "c".into(),
            change: Some(ChannelChange::Archived),
            channel_id: ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
            user_ids: vec![UserId::parse("a").unwrap()],
            details: Some(ChannelDetails {
                topic: "over".into(),
                archived: true,
                version: 3,
                ..ChannelDetails::new(Some("general".into()))
            }),
        };
        assert_eq!(ServerFrame::decode(&frame.encode()), Some(frame));
    }

    #[test]
    fn g4_frames_of_a_later_version_are_read_as_far_as_they_are_known() {
        let unknown = |frame: &str| match ServerFrame::decode(frame) {
            Some(ServerFrame::Unknown { cursor }) => cursor,
            other => panic!("{other:?}"),
        };
        assert_eq!(unknown(r#"{"type":"presence","users":{"a":"idle"},"more":[]}"#), None);
        assert_eq!(unknown(r#"{"type":"receipts","archived":["a"],"topic":{},"name":1}"#), None);
        assert_eq!(unknown(r#"{"cursor":"c","type":"poll","x":{"y":[]}}"#).as_deref(), Some("c"));

        let channel_id = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
        let merged = format!(
            r#"{{"cursor":"c","type":"channel","change":"merged","channel_id":"{channel_id}"}}"#
        );
        let (cursor, user_ids) = ("c".to_owned(), Vec::new());
        let (change, details) = (None, None);
        let known = ServerFrame::Channel { cursor, change, channel_id, user_ids, details };
        assert_eq!(ServerFrame::decode(&merged), Some(known));

        let before = r#"{"type":"ready","connection_id":"S1","node_id":"N1","workspace_id":"w",
            "user_id":"a","cursor":"c","resumed":true,"server_time":5}"#;
        let Some(ServerFrame::Ready(ready)) = ServerFrame::decode(before) else { panic!() };
        assert_eq!((ready.accepts, ready.tick), (Vec::new(), limits::TICK));
    }
}
