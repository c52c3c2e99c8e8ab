//! Planned moves: a draining node hands its clients over, and nothing of a channel that keeps nothing
//! is lost on the way (G15).

use std::time::Duration;

use client::{Event, RawSocket, SayError};
use model::{ChannelId, MessageText, limits};
use protocol::frame::{Going, ServerFrame};
use tests::cluster::Cluster;
use tests::person::Person;
use tests::process::NodeProcess;
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::failover::two_processes;
use crate::meetings::{joins, meeting};

fn readies(person: &Person) -> usize {
    person.count(|event| matches!(event, Event::Ready { .. }))
}

/// The number and text of everything a person heard, and how many were missing before it.
fn heard(person: &Person) -> Vec<(u64, String, u64)> {
    let said = |event: &Event| match event {
        Event::Said { n, message, missing } => {
            Some((*n, message.text.as_str().to_owned(), *missing))
        }
        _ => None,
    };
    person.look(|log| log.iter().filter_map(|logged| said(&logged.event)).collect())
}

/// Talks as fast as a node takes it, until `is_over` and ten times more. Returns how often.
async fn talks(person: &Person, channel: &ChannelId, is_over: impl Fn() -> bool) -> usize {
    let (mut said, mut after) = (0, 0);
    while after < 10 {
        let text = MessageText::parse(format!("{} {said}", person.name)).unwrap();
        match person.client.say(channel, text).await {
            Ok(_) => {
                said += 1;
                after += usize::from(is_over());
            }
            // Its bucket is empty.
            Err(SayError::Refused(refused)) => {
                tokio::time::sleep(refused.retry_after.unwrap()).await;
            }
            Err(lost) => panic!("{}: {lost}", person.name),
        }
    }
    said
}

/// Sends to a channel that keeps its messages until `is_over`. Returns the texts.
async fn posts(cluster: &Cluster, channel: &ChannelId, is_over: impl Fn() -> bool) -> Vec<String> {
    let (api, mut texts) = (cluster.api("user0"), Vec::new());
    while !is_over() {
        let text = format!("kept {}", texts.len());
        api.post_message(channel, &text, None, None).await.unwrap();
        texts.push(text);
    }
    texts
}

async fn on(people: &[Person], node: &NodeProcess) -> Vec<bool> {
    let mut on = Vec::new();
    for person in people {
        on.push(node.is(&person.client.node_id().unwrap()).await);
    }
    on
}

#[tokio::test(flavor = "multi_thread")]
async fn g15_a_planned_move_loses_nothing_of_what_is_said_meanwhile() {
    let (cluster, mut leaving, _other) = two_processes().await;
    let names: Vec<String> = (0..10).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept = cluster.group("user0", &names[1..]).await.id;
    let channel = meeting(&cluster, "user0", &names[1..]).await;
    let mut people = Vec::new();
    for name in &names {
        people.push(cluster.person(name).await);
    }
    for person in &people {
        assert_eq!(joins(person, &channel).await, Some(0), "{}", person.name);
    }
    let was_there = on(&people, &leaving).await;
    let moving = was_there.iter().filter(|there| **there).count();
    assert!((1..people.len()).contains(&moving), "people on both nodes");
    let joined = || people.iter().map(|person| person.count(is_joined)).collect::<Vec<_>>();
    let joined_before = joined();

    let moved = || people.iter().filter(|person| readies(person) == 2).count() >= moving;
    let talk =
        futures_util::future::join_all(people.iter().map(|person| talks(person, &channel, moved)));
    let terminate = async {
        let is_loud = || people.iter().all(|person| heard(person).len() >= 20);
        eventually("everybody talks", SOON, async || is_loud()).await;
        leaving.terminate();
        let begun = Instant::now();
        eventually("all have moved", SOON, async || moved()).await;
        (begun.elapsed(), heard(&people[0]).len())
    };
    let (said, texts, (took, meanwhile)) =
        tokio::join!(talk, posts(&cluster, &kept, moved), terminate);
    eventually("it exits by itself", limits::GOING_WAIT, async || leaving.has_exited_with(0)).await;

    let all = said.iter().sum::<usize>();
    for person in &people {
        let what = format!("{} heard everything", person.name);
        eventually(&what, SOON, async || heard(person).len() >= all).await;
        let heard = heard(person);
        let numbers: Vec<u64> = heard.iter().map(|(n, ..)| *n).collect();
        assert_eq!(numbers, (1..=all as u64).collect::<Vec<_>>(), "{}", person.name);
        assert!(heard.iter().all(|(.., missing)| *missing == 0), "{}", person.name);
        let mut once: Vec<&String> = heard.iter().map(|(_, text, _)| text).collect();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all, "{}: none doubled", person.name);
        person.hears(&kept, texts.last().unwrap()).await;
        assert_eq!(person.texts(&kept), texts, "{}", person.name);
    }
    assert_eq!(joined(), joined_before, "nobody was told that they joined again");
    let lost = |event: &Event| matches!(event, Event::Disconnected { .. });
    assert!(people.iter().all(|person| person.count(lost) == 0));
    for (person, was_there) in people.iter().zip(&was_there) {
        assert_eq!(readies(person), 1 + usize::from(*was_there), "{}", person.name);
    }
    println!(
        "{moving} of {} moved within {took:?}: {all} said, {} of them after the first {meanwhile}, \
         none missed and none doubled; {} kept",
        people.len(),
        all - meanwhile,
        texts.len()
    );
}

