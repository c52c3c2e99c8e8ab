//! Maps the SDK's errors to the ports' outcomes.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use messaging::ports::{Cause, ReadError, WriteError};

use crate::attempt::Attempts;
use crate::capacity::Operation;
use crate::item::MalformedRow;

/// Why a call failed, in the store's terms. Carries no content of any row.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The store answered with an error.
    #[error("{operation} was answered {code}: {message} (request {request_id}){}", fix_of(.code, .operation))]
    Answered {
        /// The operation.
        operation: &'static str,
        /// The store's error code.
        code: String,
        /// The store's message.
        message: String,
        /// The store's id of the call.
        request_id: String,
    },
    /// There was no answer, or none that could be read.
    #[error("{operation} got no answer")]
    Unanswered {
        /// The operation.
        operation: &'static str,
        /// The transport's error.
        #[source]
        source: Cause,
    },
    /// The store kept leaving some keys unprocessed.
    #[error("{operation} left keys unprocessed {rounds} times")]
    Unprocessed {
        /// The operation.
        operation: &'static str,
        /// How often it was tried.
        rounds: u32,
    },
    /// Another transaction held the rows at each try.
    #[error("another transaction held the rows {rounds} times")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// The new id of a redirected message is already taken.
    #[error("the target of the redirect is occupied")]
    TargetOccupied,
    /// A condition failed on a row that was gone a moment later.
    #[error("the row that was in the way is gone")]
    Vanished,
}

/// Codes of a store that is up, but wants fewer calls, or wants them later.
const THROTTLING_CODES: [&str; 9] = [
    "ProvisionedThroughputExceededException",
    "ProvisionedThroughputExceeded",
    "ThrottlingException",
    "ThrottlingError",
    "Throttling",
    "RequestLimitExceeded",
    "TransactionConflictException",
    "TransactionInProgressException",
    "LimitExceededException",
];

/// The fix for an error that will not go away by itself; empty for any other.
pub(crate) fn fix_of(code: &str, operation: &str) -> String {
    match Fault::of(code) {
        Some(Fault::Denied) => format!("; fix: give the role dynamodb:{operation} on this table"),
        Some(Fault::Missing) => "; fix: make the table, or correct INKWIRE_TABLE_PREFIX, \
             AWS_REGION or AWS_ENDPOINT_URL"
            .to_owned(),
        Some(Fault::Identity) => {
            "; fix: give the program valid credentials of this account".to_owned()
        }
        Some(Fault::Shape) => {
            "; if it speaks of the key: the table was not made from tables.json".to_owned()
        }
        None => String::new(),
    }
}

/// An error that repeats until the deployment is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The role lacks a permission.
    Denied,
    /// No valid credentials.
    Identity,
    /// No such table.
    Missing,
    /// The request does not fit the table.
    Shape,
}

impl Fault {
    pub(crate) fn of(code: &str) -> Option<Self> {
        match code {
            "AccessDeniedException" | "AccessDenied" => Some(Self::Denied),
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => Some(Self::Identity),
            "ResourceNotFoundException" => Some(Self::Missing),
            "ValidationException" => Some(Self::Shape),
            _ => None,
        }
    }
}

pub(crate) fn is_throttling(code: &str) -> bool {
    THROTTLING_CODES.contains(&code)
}

/// A read's failure.
pub(crate) fn read_error<E>(operation: Operation, err: SdkError<E, HttpResponse>) -> ReadError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let throttled = err.code().is_some_and(is_throttling);
    let cause = Box::new(CallError::of(operation, err));
    if throttled { ReadError::Throttled(cause) } else { ReadError::Unavailable(cause) }
}

/// A row that this version cannot read.
pub(crate) fn unreadable(row: MalformedRow) -> ReadError {
    ReadError::Unreadable(Box::new(row))
}

impl Attempts {
    /// A write's failure, judged by all of its attempts.
    pub(crate) fn write_error<E>(
        &self,
        operation: Operation,
        err: SdkError<E, HttpResponse>,
    ) -> WriteError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let throttled = err.code().is_some_and(is_throttling);
        let cause = Box::new(CallError::of(operation, err));
        if throttled { self.throttled(cause) } else { self.refused(cause) }
    }

    /// The last attempt was throttled.
    pub(crate) fn throttled(&self, cause: impl Into<Cause>) -> WriteError {
        if self.may_have_written() {
            WriteError::OutcomeUnknown(cause.into())
        } else {
            WriteError::Throttled(cause.into())
        }
    }

    /// The last attempt wrote nothing, or its outcome is unknown.
    pub(crate) fn refused(&self, cause: impl Into<Cause>) -> WriteError {
        if self.may_have_written() {
            WriteError::OutcomeUnknown(cause.into())
        } else {
            WriteError::NotStored(cause.into())
        }
    }
}

impl CallError {
    pub(crate) fn of<E>(operation: Operation, err: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Self::named(operation.as_str(), err)
    }

    /// The same for a call outside the ports.
    pub(crate) fn named<E>(operation: &'static str, err: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let Some(code) = err.code() {
            return Self::Answered {
                operation,
                code: code.to_owned(),
                message: err.message().unwrap_or("no message").to_owned(),
                request_id: err.request_id().unwrap_or("unknown").to_owned(),
            };
        }
        // The SDK's wrapper would show the whole response in its `Debug`; its source does not.
        match err.into_source() {
            Ok(source) => Self::Unanswered { operation, source },
            Err(_) => Self::Unanswered { operation, source: "no cause given".into() },
        }
    }
}
