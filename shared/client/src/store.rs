//! A file with a client's messages, its outbox and its cursor, to resume after a restart.
//!
//! It is written by one task, [`crate::Client`]'s, in batches; each batch is one transaction. So the
//! cursor in the file is never ahead of the messages in it.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use model::{ChannelId, DeviceId, Message, MessageId, MessageText};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::deliveries::{Delivery, DeliveryState, Key};
use crate::inbox::Inbox;
use crate::inbox::saved::{Change, ChannelState, InboxState, Snapshot, Word};

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written, or another client uses it.
    #[error("cannot use the store: {0}")]
    Disk(#[source] Box<dyn Error + Send + Sync>),
    /// The file was made by another version, or is no store.
    #[error("the store has another format ({0})")]
    OtherFormat(i64),
    /// The file is another user's.
    #[error("the store is {0}'s")]
    OtherUser(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Disk(error.into())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Disk(error.into())
    }
}

/// A file that outlives the process. One client of one user uses it at a time.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// The state that the file has.
    written: Written,
    outbox: Vec<Delivery>,
    /// Whose it is, once that is known: workspace and user.
    pub(crate) owner: Option<String>,
    device: DeviceId,
}

#[derive(Debug, Default)]
struct Written {
    inbox: Option<InboxState>,
    channels: HashMap<ChannelId, ChannelState>,
    cursor: Option<String>,
}

/// What a client resumes with.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) cursor: Option<String>,
    pub(crate) inbox: Inbox,
}

/// What one transaction writes.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Read before the rest: nothing up to it is missing in the snapshot.
    pub(crate) cursor: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) snapshot: Snapshot,
    pub(crate) outbox: Vec<(Key, Option<Delivery>)>,
}

impl Store {
    /// Opens a store, or makes one. This reads and writes the disk: in an async program, call it
    /// before the client starts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::of(Connection::open(path)?)
    }

    fn of(mut connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY_WAIT_MAX)?;
        connection.execute_batch(PRAGMAS)?;
        let transaction = connection.transaction()?;
        let format: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match format {
            0 => transaction.execute_batch(TABLES)?,
            FORMAT => {}
            other => return Err(StoreError::OtherFormat(other)),
        }
        let (owner, outbox) = (meta(&transaction, OWNER)?, outbox(&transaction)?);
        // Takes the lock, so that a second client fails here.
        put_meta(&transaction, "opened", "")?;
        let device = match meta(&transaction, DEVICE)? {
            Some(device) => unreadable(DeviceId::parse(&device))?,
            None => {
                let device = format!("{:032x}", rand::random::<u128>());
                put_meta(&transaction, DEVICE, &device)?;
                unreadable(DeviceId::parse(&device))?
            }
        };
        transaction.commit()?;
        let written = Written::default();
        Ok(Self { connection, written, outbox, owner, device })
    }

    /// The device that has this file: what all devices have is not stored in channels of `keep: acked`.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Reads what a client resumes with.
    pub(crate) fn resume(&mut self, messages_max: usize) -> Result<Resumed, StoreError> {
        let cursor = meta(&self.connection, CURSOR)?;
        let inbox = meta(&self.connection, INBOX)?;
        let inbox: Option<InboxState> = inbox.as_deref().map(serde_json::from_str).transpose()?;
        let mut channels = self.connection.prepare("SELECT channel_id, state FROM channels")?;
        let channels = channels
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut states = HashMap::new();
        for channel in channels {
            let (id, state) = channel?;
            states.insert(unreadable(ChannelId::parse(&id))?, serde_json::from_str(&state)?);
        }
        let mut messages = self.connection.prepare("SELECT body FROM messages")?;
        let messages = messages.query_map([], |row| row.get::<_, String>(0))?;
        let mut bodies = Vec::new();
        for body in messages {
            bodies.push(serde_json::from_str::<Message>(&body?)?);
        }
        let state = inbox.unwrap_or_default();
        let restored = Inbox::restored(messages_max, state, states.clone(), bodies);
        self.written = Written { inbox, channels: states, cursor: cursor.clone() };
        Ok(Resumed { cursor, inbox: restored })
    }

    #[cfg(test)]
    pub(crate) fn fail_writes(&self) {
        self.connection.pragma_update(None, "query_only", true).unwrap();
    }

    /// What was in the outbox when the store was opened.
    pub(crate) fn take_outbox(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.outbox)
    }

    /// Writes a batch, whole or not at all.
    pub(crate) fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let Batch { cursor, owner, snapshot, outbox } = batch;
        let Snapshot { changes, channels, inbox } = snapshot;
        let written = &self.written;
        let is_new =
            |(id, state): &(ChannelId, ChannelState)| written.channels.get(id) != Some(state);
        let channels: Vec<_> = channels.into_iter().filter(is_new).collect();
        let is_same = changes.is_empty() && channels.is_empty() && outbox.is_empty();
        let new_owner = owner.filter(|_| self.owner.is_none());
        let is_same = is_same && cursor == written.cursor && new_owner.is_none();
        // The time since all is in step is worth no write of its own: the next cursor brings it.
        if is_same && written.inbox.is_some() {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        for change in &changes {
            write_change(&transaction, change)?;
        }
        for (id, state) in &channels {
            write_channel(&transaction, id, state, written.channels.get(id))?;
        }
        for (key, delivery) in &outbox {
            write_delivery(&transaction, key, delivery.as_ref())?;
        }
        put_meta(&transaction, INBOX, &serde_json::to_string(&inbox)?)?;
        if let Some(cursor) = &cursor {
            put_meta(&transaction, CURSOR, cursor)?;
        }
        if let Some(owner) = &new_owner {
            put_meta(&transaction, OWNER, owner)?;
        }
        transaction.commit()?;
        self.owner = new_owner.or(self.owner.take());
        self.written.channels.extend(channels);
        (self.written.inbox, self.written.cursor) = (Some(inbox), cursor);
        Ok(())
    }
}

