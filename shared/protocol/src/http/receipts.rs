//! The body of receipts.

use std::collections::BTreeMap;

use model::{MessageId, UserId};
use serde::{Deserialize, Serialize};

/// The response to `GET /channels/{channel_id}/receipts`: watermarks, by user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptsBody {
    /// Up to where a device of each user has the messages.
    pub delivered: BTreeMap<String, String>,
    /// Up to where each user has read, and shares it.
    pub read: BTreeMap<String, String>,
}

impl ReceiptsBody {
    /// Writes the watermarks.
    #[must_use]
    pub fn of(delivered: &[(UserId, MessageId)], read: &[(UserId, MessageId)]) -> Self {
        let map = |marks: &[(UserId, MessageId)]| {
            marks.iter().map(|(user, id)| (user.to_string(), id.to_string())).collect()
        };
        Self { delivered: map(delivered), read: map(read) }
    }
}
