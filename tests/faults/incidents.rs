//! Incidents: the stream is lost twice, or while the store is down; one incident concerns many
//! channels; clients receive messages twice.

use std::time::Duration;

use client::{Event, Source};
use model::ChannelId;
use tests::person::Person;
use tests::proxy::http::{Rule, StoreFault};
use tests::redis::{Flavor, RedisServer};
use tests::scene::{Plan, Scene};
use tests::{SOON, eventually};

use crate::figures::{Wire, figure, lost, names, strs};
use crate::random::round;
use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_stream_that_is_lost_twice_brings_only_what_is_new() {
    let mut stage = Stage::start(4).await;
    for _ in 0..STORED {
        stage.say().await;
    }
    stage.settle("B messages before the first loss", SOON).await;
    let mut frames = Vec::new();
    for round in ["first", "second"] {
        // The relay must be done, or what it publishes after the loss would be counted, too.
        let stored = stage.people[0].texts(&stage.channel).len() as u64;
        eventually("the relay has seen all", SOON, async || {
            stage.scene.cluster.stack.relay().counts().relayed >= stored
        })
        .await;
        let before = pushed(&stage.people, &stage.channel);
        stage.fault("FLUSHALL");
        stage.redis.command(&["FLUSHALL"]);
        stage.healed("FLUSHALL");
        let new = format!("after the {round} loss");
        stage.speaker.says(&stage.channel, &new).await.unwrap();
        for person in &stage.people {
            person.hears(&stage.channel, &new).await;
        }
        whole_again(&stage.scene).await;
        // A socket's frames are in order: this one arrives after everything that the repair pushed.
        let last = format!("the last of the {round} round");
        stage.speaker.says(&stage.channel, &last).await.unwrap();
        for person in &stage.people {
            person.hears(&stage.channel, &last).await;
        }
        let after = pushed(&stage.people, &stage.channel);
        let most = before.iter().zip(&after).map(|(before, after)| after - before - 1).max();
        frames.push(most.unwrap());
    }
    stage.settle("B two losses of the stream", SOON).await;
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
async fn whole_again(scene: &Scene) {
    eventually("all nodes are whole again", SOON, async || {
        let mut stale = 0;
        for node in &scene.nodes {
            stale += node.process.metric("inkwire_workspaces_stale").await;
        }
        stale == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_stream_that_is_lost_while_the_store_is_away_closes_no_socket() {
    let mut stage = Stage::start(8).await;
    for away in [2, 30] {
        stream_and_store_away(&mut stage, Duration::from_secs(away)).await;
    }
}

async fn stream_and_store_away(stage: &mut Stage, away: Duration) {
    let before = lost(&stage.people);
    let kind = "the stream is lost, and nodes reach no store";
    stage.fault(kind);
    stage.scene.node_store.set(vec![Rule::all(StoreFault::Refuse)]);
    stage.redis.command(&["FLUSHALL"]);
    stage.talk_for(away).await;
    stage.scene.node_store.set(Vec::new());
    stage.healed(kind);
    stage.talk(5).await;
    let closed = lost(&stage.people) - before;
    stage.settle(&format!("C stream lost, store away for {away:?}"), SOON * 2).await;
    figure!("C stream lost, store away for {away:?}: {closed} of 8 sockets closed (bar 0)");
    assert_eq!(closed, 0, "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_an_outage_that_concerns_eight_channels_tells_a_socket_once() {
    let redis = RedisServer::start(Flavor::Redis);
    let scene = Scene::start(Plan::on(redis.port())).await;
    let names = names(6);
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(scene.group(&strs(&names)).await);
    }
    let people = scene.people(&strs(&names)).await;
    let speaker = scene.sender(&names[0]);
    scene.recorder.fault("nodes reach no store");
    scene.node_store.set(vec![Rule::all(StoreFault::Silent)]);
    let end = tokio::time::Instant::now() + Duration::from_secs(12);
    let mut said = 0;
    while tokio::time::Instant::now() < end {
        for channel in &channels {
            speaker.says(channel, &format!("{said} in the outage")).await;
        }
        said += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scene.node_store.set(Vec::new());
    scene.recorder.healed("nodes reach no store");
    let closed = lost(&people);
    let verdict = scene.judged(&people, SOON * 2, 1).await;
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
async fn little_of_what_clients_are_pushed_under_faults_is_known_to_them() {
    known(Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_little_of_what_clients_get_in_ten_minutes_of_faults_is_known_to_them() {
    let wire = known(Duration::from_secs(600)).await;
    assert!(wire.read > 0, "no client had a gap: {wire}");
    assert!(wire.read_again_share() <= 0.30, "{wire}");
}

/// Random faults for some time. Returns what clients received. Few clients have gaps within a
/// minute, so only the long run judges the messages that they read.
async fn known(time: Duration) -> Wire {
    let (verdict, wire) = round(SEED, time, SENDERS).await;
    figure!("random faults for {time:?}: {wire}; bars 5 % and 30 %; {verdict}");
    assert!(wire.pushed_again_share() <= 0.05, "{wire}");
    wire
}

const STORED: usize = 300;
const SEED: u64 = 11;
/// Fewer than in the random run: this measures what clients receive, not an overload.
const SENDERS: usize = 8;
