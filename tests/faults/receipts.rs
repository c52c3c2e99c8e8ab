//! Everybody says what they have got (G14): a viewer is told a frame an interval, not one a message.

use std::collections::BTreeSet;
use std::time::Duration;

use client::{Event, View};
use model::{LogId, limits};
use tests::eventually;
use tests::proxied::{Plan, ProxiedCluster};
use tests::redis::{Flavor, RedisServer};
use tokio::time::Instant;

use crate::deliver_first::Room;
use crate::figures::{figure, names};

#[tokio::test(flavor = "multi_thread")]
async fn g14_twenty_members_of_twenty_messages_cost_a_frame_a_second() {
    receipts(20, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_hundred_members_of_a_hundred_messages() {
    receipts(100, 100).await;
}

/// Everybody views the channel; they send so many messages together, five a second.
async fn receipts(members: usize, messages: usize) {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { doors: false, ..Plan::on(redis.port()) };
    let proxied = ProxiedCluster::start(plan).await;
    let mut room = Room::of(&proxied, &names(members)).await;
    let log = LogId::from(&room.channel);
    for person in &room.people {
        person.client.set_view(View { logs: vec![log.clone()], users: Vec::new() });
    }
    let began = Instant::now();
    for n in 0..messages {
        room.says(n % members, &format!("message {n}"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let last = *room.sent.keys().next_back().unwrap();
    eventually("everybody knows that everybody has all", Duration::from_secs(60), async || {
        room.people.iter().all(|person| {
            let mut have = BTreeSet::new();
            person.look(|log| {
                for logged in log {
                    if let Event::Receipts { delivered, .. } = &logged.event {
                        have.extend(
                            delivered
                                .iter()
                                .filter(|(_, id)| *id == last)
                                .map(|(user, _)| user.clone()),
                        );
                    }
                }
            });
            have.len() == members
        })
    })
    .await;
    let took = began.elapsed();
    room.settles(&proxied, "receipts").await;
    let frames: Vec<usize> = room
        .people
        .iter()
        .map(|person| person.count(|event| matches!(event, Event::Receipts { .. })))
        .collect();
    let most = frames.iter().max().unwrap();
    let every = limits::RECEIPTS_EVERY
        .max(limits::RECEIPTS_EVERY_A_MEMBER * u32::try_from(members).unwrap());
    // One at once, then one an interval.
    let bar = usize::try_from(took.as_millis() / every.as_millis()).unwrap() + 2;
    let all: usize = frames.iter().sum();
    figure!(
        "G14 {members} members, {messages} messages, everybody views: in {took:.1?} {all} frames of \
         receipts, at most {most} to one socket (bar {bar}); one for each message and member would be {} \
         to each",
        members * messages
    );
    assert!(*most <= bar, "{most} frames to one socket, bar {bar}");
}
