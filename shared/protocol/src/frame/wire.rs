//! Reading frames.

use std::time::Duration;

use model::{
    ChannelChange, ChannelDetails, ChannelId, Epoch, LogId, MessageId, PushedMessage, ReadMark,
    SessionPosition, Timestamp, UserId, limits,
};
use serde::Deserialize;
use serde_json::Value;

use super::{Going, Ready, Refused, ServerFrame};
use crate::{presence, receipts};

impl ServerFrame {
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
                invisible: wire.invisible,
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
            _ => wire.answer_or_signal(),
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

fn log(channel_id: Option<String>, thread: Option<Value>) -> Option<LogId> {
    let thread = match thread {
        Some(root) => Some(root.as_str()?.parse().ok()?),
        None => None,
    };
    Some(LogId::new(channel_id?.parse().ok()?, thread))
}

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
    /// Absent from nodes that show everybody.
    #[serde(default)]
    invisible: bool,
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
    #[serde(default, rename = "ref")]
    reference: Value,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    n: Value,
    #[serde(default)]
    replicated: Value,
    #[serde(default)]
    code: Value,
    #[serde(default)]
    retryable: Value,
    #[serde(default)]
    retry_after_ms: Value,
    #[serde(default)]
    field: Value,
    #[serde(default)]
    at: Value,
    #[serde(default)]
    missed: Value,
    #[serde(default)]
    delivered: Value,
    #[serde(default)]
    read: Value,
    #[serde(default)]
    url: Value,
    #[serde(default)]
    ticket: Value,
    #[serde(default)]
    by_ms: Value,
    #[serde(default)]
    expires_at: Value,
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
    /// Reads what is not of the stream: an answer to this client, or a signal.
    fn answer_or_signal(self) -> Option<ServerFrame> {
        match self.kind.as_str() {
            "pong" => Some(ServerFrame::Pong {
                cursor: self.cursor?,
                server_time: Timestamp::from_unix_ms(self.server_time?),
                fresh: self.fresh?,
            }),
            "accepted" => Some(ServerFrame::Accepted {
                reference: self.reference.as_u64()?,
                id: self.id.as_str()?.parse().ok()?,
                n: self.n.as_u64(),
                replicated: self.replicated.as_bool()?,
                server_time: Timestamp::from_unix_ms(self.server_time?),
            }),
            "refused" => Some(ServerFrame::Refused(Refused {
                reference: self.reference.as_u64(),
                channel_id: self.channel_id.and_then(|id| id.parse().ok()),
                code: self.code.as_str()?.to_owned(),
                retryable: self.retryable.as_bool()?,
                retry_after: self.retry_after_ms.as_u64().map(Duration::from_millis),
                field: self.field.as_str().map(str::to_owned),
            })),
            "joined" => Some(ServerFrame::Joined {
                channel_id: self.channel_id?.parse().ok()?,
                at: SessionPosition::parse(self.at.as_str()?)?,
                missed: self.missed.as_u64(),
            }),
            "said" => {
                Some(ServerFrame::Said { n: self.n.as_u64()?, message: self.message?.message })
            }
            "ended" => Some(ServerFrame::Ended {
                cursor: self.cursor,
                channel_id: self.channel_id?.parse().ok()?,
            }),
            "renewed" => Some(ServerFrame::Renewed {
                reference: self.reference.as_u64(),
                expires_at: Timestamp::from_unix_ms(self.expires_at.as_u64()?),
                invisible: self.invisible,
            }),
            Going::KIND => Some(ServerFrame::Going(Going {
                node_id: self.node_id?.parse().ok()?,
                url: self.url.as_str()?.to_owned(),
                ticket: self.ticket.as_str()?.to_owned(),
                by: Duration::from_millis(self.by_ms.as_u64()?),
            })),
            _ => self.signal(),
        }
    }

    fn signal(self) -> Option<ServerFrame> {
        match self.kind.as_str() {
            "typing" => Some(ServerFrame::Typing {
                log: log(self.channel_id, self.thread)?,
                users: {
                    let parsed = |id: &Value| UserId::parse(id.as_str()?).ok();
                    self.users.as_array()?.iter().map(parsed).collect::<Option<_>>()?
                },
                more: self.more.as_u64()?,
            }),
            "receipts" => Some(ServerFrame::Receipts {
                channel_id: self.channel_id?.parse().ok()?,
                delivered: receipts::read_marks(self.delivered.as_object()?)?,
                read: receipts::read_marks(self.read.as_object()?)?,
                archived: {
                    let parsed = |id: &Value| MessageId::parse(id.as_str()?).ok();
                    self.archived.as_array()?.iter().map(parsed).collect::<Option<_>>()?
                },
            }),
            "presence" => Some(ServerFrame::Presence { users: presence::decode(&self.users)? }),
            "read" => Some(ServerFrame::Read {
                log: log(self.channel_id, self.thread)?,
                mark: ReadMark {
                    epoch: Epoch::new(self.epoch?)?,
                    up_to: self.up_to?.parse().ok()?,
                },
            }),
            _ => Some(ServerFrame::Unknown { cursor: self.cursor }),
        }
    }

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

/// The types of frames that this version reads.
const KNOWN: [&str; 11] = [
    "ready",
    "message",
    "message_changed",
    "channel",
    "tick",
    "pong",
    "resync",
    "read",
    "typing",
    "presence",
    "receipts",
];
