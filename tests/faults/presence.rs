//! A node with thousands of present users is killed (G16): those who do not come back vanish, and those
//! who do never show as offline.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Event, View};
use model::{Presence, UserId, limits};
use tests::cluster::user;
use tests::crowd::Crowd;
use tests::eventually;
use tests::person::Person;
use tests::proxied::{Plan, ProxiedCluster};
use tests::redis::{Flavor, RedisServer};
use tokio::time::{Instant, sleep_until};

use crate::figures::{figure, names, strs};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_killed_node_with_5000_present_users_leaves_no_ghost() {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { nodes: 1, doors: false, ..Plan::on(redis.port()) };
    let mut proxied = ProxiedCluster::start(plan).await;
    let names = names(USERS);
    let (gone, back) = names.split_at(USERS / 2);
    let leaving = Crowd::gather(&proxied.cluster, &strs(gone), 1).await;
    let _returning = Crowd::gather(&proxied.cluster, &strs(back), 1).await;
    let sockets = proxied.nodes[0].process.metric("inkwire_sockets").await;
    assert_eq!(sockets, USERS as u64, "all are on the first node");
    proxied.add_node().await;
    let mut viewers = Vec::new();
    for (n, viewed) in names.chunks(limits::VIEW_USERS_MAX).enumerate() {
        let viewer = loop {
            let viewer = proxied.cluster.person(&format!("viewer{n}")).await;
            if !proxied.nodes[0].process.is(&viewer.client.node_id().unwrap()).await {
                break viewer;
            }
        };
        let users = viewed.iter().map(|name| user(name)).collect();
        viewer.client.set_view(View { logs: Vec::new(), users });
        viewers.push((viewer, viewed));
    }
    eventually("all are seen", Duration::from_secs(30), async || {
        viewers.iter().all(|(viewer, viewed)| {
            let last = last_of_each(viewer);
            viewed
                .iter()
                .all(|name| last.get(&user(name)).is_some_and(|(_, is)| *is == Presence::Active))
        })
    })
    .await;
    drop(leaving);
    proxied.nodes[0].process.kill();
    let killed_at = Instant::now();
    sleep_until(killed_at + NO_GHOST_AFTER).await;
    let (mut ghosts, mut flickers, mut vanished) = (0, 0, Vec::new());
    for (viewer, viewed) in &viewers {
        let last = last_of_each(viewer);
        for name in *viewed {
            let (at, presence) = last[&user(name)];
            if gone.contains(name) {
                ghosts += usize::from(presence != Presence::Offline);
                vanished.push(at - killed_at);
            }
        }
        // Offline comes only after they were seen.
        flickers += viewer.look(|log| {
            let told =
                log.iter().filter(|logged| logged.at >= killed_at).filter_map(
                    |logged| match &logged.event {
                        Event::Presence { users } => Some(users),
                        _ => None,
                    },
                );
            let left = |(user, presence): &&(UserId, Presence)| {
                *presence == Presence::Offline
                    && !gone.iter().any(|name| name.as_str() == user.as_str())
            };
            told.flatten().filter(left).count()
        });
    }
    let (first, last) = (vanished.iter().min().unwrap(), vanished.iter().max().unwrap());
    figure!(
        "G16 a node killed with {USERS} present users: {} who stayed away vanished {first:.1?} to {last:.1?} \
         later, {ghosts} of them still show after {NO_GHOST_AFTER:?}; {} came back, {flickers} of them \
         showed as offline meanwhile",
        gone.len(),
        back.len()
    );
    assert_eq!((ghosts, flickers), (0, 0));
}

/// What a viewer was last told about each user, and when.
fn last_of_each(viewer: &Person) -> BTreeMap<UserId, (Instant, Presence)> {
    viewer.look(|log| {
        let mut last = BTreeMap::new();
        for logged in log {
            if let Event::Presence { users } = &logged.event {
                for (user, presence) in users {
                    last.insert(user.clone(), (logged.at, *presence));
                }
            }
        }
        last
    })
}

const USERS: usize = 5_000;
/// The page's bar: a lease that expires, the grace, and a confirmation.
const NO_GHOST_AFTER: Duration = Duration::from_secs(41);
