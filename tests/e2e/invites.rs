//! Inviting many people: one call each and many calls at once. Prints calls a second.

use std::sync::Arc;
use std::time::Duration;

use client::Event;
use model::{ChannelChange, ErrorCode, UserId};
use tests::cluster::{Cluster, Environment, user};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn inviting_in_parallel_is_no_slower_than_one_by_one() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let one_by_one = invite(&cluster, 64, 1).await;
    let parallel = invite(&cluster, 64, 32).await;
    println!("64 users invited, calls a second and the slowest call:");
    println!("  one by one    {:>7.1}  {:.2?}", one_by_one.rate(), one_by_one.slowest);
    println!("  32 at a time  {:>7.1}  {:.2?}", parallel.rate(), parallel.slowest);
    assert_eq!(parallel.done, 64, "{:?}", parallel.refused);
    assert!(parallel.rate() >= one_by_one.rate() * 0.8, "the parallel calls hold each other up");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_at_once_hear_of_it_in_one_frame() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &[]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    cluster.api("gone").revoke_user(&user("gone")).await.unwrap();
    let many: Vec<UserId> = (0..97).map(|n| user(&format!("u{n}"))).collect();
    let wanted = [vec![user("bob"), user("gone"), user("alice")], many].concat();
    let refused = alice.api.add_members(&channel, &wanted).await.unwrap();
    assert_eq!(refused, [(user("gone"), "user_not_found".to_owned())]);
    assert_eq!(alice.api.channel(&channel).await.unwrap().members_version, 2);
    alice.says(&channel, "welcome").await;
    for person in [&alice, &bob] {
        person.hears(&channel, "welcome").await;
        let told: Vec<Vec<UserId>> = person.look(|log| {
            let added = log.iter().filter_map(|logged| match &logged.event {
                Event::Channel { change: ChannelChange::MembersAdded, user_ids, .. } => {
                    Some(user_ids.clone())
                }
                _ => None,
            });
            added.collect()
        });
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [99], "one frame, all of them");
    }
}

struct Invited {
    done: usize,
    refused: Vec<Option<ErrorCode>>,
    took: Duration,
    slowest: Duration,
}

impl Invited {
    fn rate(&self) -> f64 {
        let calls = u32::try_from(self.done + self.refused.len()).unwrap();
        f64::from(calls) / self.took.as_secs_f64()
    }
}

/// Invites so many users to a new channel, so many at a time. No call is repeated.
async fn invite(cluster: &Cluster, users: usize, at_a_time: usize) -> Invited {
    let channel = cluster.group("alice", &[]).await.id;
    let (api, slots) = (cluster.api("alice"), Arc::new(Semaphore::new(at_a_time)));
    let mut calls = JoinSet::new();
    let began = Instant::now();
    for n in 0..users {
        let (api, channel, slots) = (api.clone(), channel.clone(), Arc::clone(&slots));
        calls.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            let at = Instant::now();
            (api.add_member(&channel, &user(&format!("u{n}"))).await, at.elapsed())
        });
    }
    let answers = calls.join_all().await;
    let took = began.elapsed();
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    let refused: Vec<_> =
        answers.iter().filter_map(|(answer, _)| Some(answer.as_ref().err()?.code())).collect();
    let members = api.members(&channel, None).await.unwrap().members;
    assert_eq!(members.len(), answers.len() - refused.len() + 1);
    Invited { done: answers.len() - refused.len(), refused, took, slowest }
}
