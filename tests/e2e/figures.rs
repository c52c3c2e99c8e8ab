//! Prints figures for people. Asserts nothing about time, because the machine is shared.

use std::time::Duration;

use client::Event;
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};
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
    let arrival = |person: &Person, id| {
        person.look(|log| {
            log.iter().find_map(|logged| match &logged.event {
                Event::Message { message, .. } if message.id == id => Some(logged.at),
                _ => None,
            })
        })
    };
    eventually("all arrived", SOON, async || {
        sent.iter().all(|(id, ..)| arrival(&bob, *id).is_some())
    })
    .await;
    let pushed: Vec<Duration> =
        sent.iter().filter_map(|(id, at, _)| Some(arrival(&bob, *id)? - *at)).collect();
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

pub(crate) fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100]
}
