//! The model's connections, as `redis-bus` uses them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::limits;
use redis::{Client, Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value};
use redis_bus::{Connection, Connector, Endpoint, OnPush};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::command::{Command, error};
use super::server::{LATENCY, Path, Redis, State, Trouble};

/// Opens one process's connections.
#[derive(Debug)]
struct Process {
    redis: Redis,
    owner: u32,
}

/// An open connection to the server that the name led to when it was opened.
#[derive(Debug)]
struct Open {
    redis: Redis,
    id: u64,
    is_for_pushes: bool,
    reader: Option<AbortHandle>,
}

impl Redis {
    /// The server's name, as seen by the process `owner`.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the URL is well formed")]
    pub(crate) fn endpoint(&self, owner: u32) -> Endpoint {
        let endpoint = Endpoint::parse("redis://redis.sim").expect("a URL");
        endpoint.through(Arc::new(Process { redis: self.clone(), owner }))
    }
}

#[async_trait]
impl Connector for Process {
    async fn connect(
        &self,
        _client: &Client,
        on_push: Option<OnPush>,
    ) -> RedisResult<Arc<dyn Connection>> {
        let is_for_pushes = on_push.is_some();
        let reachable = async {
            sleep(LATENCY).await;
            let trouble = self.redis.lock().trouble;
            match trouble {
                _ if trouble.hangs(is_for_pushes) => std::future::pending().await,
                Trouble::Down => Err(broken()),
                Trouble::Slow(wait) => {
                    sleep(wait).await;
                    Ok(())
                }
                _ => Ok(()),
            }
        };
        timeout(limits::BUS_CONNECT_MAX, reachable).await.unwrap_or_else(|_| Err(timed_out()))?;
        let (pushes, reader) = match on_push {
            Some(on_push) => {
                let (tx, pushes) = mpsc::channel(OUTPUT_MAX);
                (Some(tx), Some(tokio::spawn(read(pushes, on_push)).abort_handle()))
            }
            None => (None, None),
        };
        let id = self.redis.lock().open(self.owner, pushes);
        Ok(Arc::new(Open { redis: self.redis.clone(), id, is_for_pushes, reader }))
    }
}

#[async_trait]
impl Connection for Open {
    async fn send(&self, cmd: &Cmd, response_max: Duration) -> RedisResult<Value> {
        let command = Command::read(cmd);
        if let Command::Wait(at_most) = command {
            let waited = timeout(response_max, self.wait_for_replica(at_most)).await;
            return waited.unwrap_or_else(|_| Err(timed_out()));
        }
        let mut answers = self.run(vec![command], response_max).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    async fn send_all(&self, cmds: &Pipeline, response_max: Duration) -> RedisResult<Vec<Value>> {
        self.run(cmds.cmd_iter().map(Command::read).collect(), response_max).await
    }

    async fn subscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()> {
        let (id, topics) = (self.id, topics.to_vec());
        self.ask(response_max, move |state| state.subscribe(id, topics)).await
    }

    async fn unsubscribe(&self, topics: &[String], response_max: Duration) -> RedisResult<()> {
        let (id, topics) = (self.id, topics.to_vec());
        self.ask(response_max, move |state| state.unsubscribe(id, &topics)).await
    }
}

impl Open {
    /// Sends commands together. A server runs some each millisecond; faults may come in between.
    async fn run(&self, commands: Vec<Command>, within: Duration) -> RedisResult<Vec<Value>> {
        let (redis, id, is_for_pushes) = (self.redis.clone(), self.id, self.is_for_pushes);
        let running = async move {
            let mut answers = Vec::new();
            for some in commands.chunks(COMMANDS_PER_MS) {
                sleep(LATENCY).await;
                redis.arrive(id, is_for_pushes).await?;
                answers.extend(some.iter().map(|command| redis.lock().run(id, command)));
            }
            redis.leave(id).await?;
            Ok(answers)
        };
        sent(running, within).await
    }

    /// Runs something that a server does at once.
    async fn ask<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> RedisResult<T> {
        let (redis, id, is_for_pushes) = (self.redis.clone(), self.id, self.is_for_pushes);
        let asking = async move {
            sleep(LATENCY).await;
            redis.arrive(id, is_for_pushes).await?;
            let answer = work(&mut redis.lock());
            redis.leave(id).await?;
            Ok(answer)
        };
        sent(asking, within).await
    }

    /// `WAIT`: returns when a replica has this connection's own writes, or when the time is over.
    async fn wait_for_replica(&self, at_most: Duration) -> RedisResult<Value> {
        let (until, id) = (Instant::now() + at_most, self.id);
        loop {
            let within = limits::BUS_RESPONSE_MAX;
            let Some(count) = self.ask(within, move |state| state.acknowledged(id)).await? else {
                return Ok(error("ERR WAIT cannot be used with replica instances"));
            };
            if count > 0 || Instant::now() >= until {
                return Ok(Value::Int(count));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.redis.lock().close(self.id);
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Redis {
    /// Waits until the server runs a command that has arrived. A server that hangs runs its
    /// commands when it wakes up, even if the client has closed the connection.
    async fn arrive(&self, id: u64, is_for_pushes: bool) -> RedisResult<()> {
        loop {
            self.pass(id).await?;
            let trouble = self.lock().trouble_of(id);
            match trouble {
                _ if trouble.hangs(is_for_pushes) => sleep(LOOK_AGAIN).await,
                Trouble::Slow(wait) => {
                    sleep(wait).await;
                    return Ok(());
                }
                Trouble::Down => return Err(broken()),
                _ => return Ok(()),
            }
        }
    }

    /// Carries an answer back.
    async fn leave(&self, id: u64) -> RedisResult<()> {
        sleep(LATENCY).await;
        self.pass(id).await
    }

    async fn pass(&self, id: u64) -> RedisResult<()> {
        let path = self.lock().path_of(id);
        match path {
            Path::Open => Ok(()),
            Path::Holed => std::future::pending().await,
            Path::Broken => Err(broken()),
        }
    }
}

/// Runs a command even if its caller gives up: what was sent cannot be taken back.
async fn sent<T: Send + 'static>(
    command: impl Future<Output = RedisResult<T>> + Send + 'static,
    response_max: Duration,
) -> RedisResult<T> {
    let (tx, answer) = oneshot::channel();
    tokio::spawn(async move {
        // The caller may have given up.
        tx.send(command.await).map_err(drop).unwrap_or_default();
    });
    match timeout(response_max, answer).await {
        Ok(answer) => answer.unwrap_or_else(|_| Err(broken())),
        Err(_) => Err(timed_out()),
    }
}

/// Reads a connection for pushes: waits until each push has arrived, then passes it on.
async fn read(mut pushes: mpsc::Receiver<(Instant, PushInfo)>, on_push: OnPush) {
    while let Some((due, push)) = pushes.recv().await {
        sleep_until(due).await;
        on_push(push);
    }
    on_push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
}

fn broken() -> redis::RedisError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn timed_out() -> redis::RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// How often a waiting command checks whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Commands of a pipeline that a server runs per millisecond.
const COMMANDS_PER_MS: usize = 16;
/// Pushes that a server keeps for a subscriber that does not read.
const OUTPUT_MAX: usize = 4_096;
