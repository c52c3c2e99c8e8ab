//! What the errors of all use cases have in common.

use model::{ErrorCode, Message};

use crate::ports::{BusError, FileStoreError, ReadError, WriteError};

/// What every use case's error reports to its caller.
pub trait Refusal: std::error::Error {
    /// The public code.
    fn code(&self) -> ErrorCode;

    /// The field that caused the refusal, if one did.
    fn field(&self) -> Option<&'static str> {
        None
    }

    /// The message as it is, if the caller expected another revision.
    fn current(&self) -> Option<&Message> {
        None
    }
}

/// The store failed during a use case.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store throttles the key.
    #[error("the store is busy")]
    Busy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store does not answer, or the outcome of a write is unknown. Repeating the request
    /// resolves it.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal for StoreError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Busy(_) => ErrorCode::ChannelBusy,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Throttled(_) => Self::Busy(error.into()),
            ReadError::Unavailable(_) | ReadError::Unreadable(_) => Self::Unavailable(error.into()),
        }
    }
}

impl From<BusError> for StoreError {
    fn from(error: BusError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<FileStoreError> for StoreError {
    fn from(error: FileStoreError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Throttled(_) => Self::Busy(error.into()),
            WriteError::NotStored(_) | WriteError::OutcomeUnknown(_) => {
                Self::Unavailable(error.into())
            }
        }
    }
}
