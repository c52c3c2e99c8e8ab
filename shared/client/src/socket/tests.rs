use tokio::net::TcpListener;

use super::*;
use crate::fake_server::{FakeServer, WAIT, message};

#[tokio::test]
async fn frames_and_the_close_code_arrive_as_sent() {
    let mut fake = FakeServer::start(|_| None).await;
    let mut socket = RawSocket::open(&fake.node_url, &[("x-test", "1")], WAIT).await.unwrap();
    socket.hello("ticket", Some("c0")).await.unwrap();
    let mut peer = fake.accept_ready("c1", true).await;
    assert_eq!(peer.hello.cursor.as_deref(), Some("c0"));
    peer.push("c2", &message(1)).await;
    peer.push("c3", &message(2)).await;
    let wanted = |frame: &ServerFrame| matches!(frame, ServerFrame::Message { cursor, .. } if cursor == "c3");
    assert!(socket.frame_within(WAIT, wanted).await.is_some());
    assert_eq!(socket.receive_within(Duration::from_millis(20)).await, None);
    peer.close(4508).await;
    assert_eq!(socket.close_within(WAIT).await, Some(4508));
    drop(peer);
    assert_eq!(socket.close_within(WAIT).await, Some(1006));
}

#[tokio::test]
async fn a_refused_upgrade_keeps_its_status() {
    let fake = FakeServer::start(|_| Some((426, serde_json::json!({})))).await;
    let url = fake.base_url.replace("http://", "ws://");
    let error = RawSocket::open(&url, &[], WAIT).await.unwrap_err();
    assert!(matches!(error, OpenError::Refused { status: 426 }), "{error:?}");
    let error = RawSocket::open("http:/x", &[], WAIT).await.unwrap_err();
    assert!(matches!(error, OpenError::BadRequest), "{error:?}");
}

#[tokio::test]
async fn an_exchange_ends_at_the_peers_close_or_at_the_deadline() {
    let fake = FakeServer::start(|_| None).await;
    let answer = exchange(&fake.base_url, b"GET /x HTTP/1.1\r\n\r\n", WAIT).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 404"));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let moment = Duration::from_millis(20);
    assert!(matches!(exchange(&url, b"x", moment).await, Err(OpenError::TimedOut)));
    assert_eq!(exchange_for(&url, b"x", moment).await.unwrap(), b"");
    let error = RawSocket::open(&url, &[], Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, OpenError::TimedOut), "{error:?}");
}
