//! The primary is lost, with the tail that its replica did not get (faults 11, 12).

use std::time::Duration;

use client::Event;
use model::{ChannelId, MessageId};
use tests::failover::RedisPair;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::tcp::{Fault, Flow, Scope};
use tests::record::Sender;
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::figures::{complete_at, figure, names, strs};

/// How the primary is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Its process is killed: connections break.
    Broken,
    /// It no longer answers, but no connection ends.
    HalfOpen,
    /// It lives, and one node and the senders still reach it, while the other node's name leads to
    /// the new primary. Soon it is demoted to a replica, without breaking connections.
    Demoted,
    /// The same, but it remains a primary.
    Isolated,
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_primary_that_dies_before_replicating_loses_nothing() {
    lost_primary(Loss::Broken, 0, Duration::from_secs(5) + SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_primary_that_stops_answering_before_replicating_loses_nothing() {
    lost_primary(Loss::HalfOpen, 0, Duration::from_secs(12) + SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_primary_that_is_replaced_while_some_still_reach_it_loses_nothing() {
    lost_primary(Loss::Demoted, 1, Duration::from_secs(35) + SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_lost_primary_costs_no_more_than_its_bar() {
    // If the old primary still answers, the relay must know that it should have a replica.
    // Otherwise it need not.
    let bars = [
        (Loss::Broken, 0, 5),
        (Loss::Broken, 1, 5),
        (Loss::HalfOpen, 0, 12),
        (Loss::HalfOpen, 1, 12),
        (Loss::Demoted, 1, 35),
        (Loss::Isolated, 1, 35),
    ];
    for (loss, replicas, bar) in bars {
        for _ in 0..3 {
            lost_primary(loss, replicas, Duration::from_secs(bar)).await;
        }
    }
}

/// Acknowledged messages, with the time of their 200.
type Sent = Vec<(MessageId, Instant)>;

async fn talk(
    sender: &Sender,
    channel: &ChannelId,
    what: &str,
    count: usize,
    pace: Duration,
) -> Sent {
    let mut sent = Vec::new();
    for n in 0..count {
        let id = sender.says(channel, &format!("{what} {n}")).await;
        sent.extend(id.map(|id| (id, Instant::now())));
        tokio::time::sleep(pace).await;
    }
    assert_eq!(sent.len(), count, "every send is answered 2xx, whatever Redis does");
    sent
}

async fn lost_primary(loss: Loss, replicas: u32, bar: Duration) {
    let mut pair = RedisPair::start().await;
    let lives = matches!(loss, Loss::Demoted | Loss::Isolated);
    let mut proxied = ProxiedCluster::start(Plan { replicas, ..Plan::on(pair.old.port()) }).await;
    let names = names(10);
    let channel = proxied.group(&strs(&names)).await;
    let people = proxied.people(&strs(&names)).await;
    let alice = proxied.sender(&names[0]);

    let mut sent = talk(&alice, &channel, "safe", 20, MOMENT).await;
    let relay = proxied.cluster.stack.relay().clone();
    eventually("they are relayed", SOON, async || relay.counts().relayed >= 20).await;
    pair.in_step().await;

    // The tail exists only on the old primary. One node receives it, the other does not, and no
    // replica acknowledges it to the relay.
    pair.stop_replication();
    let deaf = Fault { down: Flow::Hold, scope: Scope::Subscribers, ..Fault::NONE };
    proxied.nodes[1].bus.set(deaf);
    proxied.recorder.fault("failover");
    sent.extend(talk(&alice, &channel, "tail", 20, MOMENT).await);
    let (old, new) = pair.entries("w");
    assert!(old >= new + 20, "a tail was lost: {old} entries against {new}");
    lose(loss, &mut pair, &proxied);
    sent.extend(talk(&alice, &channel, "meanwhile", 5, MOMENT).await);
    pair.promote().await;
    proxied.switch_name(pair.new.port());
    if lives {
        proxied.nodes[1].bus.reset_all();
    }
    proxied.nodes[1].bus.set(Fault::NONE);
    let promoted = Instant::now();
    proxied.recorder.healed("failover");
    let before = sent.len();
    sent.extend(talk(&alice, &channel, "after", 20, MOMENT).await);
    if loss == Loss::Demoted {
        // Its subscribers stay connected and do not notice.
        pair.demote_old();
    }
    if lives {
        // Longer than any connection is kept.
        let (count, pace) = if loss == Loss::Demoted { (20, MOMENT) } else { (64, MOMENT * 25) };
        sent.extend(talk(&alice, &channel, "and on", count, pace).await);
    }

    let verdict = proxied.settled(&people, bar).await;
    let ids: Vec<MessageId> = sent[..before].iter().map(|(id, _)| *id).collect();
    let complete = complete_at(&people, &ids).unwrap_or(promoted);
    let slowest = slowest(&people, &sent, promoted);
    let took = complete.saturating_duration_since(promoted);
    let resyncs = proxied.recorder.resyncs();
    figure!(
        "failover, {loss:?}, {replicas} replicas configured: all {} clients complete {took:.1?} after the promotion, and have what came later within {slowest:.1?} (bar {bar:?}), {} entries lost with the old primary, {resyncs} resyncs; {verdict}",
        people.len(),
        old - new
    );
    still_works(&proxied, &people, &channel, &alice).await;
}

/// How long the slowest message took to the last client, from its 200 or the promotion.
fn slowest(people: &[Person], sent: &Sent, promoted: Instant) -> Duration {
    let late = |person: &Person, (id, acked): &(MessageId, Instant)| {
        Some(person.reached_at(*id)?.saturating_duration_since((*acked).max(promoted)))
    };
    let all = people.iter().flat_map(|person| sent.iter().filter_map(|one| late(person, one)));
    all.max().unwrap_or_default()
}

fn lose(loss: Loss, pair: &mut RedisPair, proxied: &ProxiedCluster) {
    match loss {
        Loss::Broken => pair.old.kill(),
        Loss::HalfOpen => proxied.buses().for_each(tests::proxy::tcp::TcpProxy::lose_all),
        Loss::Demoted | Loss::Isolated => {}
    }
}

/// Sends one more message and waits until all have it.
async fn still_works(
    proxied: &ProxiedCluster,
    people: &[Person],
    channel: &ChannelId,
    sender: &Sender,
) {
    sender.says(channel, "after the failover").await;
    for person in people {
        person.hears(channel, "after the failover").await;
    }
    let lost = |person: &Person| person.count(|event| matches!(event, Event::Disconnected { .. }));
    let lost: usize = people.iter().map(lost).sum();
    assert_eq!(lost, 0, "no socket was closed");
    assert_eq!(proxied.nodes.len(), 2);
}

const MOMENT: Duration = Duration::from_millis(20);
const SLACK: Duration = Duration::from_secs(15);
