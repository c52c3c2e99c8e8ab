//! The link: one connection for all subscriptions of a process, probed, and made again by one task.
//! Step for step what `redis-bus` does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use messaging::ports::{BusError, Notice, Subscription, SubscriptionSender};
use model::limits;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};

use super::CommandError;
use super::bus::Commands;
use super::keys::What;
use super::server::{Conn, Pushed, probe_topic};
use crate::record::lock;

/// Starts the link with the first subscription, and ends it when it is dropped.
#[derive(Debug)]
pub(super) struct Subscriber {
    commands: Commands,
    probes_from: u64,
    task: OnceLock<LinkTask>,
}

#[derive(Debug)]
struct LinkTask {
    joins: mpsc::Sender<Join>,
    abort: AbortHandle,
}

#[derive(Debug)]
struct Join {
    topic: String,
    confirmed: oneshot::Sender<Result<Subscription, BusError>>,
}

/// The subscriptions of a process by topic.
type Topics = Arc<Mutex<BTreeMap<String, Vec<SubscriptionSender>>>>;

#[derive(Debug, Default)]
struct Signals {
    lost: Notify,
    heard: Notify,
}

struct Link {
    commands: Commands,
    topics: Topics,
    joins: mpsc::Receiver<Join>,
    probe: u64,
}

enum End {
    Lost,
    Unneeded,
}

impl Subscriber {
    pub(super) const fn new(commands: Commands, probes_from: u64) -> Self {
        Self { commands, probes_from, task: OnceLock::new() }
    }

    pub(super) async fn subscribe(&self, topic: String) -> Result<Subscription, BusError> {
        let task = self.task.get_or_init(|| {
            let (tx, joins) = mpsc::channel(limits::BUS_JOINS_MAX);
            let (commands, probe) = (self.commands.clone(), self.probes_from);
            let link = Link { commands, topics: Arc::default(), joins, probe };
            LinkTask { joins: tx, abort: tokio::spawn(link.run()).abort_handle() }
        });
        let (confirmed, answer) = oneshot::channel();
        let confirmation = async {
            task.joins.send(Join { topic, confirmed }).await.ok()?;
            answer.await.ok()
        };
        match timeout(limits::BUS_SUBSCRIBE_MAX, confirmation).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(BusError::Unavailable("the link's task has ended".into())),
            Err(elapsed) => Err(BusError::Unavailable(elapsed.into())),
        }
    }
}

impl Drop for LinkTask {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Link {
    async fn run(mut self) {
        let (first_wait, last_wait) = limits::BUS_RETRY;
        let mut wait = first_wait;
        loop {
            let signals = Arc::new(Signals::default());
            self.probe = self.probe.wrapping_add(1);
            if let Ok((connection, reader)) = self.establish(&signals).await {
                let since = Instant::now();
                let end = self.serve(&connection, &signals).await;
                reader.abort();
                if matches!(end, End::Unneeded) {
                    return;
                }
                if since.elapsed() > last_wait {
                    wait = first_wait;
                }
                drop(connection);
                self.tell_all(&Notice::Lost);
            }
            sleep(wait).await;
            wait = (wait * 2).min(last_wait);
        }
    }

    async fn establish(&self, signals: &Arc<Signals>) -> Result<(Conn, AbortOnDrop), CommandError> {
        let (tx, pushes) = mpsc::channel(OUTPUT_MAX);
        let redis = &self.commands.redis;
        let connection =
            redis.connect(self.commands.owner, Some(tx), limits::BUS_PROBE_WAIT).await?;
        let (topics, signals) = (Arc::clone(&self.topics), Arc::clone(signals));
        let reader = AbortOnDrop(tokio::spawn(read(pushes, topics, signals)).abort_handle());
        connection.subscribe(&[probe_topic(self.probe)]).await?;
        let names: Vec<String> = lock(&self.topics).keys().cloned().collect();
        connection.subscribe(&names).await?;
        // Who hears this reads the stream: where the name leads now, not where commands still go.
        self.commands.renew().await;
        self.tell_all(&Notice::Restored);
        Ok((connection, reader))
    }

