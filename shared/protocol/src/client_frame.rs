//! The JSON text frames that a client sends: one `hello`, and what its node accepts after that.

use std::fmt;

use model::{
    ChannelId, ErrorCode, LogId, MessageId, MessageText, SessionPosition, TextError, UserId, limits,
};
use serde_json::{Map, Value, json};

use crate::close::CloseCode;
use crate::json;

mod renew;

pub use renew::RenewFrame;

/// The frame types that a node takes after `hello`, sorted: `accepts` of its `ready`. On the socket of a
/// device it also takes [`KEPT`].
pub const ACCEPTED: [&str; 9] =
    ["got", "idle", "join", "leave", "ping", "renew", "send", "typing", "view"];
/// The type of [`ClientFrame::Kept`].
pub const KEPT: &str = "kept";

/// A client's first frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The ticket from `/connect`; a secret.
    pub ticket: String,
    /// Where to resume. A cursor that is too long is empty here, so that it counts as unknown.
    pub cursor: Option<String>,
    /// The frame types that the client handles although no client has to, such as `going`.
    pub accepts: Vec<String>,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("cursor", &self.cursor)
            .field("accepts", &self.accepts)
            .finish_non_exhaustive()
    }
}

impl Hello {
    /// Reads a client's first frame.
    ///
    /// # Errors
    /// [`CloseCode::BadFrame`] for anything but a `hello` with string fields;
    /// [`CloseCode::Unauthenticated`] for one without a ticket.
    pub fn decode(text: &str) -> Result<Self, CloseCode> {
        let Ok(Value::Object(mut fields)) = json::parse(text.as_bytes()) else {
            return Err(CloseCode::BadFrame);
        };
        let mut string = |name| match fields.remove(name) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(_) => Err(CloseCode::BadFrame),
        };
        let (kind, ticket, cursor) = (string("type")?, string("ticket")?, string("cursor")?);
        let types = |value: &Value| {
            let types = value.as_array()?.iter();
            types.map(|kind| kind.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        let accepts = match fields.remove("accepts") {
            None => Vec::new(),
            Some(list) => types(&list).ok_or(CloseCode::BadFrame)?,
        };
        if kind.as_deref() != Some("hello") || !fields.is_empty() {
            return Err(CloseCode::BadFrame);
        }
        let ticket = ticket.ok_or(CloseCode::Unauthenticated)?;
        // A cursor that is too long counts as unknown; it does not close the socket.
        let unknown = |cursor: String| {
            if cursor.len() > limits::CURSOR_BYTES_MAX { String::new() } else { cursor }
        };
        Ok(Self { ticket, cursor: cursor.map(unknown), accepts })
    }

    /// Whether the client said that it handles frames of this type.
    #[must_use]
    pub fn takes(&self, kind: &str) -> bool {
        self.accepts.iter().any(|accepted| accepted == kind)
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut frame = json!({ "type": "hello", "ticket": self.ticket });
        if let Some(fields) = frame.as_object_mut() {
            if let Some(cursor) = &self.cursor {
                fields.insert("cursor".into(), cursor.as_str().into());
            }
            if !self.accepts.is_empty() {
                fields.insert("accepts".into(), self.accepts.clone().into());
            }
        }
        frame.to_string()
    }
}

/// A frame from a client after its `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// Asks for a `pong`, to learn at once whether the path is alive.
    Ping,
    /// What is on the client's screen; replaces what it said before.
    View(View),
    /// The user types a message in this log.
    Typing(LogId),
    /// This device has all messages of a channel up to an id.
    Got {
        /// The channel.
        channel_id: ChannelId,
        /// The id.
        up_to: MessageId,
    },
    /// This device has these messages for good (ADR 0046).
    Kept {
        /// Their channel.
        channel_id: ChannelId,
        /// Their ids, at most [`limits::KEPT_IDS_MAX`], sorted.
        ids: Vec<MessageId>,
    },
    /// The client takes part in a channel that keeps nothing, from now on.
    Join {
        /// The channel.
        channel_id: ChannelId,
        /// How far it heard the channel before, to learn how much it missed.
        after: Option<SessionPosition>,
    },
    /// The client takes part no more.
    Leave(ChannelId),
    /// The user sends a message.
    Send(SendFrame),
    /// A `send` with a bad field: it is refused.
    BadSend {
        /// Its number.
        reference: u64,
        /// Why.
        code: ErrorCode,
        /// The field.
        field: String,
    },
    /// Whether the user is away from this client.
    Idle(bool),
    /// The user has a newer token: the socket lasts until that one ends.
    Renew(RenewFrame),
}

/// A message that a client sends on its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFrame {
    /// The client's number for it, which the answer repeats.
    pub reference: u64,
    /// The channel.
    pub channel_id: ChannelId,
    /// The client's id.
    pub id: MessageId,
    /// The text.
    pub text: MessageText,
    /// The newest message that the sender has seen.
    pub after: Option<MessageId>,
    /// The message that it quotes.
    pub quote: Option<MessageId>,
}

