//! The frame by which a socket outlives its token.

use std::fmt;

use serde_json::{Value, json};

use super::{BadFrame, Fields, malformed};

/// A ticket for this node, made with a newer token of the same user.
#[derive(Clone, PartialEq, Eq)]
pub struct RenewFrame {
    /// The client's number for it, which the answer repeats.
    pub reference: Option<u64>,
    /// The ticket; a secret. Empty if the frame has none.
    pub ticket: String,
}

impl fmt::Debug for RenewFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewFrame").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl RenewFrame {
    pub(super) fn json(&self) -> Value {
        let mut frame = json!({ "type": "renew", "ticket": self.ticket });
        if let (Some(reference), Some(fields)) = (self.reference, frame.as_object_mut()) {
            fields.insert("ref".to_owned(), reference.into());
        }
        frame
    }
}

impl Fields {
    /// A ticket that is missing or no string is a bad ticket like any other: it is refused.
    pub(super) fn renew(&mut self) -> Result<RenewFrame, BadFrame> {
        let reference = match self.0.remove("ref") {
            None => None,
            Some(reference) => Some(reference.as_u64().ok_or_else(|| malformed("ref"))?),
        };
        let ticket = match self.0.remove("ticket") {
            Some(Value::String(ticket)) => ticket,
            Some(_) | None => String::new(),
        };
        Ok(RenewFrame { reference, ticket })
    }
}
