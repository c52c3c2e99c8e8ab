//! Signals: what sockets hear beside the stream.
//!
//! A signal is pushed to the nodes once and kept nowhere. It may be lost at any point, so whoever
//! misses one must have a call that heals it: for read marks that is `GET /unread`.

use model::{Epoch, LogId, NewReadMark, ReadMark, UserId};
use serde::{Deserialize, Serialize};

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
    /// Of a kind that this version does not know: nobody hears it.
    Unknown,
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
        let user_id = self.user_id?.parse().ok()?;
        match self.kind.as_str() {
            "read" => {
                let marks = self.marks.into_iter().map(MarkWire::read).collect::<Option<_>>()?;
                Some(Signal::Read { user_id, marks })
            }
            "typing" => {
                let (log, members_version) = (self.log?.read()?, self.members_version?);
                Some(Signal::Typing { user_id, log, members_version })
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
    use model::{ChannelId, MessageId, Timestamp};

    use super::*;

    #[test]
    fn a_signal_survives_the_wire() {
        let at = Timestamp::from_unix_ms(5);
        let mark = ReadMark { epoch: Epoch::LAST, up_to: MessageId::mint(at, 7) };
        let main = LogId::from(ChannelId::mint_group(at, 1));
        let thread = LogId::new(main.channel_id.clone(), Some(MessageId::mint(at, 8)));
        let marks = [main, thread.clone()].map(|log| NewReadMark { log, mark }).to_vec();
        let user_id: UserId = "bob".parse().unwrap();
        for signal in [
            Signal::Read { user_id: user_id.clone(), marks },
            Signal::Typing { user_id, log: thread, members_version: 7 },
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
