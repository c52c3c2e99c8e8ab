//! The stream of the messages table as a function, beside the relay: counts reactions and
//! replies, shows pins, writes mentions, makes users follow threads, keeps and deletes files.
//!
//! **Main path.** [`handle`] reads an event's records, calls [`Deriver::derive`], and names the first
//! record that was held.
//!
//! **Invariants.** A record that cannot be read is skipped; it never fails the event.
//!
//! **Not here.** No rule about what is counted, no bus, no HTTP, no environment, no secret.

use dynamo::RowBeside;
use messaging::derive::{Deriver, Record};
use messaging::ports::LogEntry;
use serde_json::Value;
use service::stream::{BatchResponse, EventError, answer, records};

/// Derives what follows from the records of an event, which come from one shard, in its order.
///
/// # Errors
/// [`EventError`]: then no record counts as handled, and the event is delivered again.
pub async fn handle(deriver: Deriver, event: Value) -> Result<BatchResponse, EventError> {
    let records = records(&event)?;
    let decoded: Vec<Record> = records.iter().map(record_of).collect();
    answer(records, deriver.derive(&decoded).await)
}

fn record_of(record: &Value) -> Record {
    let key = |name: &str| record.pointer(&format!("/dynamodb/Keys/{name}/S"))?.as_str();
    match (record.get("eventName").and_then(Value::as_str), key("channel_id"), key("created_at")) {
        // Of the rows that expire, only those of files have something left. A withdrawn reaction was
        // not counted anyway.
        (Some("REMOVE"), Some(channel), Some(sort_key)) => {
            let lapsed = |(channel, file)| Record::FileLapsed(channel, file);
            dynamo::file_row(channel, sort_key).map_or(Record::Other, lapsed)
        }
        (Some(_), Some(channel), Some(sort_key)) => match dynamo::row_beside(channel, sort_key) {
            Some((log, id, RowBeside::Reaction)) => Record::Reaction(log, id),
            Some((log, id, RowBeside::Pin)) => Record::Pin(log, id),
            None => record_of_image(record),
        },
        _ => Record::Poisoned("a record has no event name or no keys".into()),
    }
}

/// The record of a row that is not beside a message: from its image, if there is one.
fn record_of_image(record: &Value) -> Record {
    match record.pointer("/dynamodb/NewImage").map(dynamo::decode_log_image) {
        Some(Ok(Some(LogEntry::Message(stored)))) => Record::Message(Box::new(stored)),
        Some(Ok(_)) | None => Record::Other,
        Some(Err(malformed)) => Record::Poisoned(Box::new(malformed)),
    }
}

#[cfg(test)]
mod tests;
