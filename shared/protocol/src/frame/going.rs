//! The frame of a node that will close the socket.

use std::fmt;
use std::time::Duration;

use model::NodeId;
use serde_json::{Value, json};

use super::millis;

/// Where a client goes before its node closes the socket.
#[derive(Clone, PartialEq, Eq)]
pub struct Going {
    /// The other node.
    pub node_id: NodeId,
    /// Where clients reach it.
    pub url: String,
    /// Opens one socket there; a secret.
    pub ticket: String,
    /// How long until this socket is closed.
    pub by: Duration,
}

impl fmt::Debug for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Going")
            .field("node_id", &self.node_id)
            .field("url", &self.url)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

impl Going {
    /// The type of the frame, which a client lists in its `hello`.
    pub const KIND: &str = "going";

    pub(super) fn json(&self) -> Value {
        json!({
            "type": Self::KIND, "node_id": self.node_id.as_str(), "url": self.url,
            "ticket": self.ticket, "by_ms": millis(self.by),
        })
    }
}
