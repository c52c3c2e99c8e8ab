//! The link: one connection for all subscriptions of the process, kept up by one task.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use messaging::outage::Outage;
use messaging::ports::{BusError, Notice, Subscription};
use model::limits;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::command::{Commands, Request};
use crate::topics::{Signals, Topics};

/// Starts the link's task with the first subscription, and ends it when it is dropped.
#[derive(Debug)]
pub(crate) struct Subscriber {
    commands: Commands,
    task: OnceLock<LinkTask>,
}

#[derive(Debug)]
struct LinkTask {
    joins: mpsc::Sender<Join>,
    abort: AbortHandle,
}

/// Somebody who waits for a confirmed subscription.
#[derive(Debug)]
struct Join {
    topic: String,
    confirmed: oneshot::Sender<Result<Subscription, BusError>>,
}

impl Subscriber {
    /// `commands` tell where Redis is, and send the probes that the link must hear.
    pub(crate) const fn new(commands: Commands) -> Self {
        Self { commands, task: OnceLock::new() }
    }

    /// Subscribes to a topic and waits for the confirmation. Where the process is subscribed
    /// already, pushes that are on their way at this moment may come in too.
    ///
    /// # Cancel safety
    /// Dropping the future drops the subscription.
    pub(crate) async fn subscribe(&self, topic: String) -> Result<Subscription, BusError> {
        let task = self.task.get_or_init(|| LinkTask::start(self.commands.clone()));
        let (confirmed, answer) = oneshot::channel();
        let confirmation = async {
            task.joins.send(Join { topic, confirmed }).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(limits::BUS_SUBSCRIBE_MAX, confirmation).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(BusError::Unavailable("the link's task has ended".into())),
            Err(elapsed) => Err(BusError::Unavailable(elapsed.into())),
        }
    }
}

impl LinkTask {
    fn start(commands: Commands) -> Self {
        let (tx, rx) = mpsc::channel(limits::BUS_JOINS_MAX);
        let (topics, outage) = (Arc::default(), Outage::default());
        let link = Link { commands, topics, joins: rx, outage };
        let abort = tokio::spawn(link.run()).abort_handle();
        Self { joins: tx, abort }
    }
}

impl Drop for LinkTask {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

struct Link {
    commands: Commands,
    topics: Arc<Topics>,
    joins: mpsc::Receiver<Join>,
    outage: Outage,
}

/// Why a connection is no longer served.
enum End {
    /// It broke, or no longer does what it should.
    Lost(String),
    /// Nobody can subscribe any more.
    Unneeded,
}

impl Link {
    async fn run(mut self) {
        let (first_wait, last_wait) = limits::BUS_RETRY;
        let mut wait = first_wait;
        loop {
            let signals = Arc::new(Signals {
                lost: Notify::new(),
                heard: Notify::new(),
                probe_topic: probe_topic(),
            });
            match self.establish(&signals).await {
                Ok(mut connection) => {
                    let since = Instant::now();
                    match self.serve(&mut connection, &signals).await {
                        End::Unneeded => return,
                        End::Lost(why) => {
                            self.log_failure(&why, "subscriptions lost");
                        }
                    }
                    // A link that breaks as soon as it is made is no reason to hurry.
                    if since.elapsed() > last_wait {
                        wait = first_wait;
                    }
                    // Gone before it is told: no push of the old connection follows `Lost`.
                    drop(connection);
                    self.topics.tell_all(&Notice::Lost);
                }
                Err(err) => self.log_failure(&err.to_string(), "no subscriptions"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(last_wait);
        }
    }

    /// Connects through the endpoint's name, subscribes to all topics and tells it.
    async fn establish(
        &mut self,
        signals: &Arc<Signals>,
    ) -> Result<MultiplexedConnection, RedisError> {
        let (topics, told) = (Arc::clone(&self.topics), Arc::clone(signals));
        let on_push = move |push| topics.on_push(&push, &told);
        let mut connection = self.commands.endpoint().connect_pushed(on_push).await?;
        connection.set_response_timeout(limits::BUS_PROBE_WAIT);
        connection.subscribe(&signals.probe_topic).await?;
        for some in self.topics.names().chunks(TOPICS_PER_COMMAND) {
            connection.subscribe(some).await?;
        }
        // Who hears this reads the stream: where the name leads now, not where commands still go.
        self.commands.renew().await;
        self.topics.tell_all(&Notice::Restored);
        if let Some(over) = self.outage.succeeded(Instant::now()) {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            let redis = self.commands.endpoint();
            info!(%redis, failures, lasted_ms, "subscriptions restored");
        }
        Ok(connection)
    }

    fn log_failure(&self, cause: &str, what: &'static str) {
        if let Some(failing) = self.outage.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            warn!(redis = %self.commands.endpoint(), failures, lasting_ms, cause, "{what}");
        }
    }

    async fn serve(&mut self, connection: &mut MultiplexedConnection, signals: &Signals) -> End {
        let mut probes = tokio::time::interval_at(
            Instant::now() + limits::BUS_PROBE_EVERY,
            limits::BUS_PROBE_EVERY,
        );
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let done = tokio::select! {
                () = signals.lost.notified() => {
                    return End::Lost("connection or subscription ended".into());
                }
                count = self.joins.recv_many(&mut batch, TOPICS_PER_COMMAND) => {
                    if count == 0 {
                        return End::Unneeded;
                    }
                    self.admit(connection, std::mem::take(&mut batch)).await
                }
                _ = probes.tick() => self.probe(connection, signals).await,
            };
            if let Err(err) = done {
                return End::Lost(err.to_string());
            }
        }
    }

