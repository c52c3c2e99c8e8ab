//! The feeds of relay and deriver: each reads the embedded engine's stream of the messages table, as
//! Lambda reads that of DynamoDB, and passes the records to the same handler.
//!
//! It starts after the last record that was handled, which a checkpoint in the data directory
//! remembers, or at the beginning of the stream if there is no checkpoint.

mod checkpoint;

use std::sync::Arc;
use std::time::Duration;

use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use dynoxide::{Database, DynoxideError};
use messaging::derive::Deriver;
use messaging::relay::Relay;
use model::{backoff, chain, limits};
use serde_json::{Value, json};
use service::stream::{BatchResponse, EventError, sequence_number};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::stop::Stopped;

pub(crate) use checkpoint::Checkpoint;

/// Why the stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    #[error("the engine has no stream of {table}")]
    NoStream { table: String },
    #[error("cannot read the engine's stream")]
    Engine(#[from] DynoxideError),
    #[error("cannot write a record of the stream as JSON")]
    Form(#[from] serde_json::Error),
    #[error("reading the stream ended early")]
    Ended(#[from] tokio::task::JoinError),
}

/// What handles a feed's records.
#[derive(Debug, Clone)]
pub(crate) enum Handler {
    Relay(Relay),
    Derive(Deriver),
}

impl Handler {
    async fn handle(&self, event: Value) -> Result<BatchResponse, EventError> {
        match self {
            Self::Relay(relay) => relay::handle(relay.clone(), event).await,
            Self::Derive(deriver) => derive::handle(deriver.clone(), event).await,
        }
    }
}

/// Reads the single shard of a table's stream.
pub(crate) struct Feed {
    shard: Arc<Shard>,
    checkpoint: Checkpoint,
}

struct Shard {
    database: Database,
    stream_arn: String,
    shard_id: String,
}

impl Feed {
    /// Finds a table's stream. Blocks.
    ///
    /// # Errors
    /// [`FeedError`] if the table has none.
    pub(crate) fn open(
        database: Database,
        table: &str,
        mut checkpoint: Checkpoint,
    ) -> Result<Self, FeedError> {
        let no_stream = || FeedError::NoStream { table: table.to_owned() };
        let request =
            ListStreamsRequest { table_name: Some(table.to_owned()), ..Default::default() };
        let stream = database.list_streams(request)?.streams.into_iter().next();
        let stream_arn = stream.ok_or_else(no_stream)?.stream_arn;
        let request =
            DescribeStreamRequest { stream_arn: stream_arn.clone(), ..Default::default() };
        let shards = database.describe_stream(request)?.stream_description.shards;
        let shard_id = shards.into_iter().next().ok_or_else(no_stream)?.shard_id;
        let shard = Shard { database, stream_arn, shard_id };
        if checkpoint.last().is_some()
            && let Err(err) = shard.read(checkpoint.last(), 1)
        {
            warn!(cause = %chain(&err), "unusable checkpoint: starting over");
            checkpoint.forget();
        }
        Ok(Self { shard: Arc::new(shard), checkpoint })
    }

    /// Whether nothing was ever written to the stream or relayed from it. Blocks.
    pub(crate) fn is_unused(&self) -> Result<bool, FeedError> {
        Ok(self.checkpoint.last().is_none() && self.shard.read(None, 1)?.is_empty())
    }

    /// Skips to the end of the stream, so that existing records are not relayed. Blocks.
    pub(crate) fn skip(&mut self) -> Result<(), FeedError> {
        loop {
            let records = self.shard.read(self.checkpoint.last(), RECORDS_MAX)?;
            let Some(last) = records.last().and_then(sequence_number) else { return Ok(()) };
            self.checkpoint.move_to(last);
        }
    }

    /// Passes the stream to a handler until the stack stops. A batch in progress is finished first.
    pub(crate) async fn serve(mut self, handler: Handler, mut stopped: Stopped) {
        let mut held = 0_u32;
        loop {
            let begun = Instant::now();
            let step = self.step(&handler).await.unwrap_or_else(|err| {
                error!(cause = %chain(&err), "a feed of the stream failed: trying again");
                Step::Held
            });
            let wait = match step {
                // A backlog. Pause as long as the read took: other calls need the engine, too.
                Step::Relayed { read } => read.min(BACKLOG_PAUSE_MAX),
                // The engine scans all of its records on each read, so pause longer if the table
                // is large.
                Step::Nothing => POLL.max(begun.elapsed() * POLL_SHARE),
                Step::Held => backoff(limits::RELAY_RETRY, held),
            };
            held = if matches!(step, Step::Held) { held.saturating_add(1) } else { 0 };
            tokio::select! {
                biased;
                () = stopped.wait() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn step(&mut self, handler: &Handler) -> Result<Step, FeedError> {
        let (shard, after) = (Arc::clone(&self.shard), self.checkpoint.last().map(str::to_owned));
        let begun = Instant::now();
        let read = move || shard.read(after.as_deref(), RECORDS_MAX);
        let records = tokio::task::spawn_blocking(read).await??;
        let read = begun.elapsed();
        if records.is_empty() {
            return Ok(Step::Nothing);
        }
        let numbers: Vec<String> =
            records.iter().filter_map(sequence_number).map(str::to_owned).collect();
        let answer = handler.handle(json!({ "Records": records })).await;
        let held = match &answer {
            Ok(answer) => answer.failures.first().map(|held| held.sequence_number.as_str()),
            Err(err) => {
                warn!(cause = %chain(err), "a handler of the stream refused an event");
                numbers.first().map(String::as_str)
            }
        };
        let done = held.map_or(numbers.len(), |held| {
            numbers.iter().position(|number| number == held).unwrap_or(0)
        });
        if let Some(last) = done.checked_sub(1).and_then(|last| numbers.get(last)) {
            self.checkpoint.move_to(last);
        }
        Ok(if held.is_some() { Step::Held } else { Step::Relayed { read } })
    }
}

/// The outcome of one read of the stream.
enum Step {
    Nothing,
    /// All records were relayed. `read` is how long reading them took.
    Relayed {
        read: Duration,
    },
    Held,
}

impl Shard {
    /// Reads records after a sequence number (exclusive), in the form of a Lambda event. Blocks.
    fn read(&self, after: Option<&str>, limit: usize) -> Result<Vec<Value>, FeedError> {
        let kind = if after.is_some() { "AFTER_SEQUENCE_NUMBER" } else { "TRIM_HORIZON" };
        let iterator = self.database.get_shard_iterator(GetShardIteratorRequest {
            stream_arn: self.stream_arn.clone(),
            shard_id: self.shard_id.clone(),
            shard_iterator_type: kind.to_owned(),
            sequence_number: after.map(str::to_owned),
        })?;
        let Some(shard_iterator) = iterator.shard_iterator else { return Ok(Vec::new()) };
        let request = GetRecordsRequest { shard_iterator, limit: Some(limit) };
        let records = self.database.get_records(request)?.records;
        Ok(records.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }
}

/// Records per read, which is one batch of a handler. A read costs the engine the same however few
/// records it returns, so large reads clear a backlog faster.
const RECORDS_MAX: usize = limits::RELAY_BATCH_MAX;
/// The longest pause between two reads while there is a backlog.
const BACKLOG_PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often an idle stream is read.
const POLL: Duration = Duration::from_millis(150);
/// The pause after an idle read is at least this many times its duration.
const POLL_SHARE: u32 = 10;

#[cfg(test)]
mod tests;
