//! The cost of calls, as counts: capacity units of the store, queries, reads of membership.

use dynamo::Operation;
use model::{
    ChannelUpdate, Direction, Emoji, Epoch, LogId, MessageText, NewReadMark, ProfileUpdate,
    ReadMark, Visibility, limits,
};

use tests::cluster::{Cluster, Environment, user};
use tests::{SOON, eventually};

use crate::changes::change_id;
use crate::files::new_file;
use crate::meetings::{joins, meeting};

#[tokio::test(flavor = "multi_thread")]
async fn a_send_is_one_write_unit_and_two_strong_read_units() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    alice.post_message(&channel, &"x".repeat(800), None, None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (2, 2.0, 1.0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_one_write_unit_and_naming_it_one_read_unit_beside_the_send() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bytes) = (cluster.api("alice"), b"x".as_slice());
    let capacity = cluster.stack.capacity();
    let mut last = capacity.snapshot();
    let mut spent = |expected: (u64, f64, f64), what: &str| {
        let cost = capacity.since(&last).total();
        last = capacity.snapshot();
        assert_eq!((cost.calls, cost.read_units, cost.write_units), expected, "{what}: {cost:?}");
    };
    let (id, upload) = alice.create_attachment(&new_file(&channel, "a", bytes)).await.unwrap();
    spent((2, 2.0, 1.0), "a file");
    alice.upload(&upload, bytes.to_vec()).await.unwrap();
    spent((0, 0.0, 0.0), "its upload");
    let files = std::slice::from_ref(&id);
    let posted = alice.post_attachments(&channel, &"x".repeat(700), files, None, None).await;
    spent((3, 3.0, 1.0), "a send with it");
    let attachments = &cluster.stack.ports().attachments;
    eventually("`derive` has named it", SOON, async || {
        let rows = attachments.attachments(&channel, &[id.file]).await.unwrap();
        rows[0].named_by.map(|named| named.id) == Some(posted.as_ref().unwrap().message.id)
    })
    .await;
    let before = capacity.snapshot();
    alice.attachment_url(&id).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units), (3, 4.0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_newest_twenty_is_one_query() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    for n in 0..30 {
        alice.post_message(&channel, &n.to_string(), None, None).await.unwrap();
    }
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    let page = alice.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.len(), 20);
    let cost = capacity.since(&before);
    assert_eq!(cost.of(Operation::Query).calls, 1);
    assert_eq!(cost.total().calls, 2, "the query, and the caller's row last");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_and_a_deletion_are_two_write_units_and_two_read_units_each() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    let posted = alice.post_message(&channel, &"x".repeat(700), None, None).await.unwrap();
    let id = posted.message.id;
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    alice.edit_message(&channel, id, &"y".repeat(700), change_id(), None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (3, 2.0, 2.0), "{cost:?}");
    let before = capacity.snapshot();
    alice.delete_message(&channel, id).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (3, 2.0, 2.0), "{cost:?}");
    let before = capacity.snapshot();
    alice.message(&channel, id).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.write_units), (2, 0.0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_on_a_quiet_message_is_three_write_units_and_on_a_hot_one_one() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let [alice, bob] = ["alice", "bob"].map(|name| cluster.api(name));
    let posted = alice.post_message(&channel, &"x".repeat(700), None, None).await.unwrap();
    let (id, emoji) = (posted.message.id, Emoji::parse("👍").unwrap());
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    let reacted = alice.react(&channel, id, &emoji, None).await.unwrap();
    assert_eq!(reacted.reactions[0].count, 1);
    // `derive` looks again: the message and its reactions, two read units more.
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (6, 4.0, 3.0), "{cost:?}");
    let before = capacity.snapshot();
    bob.react(&channel, id, &emoji, None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (3, 3.0, 1.0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_three_write_units_and_a_mention_one_beside_the_send() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let [alice, bob] = ["alice", "bob"].map(|name| cluster.api(name));
    let posted = alice.post_message(&channel, &"x".repeat(700), None, None).await.unwrap();
    let id = posted.message.id;
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    alice.pin(&channel, id, Some(change_id())).await.unwrap();
    // Standing, the message, and the channel's pins; the pin, the change log, the message.
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (6, 4.0, 3.0), "{cost:?}");
    let before = capacity.snapshot();
    alice.pins(&channel, None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units), (3, 4.0), "{cost:?}");
    let before = capacity.snapshot();
    alice.post_message(&channel, "<@bob>", None, None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (2, 2.0, 1.0), "{cost:?}");
    eventually("it is listed", SOON, async || !bob.mentions(None).await.unwrap().0.is_empty())
        .await;
    let before = capacity.snapshot();
    bob.mentions(None).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units), (3, 3.5), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_three_write_units_and_five_read_units() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let [alice, bob] = ["alice", "bob"].map(|name| cluster.api(name));
    let root = alice.post_message(&channel, &"x".repeat(600), None, None).await.unwrap().message;
    let log = LogId::new(channel.clone(), Some(root.id));
    let count = async || {
        let root = alice.message(&channel, root.id).await.unwrap();
        root.replies.map_or(0, |replies| replies.count)
    };
    // The first reply of a thread and of a sender: who began it and who replies follow it from now on.
    bob.post_message(&log, "one", None, None).await.unwrap();
    eventually("it is counted", SOON, async || count().await == 1).await;
    eventually("they follow", SOON, async || {
        let followed = futures_util::future::join_all([alice.threads(None), bob.threads(None)]);
        followed.await.into_iter().all(|followed| followed.unwrap().0.len() == 1)
    })
    .await;
    // A count is due a second after the last one.
    tokio::time::sleep(limits::FOLD_EVERY).await;
    let (sends, derives) = (cluster.stack.capacity(), cluster.stack.derive_capacity());
    let (before_send, before_derive) = (sends.snapshot(), derives.snapshot());
    bob.post_message(&log, "two", None, None).await.unwrap();
    // Standing, and the root, which is not read strongly.
    let cost = sends.since(&before_send).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (3, 2.5, 1.0), "{cost:?}");
    // The sender's row, not strongly; the root, the replies; the change log, the root.
    let derived = async || derives.since(&before_derive).total();
    eventually("it is counted", SOON, async || derived().await.write_units >= 2.0).await;
    let cost = derived().await;
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (5, 2.5, 2.0), "{cost:?}");
    assert_eq!(count().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_public_channels_and_profiles_cost_these_units() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let (alice, bob) = (cluster.api("alice"), cluster.api("bob"));
    let capacity = cluster.stack.capacity();
    let mut last = capacity.snapshot();
    let mut spent = |expected: (u64, f64, f64), what: &str| {
        let cost = capacity.since(&last).total();
        assert_eq!((cost.calls, cost.read_units, cost.write_units), expected, "{what}");
        last = capacity.snapshot();
    };
    let private = alice.create_channel("general", &[]).await.unwrap().id;
    spent((5, 2.0, 3.0), "a private channel: two checks for revocations, two rows, the channel");
    let public = alice.create_group("lunch", Visibility::Public, &[]).await.unwrap().id;
    spent((6, 2.0, 4.0), "a public channel: one row more");
    let topic = ChannelUpdate { topic: Some("noon".to_owned()), ..ChannelUpdate::default() };
    alice.set_channel(&private, &topic).await.unwrap();
    spent((2, 2.0, 1.0), "a topic: standing, one update");
    let archived = ChannelUpdate { archived: Some(false), ..ChannelUpdate::default() };
    alice.set_channel(&private, &archived).await.unwrap();
    spent((2, 2.0, 1.0), "archived by the creator");
    alice.post_message(&private, &"x".repeat(800), None, None).await.unwrap();
    spent((2, 2.0, 1.0), "a send costs what it did");
    bob.browse().await.unwrap();
    spent((3, 2.5, 0.0), "a list of one channel: a check, a query at half price, the channel");
    bob.channel(&public).await.unwrap();
    spent((2, 3.0, 0.0), "a public channel that one is not in: standing and a check");
    bob.join(&public).await.unwrap();
    spent((8, 7.0, 3.0), "joining: a check more than any addition");
    bob.channel(&public).await.unwrap();
    spent((1, 2.0, 0.0), "a channel that one is in");

    let name = ProfileUpdate { name: Some("Bob".to_owned()), ..ProfileUpdate::default() };
    bob.set_profile(&name).await.unwrap();
    spent((4, 2.0, 2.0), "the first profile: a check, a read, the list, the profile");
    bob.set_profile(&name).await.unwrap();
    spent((3, 2.0, 1.0), "a change of a profile");
    alice.profile(&user("bob")).await.unwrap();
    spent((2, 2.0, 0.0), "one profile: a check, a read");
    alice.profiles_of(&[user("alice"), user("bob")]).await.unwrap();
    spent((2, 3.0, 0.0), "two profiles, one of them absent");
    alice.profiles(None).await.unwrap();
    spent((3, 2.5, 0.0), "a list of one: a check, a query at half price, the profile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_mark_is_one_write_unit_and_a_count_is_a_query_a_channel() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = (cluster.api("alice"), cluster.api("bob"));
    let posted = alice.post_message(&channel, "hi", None, None).await.unwrap();
    let id = posted.message.id;
    let capacity = cluster.stack.capacity();
    // The first one in an environment reads the channel: whether others may see the mark.
    let older = ReadMark { epoch: Epoch::FIRST, up_to: id.previous().unwrap() };
    let before = capacity.snapshot();
    bob.mark_read(&[NewReadMark { log: channel.clone().into(), mark: older }]).await.unwrap();
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (2, 1.0, 1.0), "{cost:?}");
    for epoch in [Epoch::FIRST, Epoch::LAST] {
        let mark = ReadMark { epoch, up_to: id };
        let before = capacity.snapshot();
        bob.mark_read(&[NewReadMark { log: channel.clone().into(), mark }]).await.unwrap();
        let cost = capacity.since(&before).total();
        assert_eq!((cost.calls, cost.read_units, cost.write_units), (1, 0.0, 1.0), "{epoch}");
    }
    // The first time in a channel; later one more, which learns the epoch.
    for writes in [1, 2] {
        let before = capacity.snapshot();
        bob.mark_unread(&channel, id).await.unwrap();
        let cost = capacity.since(&before).total();
        assert_eq!((cost.calls, cost.read_units), (writes, 0.0), "{cost:?}");
        assert_eq!(cost.write_units, f64::from(u32::try_from(writes).unwrap()));
    }
    let before = capacity.snapshot();
    bob.unread().await.unwrap();
    let cost = capacity.since(&before);
    assert_eq!(cost.of(Operation::Query), cost.total(), "the rows, mentions, a query a channel");
    let cost = cost.total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (3, 2.5, 0.0), "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_channel_that_keeps_nothing_costs_the_functions_nothing() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    joins(&alice, &channel).await;
    let capacity = cluster.stack.capacity();
    let before = capacity.snapshot();
    for n in 0..10 {
        let text = MessageText::parse(format!("{n}")).unwrap();
        alice.client.say(&channel, text).await.unwrap();
    }
    let cost = capacity.since(&before).total();
    assert_eq!((cost.calls, cost.read_units, cost.write_units), (0, 0.0, 0.0), "{cost:?}");
}
