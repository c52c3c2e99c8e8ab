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
use messaging::relay::{Outcome, Record, Relay};
use serde::Serialize;
use serde_json::Value;

/// Why an event was not processed. Names no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It has no list of records.
    #[error("this is not an event of a table's stream")]
    NoRecords,
    /// The record to retry from has no sequence number.
    #[error("a record to retry has no sequence number")]
    NoSequenceNumber,
}

/// The answer to the stream's mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    /// The record to retry from; empty if all were relayed.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
}

/// A record that was not relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    /// Its sequence number.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record has no event name or no new image")]
struct NoImage;

/// Relays the records of an event, which come from one shard, in its order.
///
/// # Errors
/// [`EventError`]: then no record counts as relayed, and the event is delivered again.
pub async fn handle(relay: Relay, event: Value) -> Result<BatchResponse, EventError> {
    let records = event.get("Records").and_then(Value::as_array).ok_or(EventError::NoRecords)?;
    let decoded: Vec<Record> = records.iter().map(record_of).collect();
    let failures = match relay.relay(&decoded).await {
        Outcome::Relayed => Vec::new(),
        Outcome::HeldAt(at) => {
            let sequence_number = records.get(at).and_then(sequence_number);
            let sequence_number = sequence_number.ok_or(EventError::NoSequenceNumber)?.to_owned();
            vec![ItemFailure { sequence_number }]
        }
    };
    Ok(BatchResponse { failures })
}

/// A record's sequence number, which tells the stream where to retry.
#[must_use]
pub fn sequence_number(record: &Value) -> Option<&str> {
    record.pointer("/dynamodb/SequenceNumber")?.as_str()
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
