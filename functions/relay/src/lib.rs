//! The stream of the messages table as a function.
//!
//! **Main path.** [`handle`] reads the records of an event in the form that Lambda gets them from
//! the stream, calls [`Relay::relay`], and names the first record that was held: the stream
//! delivers that one and all later ones again.
//!
//! **Invariants.** The relay skips an unreadable record; it never fails the event. Something that
//! is not a stream event fails as a whole, and is delivered again.
//!
//! **Not here.** No rule about what is published, no HTTP, no Lambda, no environment, no secret.

use messaging::ports::LogEntry;
use messaging::relay::{Record, Relay};
use serde_json::Value;
use service::stream::{BatchResponse, EventError, answer, records};

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record has no event name or no new image")]
struct NoImage;

/// Relays the records of an event, which come from one shard, in its order.
///
/// # Errors
/// [`EventError`]: then no record counts as relayed, and the event is delivered again.
pub async fn handle(relay: Relay, event: Value) -> Result<BatchResponse, EventError> {
    let records = records(&event)?;
    let decoded: Vec<Record> = records.iter().map(record_of).collect();
    answer(records, relay.relay(&decoded).await)
}

fn record_of(record: &Value) -> Record {
    let Some(name) = record.get("eventName").and_then(Value::as_str) else {
        return Record::Poisoned(Box::new(NoImage));
    };
    if !matches!(name, "INSERT" | "MODIFY") {
        return Record::Other;
    }
    match record.pointer("/dynamodb/NewImage").map(dynamo::decode_log_image) {
        // The write changed the row, but not the message.
        Some(Ok(Some(LogEntry::Message(stored))))
            if name == "MODIFY" && !stored.message.is_changed() =>
        {
            Record::Other
        }
        Some(Ok(Some(entry))) => Record::Stored(entry),
        Some(Ok(None)) => Record::Other,
        Some(Err(malformed)) => Record::Poisoned(Box::new(malformed)),
        None => Record::Poisoned(Box::new(NoImage)),
    }
}

#[cfg(test)]
mod tests;
