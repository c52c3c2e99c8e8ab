//! Rows of a later version, among those of this one.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messaging::ports::{Appended, LogEntry, MessageStore, PageQuery, StoredMessage};
use model::{MessageId, Rev};

use serde_json::{Value, json};

use super::{EmptyTables, channel_id, id, log_id, message};

const TABLE: &str = "messages";

impl EmptyTables {
    /// Writes a row of a kind that this version does not know.
    async fn put_later_row(&self, sort_key: &str) {
        let string = |text: &str| AttributeValue::S(text.to_owned());
        let row = [
            ("channel_id", string(channel_id(1).as_str())),
            ("created_at", string(sort_key)),
            ("k", string("poll")),
            ("q", AttributeValue::L(vec![AttributeValue::Bool(true)])),
        ];
        let mut put = self.client.put_item().table_name(format!("{}{TABLE}", self.prefix));
        for (name, value) in row {
            put = put.item(name, value);
        }
        put.send().await.unwrap();
    }

    /// The row of a message, in the form of the table's stream.
    pub(crate) async fn row_of(&self, stored: &StoredMessage) -> Value {
        self.store.append(stored).await.unwrap();
        let rows = self.client.scan().table_name(format!("{}{TABLE}", self.prefix)).send().await;
        let row = rows.unwrap().items.unwrap().remove(0).into_iter().map(|(name, value)| {
            let number = value.as_n().ok().map(|digits| json!({ "N": digits }));
            let bytes = value.as_b().ok().map(|bytes| json!({ "B": STANDARD.encode(bytes) }));
            let text = || json!({ "S": value.as_s().unwrap() });
            let json = number.or(bytes).unwrap_or_else(text);
            (name, json)
        });
        Value::Object(row.collect())
    }

    async fn page(&self, newest_first: bool, limit: u32) -> (Vec<LogEntry>, bool) {
        let query = PageQuery {
            log: channel_id(1).into(),
            lowest: MessageId::MIN,
            highest: id(1_000_000, 0),
            newest_first,
            limit,
            strong: true,
        };
        let page = self.store.page(&query).await.unwrap();
        (page.entries, page.more)
    }
}

#[tokio::test]
async fn g1_pages_are_complete_among_rows_of_a_later_version() {
    let tables = EmptyTables::create().await;
    let (before, poll, after) = (id(1, 1), id(2, 1), id(3, 1));
    for known in [before, after] {
        tables.store.append(&message(1, known, "ada", "hello")).await.unwrap();
    }
    tables.put_later_row(&poll.to_string()).await;
    // A log of its own beside the messages, which pages do not read.
    for beside in [format!("c#{poll}"), format!("~{poll}"), "zz".to_owned()] {
        tables.put_later_row(&beside).await;
    }
    let unknown = LogEntry::Unknown { log: log_id(1), id: poll };
    for newest_first in [false, true] {
        let (mut entries, more) = tables.page(newest_first, 100).await;
        if newest_first {
            entries.reverse();
        }
        assert_eq!(entries.iter().map(LogEntry::id).collect::<Vec<_>>(), [before, poll, after]);
        assert_eq!((&entries[1], more), (&unknown, false));
        let (entries, more) = tables.page(newest_first, 2).await;
        assert_eq!((entries.len(), &entries[1], more), (2, &unknown, true));
    }
    assert_eq!(tables.store.entry(&log_id(1), poll).await.unwrap(), Some(unknown.clone()));
    let appended = tables.store.append(&message(1, poll, "ada", "here")).await.unwrap();
    assert_eq!(appended, Appended::Occupied(Box::new(unknown)));
}

#[tokio::test]
async fn a_messages_revision_is_kept_and_the_first_is_not_stored() {
    let tables = EmptyTables::create().await;
    let sent = message(1, id(1, 1), "ada", "hello");
    let mut edited = message(1, id(2, 1), "ada", "edited");
    edited.message.rev = Rev::parse("01MCC5RM000000000000000009").unwrap();
    let row = tables.row_of(&sent).await;
    assert_eq!((sent.message.rev.clone(), &row["e"]), (Rev::of(sent.message.id), &Value::Null));
    tables.store.append(&edited).await.unwrap();
    let (entries, _) = tables.page(false, 10).await;
    assert_eq!(entries, [LogEntry::Message(sent), LogEntry::Message(edited)]);
}
