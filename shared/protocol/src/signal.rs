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
    /// Of a kind that this version does not know: nobody hears it.
    Unknown,
}

impl Signal {
    /// Writes the signal.
    #[must_use]
    pub fn encode(&self) -> String {
        let (kind, user_id, marks) = match self {
            Self::Unknown => ("unknown", None, Vec::new()),
            Self::Read { user_id, marks } => {
                let marks = marks.iter().map(|NewReadMark { log, mark }| MarkWire {
                    channel_id: log.channel_id.to_string(),
                    thread: log.thread.map(|root| root.to_string()),
                    up_to: mark.up_to.to_string(),
                    epoch: mark.epoch.number().into(),
                });
                ("read", Some(user_id.to_string()), marks.collect())
            }
        };
        // Serialising strings and numbers cannot fail.
        serde_json::to_string(&Wire { kind: kind.to_owned(), user_id, marks }).unwrap_or_default()
    }

    /// Reads a signal. Whatever is malformed is unknown.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let wire = serde_json::from_slice(bytes).ok();
        wire.and_then(Wire::read).unwrap_or(Self::Unknown)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<MarkWire>,
}

#[derive(Serialize, Deserialize)]
struct MarkWire {
    channel_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    up_to: String,
    epoch: u64,
}

impl Wire {
    fn read(self) -> Option<Signal> {
        if self.kind != "read" {
            return None;
        }
        let marks = self.marks.into_iter().map(MarkWire::read).collect::<Option<_>>()?;
        Some(Signal::Read { user_id: self.user_id?.parse().ok()?, marks })
    }
}

impl MarkWire {
    fn read(self) -> Option<NewReadMark> {
        let mark = ReadMark { epoch: Epoch::new(self.epoch)?, up_to: self.up_to.parse().ok()? };
        let thread = match self.thread {
            Some(root) => Some(root.parse().ok()?),
            None => None,
        };
        Some(NewReadMark { log: LogId::new(self.channel_id.parse().ok()?, thread), mark })
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
        let marks = [main, thread].map(|log| NewReadMark { log, mark }).to_vec();
        let signal = Signal::Read { user_id: "bob".parse().unwrap(), marks };
        assert_eq!(Signal::decode(signal.encode().as_bytes()), signal);
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
