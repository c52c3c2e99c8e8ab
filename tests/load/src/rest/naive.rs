//! The naive schema: a table of messages with `sender_id` and `receiver_id`, keyed by message id. A
//! conversation is queried by an `OR` over the two, and sorted afterwards.
//!
//! It is measured twice: as a table of the store, which must be scanned as a whole; and as the SQL
//! that one would write first, on SQLite in the caller's own thread.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ReturnConsumedCapacity, ScalarAttributeType,
};
use rusqlite::{Connection, params};
use serde_json::json;

use super::Outcome;
use super::seed::{BATCH, close, key, open, spread, text};
use crate::record::progress;

/// The cost of reading a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) messages: usize,
    pub(crate) calls: u64,
    pub(crate) read_units: f64,
}

/// Creates the store's table, without rows.
///
/// # Errors
/// The store's.
pub(crate) async fn create(client: &Client) -> Outcome<()> {
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build()?;
    let attribute = AttributeDefinition::builder().attribute_name("id");
    let attribute = attribute.attribute_type(ScalarAttributeType::S).build()?;
    let create = client.create_table().table_name(TABLE).key_schema(key);
    let create = create.attribute_definitions(attribute).billing_mode(BillingMode::PayPerRequest);
    create.send().await?;
    Ok(())
}

/// Fills the store's table in its file with one conversation of `messages` messages.
///
/// # Errors
/// SQLite's.
pub(crate) fn fill_table(tables: &Path, messages: u64) -> Outcome<()> {
    let insert = format!(
        "INSERT INTO \"{TABLE}\" (pk, item_json, item_size, hash_prefix) VALUES (?1, ?2, ?3, ?4)"
    );
    fill(tables, &insert, messages, |statement, number| {
        let (from, to) = pair(number);
        let (id, text) = (id(number), text(number));
        let row = json!({
            "id": { "S": id }, "sender_id": { "S": from }, "receiver_id": { "S": to },
            "message": { "S": text }, "created_at": { "N": number.to_string() },
        });
        let names = "idsender_idreceiver_idmessagecreated_at".len();
        let bytes = i64::try_from(names + id.len() + from.len() + to.len() + text.len() + 5)?;
        let prefix = id.get(..6).unwrap_or_default();
        statement.execute(params![key(&id), row.to_string(), bytes, prefix])?;
        Ok(())
    })
}

/// Creates and fills the SQL table.
///
/// # Errors
/// SQLite's.
pub(crate) fn fill_sql(path: &Path, messages: u64) -> Outcome<Connection> {
    let file = open(path)?;
    file.execute_batch(
        "PRAGMA journal_mode = WAL; CREATE TABLE messages \
         (id TEXT PRIMARY KEY, sender_id TEXT, message TEXT, created_at INTEGER, receiver_id TEXT);",
    )?;
    drop(file);
    let insert = "INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5)";
    fill(path, insert, messages, |statement, number| {
        let (from, to) = pair(number);
        let at = i64::try_from(number)?;
        statement.execute(params![id(number), from, text(number), at, to])?;
        Ok(())
    })?;
    Ok(Connection::open(path)?)
}

fn fill(
    path: &Path,
    insert: &str,
    messages: u64,
    row: impl Fn(&mut rusqlite::CachedStatement<'_>, u64) -> Outcome<()>,
) -> Outcome<()> {
    let mut file = open(path)?;
    for first in (0..messages).step_by(BATCH) {
        progress(&format!("writing {first} of {messages} messages, naively"));
        let batch = file.transaction()?;
        let mut statement = batch.prepare_cached(insert)?;
        for number in first..messages.min(first + BATCH as u64) {
            row(&mut statement, number)?;
        }
        drop(statement);
        batch.commit()?;
    }
    close(&file)
}

/// Reads the newest 20 from the store's table.
///
/// # Errors
/// The store's.
pub(crate) async fn page_of_table(client: &Client) -> Outcome<Cost> {
    let mut pages = client
        .scan()
        .table_name(TABLE)
        .filter_expression(
            "(receiver_id = :b AND sender_id = :a) OR (receiver_id = :a AND sender_id = :b)",
        )
        .expression_attribute_values(":a", AttributeValue::S(A.to_owned()))
        .expression_attribute_values(":b", AttributeValue::S(B.to_owned()))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .into_paginator()
        .send();
    let (mut found, mut calls, mut read_units) = (Vec::new(), 0, 0.0);
    while let Some(page) = pages.next().await {
        let page = page?;
        calls += 1;
        let units = page.consumed_capacity().and_then(|capacity| capacity.capacity_units());
        read_units += units.unwrap_or_default();
        for row in page.items.unwrap_or_default() {
            let at = row.get("created_at").and_then(|value| value.as_n().ok());
            found.push((at.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or_default(), row));
        }
    }
    found.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
    found.truncate(PAGE);
    Ok(Cost { messages: found.len(), calls, read_units })
}

/// Reads the newest 20 with SQL.
///
/// # Errors
/// SQLite's.
pub(crate) fn page_of_sql(file: &Connection) -> Outcome<Cost> {
    let mut statement = file.prepare_cached(
        "SELECT * FROM messages WHERE (receiver_id = 'UB' AND sender_id = 'UA') \
         OR (receiver_id = 'UA' AND sender_id = 'UB') ORDER BY created_at DESC LIMIT 20",
    )?;
    let mut rows = statement.query([])?;
    let mut messages = 0;
    while let Some(row) = rows.next()? {
        let _text: String = row.get("message")?;
        messages += 1;
    }
    Ok(Cost { messages, calls: 1, read_units: 0.0 })
}

fn pair(number: u64) -> (&'static str, &'static str) {
    if number.is_multiple_of(2) { (A, B) } else { (B, A) }
}

/// Random, as row ids usually are.
fn id(number: u64) -> String {
    format!("{:016x}{number:016x}", spread(number))
}

const TABLE: &str = "naive";
const A: &str = "UA";
const B: &str = "UB";
const PAGE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_finds_the_newest_of_both_directions() {
        let folder = tempfile::tempdir().unwrap();
        let file = fill_sql(&folder.path().join("naive.sqlite"), 50).unwrap();
        assert_eq!(page_of_sql(&file).unwrap().messages, 20);
        let newest: i64 =
            file.query_row("SELECT max(created_at) FROM messages", [], |row| row.get(0)).unwrap();
        assert_eq!(newest, 49);
    }
}