fn write_change(to: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Upsert(message) => {
            let thread = message.thread.map_or_else(String::new, |root| root.to_string());
            let sql = "INSERT OR REPLACE INTO messages VALUES (?1, ?2, ?3, ?4)";
            let (id, body) = (message.id.to_string(), serde_json::to_string(message)?);
            to.prepare_cached(sql)?.execute(params![
                message.channel_id.as_str(),
                thread,
                id,
                body
            ])?;
        }
        Change::ForgetThrough(channel, last) => {
            let sql = "DELETE FROM messages WHERE channel_id = ?1 AND (thread != '' OR id <= ?2)";
            to.execute(sql, params![channel.as_str(), last.to_string()])?;
        }
        Change::Restart(channel) => {
            let sql = "DELETE FROM messages WHERE channel_id = ?1";
            to.execute(sql, params![channel.as_str()])?;
        }
    }
    Ok(())
}

/// Writes a channel's state, and removes the messages that it does not have any more.
fn write_channel(
    to: &Transaction<'_>,
    id: &ChannelId,
    state: &ChannelState,
    before: Option<&ChannelState>,
) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO channels VALUES (?1, ?2)";
    let json = serde_json::to_string(state)?;
    to.prepare_cached(sql)?.execute(params![id.as_str(), json])?;
    let drop_through = |thread: &str, last: Option<Word<MessageId>>| {
        let Some(Word(last)) = last else { return Ok(0) };
        let sql = "DELETE FROM messages WHERE channel_id = ?1 AND thread = ?2 AND id <= ?3";
        to.prepare_cached(sql)?.execute(params![id.as_str(), thread, last.to_string()])
    };
    if before.is_none_or(|before| before.main.dropped != state.main.dropped) {
        drop_through("", state.main.dropped)?;
    }
    for (root, log) in &state.threads {
        let before = before.and_then(|before| before.threads.get(root));
        if before.is_none_or(|before| before.dropped != log.dropped) {
            drop_through(&root.0.to_string(), log.dropped)?;
        }
    }
    let before = before.into_iter().flat_map(|before| before.threads.keys());
    for gone in before.filter(|root| !state.threads.contains_key(root)) {
        drop_through(&gone.0.to_string(), Some(Word(MessageId::MAX)))?;
    }
    Ok(())
}

fn write_delivery(
    to: &Transaction<'_>,
    (channel, id): &Key,
    delivery: Option<&Delivery>,
) -> Result<(), StoreError> {
    let (channel, id) = (channel.as_str(), id.to_string());
    let Some(delivery) = delivery else {
        let sql = "DELETE FROM outbox WHERE channel_id = ?1 AND id = ?2";
        to.prepare_cached(sql)?.execute(params![channel, id])?;
        return Ok(());
    };
    let failed = match &delivery.state {
        DeliveryState::Failed { code } => Some(code),
        DeliveryState::Queued | DeliveryState::Accepted { .. } | DeliveryState::Archived => None,
    };
    let sql = "INSERT OR REPLACE INTO outbox VALUES (?1, ?2, ?3, ?4)";
    let text = delivery.text.as_str();
    to.prepare_cached(sql)?.execute(params![channel, id, text, failed])?;
    Ok(())
}

/// The outbox of channels that deliver first.
fn outbox(from: &Connection) -> Result<Vec<Delivery>, StoreError> {
    let mut rows = from.prepare("SELECT channel_id, id, text, failed FROM outbox")?;
    let rows = rows.query_map([], |row| {
        let words: (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((words, row.get::<_, Option<String>>(3)?))
    })?;
    let mut outbox = Vec::new();
    for row in rows {
        let ((channel, id, text), failed) = row?;
        outbox.push(Delivery {
            channel_id: unreadable(ChannelId::parse(&channel))?,
            id: unreadable(MessageId::parse(&id))?,
            text: MessageText::from_stored(text),
            state: failed.map_or(DeliveryState::Queued, |code| DeliveryState::Failed { code }),
        });
    }
    Ok(outbox)
}

fn meta(from: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(from.query_row(sql, [name], |row| row.get(0)).optional()?)
}

fn put_meta(to: &Transaction<'_>, name: &str, value: &str) -> Result<(), StoreError> {
    to.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute([name, value])?;
    Ok(())
}

fn unreadable<T, E: Error + Send + Sync + 'static>(read: Result<T, E>) -> Result<T, StoreError> {
    read.map_err(|error| StoreError::Disk(error.into()))
}

const FORMAT: i64 = 1;
const CURSOR: &str = "cursor";
const INBOX: &str = "inbox";
const OWNER: &str = "owner";
const DEVICE: &str = "device";
/// How long to wait for the last process to let go of the file.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(2);
/// `FULL`: what was told to be kept survives a power failure.
const PRAGMAS: &str =
    "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE channels (channel_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE messages (
        channel_id TEXT, thread TEXT, id TEXT, body TEXT NOT NULL,
        PRIMARY KEY (channel_id, thread, id)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (
        channel_id TEXT, id TEXT, text TEXT NOT NULL, failed TEXT, PRIMARY KEY (channel_id, id)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

#[cfg(test)]
mod tests;
