//! The stream of the messages table as a function.
//!
//! **Main path.** [`handle`] reads the records of an event, in the form that the stream's mapping
//! to Lambda gives them, calls [`Relay::relay`], and names the first record that was held: the
//! stream brings it and everything behind it again.
//!
//! **Invariants.** A record that cannot be read is the relay's to skip; it never fails the event.
//! An event that is none fails whole, and comes again.
//!
//! **Not here.** No rule about what is published, no HTTP, no Lambda, no environment, no secret.

use messaging::ports::LogEntry;
use messaging::relay::{Outcome, Record, Relay};
use serde::Serialize;
use serde_json::Value;

/// Why an event was not looked at. Names no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It has no list of records.
    #[error("this is not an event of a table's stream")]
    NoRecords,
    /// The record to begin with again has no sequence number.
    #[error("a record to retry has no sequence number")]
    NoSequenceNumber,
}

/// What the stream's mapping is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    /// The record to go on with; empty if all is done.
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

/// Relays the records of an event, which are of one shard and in its order.
///
/// # Errors
/// [`EventError`]: then nothing is known to be relayed, and the event comes again.
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

/// A record's sequence number, by which the stream is read on.
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
        // Something beside the message was written to its row.
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
