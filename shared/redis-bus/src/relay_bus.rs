//! The relay's connection: never shared, and given up as soon as it is doubtful.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{BatchResult, BusError, RelayBus, Replication, Routed};
use model::limits;
use redis::RedisResult;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::bus::{ALREADY, PUBLISH_TEXT, bus_error, publish_cmd};
use crate::command::{is_doubtful, is_unknown_script};
use crate::endpoint::{Endpoint, EndpointError};
use crate::link::{self, Link};
use crate::reply;

/// The relay's way to Redis or Valkey. One batch at a time; clones share the connection.
#[derive(Debug, Clone)]
pub struct RedisRelayBus {
    endpoint: Endpoint,
    replicas_configured: u32,
    slot: Arc<Mutex<Option<Link>>>,
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

    /// Waits until a replica has everything up to now.
    async fn await_replica(&self, link: &Link) -> RedisResult<Replication> {
        if link::attached(link.pipeline(link::marker(MARKER_KEY)).await?)? == 0 {
            let none_expected = self.replicas_configured == 0;
            return Ok(if none_expected { Replication::Single } else { Replication::Absent });
        }
        let is_there = link.wait(limits::REPLICA_WAIT_MAX).await?;
        Ok(if is_there { Replication::Acknowledged } else { Replication::Lagging })
    }
}

#[async_trait]
impl RelayBus for RedisRelayBus {
    async fn publish_batch(&self, batch: &[Routed]) -> Result<BatchResult, BusError> {
        let mut slot = self.slot.lock().await;
        // Taken out, so that a dropped future leaves no doubtful connection behind.
        let link = match slot.take().filter(Link::is_fresh) {
            Some(link) => link,
            None => Link::open(&self.endpoint, &[PUBLISH_TEXT]).await.map_err(bus_error)?,
        };
        let result = self.run(&link, batch).await?;
        if matches!(result.replication, Replication::Acknowledged | Replication::Single) {
            *slot = Some(link);
        }
        Ok(result)
    }
}

const MARKER_KEY: &str = "{ink:relay}:marker";
