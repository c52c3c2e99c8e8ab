//! Sockets: tickets, limits, cursors.

use std::time::Duration;

use client::{RawSocket, Received, exchange, exchange_for};
use embedded_stack::StackOptions;
use model::limits;
use protocol::frame::ServerFrame;
use tests::SOON;
use tests::cluster::{Cluster, Environment, options};

async fn open(url: &str) -> RawSocket {
    RawSocket::open(url, &[], SOON).await.unwrap()
}

async fn ready(socket: &mut RawSocket) -> (String, bool) {
    let frame = socket.frame_within(SOON, |frame| matches!(frame, ServerFrame::Ready(_))).await;
    match frame {
        Some(ServerFrame::Ready(ready)) => (ready.cursor, ready.resumed),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn attach(
    cluster: &Cluster,
    name: &str,
    cursor: Option<&str>,
) -> (RawSocket, String, bool) {
    let target = cluster.api(name).connect(None).await.unwrap().target;
    let mut socket = open(&target.url).await;
    socket.hello(&target.ticket, cursor).await.unwrap();
    let (cursor, resumed) = ready(&mut socket).await;
    (socket, cursor, resumed)
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_handshakes_above_the_rate_are_refused_with_retry_after() {
    let options = StackOptions { nodes: 1, handshakes_per_second: 3, ..options() };
    let cluster = Cluster::of(options, None).await;
    let url = cluster.nodes()[0].url.clone();
    let handshake = "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let at_once = (0..12).map(|_| exchange_for(&url, handshake.as_bytes(), Duration::from_secs(1)));
    let answers = futures_util::future::join_all(at_once).await;
    let answers: Vec<String> = answers
        .into_iter()
        .map(|answer| String::from_utf8_lossy(&answer.unwrap()).to_lowercase())
        .collect();
    let taken = answers.iter().filter(|answer| answer.starts_with("http/1.1 101")).count();
    assert!((3..12).contains(&taken), "{taken} of 12 in a moment, 3 a second");
    for refused in answers.iter().filter(|answer| !answer.starts_with("http/1.1 101")) {
        assert!(refused.starts_with("http/1.1 503"), "before the upgrade: {refused}");
        assert!(refused.contains("retry-after: "), "{refused}");
    }
    // Later clients are served.
    let (mut socket, ..) = attach(&cluster, "alice", None).await;
    socket.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_ticket_opens_one_socket_on_its_node() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let assignment = cluster.api("alice").connect(None).await.unwrap();
    let (target, other) = (assignment.target, assignment.alternates[0].clone());
    let close_of = async |url: &str, ticket: &str| {
        let mut socket = open(url).await;
        socket.hello(ticket, None).await.unwrap();
        socket.close_within(SOON).await
    };
    assert_eq!(close_of(&other.url, &target.ticket).await, Some(4401), "of another node");
    let mut first = open(&target.url).await;
    first.hello(&target.ticket, None).await.unwrap();
    ready(&mut first).await;
    assert_eq!(close_of(&target.url, &target.ticket).await, Some(4401), "used");
    let mut forged = target.ticket.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let token = cluster.token("alice", 60).await;
    for ticket in ["", "x", "a.b.c", &forged, &token] {
        assert_eq!(close_of(&target.url, ticket).await, Some(4401), "{ticket:.20}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_ticket_used_by_many_at_once_opens_one() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let target = cluster.api("alice").connect(None).await.unwrap().target;
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let target = target.clone();
        uses.spawn(async move {
            let mut socket = open(&target.url).await;
            socket.hello(&target.ticket, None).await.unwrap();
            matches!(
                socket.receive_within(SOON).await,
                Some(Received::Frame(ServerFrame::Ready(_)))
            )
        });
    }
    let opened = uses.join_all().await.into_iter().filter(|opened| *opened).count();
    assert_eq!(opened, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_socket_ends_with_its_token() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let token = cluster.token("alice", 2).await;
    let target = cluster.api_with(&token).connect(None).await.unwrap().target;
    let mut socket = open(&target.url).await;
    socket.hello(&target.ticket, None).await.unwrap();
    ready(&mut socket).await;
    assert_eq!(socket.close_within(SOON).await, Some(4401));
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_the_eleventh_socket_of_a_user_closes_the_first() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let mut sockets = Vec::new();
    for _ in 0..limits::SOCKETS_PER_USER_MAX + 1 {
        sockets.push(attach(&cluster, "alice", None).await.0);
    }
    assert_eq!(sockets[0].close_within(SOON).await, Some(4409));
    assert_eq!(sockets[1].close_within(Duration::from_millis(200)).await, None, "the others stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_cursor_is_replayed_or_unknown_and_never_closes_the_socket() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &[]).await.id;
    let elsewhere = client::DevUser::new("elsewhere".parse().unwrap(), "alice".parse().unwrap());
    let foreign_api = cluster.api_of(elsewhere);
    foreign_api.create_channel("x", &[]).await.unwrap();
    let foreign_target = foreign_api.connect(None).await.unwrap().target;
    let mut foreign_socket = open(&foreign_target.url).await;
    foreign_socket.hello(&foreign_target.ticket, None).await.unwrap();
    let (foreign, _) = ready(&mut foreign_socket).await;

    let (_socket, current, resumed) = attach(&cluster, "alice", None).await;
    assert!(!resumed, "a first connection");
    let posted = cluster.api("alice").post_message(&channel, "missed", None, None).await.unwrap();
    let (mut again, cursor, resumed) = attach(&cluster, "alice", Some(&current)).await;
    assert!(resumed);
    assert_eq!(cursor, current);
    let replayed =
        again.frame_within(SOON, |frame| matches!(frame, ServerFrame::Message { .. })).await;
    match replayed {
        Some(ServerFrame::Message { message, .. }) => assert_eq!(message.id, posted.message.id),
        other => panic!("{other:?}"),
    }
    let mut wrong_suffix = current.clone();
    wrong_suffix.replace_range(wrong_suffix.len() - 4.., "ZZZZ");
    let long = "9".repeat(10_000);
    for unknown in [foreign.as_str(), &wrong_suffix, "", "garbage", "0-0", "\u{0}", "'; --", &long]
    {
        let (_socket, _, resumed) = attach(&cluster, "bob", Some(unknown)).await;
        assert!(!resumed, "{unknown:.40}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_socket_in_a_quiet_workspace_can_be_resumed() {
    let cluster = Cluster::start(Environment::Embedded).await;
    // Nothing was ever published here. The first socket's node has put a marker into the stream.
    let (_first, cursor, resumed) = attach(&cluster, "loner", None).await;
    assert!(!resumed);
    let (_second, _, resumed) = attach(&cluster, "loner", Some(&cursor)).await;
    assert!(resumed);
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_slow_consumer_is_closed_resumably_and_others_are_unaffected() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let channel = cluster.group("alice", &["bob", "slow"]).await.id;
    let (mut slow, cursor, _) = attach(&cluster, "slow", None).await;
    let bob = cluster.person("bob").await;
    let alice = cluster.api("alice");
    // The kernel buffers some megabytes before the queue of 256 KiB fills. That must happen before
    // the kernel itself drops the client (`UNACKNOWLEDGED_MAX`).
    let text = "x".repeat(30_000);
    let mut sent = 0;
    while sent < 1_000 && !is_slow_consumer_counted(&cluster).await {
        let posts = (0..25).map(|_| alice.post_message(&channel, &text, None, None));
        futures_util::future::try_join_all(posts).await.unwrap();
        sent += 25;
    }
    assert_eq!(slow.close_within(SOON).await, Some(4508));
    alice.post_message(&channel, "after", None, None).await.unwrap();
    bob.hears_within(&channel, "after", Duration::from_secs(60)).await;
    assert_eq!(bob.count(|event| matches!(event, client::Event::Disconnected { .. })), 0);
    let (_socket, _, resumed) = attach(&cluster, "slow", Some(&cursor)).await;
    println!("closed after {sent} messages; resumed: {resumed}");
}

async fn is_slow_consumer_counted(cluster: &Cluster) -> bool {
    // The health check counts sockets: only bob's is left once the slow one is closed.
    let url = cluster.nodes()[0].url.replace("ws://", "http://").replace("/socket", "/healthz");
    let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = exchange(&url, request, SOON).await.unwrap();
    String::from_utf8_lossy(&answer).contains(r#""connections":1"#)
}
