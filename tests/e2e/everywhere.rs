use std::collections::BTreeSet;
use std::time::Duration;

use client::{Event, Source};
use model::Direction;
use model::{ChannelChange, ErrorCode, MessageId};
use tests::cluster::{Environment, user};
use tests::deployment::AnyCluster;
use tests::{SOON, eventually};
use tokio::task::JoinSet;

use crate::deliver_first::{delivers, told_archived};

crate::on_every_cluster!(
    few:
    two_people_on_two_nodes_hear_each_other,
    g6_a_dm_is_one_channel_from_both_sides,
    g6_a_stranger_gets_neither_push_nor_page,
    g6_nothing_posted_after_a_removal_returned_reaches_the_removed_member,
    g6_removals_race_sends_and_nothing_leaks,
    g2_replies_sort_after_what_their_senders_saw,
    g5_a_client_that_was_away_resumes_and_misses_nothing,
    g5_a_long_text_arrives_whole,
    g8_a_revoked_user_is_closed_at_once,
    g13_what_is_delivered_first_is_stored_afterwards,
    clients_of_a_killed_node_are_on_another_and_miss_nothing;
    many:
    g1_eighty_sends_at_once_are_eighty_messages,
    g1_fifty_parallel_retries_are_one_message_and_49_duplicates,
    g4_every_node_pushes_in_the_streams_order;
    here:
    g1_a_thousand_sends_at_once_are_a_thousand_messages,
);

async fn two_people_on_two_nodes_hear_each_other(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "hello bob").await;
    bob.hears(&channel, "hello bob").await;
    bob.says(&channel, "hello alice").await;
    alice.hears(&channel, "hello alice").await;
    assert_eq!(alice.texts(&channel), ["hello bob", "hello alice"]);
    let is_own = |text: &String| text == "hello bob";
    eventually("the sender's sockets get it too", SOON, async || {
        alice.pushed(&channel).iter().any(is_own)
    })
    .await;
}

async fn g6_a_dm_is_one_channel_from_both_sides(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let (to_bob, to_alice) = (user("bob"), user("alice"));
    let (one, other) = tokio::join!(alice.api.create_dm(&to_bob), bob.api.create_dm(&to_alice));
    let channel = one.unwrap().id;
    assert_eq!(other.unwrap().id, channel);
    alice.says(&channel, "just us").await;
    bob.hears(&channel, "just us").await;
    let members = alice.api.members(&channel, None).await.unwrap().members;
    assert_eq!(members.len(), 2);
    for refused in [
        alice.api.add_member(&channel, &user("carol")).await,
        alice.api.remove_member(&channel, &user("alice")).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::DmImmutable));
    }
}

async fn g6_a_stranger_gets_neither_push_nor_page(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (bob, eve) = cluster.two_people_apart("bob", "eve").await;
    let alice = cluster.api("alice");
    for n in 0..20 {
        alice.post_message(&channel, &n.to_string(), None, None).await.unwrap();
    }
    bob.hears(&channel, "19").await;
    assert!(eve.pushed(&channel).is_empty());
    for refused in [
        eve.api.scroll(&channel, None, 20, Direction::Older).await.map(drop),
        eve.api.channel(&channel).await.map(drop),
        eve.api.members(&channel, None).await.map(drop),
        eve.api.post_message(&channel, "x", None, None).await.map(drop),
        eve.api.add_member(&channel, &user("eve")).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::ChannelNotFound));
    }
    assert!(eve.api.channels().await.unwrap().is_empty());
}

async fn g6_nothing_posted_after_a_removal_returned_reaches_the_removed_member(
    environment: Environment,
) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "before").await;
    bob.hears(&channel, "before").await;
    alice.api.remove_member(&channel, &user("bob")).await.unwrap();
    alice.says(&channel, "after").await;
    alice.hears(&channel, "after").await;
    bob.until("bob gets the change", |event| {
        matches!(event, Event::Channel { change: Some(ChannelChange::MemberRemoved), .. })
    })
    .await;
    let refused = bob.api.scroll(&channel, None, 20, Direction::Newer).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ChannelNotFound));
    // A later message in another channel shows that bob's socket would have got it by now.
    let other = cluster.group("alice", &["bob"]).await.id;
    alice.says(&other, "after it").await;
    bob.hears(&other, "after it").await;
    assert_eq!(bob.pushed(&channel), ["before"]);
    alice.api.add_member(&channel, &user("bob")).await.unwrap();
    alice.says(&channel, "again").await;
    bob.hears(&channel, "again").await;
}

