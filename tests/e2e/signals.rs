//! What clients say on their sockets, and the signals that others get of it (G17).

use std::time::Duration;

use client::{Event, SocketMessage, View};
use model::{ChannelId, LogId};
use protocol::client_frame::ClientFrame;
use protocol::frame::ServerFrame;
use tests::cluster::{Cluster, Environment, user};
use tests::person::Person;
use tests::{SOON, eventually};

use crate::sockets::attach;

crate::on_each_environment!(
    g17_who_types_is_seen_by_who_views_the_channel,
    a_ping_is_answered_and_a_malformed_frame_passed_over,
);

/// Whom a person sees typing in a log at last.
fn typing(person: &Person, log: &LogId) -> Vec<String> {
    person.look(|events| {
        let of_log = |event: &Event| match event {
            Event::Typing { log: of, users, .. } if of == log => {
                Some(users.iter().map(ToString::to_string).collect())
            }
            _ => None,
        };
        events.iter().rev().find_map(|logged| of_log(&logged.event)).unwrap_or_default()
    })
}

fn sees(person: &Person, logs: &[&LogId]) {
    let logs = logs.iter().map(|log| (*log).clone()).collect();
    person.client.set_view(View { logs, users: Vec::new() });
}

/// Says that somebody types until another sees it: a view may arrive later, and signals may be lost.
async fn types_until_seen(typist: &Person, log: &LogId, viewer: &Person) {
    eventually("the typist is seen", SOON, async || {
        typist.client.typing(log.clone());
        typing(viewer, log) == [typist.name.clone()]
    })
    .await;
}

async fn g17_who_types_is_seen_by_who_views_the_channel(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob", "carol"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let carol = cluster.person("carol").await;
    let main = LogId::from(&channel);
    let root = alice.says(&channel, "who is in?").await;
    let thread = LogId::new(channel.clone(), Some(root));
    sees(&alice, &[&main, &thread]);
    types_until_seen(&bob, &main, &alice).await;
    types_until_seen(&bob, &thread, &alice).await;
    // Carol views nothing, and dave, who views it, is no member.
    let dave = cluster.person("dave").await;
    sees(&dave, &[&main]);
    // A view outlives its socket.
    alice.client.cut();
    alice
        .until("a second ready", |event| matches!(event, Event::Ready { after: Some(_), .. }))
        .await;
    let seen_before = alice.count(|event| matches!(event, Event::Typing { .. }));
    eventually("bob is seen again", SOON, async || {
        bob.client.typing(main.clone());
        alice.count(|event| matches!(event, Event::Typing { .. })) > seen_before
    })
    .await;
    for other in [&carol, &dave] {
        assert_eq!(other.count(|event| matches!(event, Event::Typing { .. })), 0, "{}", other.name);
    }
    // Signals are in no stream: who comes back hears of none.
    bob.says(&channel, "me").await;
    alice.hears(&channel, "me").await;
    assert_eq!(alice.texts(&channel), ["who is in?", "me"]);
    not_a_member_types(&cluster, &channel, &alice).await;
}

/// Who is no member cannot be seen typing.
async fn not_a_member_types(cluster: &Cluster, channel: &ChannelId, viewer: &Person) {
    let mallory = cluster.person("mallory").await;
    mallory.client.typing(channel);
    let mut socket = attach(cluster, "mallory", None).await.0;
    socket.say(&ClientFrame::Typing(channel.into())).await.unwrap();
    // Frames of one socket are handled in order.
    socket.say(&ClientFrame::Ping).await.unwrap();
    let is_pong = |frame: &ServerFrame| matches!(frame, ServerFrame::Pong { .. });
    socket.frame_within(SOON, is_pong).await.expect("a pong");
    let names_mallory = |event: &Event| matches!(event, Event::Typing { users, .. } if users.contains(&user("mallory")));
    assert_eq!(viewer.count(names_mallory), 0);
}

async fn a_ping_is_answered_and_a_malformed_frame_passed_over(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let mut socket = attach(&cluster, "alice", None).await.0;
    let is_pong = |frame: &ServerFrame| matches!(frame, ServerFrame::Pong { .. });
    for malformed in [r#"{"type":"view","channels":7}"#, r#"{"type":"typing","channel_id":"x"}"#] {
        socket.send(SocketMessage::text(malformed)).await.unwrap();
    }
    socket.say(&ClientFrame::Ping).await.unwrap();
    match socket.frame_within(SOON, is_pong).await {
        Some(ServerFrame::Pong { cursor, fresh, .. }) => assert!(fresh && !cursor.is_empty()),
        other => panic!("{other:?}"),
    }
    // One in between is answered at the end of the two seconds.
    socket.say(&ClientFrame::Ping).await.unwrap();
    assert!(socket.frame_within(Duration::from_millis(1_000), is_pong).await.is_none());
    socket.frame_within(SOON, is_pong).await.expect("the next pong");
    socket.send(SocketMessage::text(r#"{"type":"shout"}"#)).await.unwrap();
    assert_eq!(socket.close_within(SOON).await, Some(4400));
}
