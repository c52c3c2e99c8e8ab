//! Prints figures for people. Asserts nothing about time, because the machine is shared.

use std::time::Duration;

use tests::cluster::{Cluster, Environment};
use tests::{SOON, eventually, percentile};
use tokio::time::Instant;

crate::on_each_environment!(from_post_to_the_other_persons_socket);

async fn from_post_to_the_other_persons_socket(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let mut sent = Vec::new();
    for n in 0..300 {
        let at = Instant::now();
        let posted = alice.api.post_message(&channel, &n.to_string(), None, None).await.unwrap();
        sent.push((posted.message.id, at, at.elapsed()));
    }
    eventually("all arrived", SOON, async || {
        sent.iter().all(|(id, ..)| bob.reached_at(*id).is_some())
    })
    .await;
    let pushed: Vec<Duration> =
        sent.iter().filter_map(|(id, at, _)| Some(bob.reached_at(*id)? - *at)).collect();
    let answered: Vec<Duration> = sent.iter().map(|(.., took)| *took).collect();
    println!(
        "{environment:?}, 300 sends one after the other: POST to the other socket p50 {:.1?} p99 \
         {:.1?}; POST to its answer p50 {:.1?} p99 {:.1?}",
        percentile(&pushed, 50),
        percentile(&pushed, 99),
        percentile(&answered, 50),
        percentile(&answered, 99),
    );
}