fn is_joined(event: &Event) -> bool {
    matches!(event, Event::Joined { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_client_that_does_not_list_going_is_closed_at_once_and_another_gets_a_ticket() {
    let (cluster, one, _other) = two_processes().await;
    let api = cluster.api("alice");
    let assignment = api.connect(None).await.unwrap();
    let mut targets = vec![assignment.target];
    targets.extend(assignment.alternates);
    let mut of_one = None;
    for target in &targets {
        if one.is(&target.node_id).await {
            of_one = Some(target);
        }
    }
    let target = of_one.unwrap();
    let mut going = RawSocket::open(&target.url, &[], SOON).await.unwrap();
    going.hello_accepting(&target.ticket, None, &["going"]).await.unwrap();
    let is_ready = |frame: &ServerFrame| matches!(frame, ServerFrame::Ready(_));
    assert!(going.frame_within(SOON, is_ready).await.is_some());
    let again = loop {
        let assignment = cluster.api("bob").connect(None).await.unwrap();
        let all = [vec![assignment.target], assignment.alternates].concat();
        if let Some(target) = all.into_iter().find(|other| other.node_id == target.node_id) {
            break target;
        }
    };
    let mut as_before = RawSocket::open(&again.url, &[], SOON).await.unwrap();
    as_before.hello(&again.ticket, None).await.unwrap();
    assert!(as_before.frame_within(SOON, is_ready).await.is_some());

    one.terminate();
    let begun = Instant::now();
    let is_going = |frame: &ServerFrame| matches!(frame, ServerFrame::Going(_));
    let offered = going.frame_within(SOON, is_going).await;
    let Some(ServerFrame::Going(Going { node_id, url, ticket, by })) = offered else {
        panic!("{offered:?}")
    };
    assert_ne!(node_id, target.node_id);
    assert_eq!(by, limits::GOING_WAIT);
    assert_eq!(as_before.close_within(SOON).await, Some(1012));
    assert!(begun.elapsed() < limits::GOING_WAIT - Duration::from_secs(1), "{:?}", begun.elapsed());
    let mut next = RawSocket::open(&url, &[], SOON).await.unwrap();
    next.hello(&ticket, None).await.unwrap();
    match next.frame_within(SOON, is_ready).await {
        Some(ServerFrame::Ready(ready)) => {
            assert_eq!((ready.node_id, ready.user_id.as_str()), (node_id, "alice"));
        }
        other => panic!("{other:?}"),
    }
    // The socket that is not left is closed in the end.
    assert_eq!(going.close_within(limits::GOING_WAIT + SOON).await, Some(1012));
    assert!(begun.elapsed() >= by, "{:?}", begun.elapsed());
}
