//! Events of a table's stream, in the form that Lambda passes them on, and the answer to them.

use messaging::relay::Outcome;
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
    /// The record to retry from; empty if all were handled.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
}

/// A record that was not handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    /// Its sequence number.
    #[serde(rename = "itemIdentifier")]
    pub sequence_number: String,
}

/// An event's records.
///
/// # Errors
/// [`EventError::NoRecords`].
pub fn records(event: &Value) -> Result<&[Value], EventError> {
    let records = event.get("Records").and_then(Value::as_array);
    records.map(Vec::as_slice).ok_or(EventError::NoRecords)
}

/// The answer for these records: names the one that was held, if any.
///
/// # Errors
/// [`EventError::NoSequenceNumber`] if it has none.
pub fn answer(records: &[Value], outcome: Outcome) -> Result<BatchResponse, EventError> {
    let failures = match outcome {
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