/// What is on a client's screen. Signals about a log or a user reach only who views it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Main logs and threads: at most [`limits::VIEW_LOGS_MAX`] of each kind.
    pub logs: Vec<LogId>,
    /// At most [`limits::VIEW_USERS_MAX`].
    pub users: Vec<UserId>,
}

/// Why a client's text is no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadFrame {
    /// Not JSON, no object, or of a type that no node takes: the socket is closed.
    Unknown,
    /// A frame of a known type with a missing, unknown or malformed field: it is ignored.
    Malformed {
        /// The field.
        field: String,
    },
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("not a frame that a node takes"),
            Self::Malformed { field } => write!(f, "the field {field} is missing or malformed"),
        }
    }
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`BadFrame`].
    pub fn decode(text: &str) -> Result<Self, BadFrame> {
        let Ok(Value::Object(fields)) = json::parse(text.as_bytes()) else {
            return Err(BadFrame::Unknown);
        };
        let mut fields = Fields(fields);
        let frame = match fields.0.remove("type").as_ref().and_then(Value::as_str) {
            Some("ping") => Self::Ping,
            Some("idle") => Self::Idle(fields.flag("idle")?),
            Some("typing") => Self::Typing(fields.log()?),
            Some("view") => Self::View(fields.view()?),
            Some("join") => fields.join()?,
            Some("got") => {
                let (channel_id, up_to) = (fields.channel()?, fields.id("up_to")?);
                Self::Got { channel_id, up_to }
            }
            Some(KEPT) => {
                let channel_id = fields.channel()?;
                let id = |value: &Value| value.as_str()?.parse().ok();
                let ids = fields.list("ids", limits::KEPT_IDS_MAX, id)?;
                let ids = Some(ids).filter(|ids| !ids.is_empty());
                Self::Kept { channel_id, ids: ids.ok_or_else(|| malformed("ids"))? }
            }
            Some("leave") => Self::Leave(fields.channel()?),
            Some("send") => return fields.send(),
            Some("renew") => Self::Renew(fields.renew()?),
            _ => return Err(BadFrame::Unknown),
        };
        match fields.0.into_iter().next() {
            None => Ok(frame),
            Some((field, _)) => Err(BadFrame::Malformed { field }),
        }
    }

    /// Its type on the wire.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::View(_) => "view",
            Self::Typing(_) => "typing",
            Self::Got { .. } => "got",
            Self::Kept { .. } => KEPT,
            Self::Join { .. } => "join",
            Self::Leave(_) => "leave",
            Self::Send(_) | Self::BadSend { .. } => "send",
            Self::Idle(_) => "idle",
            Self::Renew(_) => "renew",
        }
    }

    /// Writes the frame.
    #[must_use]
    pub fn encode(&self) -> String {
        let frame = match self {
            Self::Ping => json!({ "type": "ping" }),
            Self::Idle(idle) => json!({ "type": "idle", "idle": idle }),
            Self::Typing(LogId { channel_id, thread }) => match thread {
                None => json!({ "type": "typing", "channel_id": channel_id.as_str() }),
                Some(root) => json!({
                    "type": "typing", "channel_id": channel_id.as_str(), "thread": root.to_string(),
                }),
            },
            Self::View(View { logs, users }) => {
                let channels = logs.iter().filter(|log| log.thread.is_none());
                let channels: Vec<&str> = channels.map(|log| log.channel_id.as_str()).collect();
                let thread =
                    |log: &LogId| Some(json!([log.channel_id.as_str(), log.thread?.to_string()]));
                let threads: Vec<Value> = logs.iter().filter_map(thread).collect();
                let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
                json!({ "type": "view", "channels": channels, "threads": threads, "users": users })
            }
            Self::Join { channel_id, after } => {
                let mut frame = json!({ "type": "join", "channel_id": channel_id.as_str() });
                if let (Some(after), Some(fields)) = (after, frame.as_object_mut()) {
                    fields.insert("after".to_owned(), after.to_string().into());
                }
                frame
            }
            Self::Got { channel_id, up_to } => json!({
                "type": "got", "channel_id": channel_id.as_str(), "up_to": up_to.to_string(),
            }),
            Self::Kept { channel_id, ids } => {
                let ids: Vec<String> = ids.iter().map(MessageId::to_string).collect();
                json!({ "type": KEPT, "channel_id": channel_id.as_str(), "ids": ids })
            }
            Self::Leave(channel_id) => {
                json!({ "type": "leave", "channel_id": channel_id.as_str() })
            }
            Self::Send(send) => send.json(),
            Self::Renew(renew) => renew.json(),
            Self::BadSend { reference, .. } => json!({ "type": "send", "ref": reference }),
        };
        frame.to_string()
    }
}

