//! Signals: what sockets hear beside the stream.
//!
//! A signal is pushed to the nodes once and kept nowhere. It may be lost at any point, so whoever
//! misses one must have a call that heals it: for read marks that is `GET /unread`. Presence is healed
//! by the nodes themselves: its numbers show what was lost.

use model::{
    ChannelId, Epoch, LogId, NewReadMark, NodeId, ReadMark, SessionId, SessionPosition, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::presence::{self, Announcement};
use crate::receipts::{ReceiptsSignal, ReceiptsWire};

/// A signal, as it travels on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A user's read marks moved: for their own sockets.
    Read {
        /// The user.
        user_id: UserId,
        /// The marks as they are now.
        marks: Vec<NewReadMark>,
    },
    /// A user types in a log: for the members who view it.
    Typing {
        /// Who.
        user_id: UserId,
        /// Where.
        log: LogId,
        /// The version of the channel's membership by which they are a member. Nodes whose view is
        /// older pass over the signal (G6).
        members_version: u64,
    },
    /// A message of a channel that keeps nothing: for the members who have joined.
    Said(SaidSignal),
    /// A channel that keeps nothing has ended.
    Ended {
        /// The channel.
        channel_id: ChannelId,
    },
    /// Users came to a node, went or became idle there; or none did, and the node confirms its number.
    Presence {
        /// The node.
        node: NodeId,
        /// What it wrote.
        news: Announcement,
    },
    /// Messages were stored, delivered or read: for who views the channel, and for their senders.
    Receipts(ReceiptsSignal),
    /// Of a kind that this version does not know: nobody hears it.
    Unknown,
}

/// A message that is never stored, on its way to the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidSignal {
    /// The channel.
    pub channel_id: ChannelId,
    /// The version of the channel's membership by which the sender is a member (G6).
    pub members_version: u64,
    /// The session, and its number in it.
    pub at: SessionPosition,
    /// The JSON of the message, sealed: only nodes can open it.
    pub sealed: String,
}

