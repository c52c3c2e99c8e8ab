//! The setting of most fault tests: one Redis, two nodes, some people in one channel.

use std::time::Duration;

use checker::Verdict;
use model::{ChannelId, MessageId};
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::record::Sender;
use tests::redis::{Flavor, RedisServer};
use tokio::time::Instant;

use crate::figures::{figure, names, strs};

/// A proxied cluster with people in one channel, of whom the first one sends. The checker judges
/// what they received.
pub(crate) struct FaultRun {
    pub(crate) redis: RedisServer,
    pub(crate) proxied: ProxiedCluster,
    pub(crate) names: Vec<String>,
    pub(crate) channel: ChannelId,
    pub(crate) people: Vec<Person>,
    pub(crate) speaker: Sender,
    pub(crate) acknowledged: Vec<(MessageId, Instant)>,
    healed_at: Instant,
    said: usize,
}

impl FaultRun {
    pub(crate) async fn start(people: usize) -> Self {
        Self::with_nodes(people, 2).await
    }

    pub(crate) async fn with_nodes(people: usize, nodes: usize) -> Self {
        Self::of(people, |plan| Plan { nodes, ..plan }).await
    }

    pub(crate) async fn of(people: usize, plan: impl FnOnce(Plan) -> Plan) -> Self {
        let redis = RedisServer::start(Flavor::Redis);
        let proxied = ProxiedCluster::start(plan(Plan::on(redis.port()))).await;
        let names = names(people);
        let channel = proxied.group(&strs(&names)).await;
        let speaker = proxied.sender(&names[0]);
        let people = proxied.people(&strs(&names)).await;
        let (acknowledged, healed_at, said) = (Vec::new(), Instant::now(), 0);
        let mut run =
            Self { redis, proxied, names, channel, people, speaker, acknowledged, healed_at, said };
        run.talk(5).await;
        run
    }

    /// Sends `count` messages, with a short pause after each.
    pub(crate) async fn talk(&mut self, count: usize) {
        for _ in 0..count {
            self.say().await;
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Sends messages until the time is over.
    pub(crate) async fn talk_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.talk(1).await;
        }
    }

    /// Sends one message. Returns `None` if it may not have been stored.
    pub(crate) async fn say(&mut self) -> Option<MessageId> {
        self.say_long(0).await
    }

    /// The same, with a text that is `bytes` longer.
    pub(crate) async fn say_long(&mut self, bytes: usize) -> Option<MessageId> {
        self.said += 1;
        let text = format!("message {} {}", self.said, "x".repeat(bytes));
        let id = self.speaker.says(&self.channel, &text).await;
        self.acknowledged.extend(id.map(|id| (id, Instant::now())));
        id
    }

    pub(crate) fn fault(&self, kind: &str) {
        self.proxied.recorder.fault(kind);
    }

    pub(crate) fn healed(&mut self, kind: &str) {
        self.proxied.recorder.healed(kind);
        self.healed_at = Instant::now();
    }

    /// Injects a fault for some time, while messages are sent.
    pub(crate) async fn during(
        &mut self,
        kind: &str,
        time: Duration,
        begin: impl FnOnce(&mut Self),
        end: impl FnOnce(&mut Self),
    ) {
        self.fault(kind);
        begin(self);
        self.talk_for(time).await;
        end(self);
        self.healed(kind);
        self.talk(2).await;
    }

    /// Waits until every person has every message, and prints the verdict.
    pub(crate) async fn settle(&self, what: &str, within: Duration) -> Verdict {
        let verdict = self.proxied.settled(&self.people, within).await;
        figure!(
            "{what}: the slowest message arrived {:.1?} after its 200 and the fault's end (bar \
             {within:?}); {verdict}",
            self.slowest()
        );
        verdict
    }

    /// How long the slowest message took to the last person, from its 200 or the fault's end.
    pub(crate) fn slowest(&self) -> Duration {
        let late = |person: &Person, (id, acked): &(MessageId, Instant)| {
            let reached = person.reached_at(*id)?;
            Some(reached.saturating_duration_since((*acked).max(self.healed_at)))
        };
        let all = self.people.iter();
        all.flat_map(|person| self.acknowledged.iter().filter_map(|one| late(person, one)))
            .max()
            .unwrap_or_default()
    }
}

const MOMENT: Duration = Duration::from_millis(20);
