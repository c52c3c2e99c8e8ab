//! The client's outbox for channels that deliver first (G13): whatever is lost on the way, all members
//! have a message once, and it is stored.

use std::time::Duration;

use client::{Config, DeliveryState, DeliveryWaits, Event, View};
use model::{ChannelId, LogId, MessageId, MessageText};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};

use crate::deliver_first::{delivering, is_stored};

crate::on_each_environment!(
    a_message_reaches_all_is_stored_and_its_sender_learns_both,
    what_a_killed_node_did_not_answer_is_sent_on_another,
    what_a_killed_node_accepted_is_stored,
    what_redis_lost_is_sent_again_by_its_sender,
    without_an_archive_a_message_is_posted,
    what_is_refused_for_good_is_kept_with_its_code,
);

fn text(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// A user whose outbox waits a second where others wait a minute.
async fn hasty(cluster: &Cluster, name: &str) -> Person {
    let wait = Duration::from_secs(1);
    let delivery_waits = DeliveryWaits { archived: wait, longest: wait * 2, socket: wait * 10 };
    let config = Config { delivery_waits, ..Config::new(cluster.api(name)) };
    let person = Person::with(name, config);
    person.until("caught up", |event| matches!(event, Event::CaughtUp { .. })).await;
    person
}

/// Alice, who is hasty, and Bob, on two nodes.
async fn two(cluster: &Cluster) -> (Person, Person) {
    let (alice, bob) = (hasty(cluster, "alice").await, cluster.person("bob").await);
    assert_ne!(alice.client.node_id(), bob.client.node_id(), "two nodes, two people");
    (alice, bob)
}

/// Waits until the sender has learned this of a message.
async fn learns(sender: &Person, id: MessageId, what: &str, wanted: fn(&DeliveryState) -> bool) {
    let is_told = |event: &Event| matches!(event, Event::Delivery { id: of, state, .. } if *of == id && wanted(state));
    sender.until(what, is_told).await;
}

async fn learns_archived(sender: &Person, id: MessageId) {
    learns(sender, id, "archived", |state| *state == DeliveryState::Archived).await;
}

async fn learns_accepted(sender: &Person, id: MessageId) {
    learns(sender, id, "accepted", |state| matches!(state, DeliveryState::Accepted { .. })).await;
}

/// Waits until everybody has these messages and no others, and checks that nobody saw one twice as new.
async fn have_once(people: &[&Person], channel: &ChannelId, ids: &[MessageId]) {
    for person in people {
        let what = format!("{} has all", person.name);
        eventually(&what, SOON, async || person.ids(channel) == ids).await;
        for id in ids {
            let news = person.count(|event| {
                matches!(event, Event::Message { message, fresh: true, .. } if message.id == *id)
            });
            assert_eq!(news, 1, "{} saw {id}", person.name);
        }
    }
}

async fn is_archived(cluster: &Cluster, channel: &ChannelId, ids: &[MessageId]) {
    for id in ids {
        eventually("it is stored", SOON, async || is_stored(cluster, channel, *id).await).await;
    }
}

async fn a_message_reaches_all_is_stored_and_its_sender_learns_both(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.client.set_view(View { logs: vec![LogId::from(&channel)], users: Vec::new() });
    let ids: Vec<_> = (0..12)
        .map(|n| alice.client.deliver(&channel, text(&format!("hello {n}"))).unwrap())
        .collect();
    for id in &ids {
        learns_archived(&alice, *id).await;
    }
    have_once(&[&alice, &bob], &channel, &ids).await;
    is_archived(&cluster, &channel, &ids).await;
    assert_eq!(alice.client.deliveries(), []);
    // Bob's client says what it has by itself.
    let last = *ids.last().unwrap();
    let bob_has_all = |event: &Event| match event {
        Event::Receipts { delivered, .. } => {
            delivered.iter().any(|(user, up_to)| user.as_str() == "bob" && *up_to == last)
        }
        _ => false,
    };
    alice.until("bob has all", bob_has_all).await;
}

async fn what_a_killed_node_did_not_answer_is_sent_on_another(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = two(&cluster).await;
    let node = alice.client.node_id().unwrap();
    let deliver = |n: u32| alice.client.deliver(&channel, text(&format!("hello {n}"))).unwrap();
    let mut ids: Vec<_> = (0..5).map(deliver).collect();
    // Some of these are under way, and nobody knows how far.
    assert!(cluster.stack.kill(&node).await);
    ids.extend((5..10).map(deliver));
    for id in &ids {
        learns_archived(&alice, *id).await;
    }
    have_once(&[&alice, &bob], &channel, &ids).await;
    is_archived(&cluster, &channel, &ids).await;
}

async fn what_a_killed_node_accepted_is_stored(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = two(&cluster).await;
    cluster.stack.stop_archive();
    let id = alice.client.deliver(&channel, text("hello")).unwrap();
    learns_accepted(&alice, id).await;
    assert!(cluster.stack.kill(&alice.client.node_id().unwrap()).await);
    cluster.stack.archiver().turn().await.unwrap();
    learns_archived(&alice, id).await;
    have_once(&[&alice, &bob], &channel, &[id]).await;
    is_archived(&cluster, &channel, &[id]).await;
}

async fn what_redis_lost_is_sent_again_by_its_sender(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = two(&cluster).await;
    cluster.stack.stop_archive();
    let id = alice.client.deliver(&channel, text("hello")).unwrap();
    learns_accepted(&alice, id).await;
    bob.hears(&channel, "hello").await;
    assert!(!is_stored(&cluster, &channel, id).await);
    match (cluster.stack.memory_bus(), &cluster.redis) {
        (Some(bus), _) => bus.flush(cluster.workspace()),
        (None, Some(redis)) => assert_eq!(redis.command(&["FLUSHALL"]).trim(), "OK"),
        (None, None) => panic!("no bus"),
    }
    // Nobody but alice knows it for good now. Only a second `send` brings it into the spool again.
    eventually("it is stored from the spool", SOON, async || {
        cluster.stack.archiver().turn().await.unwrap();
        is_stored(&cluster, &channel, id).await
    })
    .await;
    learns_archived(&alice, id).await;
    have_once(&[&alice, &bob], &channel, &[id]).await;
    let carol = cluster.api("carol");
    alice.api.add_member(&channel, &"carol".parse().unwrap()).await.unwrap();
    let page = carol.scroll(&channel, None, 20, client::Direction::Older).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
}

async fn without_an_archive_a_message_is_posted(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = two(&cluster).await;
    cluster.stack.stop_archive();
    let id = alice.client.deliver(&channel, text("hello")).unwrap();
    learns_accepted(&alice, id).await;
    learns_archived(&alice, id).await;
    assert!(is_stored(&cluster, &channel, id).await);
    have_once(&[&alice, &bob], &channel, &[id]).await;
    cluster.stack.archiver().turn().await.unwrap();
    let counts = cluster.stack.archiver().counts();
    assert_eq!((counts.conflicts, counts.failed), (0, 0));
}

async fn what_is_refused_for_good_is_kept_with_its_code(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    let long = alice.client.deliver(&channel, text(&"x".repeat(12 * 1024 + 1))).unwrap();
    let ok = alice.client.deliver(&channel, text("hello")).unwrap();
    learns(&alice, long, "failed", |state| matches!(state, DeliveryState::Failed { .. })).await;
    learns_archived(&alice, ok).await;
    let kept = alice.client.deliveries();
    let code = "message_too_long".to_owned();
    assert_eq!((kept.len(), &kept[0].state), (1, &DeliveryState::Failed { code }));
    assert!(alice.client.discard(&channel, long).is_some());
    let other = cluster.group("alice", &["bob"]).await.id;
    let id = alice.client.deliver(&other, text("not here")).unwrap();
    let is_refused = |state: &DeliveryState| matches!(state, DeliveryState::Failed { code } if code == "wrong_contract");
    learns(&alice, id, "refused", is_refused).await;
}