    /// Subscribes for all who asked meanwhile, in one command.
    async fn admit(
        &self,
        connection: &mut MultiplexedConnection,
        batch: Vec<Join>,
    ) -> Result<(), RedisError> {
        let (mut waiting, mut new_topics) = (Vec::new(), Vec::new());
        for join in batch.into_iter().filter(|join| !join.confirmed.is_closed()) {
            let (tx, rx) = Subscription::channel(limits::SUBSCRIPTION_NOTICES_MAX);
            // Before the command: a push right behind the confirmation must find it.
            if self.topics.add(&join.topic, tx) {
                new_topics.push(join.topic);
            }
            waiting.push((join.confirmed, rx));
        }
        let done =
            if new_topics.is_empty() { Ok(()) } else { connection.subscribe(&new_topics).await };
        for (confirmed, subscription) in waiting {
            let answer = match &done {
                Ok(()) => Ok(subscription),
                Err(err) => Err(BusError::Unavailable(err.clone().into())),
            };
            // Who stopped waiting drops the subscription with the answer.
            confirmed.send(answer).unwrap_or_else(drop);
        }
        done
    }

    /// Unsubscribes from what nobody listens to, and makes sure that the link still does its work.
    async fn probe(
        &self,
        connection: &mut MultiplexedConnection,
        signals: &Signals,
    ) -> Result<(), RedisError> {
        for some in self.topics.take_silent().chunks(TOPICS_PER_COMMAND) {
            connection.unsubscribe(some).await?;
        }
        // A link that is open on this side only sends nothing and reports nothing.
        let ping = redis::cmd("PING");
        let answered = ping.query_async::<redis::Value>(connection);
        let (answered, heard) = tokio::join!(answered, self.is_heard(signals));
        answered?;
        if heard { Ok(()) } else { Err(std::io::Error::other("own probe not heard").into()) }
    }

    /// Publishes where the endpoint's name leads now, and waits to hear it over the link: one to a
    /// server that was replaced, or that forgot the subscription, would answer every PING.
    async fn is_heard(&self, signals: &Signals) -> bool {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(&signals.probe_topic).arg("");
        let request = Request::of(cmd);
        let published = self.commands.query::<redis::Value>(&request);
        match tokio::time::timeout(limits::BUS_PROBE_WAIT, published).await {
            Ok(Ok(_)) => {
                tokio::time::timeout(limits::BUS_PROBE_WAIT, signals.heard.notified()).await.is_ok()
            }
            // Nothing was published, so nothing is to be heard.
            Ok(Err(_)) | Err(_) => true,
        }
    }
}

/// A topic that no other link has. It need not be secret, only its own.
fn probe_topic() -> String {
    format!("ink:probe:{:016x}", RandomState::new().hash_one(0))
}

/// Topics of one SUBSCRIBE: some 30 KB of command.
const TOPICS_PER_COMMAND: usize = 256;