    async fn serve(&mut self, connection: &Conn, signals: &Signals) -> End {
        let mut probes =
            interval_at(Instant::now() + limits::BUS_PROBE_EVERY, limits::BUS_PROBE_EVERY);
        probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let done = tokio::select! {
                biased;
                () = signals.lost.notified() => return End::Lost,
                _ = probes.tick() => self.probe(connection, signals).await,
                count = self.joins.recv_many(&mut batch, limits::BUS_JOINS_MAX) => {
                    if count == 0 {
                        return End::Unneeded;
                    }
                    self.admit(connection, std::mem::take(&mut batch)).await
                }
            };
            if done.is_err() {
                return End::Lost;
            }
        }
    }

    async fn admit(&self, connection: &Conn, batch: Vec<Join>) -> Result<(), CommandError> {
        let (mut waiting, mut new_topics) = (Vec::new(), Vec::new());
        for join in batch.into_iter().filter(|join| !join.confirmed.is_closed()) {
            let (tx, rx) = Subscription::channel(limits::SUBSCRIPTION_NOTICES_MAX);
            let mut topics = lock(&self.topics);
            if !topics.contains_key(&join.topic) {
                new_topics.push(join.topic.clone());
            }
            topics.entry(join.topic).or_default().push(tx);
            waiting.push((join.confirmed, rx));
        }
        let done =
            if new_topics.is_empty() { Ok(()) } else { connection.subscribe(&new_topics).await };
        for (confirmed, subscription) in waiting {
            let answer = match done {
                Ok(()) => Ok(subscription),
                Err(error) => Err(BusError::Unavailable(error.into())),
            };
            confirmed.send(answer).unwrap_or_else(drop);
        }
        done
    }

    async fn probe(&self, connection: &Conn, signals: &Signals) -> Result<(), CommandError> {
        let silent = self.take_silent();
        if !silent.is_empty() {
            connection.unsubscribe(&silent).await?;
        }
        let (answered, heard) = tokio::join!(connection.ping(), self.is_heard(signals));
        answered?;
        if heard { Ok(()) } else { Err(CommandError::Broken) }
    }

    async fn is_heard(&self, signals: &Signals) -> bool {
        let probe = What::Probe(self.probe);
        match timeout(limits::BUS_PROBE_WAIT, self.commands.write(&probe)).await {
            Ok(Ok(_)) => timeout(limits::BUS_PROBE_WAIT, signals.heard.notified()).await.is_ok(),
            // Nothing was published, so nothing is to be heard.
            Ok(Err(_)) | Err(_) => true,
        }
    }

    fn take_silent(&self) -> Vec<String> {
        let mut topics = lock(&self.topics);
        for subscriptions in topics.values_mut() {
            subscriptions.retain(|tx| !tx.is_closed());
        }
        let is_silent = |(topic, subscriptions): (&String, &Vec<SubscriptionSender>)| {
            subscriptions.is_empty().then(|| topic.clone())
        };
        let silent: Vec<String> = topics.iter().filter_map(is_silent).collect();
        topics.retain(|_, subscriptions| !subscriptions.is_empty());
        silent
    }

    fn tell_all(&self, notice: &Notice) {
        for subscriptions in lock(&self.topics).values_mut() {
            subscriptions.retain(|tx| tx.offer(notice.clone()));
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    fn abort(&self) {
        self.0.abort();
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Reads the link: decodes, offers, and waits for nothing but what is on its way.
async fn read(
    mut pushes: mpsc::Receiver<(Instant, Pushed)>,
    topics: Topics,
    signals: Arc<Signals>,
) {
    while let Some((due, pushed)) = pushes.recv().await {
        sleep_until(due).await;
        match pushed {
            Pushed::Probe => signals.heard.notify_one(),
            Pushed::Entry(topic, entry) => {
                if let Some(subscriptions) = lock(&topics).get_mut(&topic) {
                    subscriptions.retain(|tx| tx.offer(Notice::Entry(entry.clone())));
                }
            }
            Pushed::Unsubscribed(topic) => {
                let is_wanted = lock(&topics).contains_key(&topic);
                if is_wanted || topic.starts_with("probe:") {
                    signals.lost.notify_one();
                }
            }
        }
    }
    signals.lost.notify_one();
}

/// Pushes that a server keeps for a subscriber that does not read.
const OUTPUT_MAX: usize = 4_096;