impl SendFrame {
    fn json(&self) -> Value {
        let mut frame = json!({
            "type": "send", "ref": self.reference, "channel_id": self.channel_id.as_str(),
            "id": self.id.to_string(), "message": self.text.as_str(),
        });
        if let Some(fields) = frame.as_object_mut() {
            for (name, id) in [("after", self.after), ("quote", self.quote)] {
                if let Some(id) = id {
                    fields.insert(name.to_owned(), id.to_string().into());
                }
            }
        }
        frame
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn flag(&mut self, field: &str) -> Result<bool, BadFrame> {
        let flag = self.0.remove(field).as_ref().and_then(Value::as_bool);
        flag.ok_or_else(|| malformed(field))
    }

    fn channel(&mut self) -> Result<ChannelId, BadFrame> {
        let channel = self.0.remove("channel_id").as_ref().and_then(channel);
        channel.ok_or_else(|| malformed("channel_id"))
    }

    fn id(&mut self, field: &str) -> Result<MessageId, BadFrame> {
        let id = self.0.remove(field);
        let id = id.as_ref().and_then(Value::as_str).and_then(|id| id.parse().ok());
        id.ok_or_else(|| malformed(field))
    }

    fn join(&mut self) -> Result<ClientFrame, BadFrame> {
        let channel_id = self.channel()?;
        let after = match self.0.remove("after") {
            None => None,
            Some(after) => {
                let after = after.as_str().and_then(SessionPosition::parse);
                Some(after.ok_or_else(|| malformed("after"))?)
            }
        };
        Ok(ClientFrame::Join { channel_id, after })
    }

    /// A `send` with a number is answered, whatever is wrong with it.
    fn send(mut self) -> Result<ClientFrame, BadFrame> {
        let reference = self.0.remove("ref").as_ref().and_then(Value::as_u64);
        let reference = reference.ok_or_else(|| malformed("ref"))?;
        Ok(self.sent(reference).unwrap_or_else(|(code, field)| ClientFrame::BadSend {
            reference,
            code,
            field,
        }))
    }

    fn sent(mut self, reference: u64) -> Result<ClientFrame, (ErrorCode, String)> {
        let bad = |code: ErrorCode, field: &str| (code, field.to_owned());
        let channel_id = self.channel();
        let channel_id = channel_id.or(Err(bad(ErrorCode::InvalidField, "channel_id")))?;
        let mut id = |field: &str| match self.0.remove(field) {
            None => Ok(None),
            Some(Value::String(id)) => {
                id.parse().map(Some).or(Err(bad(ErrorCode::InvalidId, field)))
            }
            Some(_) => Err(bad(ErrorCode::InvalidField, field)),
        };
        let (sent_id, after, quote) = (id("id")?, id("after")?, id("quote")?);
        let id = sent_id.ok_or_else(|| bad(ErrorCode::InvalidField, "id"))?;
        let Some(Value::String(text)) = self.0.remove("message") else {
            return Err(bad(ErrorCode::InvalidField, "message"));
        };
        let code = |error| match error {
            TextError::Empty => ErrorCode::EmptyMessage,
            TextError::TooLong => ErrorCode::MessageTooLong,
            TextError::Control => ErrorCode::InvalidField,
        };
        let text = MessageText::parse(text).map_err(|error| bad(code(error), "message"))?;
        match self.0.into_iter().next() {
            Some((field, _)) => Err((ErrorCode::InvalidField, field)),
            None => {
                Ok(ClientFrame::Send(SendFrame { reference, channel_id, id, text, after, quote }))
            }
        }
    }

    fn log(&mut self) -> Result<LogId, BadFrame> {
        let channel = self.channel()?;
        let thread = match self.0.remove("thread") {
            None => None,
            Some(root) => {
                let root = root.as_str().and_then(|root| root.parse().ok());
                Some(root.ok_or_else(|| malformed("thread"))?)
            }
        };
        Ok(LogId::new(channel, thread))
    }

    fn view(&mut self) -> Result<View, BadFrame> {
        let mut logs = self
            .list("channels", limits::VIEW_LOGS_MAX, |value| Some(LogId::from(channel(value)?)))?;
        logs.extend(self.list("threads", limits::VIEW_LOGS_MAX, |value| {
            let [of, root] = value.as_array()?.as_slice() else { return None };
            Some(LogId::new(channel(of)?, Some(root.as_str()?.parse().ok()?)))
        })?);
        let user = |value: &Value| value.as_str()?.parse().ok();
        let users = self.list("users", limits::VIEW_USERS_MAX, user)?;
        Ok(View { logs, users })
    }

    /// A list of at most `most` values; an absent one is empty. Repeated values count once.
    fn list<T: Ord>(
        &mut self,
        field: &str,
        most: usize,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, BadFrame> {
        let Some(list) = self.0.remove(field) else { return Ok(Vec::new()) };
        let list = list.as_array().filter(|list| list.len() <= most);
        let read: Option<Vec<T>> = list.and_then(|list| list.iter().map(read).collect());
        let mut values = read.ok_or_else(|| malformed(field))?;
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

fn channel(value: &Value) -> Option<ChannelId> {
    value.as_str()?.parse().ok()
}

fn malformed(field: &str) -> BadFrame {
    BadFrame::Malformed { field: field.to_owned() }
}

#[cfg(test)]
mod tests;
