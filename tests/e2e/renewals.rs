//! Sockets that outlive their first token (G8).

use std::time::Duration;

use client::{Api, DevUser, Event, RawSocket, SocketKind};
use protocol::client_frame::{ClientFrame, RenewFrame};
use protocol::frame::ServerFrame;
use tests::SOON;
use tests::cluster::{Cluster, Environment, user};
use tests::person::Person;

crate::on_each_environment!(g8_a_renewed_socket_ends_with_the_newer_token);

/// Opens a socket with a token that lives this long.
async fn socket_of(cluster: &Cluster, name: &str, ttl_s: u64) -> (Api, RawSocket) {
    let api = cluster.api_with(&cluster.token(name, ttl_s).await);
    let target = api.connect(None).await.unwrap().target;
    let mut socket = RawSocket::open(&target.url, &[], SOON).await.unwrap();
    socket.hello(&target.ticket, None).await.unwrap();
    let ready = socket.frame_within(SOON, |frame| matches!(frame, ServerFrame::Ready(_))).await;
    let Some(ServerFrame::Ready(ready)) = ready else { panic!("{ready:?}") };
    assert!(ready.accepts.iter().any(|kind| kind == "renew"));
    (api, socket)
}

async fn g8_a_renewed_socket_ends_with_the_newer_token(environment: Environment) {
    let cluster = Cluster::with_nodes(environment, 1).await;
    let (_, mut not_renewed) = socket_of(&cluster, "alice", 4).await;
    let (_, mut renewed) = socket_of(&cluster, "alice", 4).await;
    let newer = cluster.api_with(&cluster.token("alice", 7).await);
    let node = cluster.nodes()[0].node_id.clone();
    let renewal = newer.renewal(&node, &SocketKind::default()).await.unwrap();
    assert_eq!(renewal.target.node_id, node);
    assert!(renewal.alternates.is_empty() && renewal.delay.is_zero());
    let ticket = renewal.target.ticket;
    let renew = ClientFrame::Renew(RenewFrame { reference: Some(7), ticket });
    renewed.say(&renew).await.unwrap();
    let is_answer = |frame: &ServerFrame| matches!(frame, ServerFrame::Renewed { .. });
    let answer = renewed.frame_within(SOON, is_answer).await;
    let Some(ServerFrame::Renewed { reference: Some(7), expires_at, .. }) = answer else {
        panic!("{answer:?}")
    };
    let left = expires_at.since(newer.server_now());
    assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(7), "{left:?}");
    // The same ticket is good once.
    renewed.say(&renew).await.unwrap();
    let is_refused = |frame: &ServerFrame| matches!(frame, ServerFrame::Refused(_));
    match renewed.frame_within(SOON, is_refused).await {
        Some(ServerFrame::Refused(refused)) => assert_eq!(refused.code, "invalid_token"),
        other => panic!("{other:?}"),
    }
    assert_eq!(not_renewed.close_within(SOON).await, Some(4401), "with its token");
    renewed.say(&ClientFrame::Ping).await.unwrap();
    let is_pong = |frame: &ServerFrame| matches!(frame, ServerFrame::Pong { .. });
    assert!(renewed.frame_within(SOON, is_pong).await.is_some(), "it outlives the first token");
    assert_eq!(renewed.close_within(SOON).await, Some(4401), "and ends with the second");
    // The server's clock is known to within the time of a call.
    assert!(newer.server_now().plus(Duration::from_millis(200)) >= expires_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_the_client_keeps_its_socket_while_tokens_come_and_go() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let bob = DevUser::new(cluster.workspace().clone(), user("bob"));
    let bob = Person::start("bob", cluster.api_of(DevUser { ttl_s: Some(3), ..bob })).await;
    // One whose token cannot be renewed.
    let carol = cluster.api_with(&cluster.token("carol", 3).await);
    let carol = Person::start_without_waiting("carol", carol);
    // A socket that is not renewed tells when more than two lives are over.
    let (_, mut clock) = socket_of(&cluster, "clock", 8).await;
    assert_eq!(clock.close_within(SOON).await, Some(4401));
    assert_eq!(bob.count(|event| matches!(event, Event::Disconnected { .. })), 0);
    assert_eq!(bob.count(|event| matches!(event, Event::Ready { .. })), 1);
    carol.until("closed", |event| matches!(event, Event::Disconnected { code: 4401 })).await;
}
