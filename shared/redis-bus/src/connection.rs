//! The seam between this crate and a Redis client: what a connection can do, and the implementation
//! that ships, on the crate `redis`.
//!
//! Everything above it (retries, probes, back-off, subscriptions) is the same code over the network
//! and in the simulation, which implements the two traits on a model of Redis.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::limits;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, PushInfo, RedisResult, Value,
};

/// Called with each push, and with [`redis::PushKind::Disconnection`] when the connection has ended.
/// The task that reads the socket calls it, so it must not wait.
pub type OnPush = Box<dyn Fn(PushInfo) + Send + Sync>;

/// Opens connections.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync {
    /// Opens a connection to the server of `client`, within [`limits::BUS_CONNECT_MAX`]. It resolves
    /// the server's name each time: after a failover the name leads to another server.
    ///
    /// With `on_push` the connection is for subscriptions and speaks RESP3: only there is an
    /// unsubscription reported that nobody asked for.
    ///
    /// # Errors
    /// An I/O error, or the server's refusal of the login.
    async fn connect(
        &self,
        client: &Client,
        on_push: Option<OnPush>,
    ) -> RedisResult<Arc<dyn Connection>>;
}

/// An open connection, shared by all its callers. It ends when the last reference is dropped.
///
/// A method gives up after `response_max` with an I/O error of kind `TimedOut`, and what the server
/// refuses is no error but a [`Value::ServerError`] in the answer's place.
///
/// # Cancel safety
/// Dropping the future of a method may or may not have run the command.
#[async_trait]
pub trait Connection: fmt::Debug + Send + Sync {
    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// An I/O error if the connection broke or was too slow.
    async fn send(&self, cmd: &Cmd, response_max: Duration) -> RedisResult<Value>;

    /// Sends commands together and waits for an answer to each. Others may run in between.
    ///
    /// # Errors
    /// As [`Connection::send`].
    async fn send_all(&self, cmds: &Pipeline, response_max: Duration) -> RedisResult<Vec<Value>>;

    /// Subscribes to topics and waits for every confirmation. Only for subscriptions.
    ///
    /// # Errors
    /// As [`Connection::send`], or the server's refusal.
    async fn subscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()>;

    /// Unsubscribes from topics and waits for every confirmation. Only for subscriptions.
    ///
    /// # Errors
    /// As [`Connection::send`], or the server's refusal.
    async fn unsubscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()>;
}

/// Sends a command and reads its answer; the server's refusal is an error here.
pub(crate) async fn query<T: FromRedisValue>(
    connection: &dyn Connection,
    cmd: &Cmd,
) -> RedisResult<T> {
    let answer = connection.send(cmd, limits::BUS_RESPONSE_MAX).await?.extract_error()?;
    Ok(redis::from_redis_value(answer)?)
}

/// Connects over the network.
#[derive(Debug)]
pub(crate) struct Network;

#[async_trait]
impl Connector for Network {
    async fn connect(
        &self,
        client: &Client,
        on_push: Option<OnPush>,
    ) -> RedisResult<Arc<dyn Connection>> {
        // The crate's own defaults (1 s, 500 ms) are neither the bus's nor stable between releases.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits::BUS_CONNECT_MAX))
            .set_response_timeout(Some(limits::BUS_RESPONSE_MAX));
        if let Some(on_push) = on_push {
            config = config.set_push_sender(move |push| -> Result<(), SendError> {
                on_push(push);
                Ok(())
            });
        }
        let opened = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Arc::new(Multiplexed(opened)))
    }
}

#[derive(Debug)]
struct Multiplexed(MultiplexedConnection);

impl Multiplexed {
    /// The same connection with another time-out.
    fn within(&self, response_max: Duration) -> MultiplexedConnection {
        let mut connection = self.0.clone();
        connection.set_response_timeout(response_max);
        connection
    }
}

#[async_trait]
impl Connection for Multiplexed {
    async fn send(&self, cmd: &Cmd, response_max: Duration) -> RedisResult<Value> {
        self.within(response_max).send_packed_command(cmd).await
    }

    async fn send_all(&self, cmds: &Pipeline, response_max: Duration) -> RedisResult<Vec<Value>> {
        self.within(response_max).send_packed_commands(cmds, 0, cmds.len()).await
    }

    async fn subscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()> {
        self.within(response_max).subscribe(topics).await
    }

    async fn unsubscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()> {
        self.within(response_max).unsubscribe(topics).await
    }
}
