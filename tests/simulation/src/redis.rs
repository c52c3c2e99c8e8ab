//! A model of Redis: servers with asynchronous replication under one name, and connections that
//! break in every way that real ones do. The adapters on it behave as those of `redis-bus` do.
//!
//! What it models, since these lose messages: a replica that is promoted lacks the tail of stream
//! AND guards; who was connected stays connected to the old server, which may go on answering; a
//! half-open connection says nothing; a subscriber may be cut off, unsubscribed, or not pushed to.

mod bus;
mod directory;
mod keys;
mod link;
mod replay;
mod server;

pub(crate) use bus::SimBus;
pub(crate) use replay::SimReplay;
pub(crate) use server::{Redis, Refusal, Trouble};

/// Why a command has no answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the connection broke")]
    Broken,
    #[error("no answer in time")]
    TimedOut,
    #[error("READONLY")]
    ReadOnly,
    #[error("LOADING")]
    Loading,
    #[error("OOM")]
    OutOfMemory,
}

impl CommandError {
    /// Whether the name may lead elsewhere by now.
    pub(crate) const fn is_doubtful(self) -> bool {
        !matches!(self, Self::OutOfMemory)
    }
}

impl From<CommandError> for messaging::ports::BusError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Broken | CommandError::TimedOut => Self::Unavailable(error.into()),
            CommandError::ReadOnly | CommandError::Loading | CommandError::OutOfMemory => {
                Self::Refused(error.into())
            }
        }
    }
}
