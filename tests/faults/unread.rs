//! What a page that counts a user's unread messages costs (G12): one call, and units for what is unread.

use std::collections::BTreeMap;
use std::time::Duration;

use client::Unread;
use futures_util::stream::{self, StreamExt as _};
use messaging::ports::StoredMessage;
use model::{ChannelId, Mentions, Message, MessageId, MessageText, Timestamp, UnreadCount, limits};
use tests::cluster::{Cluster, Environment, user};
use tests::{SOON, eventually, percentile};
use tokio::time::Instant;

use crate::figures::figure;

#[tokio::test(flavor = "multi_thread")]
async fn g12_a_hundred_channels_are_counted_by_one_call() {
    counted(10, 110).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_hundred_channels_are_counted_by_one_call() {
    counted(200, 150).await;
}

/// Counts the unread messages of a hundred channels, none in the first and `most` in the last, so many
/// times.
async fn counted(calls: usize, most: usize) {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let (alice, bob) = (cluster.api("alice"), cluster.api("bob"));
    let mut expected = BTreeMap::new();
    let mut sent = Vec::new();
    for n in 0..CHANNELS {
        let channel = alice.create_channel(&format!("channel {n}"), &[user("bob")]).await.unwrap();
        let count = n * most / (CHANNELS - 1);
        let after = cluster.stack.app().clock.now();
        sent.extend((0..count).map(|k| message(&channel.id, after, k)));
        expected.insert(channel.id, (counted_to(count), counted_to(mentions(count))));
    }
    let messages = &cluster.stack.ports().messages;
    let store = async |message: &Message| {
        messages.append(&StoredMessage::new(message.clone(), 1)).await.unwrap()
    };
    stream::iter(&sent).map(store).buffer_unordered(16).for_each(async |_| {}).await;
    let found = async || {
        let all = bob.unread().await.unwrap().into_iter();
        all.map(|Unread { channel_id, count, mentions, .. }| (channel_id, (count, mentions)))
            .collect::<BTreeMap<_, _>>()
    };
    eventually("all mentions have rows", SOON * 3, async || found().await == expected).await;

    let token = format!("Bearer {}", cluster.token("bob", 600).await);
    let headers = [("authorization", token.as_str())];
    let mut times = Vec::new();
    let mut costs = Vec::new();
    for _ in 0..calls {
        let before = cluster.stack.capacity().snapshot();
        let began = Instant::now();
        let answer = cluster.call("GET", "/unread?limit=100", &headers, &[]).await;
        times.push(began.elapsed());
        costs.push(cluster.stack.capacity().since(&before).total());
        let body = answer.json();
        assert_eq!(body["channels"].as_array().map(Vec::len), Some(CHANNELS));
        assert!(body["next_offset"].is_null(), "one call is enough: {}", body["next_offset"]);
    }
    let cost = costs[0];
    let (p50, p99): (Duration, Duration) = (percentile(&times, 50), percentile(&times, 99));
    figure!(
        "GET /unread of {CHANNELS} channels with 0 to {most} unread messages, {} together: one call, {} store \
         calls, {} read units (bar {UNITS_MAX}); p50 {p50:.1?} p99 {p99:.1?} of {calls} calls",
        sent.len(),
        cost.calls,
        cost.read_units
    );
    assert!(costs.iter().all(|one| *one == cost), "each call costs the same: {costs:?}");
    assert_eq!(cost.calls, CHANNELS as u64 + 2, "the marks, the mentions, a query a channel");
    assert_eq!(cost.write_units, 0.0);
    assert!(cost.read_units <= UNITS_MAX, "{} read units", cost.read_units);
}

/// The message of this number in a channel. Some mention bob, by name or with all.
fn message(channel: &ChannelId, after: Timestamp, number: usize) -> Message {
    let at = after.plus(Duration::from_millis(number as u64 + 1));
    let id = MessageId::mint(at, number as u128);
    let whom = match (names_bob(number), names_all(number)) {
        (true, _) => "<@bob>, ",
        (false, true) => "<!channel> ",
        (false, false) => "",
    };
    let text =
        format!("{whom}message {number:04} of a long conversation about where to have lunch");
    let mentions = Mentions::of(&text).unwrap();
    let text = MessageText::from_stored(text);
    Message { mentions, ..Message::new(id, channel.clone(), user("alice"), text) }
}

fn names_bob(number: usize) -> bool {
    number % 10 == 3
}

fn names_all(number: usize) -> bool {
    number % 50 == 7
}

/// How many of so many messages count as mentions: beyond the rows that are read, those by name.
fn mentions(count: usize) -> usize {
    let read = limits::PAGE_ROWS_MAX as usize;
    (0..count).filter(|n| names_bob(*n) || names_all(*n) && *n < read).count()
}

fn counted_to(count: usize) -> UnreadCount {
    let count = u32::try_from(count).unwrap();
    if count > limits::UNREAD_COUNT_MAX { UnreadCount::Over } else { UnreadCount::Exact(count) }
}

const CHANNELS: usize = 100;
/// Read units: 5 for the marks, at most 13 for the mentions, and at most 5 for the first 100 messages of a
/// channel, which are two thirds of that on average.
const UNITS_MAX: f64 = 5.0 + 13.0 + 100.0 * 3.0;
