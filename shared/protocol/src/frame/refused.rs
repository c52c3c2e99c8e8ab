//! The frame that refuses a client's frame.

use std::time::Duration;

use model::{ChannelId, ErrorCode, Retry};
use serde_json::{Value, json};

use super::millis;

/// Why a client's frame was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The client's number of the `send` or `renew`; none of a `join`.
    pub reference: Option<u64>,
    /// The channel of a `join`.
    pub channel_id: Option<ChannelId>,
    /// Why, as clients branch on it.
    pub code: String,
    /// Whether the same frame may be taken later.
    pub retryable: bool,
    /// How long to wait before.
    pub retry_after: Option<Duration>,
    /// The field that is wrong.
    pub field: Option<String>,
}

impl Refused {
    /// A refusal for a reason, of nothing in particular yet.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        Self {
            reference: None,
            channel_id: None,
            code: code.as_str().to_owned(),
            retryable: code.retry() != Retry::Never,
            retry_after: None,
            field: None,
        }
    }

    pub(super) fn json(&self) -> Value {
        let mut frame =
            json!({ "type": "refused", "code": self.code, "retryable": self.retryable });
        if let Some(fields) = frame.as_object_mut() {
            let mut put = |name: &str, value: Option<Value>| {
                value.and_then(|value| fields.insert(name.to_owned(), value))
            };
            put("ref", self.reference.map(Into::into));
            put("channel_id", self.channel_id.as_ref().map(|id| id.as_str().into()));
            put("retry_after_ms", self.retry_after.map(|wait| millis(wait).into()));
            put("field", self.field.as_deref().map(Into::into));
        }
        frame
    }
}
