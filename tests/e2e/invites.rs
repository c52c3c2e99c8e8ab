//! Inviting many people: one call each, many calls at once, and all in one call.

use std::sync::Arc;
use std::time::Duration;

use client::Event;
use model::{ChannelChange, ErrorCode, UserId};
use tests::cluster::{Cluster, Environment, user};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn inviting_in_parallel_costs_what_inviting_one_by_one_does() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let one_by_one = invite(&cluster, 64, 1).await;
    let parallel = invite(&cluster, 64, 32).await;
    println!("64 users invited: calls a second, the slowest call, calls of the store");
    for (how, invited) in [("one by one", &one_by_one), ("32 at a time", &parallel)] {
        let Invited { rate, put_off, slowest, store_calls } = invited;
        println!("  {how:<12} {rate:>7.1}  {slowest:>8.2?}  {store_calls:>5}, {put_off} put off");
    }
    // Standing, two checks for a revocation, two rows, the version, and the rows once more.
    let expected = 64 * 7;
    assert_eq!((one_by_one.store_calls, parallel.store_calls), (expected, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_added_at_once_are_announced_in_one_frame() {
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
        let announced: Vec<Vec<UserId>> = person.look(|log| {
            let added = log.iter().filter_map(|logged| match &logged.event {
                Event::Channel { change: Some(ChannelChange::MembersAdded), user_ids, .. } => {
                    Some(user_ids.clone())
                }
                _ => None,
            });
            added.collect()
        });
        assert_eq!(
            announced.iter().map(Vec::len).collect::<Vec<_>>(),
            [99],
            "one frame, all of them"
        );
    }
}

struct Invited {
    rate: f64,
    put_off: usize,
    slowest: Duration,
    store_calls: u64,
}

/// Invites `users` users to a new channel, `at_a_time` at once.
async fn invite(cluster: &Cluster, users: usize, at_a_time: usize) -> Invited {
    let channel = cluster.group("alice", &[]).await.id;
    let (api, slots) = (cluster.api("alice"), Arc::new(Semaphore::new(at_a_time)));
    let mut calls = JoinSet::new();
    let before = cluster.stack.capacity().snapshot();
    let began = Instant::now();
    for n in 0..users {
        let (api, channel, slots) = (api.clone(), channel.clone(), Arc::clone(&slots));
        calls.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            let at = Instant::now();
            let mut put_off = 0;
            while let Err(refused) = api.add_member(&channel, &user(&format!("u{n}"))).await {
                // On a busy machine, all environments may be taken for too long.
                assert_eq!(refused.code(), Some(ErrorCode::Unavailable), "{refused:?}");
                put_off += 1;
                tokio::time::sleep(refused.retry_after().unwrap()).await;
            }
            (put_off, at.elapsed())
        });
    }
    let answers = calls.join_all().await;
    let took = began.elapsed();
    let store_calls = cluster.stack.capacity().since(&before).total().calls;
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    let put_off = answers.iter().map(|(put_off, _)| put_off).sum();
    let members = api.members(&channel, None).await.unwrap().members;
    assert_eq!(members.len(), users + 1);
    let rate = f64::from(u32::try_from(users).unwrap()) / took.as_secs_f64();
    Invited { rate, put_off, slowest, store_calls }
}