async fn g6_removals_race_sends_and_nothing_leaks(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let the_removed = user("bob");
    for round in 0..40 {
        let noise = async {
            for n in 0..4 {
                alice.says(&channel, &format!("noise {round} {n}")).await;
            }
        };
        let (removed, ()) = tokio::join!(alice.api.remove_member(&channel, &the_removed), noise);
        removed.unwrap();
        alice.says(&channel, &format!("secret {round}")).await;
        alice.api.add_member(&channel, &user("bob")).await.unwrap();
        alice.says(&channel, &format!("public {round}")).await;
        bob.hears(&channel, &format!("public {round}")).await;
        let pushed = bob.pushed(&channel);
        assert!(!pushed.contains(&format!("secret {round}")), "round {round}");
    }
}

async fn g1_eighty_sends_at_once_are_eighty_messages(environment: Environment) {
    sends_at_once(environment, 80).await;
}

async fn g1_a_thousand_sends_at_once_are_a_thousand_messages(environment: Environment) {
    sends_at_once(environment, 1_000).await;
}

async fn sends_at_once(environment: Environment, count: usize) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    // All ids have the same millisecond, whatever the clock does.
    let at = alice.api.server_now();
    let mut sends = JoinSet::new();
    for n in 0..count {
        let (api, channel) = (alice.api.clone(), channel.clone());
        let id = MessageId::mint(at, (n as u128) << 40 | u128::from(rand::random::<u32>()));
        sends.spawn(async move {
            let mut backoff = client::Backoff::default();
            loop {
                match api.post_message(&channel, &n.to_string(), Some(id), None).await {
                    Ok(posted) => return posted.message.id,
                    Err(error) if error.is_retryable() => {
                        tokio::time::sleep(backoff.next_wait(error.retry_after())).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    let ids: BTreeSet<MessageId> = sends.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), count);
    let mut scrolled = Vec::new();
    let mut offset = None;
    loop {
        let page = alice.api.scroll(&channel, offset, 100, Direction::Newer).await.unwrap();
        scrolled.extend(page.messages.iter().map(|message| message.id));
        offset = page.next_offset;
        if offset.is_none() {
            break;
        }
    }
    assert_eq!(scrolled.len(), count, "each once");
    assert_eq!(scrolled.into_iter().collect::<BTreeSet<_>>(), ids);
    // If the bus is too slow for a send, the send succeeds all the same, and the relay publishes.
    eventually("all are pushed", Duration::from_secs(60), async || {
        bob.ids(&channel).len() >= count
    })
    .await;
    if let AnyCluster::Local(cluster) = &cluster {
        let counted = cluster.stack.app().counters().take();
        println!("{count} sends in one millisecond: all stored and pushed; counted: {counted:?}");
    }
}

async fn g1_fifty_parallel_retries_are_one_message_and_49_duplicates(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let bob = cluster.person("bob").await;
    let api = cluster.api("alice");
    api.channels().await.unwrap();
    let id = MessageId::mint(api.server_now(), rand::random());
    let mut retries = JoinSet::new();
    for _ in 0..50 {
        let (api, channel) = (api.clone(), channel.clone());
        retries.spawn(
            async move { api.post_message(&channel, "once", Some(id), None).await.unwrap() },
        );
    }
    let posted = retries.join_all().await;
    assert_eq!(posted.iter().filter(|posted| posted.duplicate).count(), 49);
    assert!(posted.iter().all(|one| one.message.id == posted[0].message.id));
    let page = api.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    // A message pushed after them shows that none of them is still on its way.
    eventually("a later message is pushed", SOON, async || {
        api.post_message(&channel, "later", None, None).await.unwrap();
        bob.texts(&channel).iter().any(|text| text == "later")
    })
    .await;
    let pushed = bob.pushed(&channel);
    assert_eq!(pushed.iter().filter(|text| *text == "once").count(), 1, "published once as well");
}

async fn g2_replies_sort_after_what_their_senders_saw(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    for round in 0..30 {
        alice.says(&channel, &format!("question {round}")).await;
        bob.hears(&channel, &format!("question {round}")).await;
        bob.says(&channel, &format!("answer {round}")).await;
        alice.hears(&channel, &format!("answer {round}")).await;
    }
    let expected: Vec<String> =
        (0..30).flat_map(|n| [format!("question {n}"), format!("answer {n}")]).collect();
    assert_eq!(alice.texts(&channel), expected);
}

async fn g4_every_node_pushes_in_the_streams_order(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob", "carol"]).await.id;
    let (bob, carol) = cluster.two_people_apart("bob", "carol").await;
    let mut sends = JoinSet::new();
    for sender in 0..8 {
        let (api, channel) = (cluster.api("alice"), channel.clone());
        sends.spawn(async move {
            for n in 0..25 {
                api.post_message(&channel, &format!("{sender}-{n}"), None, None).await.unwrap();
            }
        });
    }
    sends.join_all().await;
    for person in [&bob, &carol] {
        eventually("all arrived", SOON, async || person.pushed(&channel).len() >= 200).await;
    }
    assert_eq!(bob.pushed(&channel), carol.pushed(&channel), "the same order, each once");
}

async fn g5_a_client_that_was_away_resumes_and_misses_nothing(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "seen").await;
    bob.hears(&channel, "seen").await;
    bob.client.go_offline();
    for n in 0..50 {
        alice.says(&channel, &format!("missed {n}")).await;
    }
    bob.client.go_online();
    bob.hears(&channel, "missed 49").await;
    let expected: Vec<String> =
        std::iter::once("seen".to_owned()).chain((0..50).map(|n| format!("missed {n}"))).collect();
    assert_eq!(bob.texts(&channel), expected);
    let resumed = bob.count(|event| matches!(event, Event::Ready { resumed: true, .. }));
    assert_eq!(resumed, 1, "by its cursor, without reading again");
    let read = bob.count(|event| matches!(event, Event::Message { source: Source::CaughtUp, .. }));
    assert_eq!(read, 0);
}

async fn g5_a_long_text_arrives_whole(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let long = "é".repeat(40_000);
    alice.says(&channel, "short before").await;
    alice.says(&channel, &long).await;
    alice.says(&channel, "short after").await;
    bob.hears(&channel, "short after").await;
    assert_eq!(
        bob.pushed(&channel),
        ["short before".to_owned(), long.clone(), "short after".to_owned()]
    );
    bob.client.go_offline();
    alice.says(&channel, &long).await;
    bob.client.go_online();
    eventually("the replay holds it too", SOON, async || bob.texts(&channel).len() == 4).await;
}

async fn g8_a_revoked_user_is_closed_at_once(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let bob = cluster.person("bob").await;
    let admin = client::DevUser::new(cluster.workspace().clone(), user("root")).admin();
    cluster.api_of(admin).revoke_user(&user("bob")).await.unwrap();
    bob.until("bob's socket is closed for good", |event| matches!(event, Event::Stopped { .. }))
        .await;
    let api = cluster.api("bob");
    let refused = api.connect(None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden));
    let refused = api.create_channel("x", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden));
    let refused = api.post_message(&channel, "x", None, None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ChannelNotFound));
    let refused = cluster.api("alice").add_member(&channel, &user("bob")).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UserNotFound));
}

