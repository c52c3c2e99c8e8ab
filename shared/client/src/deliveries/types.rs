//! What programs see of the outbox, and the calls that it asks for.

use std::time::Duration;

use model::{ChannelId, ErrorCode, MessageId, MessageText, Retry};

use super::Key;
use crate::error::ApiError;

/// How far a message has come that [`crate::Client::deliver`] took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is in the outbox.
    Queued,
    /// Redis has it. The client keeps it until it is stored.
    Accepted {
        /// Whether a second server has it.
        replicated: bool,
    },
    /// It is stored: the outbox has forgotten it.
    Archived,
    /// It was refused for good. The outbox keeps its text until [`crate::Client::discard`].
    Failed {
        /// Why, as the protocol names it.
        code: String,
    },
}

/// A message in the outbox of channels that deliver first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its channel.
    pub channel_id: ChannelId,
    /// Its id, which every attempt carries.
    pub id: MessageId,
    /// Its text.
    pub text: MessageText,
    /// How far it has come.
    pub state: DeliveryState,
}

/// The outbox is full: discard failed messages, or wait until others are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct OutboxFull;

/// How long the outbox of channels that deliver first waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryWaits {
    /// For a message to be stored, before it is sent again: once by `send`, then by `POST`. Each
    /// further wait is twice as long.
    pub archived: Duration,
    /// The longest of these waits.
    pub longest: Duration,
    /// For a socket, before `POST` is used instead.
    pub socket: Duration,
}

impl Default for DeliveryWaits {
    fn default() -> Self {
        Self {
            archived: Duration::from_secs(60),
            longest: Duration::from_secs(600),
            socket: Duration::from_secs(10),
        }
    }
}

/// A `POST /messages` to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) key: Key,
    pub(crate) text: MessageText,
}

/// How a `POST /messages` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Posted {
    Stored,
    /// Refused for good.
    Failed(String),
    /// Not now: the server may have said how long to wait.
    Later(Option<Duration>),
}

impl Posted {
    /// What an error means for the message. An expired token is renewed, and an answer that is not from
    /// Inkwire, as from a hotel's network, says nothing about the message.
    pub(crate) fn of_error(error: &ApiError) -> Self {
        match error {
            ApiError::Refused { problem, .. } => {
                let is_expired = error.code().map(ErrorCode::retry) == Some(Retry::WithFreshToken);
                if is_expired || error.is_retryable() {
                    Self::Later(error.retry_after())
                } else {
                    Self::Failed(problem.code.clone())
                }
            }
            ApiError::BadAddress | ApiError::Unreachable { .. } | ApiError::BadAnswer { .. } => {
                Self::Later(error.retry_after())
            }
        }
    }
}
