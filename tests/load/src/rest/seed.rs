//! Writes messages straight into an engine's file: through its API, ten million would take hours.

use std::path::Path;

use model::{ChannelId, MessageId, Timestamp};
use rusqlite::{Connection, params};
use serde_json::json;

use super::Outcome;
use super::handlers::USER;
use crate::record::progress;

/// The messages of a channel, oldest first. Each is a function of its number.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) channel: ChannelId,
    pub(crate) messages: u64,
    /// When the newest was sent.
    pub(crate) until: Timestamp,
}

impl Log {
    /// The id of a message.
    pub(crate) fn id(&self, number: u64) -> MessageId {
        let back_ms = (self.messages - 1 - number.min(self.messages - 1)) * APART_MS;
        let at = self.until.unix_ms().saturating_sub(back_ms);
        MessageId::mint(Timestamp::from_unix_ms(at), spread(number))
    }

    /// A number near the middle, from a quarter to three quarters; another one for each `n`.
    pub(crate) fn middle(&self, n: u64) -> u64 {
        self.messages / 4 + u64_of(spread(n)) % (self.messages / 2).max(1)
    }

    /// Writes all messages into the table. The engine must have made one row already.
    ///
    /// # Errors
    /// If the file is not as this version of the engine writes it.
    pub(crate) fn write(&self, tables: &Path, table: &str) -> Outcome<()> {
        let mut file = open(tables)?;
        let prefix: String = file.query_row(
            &format!("SELECT hash_prefix FROM \"{table}\" WHERE pk = ?1 LIMIT 1"),
            [key(self.channel.as_str())],
            |row| row.get(0),
        )?;
        let insert = format!(
            "INSERT INTO \"{table}\" (pk, sk, item_json, item_size, hash_prefix) \
             VALUES (?1, ?2, ?3, ?4, ?5)"
        );
        for first in (0..self.messages).step_by(BATCH) {
            progress(&format!("writing {first} of {} messages", self.messages));
            let batch = file.transaction()?;
            let mut statement = batch.prepare_cached(&insert)?;
            for number in first..self.messages.min(first + BATCH as u64) {
                let (id, text) = (self.id(number).to_string(), text(number));
                let channel = self.channel.as_str();
                let names = "channel_idcreated_atstv".len();
                let bytes = names + channel.len() + id.len() + USER.len() + text.len() + 2;
                let row = json!({
                    "channel_id": { "S": channel }, "created_at": { "S": id },
                    "s": { "S": USER }, "t": { "S": text }, "v": { "N": "1" },
                });
                let bytes = i64::try_from(bytes)?;
                let (channel, id) = (key(channel), key(&id));
                statement.execute(params![channel, id, row.to_string(), bytes, prefix])?;
            }
            drop(statement);
            batch.commit()?;
        }
        close(&file)
    }
}

/// A string key, as the engine's file stores it.
pub(crate) fn key(text: &str) -> String {
    format!("S:{text}")
}

/// Opens a SQLite file for writing a lot at once.
///
/// # Errors
/// SQLite's.
pub(crate) fn open(path: &Path) -> Outcome<Connection> {
    let file = Connection::open(path)?;
    file.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -500000;")?;
    Ok(file)
}

/// Moves what was written from the write-ahead log into the file.
///
/// # Errors
/// SQLite's.
pub(crate) fn close(file: &Connection) -> Outcome<()> {
    Ok(file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?)
}

/// The text of a message, as long as people's texts usually are.
pub(crate) fn text(number: u64) -> String {
    format!("message {number:012} of a long conversation about where to have lunch")
}

/// Pseudo-random bits that are the same in each run (SplitMix64).
pub(crate) fn spread(number: u64) -> u128 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u128::from(bits ^ (bits >> 31))
}

/// The lower 64 bits.
pub(crate) fn u64_of(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default()
}

/// Rows per transaction.
pub(crate) const BATCH: usize = 200_000;
/// With this distance, ten million messages span 12 days.
const APART_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_to_the_newest_and_repeat() {
        let channel = ChannelId::parse("C01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let log = Log { channel, messages: 1_000, until: Timestamp::from_unix_ms(1_000_000) };
        let ids: Vec<_> = (0..1_000).map(|number| log.id(number)).collect();
        assert!(ids.is_sorted() && ids[999].time() == log.until);
        assert!((0..100).all(|n| (250..750).contains(&log.middle(n))));
        assert_eq!(log.id(7), log.clone().id(7));
    }
}