impl SaidSignal {
    /// What the bus puts before and after the session and the number, which it assigns when it pushes
    /// the signal: `{"session":"` … `","n":` … rest.
    #[must_use]
    pub fn wire_around(channel: &ChannelId, members_version: u64, sealed: &str) -> [String; 2] {
        let wire = Wire {
            log: Some(LogWire::of(&channel.into())),
            members_version: Some(members_version),
            sealed: Some(sealed.to_owned()),
            ..Wire::of("said")
        };
        // Serialising strings and numbers cannot fail.
        let rest = serde_json::to_string(&wire).unwrap_or_default();
        let rest = rest.strip_prefix('{').unwrap_or_default();
        [r#"{"session":""#.to_owned(), format!(",{rest}")]
    }
}

impl Signal {
    /// Writes the signal.
    #[must_use]
    pub fn encode(&self) -> String {
        let wire = match self {
            Self::Unknown => Wire::of("unknown"),
            Self::Read { user_id, marks } => {
                let marks = marks.iter().map(|NewReadMark { log, mark }| MarkWire {
                    log: LogWire::of(log),
                    up_to: mark.up_to.to_string(),
                    epoch: mark.epoch.number().into(),
                });
                let user_id = Some(user_id.to_string());
                Wire { user_id, marks: marks.collect(), ..Wire::of("read") }
            }
            Self::Typing { user_id, log, members_version } => Wire {
                user_id: Some(user_id.to_string()),
                log: Some(LogWire::of(log)),
                members_version: Some(*members_version),
                ..Wire::of("typing")
            },
            Self::Said(said) => {
                let SaidSignal { channel_id, members_version, at, sealed } = said;
                let [before, after] = SaidSignal::wire_around(channel_id, *members_version, sealed);
                return format!(r#"{before}{}","n":{}{after}"#, at.session, at.n);
            }
            Self::Ended { channel_id } => {
                Wire { log: Some(LogWire::of(&channel_id.into())), ..Wire::of("ended") }
            }
            Self::Presence { node, news } => Wire {
                node: Some(node.to_string()),
                number: Some(news.number),
                users: presence::map(&news.users),
                ..Wire::of("presence")
            },
            Self::Receipts(receipts) => Wire {
                log: Some(LogWire::of(&(&receipts.channel_id).into())),
                receipts: Some(ReceiptsWire::of(receipts)),
                ..Wire::of("receipts")
            },
        };
        // Serialising strings and numbers cannot fail.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Reads a signal. Whatever is malformed is unknown.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let wire = serde_json::from_slice(bytes).ok();
        wire.and_then(Wire::read).unwrap_or(Self::Unknown)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Wire {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<MarkWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<LogWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    members_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    users: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    receipts: Option<ReceiptsWire>,
}

#[derive(Serialize, Deserialize)]
struct LogWire {
    channel_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct MarkWire {
    #[serde(flatten)]
    log: LogWire,
    up_to: String,
    epoch: u64,
}

impl Wire {
    fn of(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    fn read(self) -> Option<Signal> {
        if self.kind == "presence" {
            let users = presence::decode(&self.users)?;
            let news = Announcement { number: self.number?, is_whole: false, users };
            return Some(Signal::Presence { node: self.node?.parse().ok()?, news });
        }
        let user_id = self.user_id.and_then(|id| id.parse().ok());
        match self.kind.as_str() {
            "read" => {
                let user_id = user_id?;
                let marks = self.marks.into_iter().map(MarkWire::read).collect::<Option<_>>()?;
                Some(Signal::Read { user_id, marks })
            }
            "typing" => {
                let (log, members_version) = (self.log?.read()?, self.members_version?);
                Some(Signal::Typing { user_id: user_id?, log, members_version })
            }
            "said" => Some(Signal::Said(SaidSignal {
                channel_id: self.log?.read()?.channel_id,
                members_version: self.members_version?,
                at: SessionPosition { session: SessionId::parse(&self.session?)?, n: self.n? },
                sealed: self.sealed?,
            })),
            "ended" => Some(Signal::Ended { channel_id: self.log?.read()?.channel_id }),
            "receipts" => {
                let channel_id = self.log?.read()?.channel_id;
                self.receipts?.read(channel_id).map(Signal::Receipts)
            }
            _ => None,
        }
    }
}

impl LogWire {
    fn of(log: &LogId) -> Self {
        let thread = log.thread.map(|root| root.to_string());
        Self { channel_id: log.channel_id.to_string(), thread }
    }

    fn read(self) -> Option<LogId> {
        let thread = match self.thread {
            Some(root) => Some(root.parse().ok()?),
            None => None,
        };
        Some(LogId::new(self.channel_id.parse().ok()?, thread))
    }
}

impl MarkWire {
    fn read(self) -> Option<NewReadMark> {
        let mark = ReadMark { epoch: Epoch::new(self.epoch)?, up_to: self.up_to.parse().ok()? };
        Some(NewReadMark { log: self.log.read()?, mark })
    }
}

#[cfg(test)]
mod tests {
    use model::{MessageId, Presence, Timestamp};

    use super::*;

    fn presence(users: Vec<(UserId, Presence)>) -> Signal {
        let news = Announcement { number: 9, is_whole: false, users };
        Signal::Presence { node: "N1".parse().unwrap(), news }
    }

    #[test]
    fn a_signal_survives_the_wire() {
        let at = Timestamp::from_unix_ms(5);
        let mark = ReadMark { epoch: Epoch::LAST, up_to: MessageId::mint(at, 7) };
        let main = LogId::from(ChannelId::mint_group(at, 1));
        let channel_id = main.channel_id.clone();
        let thread = LogId::new(channel_id.clone(), Some(MessageId::mint(at, 8)));
        let marks = [main, thread.clone()].map(|log| NewReadMark { log, mark }).to_vec();
        let user_id: UserId = "bob".parse().unwrap();
        for signal in [
            Signal::Read { user_id: user_id.clone(), marks },
            Signal::Typing { user_id, log: thread, members_version: 7 },
            Signal::Said(SaidSignal {
                channel_id: channel_id.clone(),
                members_version: 7,
                at: SessionPosition { session: SessionId::mint(at, 3), n: 9 },
                sealed: "k.nonce.text".to_owned(),
            }),
            Signal::Ended { channel_id: channel_id.clone() },
            Signal::Receipts(ReceiptsSignal {
                channel_id,
                delivered: vec![("bob".parse().unwrap(), MessageId::mint(at, 4))],
                read: Vec::new(),
                archived: vec![(MessageId::mint(at, 5), "ann".parse().unwrap())],
            }),
            presence(vec![("ann".parse().unwrap(), Presence::Active)]),
            presence(Vec::new()),
        ] {
            assert_eq!(Signal::decode(signal.encode().as_bytes()), signal);
        }
        assert_eq!(Signal::decode(Signal::Unknown.encode().as_bytes()), Signal::Unknown);
    }

    #[test]
    fn what_is_malformed_or_of_a_later_version_is_unknown() {
        for text in [
            "",
            "x",
            "[]",
            r#"{"kind":"typing","user_id":"bob"}"#,
            r#"{"kind":"presence","node":"N1","users":{}}"#,
            r#"{"kind":"presence","node":"N 1","number":1,"users":{}}"#,
            r#"{"kind":"presence","node":"N1","number":-1,"users":{}}"#,
            r#"{"kind":"presence","node":"N1","number":1}"#,
            r#"{"kind":"presence","node":"N1","number":1,"users":[]}"#,
            r#"{"kind":"presence","node":"N1","number":1,"users":{"a b":"idle"}}"#,
            r#"{"kind":"presence","node":"N1","number":1,"users":{"ann":"busy"}}"#,
            r#"{"kind":"receipts","log":{"channel_id":"C00000000000000000000000000"}}"#,
            r#"{"kind":"receipts","log":{"channel_id":"C00000000000000000000000000"},"receipts":{"delivered":{"bob":"x"}}}"#,
            r#"{"kind":"receipts","log":{"channel_id":"C00000000000000000000000000"},"receipts":{"archived":{"x":"bob"}}}"#,
            r#"{"kind":"read","marks":[]}"#,
            r#"{"kind":"read","user_id":"b b","marks":[]}"#,
            r#"{"kind":"read","user_id":"bob","marks":[{}]}"#,
            r#"{"kind":"read","user_id":"bob","marks":[{"channel_id":"x","up_to":"y","epoch":0}]}"#,
            r#"{"kind":"read","user_id":"bob","marks":[{"channel_id":"C00000000000000000000000000","thread":"x","up_to":"00000000000000000000000000","epoch":0}]}"#,
        ] {
            assert_eq!(Signal::decode(text.as_bytes()), Signal::Unknown, "{text}");
        }
        assert_eq!(Signal::decode(b"\xff"), Signal::Unknown);
    }
}