async fn g13_what_is_delivered_first_is_stored_afterwards(environment: Environment) {
    let cluster = AnyCluster::start(environment).await;
    let channel = cluster.group_of("deliver_first", "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = delivers(&alice, &channel, "hello").await;
    bob.hears(&channel, "hello").await;
    // The first message of a workspace may wait for the next run of `archive`, a minute at most.
    let soon = Duration::from_secs(90);
    eventually("alice is told", soon, async || told_archived(&alice) == [id]).await;
    let page = bob.api.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
}

async fn clients_of_a_killed_node_are_on_another_and_miss_nothing(environment: Environment) {
    let mut cluster = AnyCluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "before").await;
    bob.hears(&channel, "before").await;
    let lost = bob.client.node_id().unwrap();
    cluster.kill_node(&lost).await;
    for n in 0..10 {
        alice.says(&channel, &format!("meanwhile {n}")).await;
    }
    // The node was killed. Its lease lives for six more seconds, but the client need not wait.
    bob.hears_within(&channel, "meanwhile 9", Duration::from_secs(11)).await;
    assert_ne!(bob.client.node_id(), Some(lost));
    let expected: Vec<String> = std::iter::once("before".to_owned())
        .chain((0..10).map(|n| format!("meanwhile {n}")))
        .collect();
    assert_eq!(bob.texts(&channel), expected);
}
