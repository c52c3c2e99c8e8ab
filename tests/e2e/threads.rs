//! Threads: replies reach everybody, are counted into their root, and are caught up (G9, G11).

use client::{Client, Config};
use futures_util::future::join_all;
use model::{ChannelId, Emoji, LogId, Message, MessageId, ThreadId};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};

use crate::changes::{change_id, shown};

crate::on_each_environment!(
    g9_replies_reach_everybody_and_are_counted_into_their_root,
    g9_a_hundred_replies_at_once_count_a_hundred,
    g11_who_was_away_gets_replies_and_their_changes,
);

fn thread(channel: &ChannelId, root: MessageId) -> LogId {
    LogId::new(channel.clone(), Some(root))
}

fn reply_texts(person: &Person, log: &LogId) -> Vec<String> {
    let timeline = person.client.timeline(log);
    timeline.messages().map(|message| message.text.as_str().to_owned()).collect()
}

async fn shows_replies(person: &Person, log: &LogId, wanted: &[&str]) {
    eventually("the replies are shown", SOON, async || reply_texts(person, log) == wanted).await;
}

async fn counts(person: &Person, channel: &ChannelId, root: MessageId, wanted: u64) {
    let count = |root: Option<Message>| Some(root?.replies.map_or(0, |replies| replies.count));
    eventually("the root says how many replies it has", SOON, async || {
        count(shown(person, channel, root)) == Some(wanted)
    })
    .await;
}

async fn g9_replies_reach_everybody_and_are_counted_into_their_root(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let root = alice.says(&channel, "who is in?").await;
    bob.hears(&channel, "who is in?").await;
    let log = thread(&channel, root);
    let reply = bob.client.send(&log, "me").await.unwrap().message;
    // Too long to travel: nodes read it from the store.
    let long = "x".repeat(5_000);
    alice.client.send(&log, &long).await.unwrap();
    for person in [&alice, &bob] {
        shows_replies(person, &log, &["me", &long]).await;
        counts(person, &channel, root, 2).await;
        assert_eq!(person.texts(&channel), ["who is in?"], "replies are not in the channel");
    }
    let emoji = Emoji::parse("👍").unwrap();
    alice.api.react(&log, reply.id, &emoji, None).await.unwrap();
    alice.api.pin(&log, reply.id, None).await.unwrap();
    bob.api.edit_message(&log, reply.id, "me too", change_id(), None).await.unwrap();
    shows_replies(&alice, &log, &["me too", &long]).await;
    let stored = alice.api.message(&log, reply.id).await.unwrap();
    assert_eq!((stored.reactions.len(), stored.pinned.is_some()), (1, true));
    let pins = bob.api.pins(&channel, None).await.unwrap().0;
    assert_eq!(pins.iter().map(Message::log).collect::<Vec<_>>(), std::slice::from_ref(&log));
    bob.api.delete_message(&log, reply.id).await.unwrap();
    shows_replies(&alice, &log, &["", &long]).await;
    counts(&alice, &channel, root, 1).await;
    assert_eq!(bob.api.pins(&channel, None).await.unwrap().0, []);
    let followed = bob.api.threads(None).await.unwrap().0;
    let of_bob: Vec<_> = followed.iter().map(|one| (one.root.id, one.is_unread)).collect();
    assert_eq!(of_bob, [(root, true)]);
    let thread = ThreadId { root, channel_id: channel.clone() };
    bob.api.unfollow(&thread).await.unwrap();
    assert_eq!(bob.api.threads(None).await.unwrap().0, []);
}

async fn g9_a_hundred_replies_at_once_count_a_hundred(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let root = alice.says(&channel, "count").await;
    let log = thread(&channel, root);
    let replies = (0..100).map(|n: u32| {
        let (person, log) = (if n.is_multiple_of(2) { &alice } else { &bob }, log.clone());
        async move { person.client.send(&log, &n.to_string()).await.unwrap() }
    });
    join_all(replies.collect::<Vec<_>>()).await;
    for person in [&alice, &bob] {
        counts(person, &channel, root, 100).await;
        eventually("all replies are shown", SOON, async || {
            person.client.timeline(&log).len() == 100
        })
        .await;
    }
}

async fn g11_who_was_away_gets_replies_and_their_changes(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let root = alice.says(&channel, "root").await;
    bob.hears(&channel, "root").await;
    let log = thread(&channel, root);
    let first = alice.client.send(&log, "first").await.unwrap().message;
    shows_replies(&bob, &log, &["first"]).await;
    counts(&bob, &channel, root, 1).await;
    let inbox = bob.client.inbox();
    drop(bob);
    alice.api.edit_message(&log, first.id, "changed", change_id(), None).await.unwrap();
    alice.client.send(&log, "second").await.unwrap();
    counts(&alice, &channel, root, 2).await;
    // Without a cursor there is nothing to resume from.
    let (client, mut events) = Client::start(Config { inbox, ..Config::new(cluster.api("bob")) });
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    eventually("what was missed is here", SOON, async || {
        let timeline = client.timeline(&log);
        let texts: Vec<_> = timeline.messages().map(|one| one.text.as_str().to_owned()).collect();
        let root = client.timeline(&channel).get(root).and_then(|root| root.replies.clone());
        texts == ["changed", "second"] && root.is_some_and(|replies| replies.count == 2)
    })
    .await;
}
