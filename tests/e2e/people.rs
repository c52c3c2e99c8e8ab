//! Public channels, the details of channels, and profiles, from one user to the others.

use std::slice::from_ref;

use client::Event;
use model::{
    ChannelChange, ChannelDetails, ChannelUpdate, ErrorCode, ProfileUpdate, UserId, Visibility,
};
use tests::cluster::{Cluster, Environment, user};
use tests::person::Person;
use tests::{SOON, eventually};

crate::on_each_environment!(
    a_public_channel_is_browsed_joined_and_heard,
    changes_of_a_channel_reach_its_members_and_nobody_else,
    profiles_are_seen_by_the_workspace,
);

async fn a_public_channel_is_browsed_joined_and_heard(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    alice.api.create_channel("secret", &[]).await.unwrap();
    let made = alice.api.create_group("lunch", Visibility::Public, &[]).await.unwrap();
    let browsed = bob.api.browse().await.unwrap();
    assert_eq!(browsed, from_ref(&made));
    assert_eq!(bob.api.channel(&made.id).await.unwrap(), made);
    let refused = bob.api.post_message(&made.id, "hi", None, None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ChannelNotFound));
    bob.api.join(&made.id).await.unwrap();
    alice.says(&made.id, "welcome").await;
    bob.hears(&made.id, "welcome").await;
    bob.says(&made.id, "thanks").await;
    alice.hears(&made.id, "thanks").await;
    // A retry is no error.
    bob.api.join(&made.id).await.unwrap();
    assert_eq!(bob.api.members(&made.id, None).await.unwrap().members.len(), 2);
    bob.api.remove_member(&made.id, &user("bob")).await.unwrap();
    bob.api.join(&made.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_channel_is_heard_over_node_processes_and_a_missed_change_is_replayed() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let _nodes = (cluster.node_process().await, cluster.node_process().await);
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let made = alice.api.create_group("lunch", Visibility::Public, &[]).await.unwrap();
    bob.api.join(&made.id).await.unwrap();
    alice.says(&made.id, "welcome").await;
    bob.hears(&made.id, "welcome").await;
    bob.client.go_offline();
    let name = Some("food".to_owned());
    let update = ChannelUpdate { name, archived: Some(true), ..ChannelUpdate::default() };
    let details = alice.api.set_channel(&made.id, &update).await.unwrap().details;
    bob.client.go_online();
    let by = vec![user("alice")];
    let expected = [ChannelChange::Renamed, ChannelChange::Archived]
        .map(|change| (change, by.clone(), details.clone()));
    for person in [&alice, &bob] {
        eventually("the changes arrive", SOON, async || told(person) == expected).await;
    }
    let refused = bob.api.post_message(&made.id, "hi", None, None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ChannelArchived));
}

/// The changes of details that a person's client was told, with the details that they left.
fn told(person: &Person) -> Vec<(ChannelChange, Vec<UserId>, ChannelDetails)> {
    person.look(|log| {
        let changes = log.iter().filter_map(|logged| match &logged.event {
            Event::Channel { change: Some(change), user_ids, details: Some(details), .. } => {
                Some((*change, user_ids.clone(), details.clone()))
            }
            _ => None,
        });
        changes.collect()
    })
}

async fn changes_of_a_channel_reach_its_members_and_nobody_else(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let eve = cluster.person("eve").await;
    let set = async |person: &Person, update: ChannelUpdate| {
        person.api.set_channel(&channel, &update).await.map(|channel| channel.details)
    };
    let (name, topic) = (Some("food".to_owned()), Some("at noon".to_owned()));
    let renamed = ChannelUpdate { name, topic, archived: None };
    let archived = |archived| ChannelUpdate { archived: Some(archived), ..Default::default() };
    let first = set(&bob, renamed).await.unwrap();
    assert_eq!(set(&bob, archived(true)).await.unwrap_err().code(), Some(ErrorCode::Forbidden));
    let second = set(&alice, archived(true)).await.unwrap();
    let refused = bob.api.post_message(&channel, "hi", None, None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ChannelArchived));
    let third = set(&alice, archived(false)).await.unwrap();
    let by = |name: &str| vec![user(name)];
    let expected = [
        (ChannelChange::Renamed, by("bob"), first.clone()),
        (ChannelChange::Topic, by("bob"), first),
        (ChannelChange::Archived, by("alice"), second),
        (ChannelChange::Unarchived, by("alice"), third.clone()),
    ];
    for person in [&alice, &bob] {
        eventually("the changes arrive", SOON, async || told(person) == expected).await;
    }
    alice.says(&channel, "back").await;
    bob.hears(&channel, "back").await;
    assert_eq!(told(&eve), []);
    assert_eq!(bob.api.channel(&channel).await.unwrap().details, third);
}

async fn profiles_are_seen_by_the_workspace(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let (alice, bob) = (cluster.api("alice"), cluster.api("bob"));
    let update = ProfileUpdate { name: Some("Alice".to_owned()), ..ProfileUpdate::default() };
    let first = alice.set_profile(&update).await.unwrap();
    let update = ProfileUpdate { tz: Some("Asia/Tokyo".to_owned()), ..ProfileUpdate::default() };
    let second = alice.set_profile(&update).await.unwrap();
    assert_eq!((second.name.as_str(), second.tz.as_str()), ("Alice", "Asia/Tokyo"));
    assert!(second.rev > first.rev);
    assert_eq!(bob.profile(&user("alice")).await.unwrap(), second);
    let refused = bob.profile(&user("bob")).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UserNotFound));
    let both = [user("bob"), user("alice")];
    assert_eq!(bob.profiles_of(&both).await.unwrap(), from_ref(&second));
    eventually("the list has her", SOON, async || {
        bob.profiles(None).await.unwrap().profiles == from_ref(&second)
    })
    .await;
    let far = client::DevUser::new("elsewhere".parse().unwrap(), user("alice"));
    let far = cluster.api_of(far);
    assert_eq!(
        far.profile(&user("alice")).await.unwrap_err().code(),
        Some(ErrorCode::UserNotFound)
    );
    assert_eq!(far.profiles(None).await.unwrap().profiles, []);
    assert_eq!(alice.channels().await.unwrap(), [], "a profile is no channel");
}
