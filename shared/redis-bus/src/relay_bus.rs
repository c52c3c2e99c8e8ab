//! The relay's connection: never shared, and given up as soon as it is doubtful.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{BatchResult, BusError, RelayBus, Replication, Routed};
use model::limits;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bus::{ALREADY, PUBLISH_TEXT, bus_error, publish_cmd};
use crate::command::{is_doubtful, is_unknown_script};
use crate::connection::{self, Connection};
use crate::endpoint::{Endpoint, EndpointError};
use crate::reply;

/// The relay's way to Redis or Valkey. One batch at a time; clones share the connection.
#[derive(Debug, Clone)]
pub struct RedisRelayBus {
    endpoint: Endpoint,
    replicas_configured: u32,
    slot: Arc<Mutex<Option<Link>>>,
}

/// A connection to a server that has loaded the script.
#[derive(Debug)]
struct Link {
    connection: Arc<dyn Connection>,
    opened_at: Instant,
}

impl RedisRelayBus {
    /// Makes it for a URL, as [`Endpoint::parse`] reads it, and for the number of replicas that the
    /// deployment gives the server. Connects to nothing yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn connect(url: &str, replicas_configured: u32) -> Result<Self, EndpointError> {
        Ok(Self::at(Endpoint::parse(url)?, replicas_configured))
    }

    /// Makes it for an endpoint. Connects to nothing yet.
    #[must_use]
    pub fn at(endpoint: Endpoint, replicas_configured: u32) -> Self {
        Self { endpoint, replicas_configured, slot: Arc::default() }
    }

    async fn run(&self, link: &Link, batch: &[Routed]) -> Result<BatchResult, BusError> {
        let (mut taken, mut appended, mut refusal) = (0, 0, None);
        let mut pause = Duration::ZERO;
        'batch: for part in batch.chunks(limits::RELAY_PIPELINE_MAX) {
            // Redis runs one command at a time: a backlog must leave time for live publications.
            tokio::time::sleep(pause).await;
            let (cmds, sent_at) =
                (part.iter().map(|(workspace, one)| publish_cmd(workspace, one)), Instant::now());
            let answers = link.pipeline(cmds).await.map_err(bus_error)?;
            pause = sent_at.elapsed().min(limits::RELAY_PAUSE_MAX);
            for answer in answers {
                match answer.extract_error() {
                    Ok(position) => {
                        taken += 1;
                        appended += usize::from(reply::text(&position) != Some(ALREADY));
                    }
                    // The connection is at fault, not the publication: repeat the whole batch on
                    // another one.
                    Err(err) if is_doubtful(&err) || is_unknown_script(&err) => {
                        return Err(BusError::Unavailable(err.into()));
                    }
                    Err(err) => {
                        refusal = Some(bus_error(err));
                        break 'batch;
                    }
                }
            }
        }
        let replication = self.await_replica(link).await.map_err(bus_error)?;
        Ok(BatchResult { taken, appended, refusal, replication })
    }

    /// Waits until a replica has everything up to now. The marker is mandatory: if every guard
    /// existed, this connection wrote nothing, and `WAIT` would answer at once. As the latest write
    /// it is replicated after those of all other connections.
    async fn await_replica(&self, link: &Link) -> RedisResult<Replication> {
        let mut marker = redis::cmd("SET");
        marker.arg(MARKER_KEY).arg("").arg("PX").arg(MARKER_TTL_MS);
        let mut info = redis::cmd("INFO");
        info.arg("replication");
        let mut answers = link.pipeline([marker, info]).await?.into_iter();
        answers.next().map(Value::extract_error).transpose()?;
        let info = answers.next().map(Value::extract_error).transpose()?;
        let attached = info.as_ref().and_then(reply::text).and_then(attached_in).unwrap_or(0);
        if attached == 0 {
            let none_expected = self.replicas_configured == 0;
            return Ok(if none_expected { Replication::Single } else { Replication::Absent });
        }
        let mut wait = redis::cmd("WAIT");
        wait.arg(1).arg(limits::REPLICA_WAIT_MAX.as_millis().to_string());
        let response_max = limits::REPLICA_WAIT_MAX + WAIT_SLACK;
        let answer = link.connection.send(&wait, response_max).await?.extract_error()?;
        let is_there = reply::unsigned(&answer).is_some_and(|count| count >= 1);
        Ok(if is_there { Replication::Acknowledged } else { Replication::Lagging })
    }
}

#[async_trait]
impl RelayBus for RedisRelayBus {
    async fn publish_batch(&self, batch: &[Routed]) -> Result<BatchResult, BusError> {
        let mut slot = self.slot.lock().await;
        // Taken out, so that a dropped future leaves no doubtful connection behind.
        let kept =
            slot.take().filter(|link| link.opened_at.elapsed() < limits::BUS_CONNECTION_AGE_MAX);
        let link = match kept {
            Some(link) => link,
            None => Link::open(&self.endpoint).await.map_err(bus_error)?,
        };
        let result = self.run(&link, batch).await?;
        if matches!(result.replication, Replication::Acknowledged | Replication::Single) {
            *slot = Some(link);
        }
        Ok(result)
    }
}

impl Link {
    async fn open(endpoint: &Endpoint) -> RedisResult<Self> {
        let connection = endpoint.connect().await?;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(PUBLISH_TEXT);
        connection::query::<Value>(&*connection, &load).await?;
        Ok(Self { connection, opened_at: Instant::now() })
    }

    /// Sends commands together. Each has its own answer, which may be an error.
    async fn pipeline(&self, cmds: impl IntoIterator<Item = Cmd>) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        for cmd in cmds {
            pipeline.add_command(cmd);
        }
        self.connection.send_all(&pipeline, limits::BUS_RESPONSE_MAX).await
    }
}

/// The number of replicas in an `INFO` answer, in whatever state they are.
fn attached_in(info: &str) -> Option<u64> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix("connected_slaves:"))?.trim().parse().ok()
}

/// How long the answer to `WAIT` may take beyond the time that the command itself waits.
const WAIT_SLACK: Duration = Duration::from_secs(1);
const MARKER_KEY: &str = "{ink:relay}:marker";
/// Nothing reads the marker; it exists to be replicated.
const MARKER_TTL_MS: u32 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_replicas_is_read_from_info() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nslave0:ip=::1\r\n";
        assert_eq!(attached_in(info), Some(2));
        for other in ["", "connected_slaves:", "connected_slaves:x", "role:slave"] {
            assert_eq!(attached_in(other), None);
        }
    }
}
