//! The relay's way to the model: its own connection, given up at the first doubt.

use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{Addressed, BusError, Published, Replay, Replayed, Replication};
use model::limits;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::CommandError;
use super::keys::What;
use super::server::{Conn, Redis};

/// Runs batches as `redis-bus` does.
#[derive(Debug)]
pub(crate) struct SimReplay {
    redis: Redis,
    owner: u32,
    slot: Mutex<Option<Link>>,
    has_marker: bool,
}

#[derive(Debug)]
struct Link {
    connection: Conn,
    opened_at: Instant,
    /// The last write of this connection itself: what `WAIT` without a marker waits for.
    own_write: u64,
}

impl SimReplay {
    /// The relay's connection in the process `owner`.
    #[must_use]
    pub(crate) fn new(redis: &Redis, owner: u32) -> Self {
        Self { redis: redis.clone(), owner, slot: Mutex::default(), has_marker: true }
    }

    /// The same without the marker before `WAIT`: planted bug 6. Where every guard stood nothing
    /// was written by this connection, and `WAIT` answers at once.
    #[must_use]
    pub(crate) fn without_marker(self) -> Self {
        Self { has_marker: false, ..self }
    }

    async fn run(&self, link: &mut Link, batch: &[Addressed]) -> Result<Replayed, BusError> {
        let (mut taken, mut appended, mut refusal) = (0, 0, None);
        for (workspace, publication) in batch {
            let what = What::Publish(workspace.clone(), publication.clone());
            match link.connection.write(what).await {
                Ok(published) => {
                    taken += 1;
                    if matches!(published, Some(Published::Appended(_))) {
                        appended += 1;
                        link.own_write = link.connection.replication().await?.1;
                    }
                }
                Err(error) if error.is_doubtful() => {
                    return Err(BusError::Unavailable(error.into()));
                }
                Err(error) => {
                    refusal = Some(error.into());
                    break;
                }
            }
        }
        let replication = self.await_replica(link).await?;
        Ok(Replayed { taken, appended, refusal, replication })
    }

    async fn await_replica(&self, link: &mut Link) -> Result<Replication, CommandError> {
        if self.has_marker {
            link.connection.write(What::Marker).await?;
            link.own_write = link.connection.replication().await?.1;
        }
        let (attached, _) = link.connection.replication().await?;
        if attached == 0 {
            return Ok(Replication::Absent);
        }
        let until = Instant::now() + limits::REPLICA_WAIT_MAX;
        while !link.connection.is_replicated(link.own_write)? {
            if Instant::now() >= until {
                return Ok(Replication::Lagging);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(Replication::Acknowledged)
    }
}

#[async_trait]
impl Replay for SimReplay {
    async fn replay(&self, batch: &[Addressed]) -> Result<Replayed, BusError> {
        let mut slot = self.slot.lock().await;
        let kept = slot.take().filter(|link| {
            link.opened_at.elapsed() < limits::BUS_CONNECTION_AGE_MAX
                && !link.connection.is_broken()
        });
        let mut link = match kept {
            Some(link) => link,
            None => Link {
                connection: self.redis.connect(self.owner, None, limits::BUS_RESPONSE_MAX).await?,
                opened_at: Instant::now(),
                own_write: 0,
            },
        };
        let replayed = self.run(&mut link, batch).await?;
        if matches!(replayed.replication, Replication::Acknowledged | Replication::Single) {
            *slot = Some(link);
        }
        Ok(replayed)
    }
}

/// How often `WAIT` looks for its acknowledgement.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
