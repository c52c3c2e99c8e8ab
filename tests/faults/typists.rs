//! Thousands type in one channel (G17): its viewers get a frame a second, and messages are not late.

use std::time::Duration;

use client::{Event, View};
use futures_util::stream::{self, StreamExt as _};
use model::{LogId, limits};
use protocol::signal::Signal;
use tests::cluster::user;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::redis::{Flavor, RedisServer};
use tokio::time::{Instant, sleep_until};

use crate::figures::{figure, names};
use crate::storm::Neighbour;

#[tokio::test(flavor = "multi_thread")]
async fn g17_a_thousand_typists_are_a_frame_a_second_for_who_views_them() {
    typists(1_000, Duration::from_secs(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_ten_thousand_typists_beside_a_measured_channel() {
    typists(10_000, Duration::from_secs(10)).await;
}

/// So many users type for so long, each as often as a node passes it on.
async fn typists(count: usize, during: Duration) {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { nodes: 1, doors: false, ..Plan::on(redis.port()) };
    let proxied = ProxiedCluster::start(plan).await;
    let channel = proxied.group(&["alice", "bob"]).await;
    let viewers = [proxied.cluster.person("alice").await, proxied.cluster.person("bob").await];
    let log = LogId::from(&channel);
    for viewer in &viewers {
        viewer.client.set_view(View { logs: vec![log.clone()], users: Vec::new() });
    }
    let neighbour = Neighbour::of(&proxied).await;
    let before = neighbour.lags(during).await;
    let (app, workspace) = (proxied.cluster.stack.app(), proxied.cluster.workspace());
    let length = async || app.bus.entries(workspace, None, 100_000).await.unwrap().len();
    let length_before = length().await;
    let began = Instant::now();
    let users = names(count);
    let rounds = during.as_millis() / limits::TYPING_EVERY.as_millis() + 1;
    let sayings = (0..u32::try_from(rounds).unwrap())
        .flat_map(|round| users.iter().enumerate().map(move |(n, name)| (round, n, name)));
    let says = |(round, n, name): (u32, usize, &String)| {
        let share = limits::TYPING_EVERY.mul_f64(n as f64 / count as f64);
        let due = began + limits::TYPING_EVERY * round + share;
        let signal = Signal::Typing { user_id: user(name), log: log.clone(), members_version: 1 };
        async move {
            sleep_until(due).await;
            if due < began + during {
                app.publisher().signal(workspace, &signal).await;
            }
        }
    };
    let typing = stream::iter(sayings).map(says).buffer_unordered(64).for_each(async |()| {});
    let (meanwhile, ()) = tokio::join!(neighbour.lags(during), typing);
    let told = viewers.each_ref().map(frames);
    let most = usize::try_from(during.as_secs()).unwrap() + 2;
    let ratio = meanwhile.published.as_secs_f64() / before.published.as_secs_f64();
    figure!(
        "{count} typists of one channel for {during:?}: {told:?} frames to its viewers (bar {most}); another \
         channel's p99 from publishing to push {:.1?} before, {:.1?} meanwhile: x{ratio:.2} (aim x1.1)",
        before.published,
        meanwhile.published
    );
    assert!(told.iter().all(|frames| (1..=most).contains(frames)), "{told:?} frames");
    let said = usize::try_from(during.as_millis() / 25).unwrap();
    let grown = length().await - length_before;
    assert!(grown <= said, "the stream grew by {grown}, and {said} messages were sent");
    for viewer in &viewers {
        assert_eq!(viewer.count(|event| matches!(event, Event::Disconnected { .. })), 0);
    }
}

/// How often a viewer was told who types, and that it was never too much.
fn frames(viewer: &Person) -> usize {
    viewer.count(|event| match event {
        Event::Typing { users, .. } => {
            assert!(users.len() <= limits::TYPING_USERS_MAX);
            true
        }
        _ => false,
    })
}
