//! The only definition of the tables' shapes: `tables.json`, which the IaC, the local set-up and
//! this package all read.

use std::sync::LazyLock;

use serde::Deserialize;

/// The file itself, for tools that need all of it.
pub const TABLES_JSON: &str = include_str!("../tables.json");

/// The shapes of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Prefix of each name in production, so that an account can hold other tables too.
    pub prefix: String,
    /// The tables.
    pub tables: Vec<TableShape>,
}

/// The shape of one table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableShape {
    /// Its name, without the prefix.
    pub name: String,
    /// The attribute that chooses the partition.
    pub partition_key: KeyAttribute,
    /// The attribute that orders a partition.
    pub sort_key: Option<KeyAttribute>,
    /// How capacity is billed.
    pub billing: Billing,
    /// Whether any moment of the last 35 days can be restored. Only the IaC sets it.
    pub point_in_time_recovery: bool,
    /// What its stream's records carry, if it has a stream.
    pub stream: Option<StreamView>,
    /// The attribute that says when a row may be deleted, in epoch seconds.
    pub ttl_attribute: Option<String>,
}

/// A key attribute.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyAttribute {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub scalar: KeyType,
}

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum KeyType {
    /// A string.
    S,
}

/// How capacity is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Billing {
    /// On demand: costs nothing when idle.
    #[serde(rename = "PAY_PER_REQUEST")]
    PayPerRequest,
}

/// What a stream's records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum StreamView {
    /// The row after the write: all that the relay needs.
    #[serde(rename = "NEW_IMAGE")]
    NewImage,
}

/// The shapes that `tables.json` holds.
#[must_use]
pub fn schema() -> &'static Schema {
    &SCHEMA
}

/// The tables' names in one environment: prefix + name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// The log of each channel.
    pub messages: String,
    /// The channels.
    pub channels: String,
    /// Who is in a channel.
    pub memberships: String,
    /// A user's channels, leaving marks and tombstone.
    pub user_channels: String,
}

impl TableNames {
    /// The names under a prefix.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        let name = |table: &str| format!("{prefix}{table}");
        Self {
            messages: name(MESSAGES),
            channels: name(CHANNELS),
            memberships: name(MEMBERSHIPS),
            user_channels: name(USER_CHANNELS),
        }
    }
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    serde_json::from_str(TABLES_JSON).expect("tables.json is embedded, and a test reads it")
});

const MESSAGES: &str = "messages";
const CHANNELS: &str = "channels";
const MEMBERSHIPS: &str = "memberships";
const USER_CHANNELS: &str = "user_channels";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    fn shape(name: &str) -> &'static TableShape {
        schema().tables.iter().find(|table| table.name == name).unwrap()
    }

    fn key_names(name: &str) -> (&'static str, Option<&'static str>) {
        let shape = shape(name);
        let sort_key = shape.sort_key.as_ref().map(|key| key.name.as_str());
        (shape.partition_key.name.as_str(), sort_key)
    }

    #[test]
    fn the_file_names_the_tables_and_keys_that_the_code_uses() {
        assert_eq!(schema().tables.len(), 4);
        assert_eq!(key_names(MESSAGES), (keys::CHANNEL_ID, Some(keys::CREATED_AT)));
        assert_eq!(key_names(CHANNELS), (keys::CHANNEL_ID, None));
        assert_eq!(key_names(MEMBERSHIPS), (keys::CHANNEL_ID, Some(keys::USER_ID)));
        assert_eq!(key_names(USER_CHANNELS), (keys::WORKSPACE_USER, Some(keys::CHANNEL_ID)));
    }

    #[test]
    fn only_messages_have_a_stream_and_what_expires_has_a_time_to_live() {
        for table in &schema().tables {
            assert_eq!(table.stream.is_some(), table.name == MESSAGES, "{}", table.name);
            let expires = [MESSAGES, USER_CHANNELS].contains(&table.name.as_str());
            let ttl = expires.then_some(crate::item::EXPIRES_AT);
            assert_eq!(table.ttl_attribute.as_deref(), ttl, "{}", table.name);
        }
    }
}
