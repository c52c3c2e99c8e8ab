//! Prints figures for people. Asserts nothing about time, because the machine is shared.

use std::time::Duration;

use model::{MessageId, MessageText};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually, percentile};
use tokio::time::Instant;

use crate::deliver_first::delivering;

crate::on_each_environment!(from_a_send_to_the_other_persons_socket);

/// Sends of each sender, within what one socket may send at once.
const EACH: usize = 15;
const SENDERS: usize = 20;

/// Both ways in one run, in turns: stored first by `POST`, delivered first by `send`.
async fn from_a_send_to_the_other_persons_socket(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let names: Vec<String> = (0..SENDERS).map(|n| format!("u{n}")).collect();
    let members: Vec<&str> = names.iter().map(String::as_str).chain(["bob"]).collect();
    let stored = cluster.group("alice", &members).await.id;
    let delivered = delivering(&cluster, "alice", &members).await;
    let bob = cluster.person("bob").await;
    let (mut posts, mut sends) = (Vec::new(), Vec::new());
    for name in &names {
        let sender = cluster.person(name).await;
        for n in 0..EACH {
            let at = Instant::now();
            let posted = sender.api.post_message(&stored, &n.to_string(), None, None).await;
            posts.push((posted.unwrap().message.id, at, at.elapsed()));
            let (at, text) = (Instant::now(), MessageText::parse(n.to_string()).unwrap());
            let accepted = sender.client.say(&delivered, text).await.unwrap();
            sends.push((accepted.id, at, at.elapsed()));
        }
    }
    for (what, sent) in [("POST", posts), ("send", sends)] {
        eventually("all arrived", SOON, async || {
            sent.iter().all(|(id, ..)| bob.reached_at(*id).is_some())
        })
        .await;
        print(environment, what, &bob, &sent);
    }
    // In the cloud the function `archive` stores, and its alarm watches the lag.
    if environment != Environment::Deployed {
        let archiver = cluster.stack.archiver();
        let all = (SENDERS * EACH) as u64;
        eventually("all are stored", SOON, async || archiver.counts().archived == all).await;
        let lag = archiver.take_lag_ms();
        println!("{environment:?}, {all} delivered first: stored {lag} ms later at most");
    }
}

fn print(
    environment: Environment,
    what: &str,
    bob: &Person,
    sent: &[(MessageId, Instant, Duration)],
) {
    let pushed: Vec<Duration> =
        sent.iter().filter_map(|(id, at, _)| Some(bob.reached_at(*id)? - *at)).collect();
    let answered: Vec<Duration> = sent.iter().map(|(.., took)| *took).collect();
    println!(
        "{environment:?}, {} one after the other: {what} to the other socket p50 {:.1?} p99 {:.1?}; \
         {what} to its answer p50 {:.1?} p99 {:.1?}",
        sent.len(),
        percentile(&pushed, 50),
        percentile(&pushed, 99),
        percentile(&answered, 50),
        percentile(&answered, 99),
    );
}
