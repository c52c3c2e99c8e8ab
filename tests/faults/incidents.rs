//! Incidents: the stream is lost twice, or while the store is down; one incident concerns many
//! channels; clients receive messages twice.

use std::time::Duration;

use client::{Event, Source};
use model::ChannelId;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::http::{Rule, StoreFault};
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually};

use crate::fault_run::FaultRun;
use crate::figures::{ClientTraffic, figure, lost, names, strs};
use crate::random::round;

#[tokio::test(flavor = "multi_thread")]
async fn g4_after_a_stream_is_lost_twice_only_new_messages_are_delivered() {
    let mut run = FaultRun::start(4).await;
    for _ in 0..STORED {
        run.say().await;
    }
    run.settle("B messages before the first loss", SOON).await;
    let mut frames = Vec::new();
    for round in ["first", "second"] {
        // The relay must be done, or what it publishes after the loss would be counted, too.
        let stored = run.people[0].texts(&run.channel).len() as u64;
        eventually("the relay has seen all", SOON, async || {
            run.proxied.cluster.stack.relay().counts().relayed >= stored
        })
        .await;
        let before = pushed(&run.people, &run.channel);
        run.fault("FLUSHALL");
        run.redis.command(&["FLUSHALL"]);
        run.healed("FLUSHALL");
        let new = format!("after the {round} loss");
        run.speaker.says(&run.channel, &new).await.unwrap();
        for person in &run.people {
            person.hears(&run.channel, &new).await;
        }
        whole_again(&run.proxied).await;
        // A socket's frames are in order: this one arrives after everything that the repair pushed.
        let last = format!("the last of the {round} round");
        run.speaker.says(&run.channel, &last).await.unwrap();
        for person in &run.people {
            person.hears(&run.channel, &last).await;
        }
        let after = pushed(&run.people, &run.channel);
        let most = before.iter().zip(&after).map(|(before, after)| after - before - 1).max();
        frames.push(most.unwrap());
    }
    run.settle("B two losses of the stream", SOON).await;
    figure!(
        "B {STORED} messages stored, the stream lost twice, a new message each time: at most {} and \
         {} frames at one socket (bar 1 and 1)",
        frames[0],
        frames[1]
    );
    assert_eq!(frames, [1, 1]);
}

/// Messages pushed to each person.
fn pushed(people: &[Person], channel: &ChannelId) -> Vec<usize> {
    let is = |event: &Event| {
        matches!(event, Event::Message { message, source: Source::Pushed, .. }
            if message.channel_id == *channel)
    };
    people.iter().map(|person| person.count(is)).collect()
}

/// Waits until no node repairs a workspace any more.
async fn whole_again(proxied: &ProxiedCluster) {
    eventually("all nodes are whole again", SOON, async || {
        let mut stale = 0;
        for node in &proxied.nodes {
            stale += node.process.metric("inkwire_workspaces_stale").await;
        }
        stale == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_stream_that_is_lost_while_the_store_is_down_closes_no_socket() {
    let mut run = FaultRun::start(8).await;
    for away in [2, 30] {
        stream_and_store_away(&mut run, Duration::from_secs(away)).await;
    }
}

async fn stream_and_store_away(run: &mut FaultRun, away: Duration) {
    let before = lost(&run.people);
    let kind = "the stream is lost, and nodes reach no store";
    run.fault(kind);
    run.proxied.node_store.set(vec![Rule::all(StoreFault::Refuse)]);
    run.redis.command(&["FLUSHALL"]);
    run.talk_for(away).await;
    run.proxied.node_store.set(Vec::new());
    run.healed(kind);
    run.talk(5).await;
    let closed = lost(&run.people) - before;
    run.settle(&format!("C stream lost, store down for {away:?}"), SOON * 2).await;
    figure!("C stream lost, store down for {away:?}: {closed} of 8 sockets closed (bar 0)");
    assert_eq!(closed, 0, "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_an_outage_that_concerns_eight_channels_causes_one_resync_a_socket() {
    let redis = RedisServer::start(Flavor::Redis);
    let proxied = ProxiedCluster::start(Plan::on(redis.port())).await;
    let names = names(6);
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(proxied.group(&strs(&names)).await);
    }
    let people = proxied.people(&strs(&names)).await;
    let speaker = proxied.sender(&names[0]);
    proxied.recorder.fault("nodes reach no store");
    proxied.node_store.set(vec![Rule::all(StoreFault::Silent)]);
    let end = tokio::time::Instant::now() + Duration::from_secs(12);
    let mut said = 0;
    while tokio::time::Instant::now() < end {
        for channel in &channels {
            speaker.says(channel, &format!("{said} in the outage")).await;
        }
        said += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    proxied.node_store.set(Vec::new());
    proxied.recorder.healed("nodes reach no store");
    let closed = lost(&people);
    let verdict = proxied.judged(&people, SOON * 2, 1).await;
    figure!(
        "D 8 channels without a view, the store silent for 12 s: {} resyncs in all, at most {} at one \
         client (bar 1), {closed} sockets closed (bar 0); {verdict}",
        verdict.resyncs,
        verdict.resyncs_most
    );
    assert!(verdict.holds(), "{verdict}");
    assert_eq!(closed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_messages_pushed_under_faults_are_duplicates() {
    known(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_few_messages_received_in_ten_minutes_of_faults_are_duplicates() {
    let traffic = known(Duration::from_secs(600)).await;
    assert!(traffic.read > 0, "no client had a gap: {traffic}");
    assert!(traffic.read_again_share() <= 0.30, "{traffic}");
}

/// Random faults for some time. Returns what clients received. Few clients have gaps within a
/// minute, so only the long run judges the messages that they read.
async fn known(time: Duration) -> ClientTraffic {
    let (verdict, traffic) = round(SEED, time, SENDERS).await;
    figure!("random faults for {time:?}: {traffic}; bars 5 % and 30 %; {verdict}");
    assert!(traffic.pushed_again_share() <= 0.05, "{traffic}");
    traffic
}

const STORED: usize = 300;
const SEED: u64 = 11;
/// Fewer than in the random run: this measures what clients receive, not an overload.
const SENDERS: usize = 8;
