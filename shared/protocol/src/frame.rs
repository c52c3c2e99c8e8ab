//! The JSON text frames that a node sends.

use std::time::Duration;

use model::{
    ChannelChange, ChannelDetails, ChannelId, ConnectionId, LogId, Message, MessageId, NodeId,
    Presence, PushedMessage, ReadMark, SessionPosition, Timestamp, UserId, WorkspaceId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{json, presence, receipts};

mod going;
mod refused;
mod wire;

pub use going::Going;
pub use refused::Refused;

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
    /// is void after [`model::limits::TYPING_VOID`], and may be lost.
    Typing {
        /// The log.
        log: LogId,
        /// The last of them who said so first; at most [`model::limits::TYPING_USERS_MAX`].
        users: Vec<UserId>,
        /// How many others.
        more: u64,
    },
    /// A `send` was taken: stored by others, or pushed, as the channel's contract says.
    Accepted {
        /// The client's number of the `send`.
        reference: u64,
        /// The message's id.
        id: MessageId,
        /// Its number in the session of a channel that keeps nothing.
        n: Option<u64>,
        /// Whether a second server has it.
        replicated: bool,
        /// The node's clock.
        server_time: Timestamp,
    },
    /// A `send`, `join` or `renew` was not taken.
    Refused(Refused),
    /// The client takes part in a channel that keeps nothing, from here on.
    Joined {
        /// The channel.
        channel_id: ChannelId,
        /// Where it begins.
        at: SessionPosition,
        /// How many messages it missed; `None` if nobody knows.
        missed: Option<u64>,
    },
    /// A message of a channel that keeps nothing. A hole before `n` shows that others were lost.
    Said {
        /// Its number in the session.
        n: u64,
        /// The message.
        message: Message,
    },
    /// A channel that keeps nothing has ended.
    Ended {
        /// Where the stream is safe to resume.
        cursor: Option<String>,
        /// The channel.
        channel_id: ChannelId,
    },
    /// Whether users that the client views are there: all of them in the answer to a `view`, then
    /// those that changed. It has no cursor, and may be lost.
    Presence {
        /// In order of their ids.
        users: Vec<(UserId, Presence)>,
    },
    /// How far the messages of a channel have come, since the last such frame. It has no cursor, and
    /// may be lost: watermarks only grow.
    Receipts {
        /// The channel.
        channel_id: ChannelId,
        /// Up to where a device of each user has its messages.
        delivered: Vec<(UserId, MessageId)>,
        /// Up to where each user has read.
        read: Vec<(UserId, MessageId)>,
        /// Messages that are stored now.
        archived: Vec<MessageId>,
    },
    /// The node will close this socket: open one on another node first.
    Going(Going),
    /// A `renew` was taken: the socket lasts until then.
    Renewed {
        /// The client's number of the `renew`, if it had one.
        reference: Option<u64>,
        /// When the new token expires.
        expires_at: Timestamp,
        /// Whether the user is invisible on this socket from now on.
        invisible: bool,
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
    /// Whether the user is invisible on this socket.
    pub invisible: bool,
}

impl Ready {
    /// Writes the text directly, since each socket has its own `ready`, and a reconnect storm many.
    fn encode(&self) -> String {
        let wire = ReadyWire {
            accepts: &self.accepts,
            connection_id: self.connection_id.as_str(),
            cursor: &self.cursor,
            invisible: self.invisible,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invisible: bool,
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
                tick(cursor, *server_time, *fresh, *every)
            }
            Self::Resync { reason, delay_ms, channels } => {
                resync(reason, *delay_ms, channels.as_deref())
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
            Self::Accepted { reference, id, n, replicated, server_time } => {
                accepted(*reference, *id, *n, *replicated, *server_time)
            }
            Self::Refused(refused) => refused.json(),
            Self::Joined { channel_id, at, missed } => json!({
                "type": "joined", "channel_id": channel_id.as_str(), "at": at.to_string(),
                "missed": missed,
            }),
            Self::Said { n, message } => {
                return said(&message.channel_id, *n, &json::write(message, FIELDS_BYTES));
            }
            Self::Ended { cursor: None, channel_id } => return ended(channel_id),
            Self::Ended { cursor: Some(cursor), channel_id } => {
                return with_cursor(&ended(channel_id), cursor);
            }
            Self::Presence { users } => presence::encode(users),
            Self::Receipts { channel_id, delivered, read, archived } => {
                receipts::frame(channel_id, delivered, read, archived)
            }
            Self::Going(going) => going.json(),
            Self::Renewed { reference, expires_at, invisible } => {
                renewed(*reference, *expires_at, *invisible)
            }
            Self::Unknown { .. } => json!({}),
        }
        .to_string()
    }
}

fn tick(cursor: &str, server_time: Timestamp, fresh: bool, every: Option<Duration>) -> Value {
    let mut frame = json!({
        "type": "tick", "cursor": cursor, "server_time": server_time.unix_ms(), "fresh": fresh,
    });
    if let (Some(every), Some(fields)) = (every, frame.as_object_mut()) {
        fields.insert("tick_ms".into(), millis(every).into());
    }
    frame
}

fn resync(reason: &str, delay_ms: u64, channels: Option<&[ChannelId]>) -> Value {
    let mut frame = json!({ "type": "resync", "reason": reason, "delay_ms": delay_ms });
    if let (Some(channels), Some(fields)) = (channels, frame.as_object_mut()) {
        let ids: Vec<&str> = channels.iter().map(ChannelId::as_str).collect();
        fields.insert("channels".into(), ids.into());
    }
    frame
}

fn renewed(reference: Option<u64>, expires_at: Timestamp, invisible: bool) -> Value {
    let mut frame = json!({ "type": "renewed", "expires_at": expires_at.unix_ms() });
    if let (Some(reference), Some(fields)) = (reference, frame.as_object_mut()) {
        fields.insert("ref".to_owned(), reference.into());
    }
    if let Some(fields) = frame.as_object_mut().filter(|_| invisible) {
        fields.insert("invisible".to_owned(), true.into());
    }
    frame
}

fn accepted(
    reference: u64,
    id: MessageId,
    n: Option<u64>,
    replicated: bool,
    server_time: Timestamp,
) -> Value {
    let mut frame = json!({
        "type": "accepted", "ref": reference, "id": id.to_string(), "replicated": replicated,
        "server_time": server_time.unix_ms(),
    });
    if let (Some(n), Some(fields)) = (n, frame.as_object_mut()) {
        fields.insert("n".to_owned(), n.into());
    }
    frame
}

/// The JSON of the frame that carries a message which is never stored; `message` is its JSON.
#[must_use]
pub fn said(channel_id: &ChannelId, n: u64, message: &str) -> String {
    format!(r#"{{"type":"said","channel_id":"{channel_id}","n":{n},"message":{message}}}"#)
}

/// The JSON, without a cursor, of the frame that says that a channel has ended.
#[must_use]
pub fn ended(channel_id: &ChannelId) -> String {
    json!({ "type": "ended", "channel_id": channel_id.as_str() }).to_string()
}

/// Names the thread in the frame of a log, if it is one.
fn in_thread(mut frame: Value, log: &LogId) -> Value {
    if let (Some(root), Some(fields)) = (log.thread, frame.as_object_mut()) {
        fields.insert("thread".into(), root.to_string().into());
    }
    frame
}

/// The JSON, without a cursor, of the frame that carries a message: `message` as it was sent,
/// `message_changed` for any later revision.
#[must_use]
pub fn message(message: &Message) -> String {
    let kind = if message.is_changed() { "message_changed" } else { "message" };
    json::write(&MessageFrame { kind, message }, FIELDS_BYTES + message.text.as_str().len())
}

/// The message of a `message` frame; `None` for any other frame.
#[must_use]
pub fn message_in(frame: &str) -> Option<Message> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(rename = "type")]
        kind: String,
        message: Message,
    }
    let Frame { kind, message } = serde_json::from_str(frame).ok()?;
    (kind == "message").then_some(message)
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

/// About the length of a message's fields without its text.
const FIELDS_BYTES: usize = 320;

#[cfg(test)]
mod tests;
