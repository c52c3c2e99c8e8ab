//! Edits and deletions reach everybody (G9), and what was deleted is shown to nobody (G10).

use client::Event;
use futures_util::future::join_all;
use messaging::ports::Clock as _;
use model::{ChangeId, ChannelId, Emoji, ErrorCode, Message, MessageId};
use service::clock::SystemClock;
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};

crate::on_each_environment!(
    g9_an_edit_and_a_deletion_reach_everybody,
    g9_a_change_that_its_call_does_not_publish_arrives_through_the_relay,
    g9_edits_from_two_devices_end_the_same_everywhere,
    g9_reactions_reach_everybody_and_are_counted_once,
    g9_a_pin_reaches_everybody_and_is_listed,
    g10_what_was_deleted_meanwhile_is_not_replayed,
);

/// A change id for now.
pub(crate) fn change_id() -> ChangeId {
    ChangeId::mint(SystemClock.now(), rand::random())
}

async fn edits(person: &Person, channel: &ChannelId, id: MessageId, text: &str) -> Message {
    person.api.edit_message(channel, id, text, change_id(), None).await.unwrap().message
}

/// The message as a person's client shows it.
pub(crate) fn shown(person: &Person, channel: &ChannelId, id: MessageId) -> Option<Message> {
    person.client.timeline(channel).messages().find(|message| message.id == id).cloned()
}

async fn g9_an_edit_and_a_deletion_reach_everybody(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob", "carol"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = alice.says(&channel, "helo").await;
    bob.hears(&channel, "helo").await;
    let edited = edits(&alice, &channel, id, "hello").await;
    for person in [&alice, &bob] {
        eventually("the edit is shown", SOON, async || {
            shown(person, &channel, id).as_ref() == Some(&edited)
        })
        .await;
    }
    assert_eq!(bob.texts(&channel), ["hello"], "in the place of the first text");
    let carol = cluster.person("carol").await;
    assert_eq!(shown(&carol, &channel, id), Some(edited));
    let refused = bob.api.delete_message(&channel, id).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden));
    let gone = alice.api.delete_message(&channel, id).await.unwrap();
    for person in [&alice, &bob, &carol] {
        eventually("the deletion is shown", SOON, async || {
            shown(person, &channel, id).as_ref() == Some(&gone)
        })
        .await;
    }
    assert_eq!(gone.text.as_str(), "");
}

async fn g9_a_change_that_its_call_does_not_publish_arrives_through_the_relay(
    environment: Environment,
) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = alice.says(&channel, "helo").await;
    bob.hears(&channel, "helo").await;
    cluster.stack.app().publisher().switch(false);
    edits(&alice, &channel, id, "hello").await;
    bob.hears(&channel, "hello").await;
    alice.api.delete_message(&channel, id).await.unwrap();
    bob.hears(&channel, "").await;
}

async fn g9_edits_from_two_devices_end_the_same_everywhere(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = alice.says(&channel, "0").await;
    let mut greatest = None;
    let edits = (0..100).map(|n: u32| {
        let change = change_id();
        greatest = greatest.max(Some((change, n)));
        let (api, channel) = (alice.api.clone(), channel.clone());
        async move {
            // Each edit is sent twice, as by a device that lost the first answer.
            for _ in 0..2 {
                // On a busy machine so many calls at once exceed their time.
                while let Err(error) =
                    api.edit_message(&channel, id, &n.to_string(), change, None).await
                {
                    assert!(error.is_retryable(), "edit {n}: {error}");
                }
            }
        }
    });
    let edits: Vec<_> = edits.collect();
    join_all(edits).await;
    let stored = alice.api.message(&channel, id).await.unwrap();
    assert_eq!(stored.text.as_str(), greatest.unwrap().1.to_string());
    for person in [&alice, &bob] {
        eventually("all copies are equal", SOON, async || {
            shown(person, &channel, id).as_ref() == Some(&stored)
        })
        .await;
    }
}

async fn g9_a_pin_reaches_everybody_and_is_listed(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = alice.says(&channel, &"long ".repeat(2_000)).await;
    eventually("it is there", SOON, async || shown(&bob, &channel, id).is_some()).await;
    let pinned = bob.api.pin(&channel, id, None).await.unwrap();
    assert_eq!(pinned.pinned.as_ref().map(|pin| pin.by.as_str()), Some("bob"));
    for person in [&alice, &bob] {
        eventually("the pin is shown", SOON, async || {
            shown(person, &channel, id).as_ref() == Some(&pinned)
        })
        .await;
    }
    assert_eq!(alice.api.pins(&channel, None).await.unwrap().0, [pinned]);
    let unpinned = alice.api.unpin(&channel, id, None).await.unwrap();
    assert_eq!(unpinned.pinned, None);
    eventually("it is gone", SOON, async || shown(&bob, &channel, id).as_ref() == Some(&unpinned))
        .await;
    assert_eq!(bob.api.pins(&channel, None).await.unwrap().0, []);
}

async fn g10_what_was_deleted_meanwhile_is_not_replayed(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.says(&channel, "before").await;
    bob.hears(&channel, "before").await;
    bob.client.go_offline();
    bob.until("is away", |event| matches!(event, Event::Disconnected { .. })).await;
    let id = alice.says(&channel, "needle").await;
    let gone = alice.api.delete_message(&channel, id).await.unwrap();
    eventually("the deletion is pushed", SOON, async || {
        shown(&alice, &channel, id).as_ref() == Some(&gone)
    })
    .await;
    alice.says(&channel, "after").await;
    bob.client.go_online();
    bob.hears(&channel, "after").await;
    assert_eq!(shown(&bob, &channel, id), Some(gone));
    let heard = |event: &Event| matches!(event, Event::Message { message, .. } if message.text.as_str() == "needle");
    assert_eq!(bob.count(heard), 0);
}

async fn g9_reactions_reach_everybody_and_are_counted_once(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let users: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let channel = cluster.group("alice", &names).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "user0").await;
    let id = alice.says(&channel, &"long ".repeat(2_000)).await;
    eventually("it is there", SOON, async || shown(&bob, &channel, id).is_some()).await;
    let emoji = Emoji::parse("🎉").unwrap();
    let apis: Vec<_> = names.iter().map(|name| cluster.api(name)).collect();
    // All at once, and each twice, as retries are.
    let acts = apis.iter().flat_map(|api| {
        let change = change_id();
        [change, change].map(|change| api.react(&channel, id, &emoji, Some(change)))
    });
    for answer in join_all(acts).await {
        answer.unwrap();
    }
    for person in [&alice, &bob] {
        eventually("all are counted", SOON * 3, async || {
            let message = shown(person, &channel, id).unwrap();
            message.reactions.first().is_some_and(|reaction| reaction.count == 20)
        })
        .await;
        let message = shown(person, &channel, id).unwrap();
        assert_eq!(message.text.as_str().len(), 10_000, "the text that was not pushed again stays");
    }
    apis[3].unreact(&channel, id, &emoji, None).await.unwrap();
    eventually("one is withdrawn", SOON * 3, async || {
        shown(&bob, &channel, id).unwrap().reactions[0].count == 19
    })
    .await;
}
