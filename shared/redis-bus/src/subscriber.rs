//! The link: one connection for all subscriptions of the process. One task opens it, probes it and
//! opens it again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};

use messaging::outage::Outage;
use messaging::ports::{BusError, Notice, Subscription};
use model::{backoff, limits};
use redis::{RedisResult, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::command::{Commands, Request};
use crate::connection::Connection;
use crate::topics::{Signals, Topics};

/// Starts the link's task with the first subscription, and stops it on drop.
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

/// A caller that waits for a confirmed subscription.
#[derive(Debug)]
struct Join {
    topics: [String; 2],
    confirmed: oneshot::Sender<Result<Subscription, BusError>>,
}

impl Subscriber {
    /// `commands` has the endpoint, and publishes the probes that the link must hear.
    pub(crate) const fn new(commands: Commands) -> Self {
        Self { commands, task: OnceLock::new() }
    }

    /// Subscribes to a workspace's two topics and waits for the confirmation. If the process is subscribed already,
    /// the new subscription may also get pushes from before this call.
    ///
    /// # Cancel safety
    /// Dropping the future drops the subscription.
    pub(crate) async fn subscribe(&self, topics: [String; 2]) -> Result<Subscription, BusError> {
        let task = self.task.get_or_init(|| LinkTask::start(self.commands.clone()));
        let (confirmed, answer) = oneshot::channel();
        let confirmation = async {
            task.joins.send(Join { topics, confirmed }).await.ok()?;
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

/// Why the link's connection is given up.
enum End {
    /// It broke or failed a probe.
    Lost(String),
    /// The bus was dropped, so nobody can subscribe any more.
    Unneeded,
}

impl Link {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let signals = Arc::new(Signals {
                lost: Notify::new(),
                heard: Notify::new(),
                probe_topic: probe_topic(),
            });
            match self.establish(&signals).await {
                Ok(connection) => {
                    let since = Instant::now();
                    match self.serve(&*connection, &signals).await {
                        End::Unneeded => return,
                        End::Lost(why) => {
                            self.log_failure(&why, "subscriptions lost");
                        }
                    }
                    // A link that breaks at once keeps its long wait.
                    if since.elapsed() > limits::BUS_RETRY.1 {
                        failures = 0;
                    }
                    // Closed first, so that no push of the old connection follows `Lost`.
                    drop(connection);
                    self.topics.notify_all(&Notice::Lost);
                }
                Err(err) => self.log_failure(&err.to_string(), "no subscriptions"),
            }
            tokio::time::sleep(backoff(limits::BUS_RETRY, failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Connects through the endpoint's name, subscribes to all topics and notifies them.
    async fn establish(&self, signals: &Arc<Signals>) -> RedisResult<Arc<dyn Connection>> {
        let (topics, heard) = (Arc::clone(&self.topics), Arc::clone(signals));
        let on_push = Box::new(move |push| topics.on_push(&push, &heard));
        let connection = self.commands.endpoint().connect_for_pushes(on_push).await?;
        subscribe(&*connection, std::slice::from_ref(&signals.probe_topic)).await?;
        subscribe(&*connection, &self.topics.names()).await?;
        // Subscribers now read the stream. They must read it where the name leads now, not where the
        // old connection for commands still leads.
        self.commands.renew().await;
        self.topics.notify_all(&Notice::Restored);
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

    async fn serve(&mut self, connection: &dyn Connection, signals: &Signals) -> End {
        let mut probes = tokio::time::interval_at(
            Instant::now() + limits::BUS_PROBE_EVERY,
            limits::BUS_PROBE_EVERY,
        );
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let done = tokio::select! {
                // In a fixed order, so that equal runs are equal. Probes come every few seconds, and
                // so do not keep callers waiting.
                biased;
                () = signals.lost.notified() => {
                    return End::Lost("connection or subscription ended".into());
                }
                _ = probes.tick() => self.probe(connection, signals).await,
                count = self.joins.recv_many(&mut batch, limits::BUS_JOINS_MAX) => {
                    if count == 0 {
                        return End::Unneeded;
                    }
                    self.admit(connection, std::mem::take(&mut batch)).await
                }
            };
            if let Err(err) = done {
                return End::Lost(err.to_string());
            }
        }
    }

    /// Subscribes for all waiting callers in one command.
    async fn admit(&self, connection: &dyn Connection, batch: Vec<Join>) -> RedisResult<()> {
        let (mut waiting, mut new_topics) = (Vec::new(), Vec::new());
        for join in batch.into_iter().filter(|join| !join.confirmed.is_closed()) {
            let (tx, rx) = Subscription::channel(limits::SUBSCRIPTION_NOTICES_MAX);
            // Added before the command, so that a push right after the confirmation finds it.
            for topic in join.topics {
                if self.topics.add(&topic, tx.clone()) {
                    new_topics.push(topic);
                }
            }
            waiting.push((join.confirmed, rx));
        }
        let done = subscribe(connection, &new_topics).await;
        for (confirmed, subscription) in waiting {
            let answer = match &done {
                Ok(()) => Ok(subscription),
                Err(err) => Err(BusError::Unavailable(err.clone().into())),
            };
            // A caller that gave up meanwhile drops the subscription with the answer.
            confirmed.send(answer).unwrap_or_else(drop);
        }
        done
    }

    /// Unsubscribes from unused topics, and checks that the link still receives what is published.
    async fn probe(&self, connection: &dyn Connection, signals: &Signals) -> RedisResult<()> {
        for some in self.topics.remove_unused().chunks(TOPICS_PER_COMMAND) {
            connection.unsubscribe(some, limits::BUS_PROBE_WAIT).await?;
        }
        // A half-open connection receives nothing and reports no error.
        let ping = redis::cmd("PING");
        let answered = connection.send(&ping, limits::BUS_PROBE_WAIT);
        let (answered, heard) = tokio::join!(answered, self.is_heard(signals));
        answered?.extract_error()?;
        if heard { Ok(()) } else { Err(std::io::Error::other("own probe not heard").into()) }
    }

    /// Publishes a probe where the endpoint's name leads now, and waits to hear it on the link. A
    /// server that was replaced, or that lost the subscription, would still answer every PING.
    async fn is_heard(&self, signals: &Signals) -> bool {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(&signals.probe_topic).arg("");
        let request = Request::of(cmd);
        let published = self.commands.query::<Value>(&request);
        match tokio::time::timeout(limits::BUS_PROBE_WAIT, published).await {
            Ok(Ok(_)) => {
                tokio::time::timeout(limits::BUS_PROBE_WAIT, signals.heard.notified()).await.is_ok()
            }
            // Nothing was published, so there is nothing to hear.
            Ok(Err(_)) | Err(_) => true,
        }
    }
}

/// Subscribes to any number of topics.
async fn subscribe(connection: &dyn Connection, topics: &[String]) -> RedisResult<()> {
    for some in topics.chunks(TOPICS_PER_COMMAND) {
        connection.subscribe(some, limits::BUS_PROBE_WAIT).await?;
    }
    Ok(())
}

/// A topic that no other link has. It must be unique, but need not be secret.
fn probe_topic() -> String {
    format!("ink:probe:{:016x}", RandomState::new().hash_one(0))
}

/// Topics in one SUBSCRIBE: a command of some 30 KB.
const TOPICS_PER_COMMAND: usize = 256;
