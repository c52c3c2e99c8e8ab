//! How a REST call can fail.

use std::time::Duration;

use model::ErrorCode;
use protocol::http::client::ProblemBody;

use crate::transport::CallError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The base URL is not `http://host[:port]` or `https://host[:port]`.
    #[error("the URL must have the form http://host[:port] or https://host[:port]")]
    BadAddress,
    /// No answer, or an incomplete one. A write may or may not have happened.
    #[error("cannot reach {base_url}")]
    Unreachable {
        /// The base URL of the call.
        base_url: String,
        /// Why the call was not sent, or not answered.
        source: CallError,
    },
    /// The server refused the call and gave a reason.
    #[error("refused with {status} {}: {}", problem.code, problem.detail)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason.
        problem: Box<ProblemBody>,
    },
    /// The answer is not from Inkwire, such as a proxy's error page.
    #[error("unexpected response (HTTP {status}): not from Inkwire")]
    BadAnswer {
        /// The HTTP status.
        status: u16,
        /// The answer's `Retry-After`.
        retry_after: Option<Duration>,
    },
}

impl ApiError {
    /// The error code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { problem, .. } => problem.error_code(),
            Self::BadAddress | Self::Unreachable { .. } | Self::BadAnswer { .. } => None,
        }
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::BadAnswer { status, .. } => Some(*status),
            Self::BadAddress | Self::Unreachable { .. } => None,
        }
    }

    /// Whether the same call may succeed later: unreachable, 429, or 5xx.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.status() {
            Some(status) => status == 429 || status >= 500,
            None => matches!(self, Self::Unreachable { .. }),
        }
    }

    /// Whether a failed write may have happened: not if it was never sent, or refused with a 4xx.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::BadAddress => false,
            Self::Unreachable { source, .. } => !matches!(source, CallError::NotSent(_)),
            Self::Refused { status, .. } => *status >= 500,
            Self::BadAnswer { status, .. } => !(400..500).contains(status),
        }
    }

    /// How long the server asks the client to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { problem, .. } => problem.retry_after_ms.map(Duration::from_millis),
            Self::BadAnswer { retry_after, .. } => *retry_after,
            Self::BadAddress | Self::Unreachable { .. } => None,
        }
    }
}
