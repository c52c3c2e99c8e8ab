//! A connection of one's own: never shared, and given up as soon as it is doubtful. Whoever must know
//! that a replica has what was written needs one, since `WAIT` holds up its connection.

use std::sync::Arc;
use std::time::Duration;

use model::limits;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::connection::{self, Connection};
use crate::endpoint::Endpoint;
use crate::reply;

/// A connection to a server that has loaded some scripts.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Arc<dyn Connection>,
    opened_at: Instant,
}

impl Link {
    /// Opens a connection and loads these scripts.
    pub(crate) async fn open(endpoint: &Endpoint, scripts: &[&str]) -> RedisResult<Self> {
        let connection = endpoint.connect().await?;
        for text in scripts {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(text);
            connection::query::<Value>(&*connection, &load).await?;
        }
        Ok(Self { connection, opened_at: Instant::now() })
    }

    /// Whether it is young enough: the endpoint's name may lead elsewhere by now.
    pub(crate) fn is_fresh(&self) -> bool {
        self.opened_at.elapsed() < limits::BUS_CONNECTION_AGE_MAX
    }

    /// Sends commands together. Each has its own answer, which may be an error.
    pub(crate) async fn pipeline(
        &self,
        cmds: impl IntoIterator<Item = Cmd>,
    ) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::new();
        for cmd in cmds {
            pipeline.add_command(cmd);
        }
        self.connection.send_all(&pipeline, limits::BUS_RESPONSE_MAX).await
    }

    /// Waits until a replica has everything that was written up to the last [`marker`].
    pub(crate) async fn wait(&self, at_most: Duration) -> RedisResult<bool> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(1).arg(at_most.as_millis().to_string());
        let answer = self.connection.send(&wait, at_most + WAIT_SLACK).await?.extract_error()?;
        Ok(reply::unsigned(&answer).is_some_and(|count| count >= 1))
    }
}

/// Writes something, and asks which replicas there are. The write is mandatory: a connection that wrote
/// nothing waits for nothing. As the latest write it is replicated after those of all connections.
pub(crate) fn marker(key: &str) -> [Cmd; 2] {
    let mut marker = redis::cmd("SET");
    marker.arg(key).arg("").arg("PX").arg(MARKER_TTL_MS);
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    [marker, info]
}

/// The number of replicas, in whatever state, from the answers to [`marker`].
pub(crate) fn attached(answers: impl IntoIterator<Item = Value>) -> RedisResult<u64> {
    let mut answers = answers.into_iter();
    answers.next().map(Value::extract_error).transpose()?;
    let info = answers.next().map(Value::extract_error).transpose()?;
    Ok(info.as_ref().and_then(reply::text).and_then(attached_in).unwrap_or(0))
}

/// The number of replicas in an `INFO` answer.
fn attached_in(info: &str) -> Option<u64> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix("connected_slaves:"))?.trim().parse().ok()
}

/// How long the answer to `WAIT` may take beyond the time that the command itself waits.
const WAIT_SLACK: Duration = Duration::from_secs(1);
/// Nothing reads a marker; it exists to be replicated.
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
