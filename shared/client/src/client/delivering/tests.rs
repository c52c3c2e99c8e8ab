use std::time::Duration;

use model::{ErrorCode, MessageId, MessageText};
use protocol::client_frame::SendFrame;
use protocol::frame::Refused;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;
use crate::fake_server::{FakeServer, Peer, at, event, general, problem};
use crate::{Client, Config, DeliveryState, DeliveryWaits};

fn words(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// The next `send` of a client.
async fn send(peer: &mut Peer) -> SendFrame {
    let frame = peer.next().await;
    let ClientFrame::Send(send) = frame else { panic!("{frame:?}") };
    send
}

async fn accept(peer: &mut Peer, send: &SendFrame) {
    let (reference, id) = (send.reference, send.id);
    let frame =
        ServerFrame::Accepted { reference, id, n: None, replicated: true, server_time: at(0) };
    peer.send(&frame).await;
}

/// Waits until a message has come this far.
async fn reaches(events: &mut mpsc::Receiver<Event>, id: MessageId, state: &DeliveryState) {
    event(events, |event| {
        matches!(event, Event::Delivery { id: of, state: now, .. } if *of == id && now == state)
    })
    .await;
}

#[tokio::test]
async fn a_message_goes_by_the_socket_and_is_forgotten_when_it_is_archived() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let id = client.deliver(&general(), words("hi")).unwrap();
    reaches(&mut events, id, &DeliveryState::Queued).await;
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    let sent = send(&mut peer).await;
    assert_eq!((sent.id, sent.text.as_str()), (id, "hi"));
    accept(&mut peer, &sent).await;
    reaches(&mut events, id, &DeliveryState::Accepted { replicated: true }).await;
    assert_eq!(client.deliveries().len(), 1);
    let (channel_id, archived) = (general(), vec![id]);
    let (delivered, read) = (Vec::new(), Vec::new());
    peer.send(&ServerFrame::Receipts { channel_id, delivered, read, archived }).await;
    reaches(&mut events, id, &DeliveryState::Archived).await;
    assert_eq!(client.deliveries(), []);
}

#[tokio::test]
async fn a_socket_that_breaks_before_the_answer_leaves_it_to_the_next_one() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, _events) = fake.client();
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    let ids = ["one", "two"].map(|text| client.deliver(&general(), words(text)).unwrap());
    for id in ids {
        assert_eq!(send(&mut peer).await.id, id);
    }
    drop(peer);
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    for id in ids {
        assert_eq!(send(&mut peer).await.id, id);
    }
}

#[tokio::test]
async fn a_client_goes_on_with_the_outbox_that_a_program_kept() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, events) = fake.client();
    let ids = ["one", "two"].map(|text| client.deliver(&general(), words(text)).unwrap());
    let deliveries = client.deliveries();
    drop((client, events));
    let (client, _events) = Client::start(Config { deliveries, ..fake.config() });
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    for (id, text) in ids.into_iter().zip(["one", "two"]) {
        let sent = send(&mut peer).await;
        assert_eq!((sent.id, sent.text.as_str()), (id, text));
    }
    assert!(client.deliver(&general(), words("three")).unwrap() > ids[1]);
}

#[tokio::test]
async fn without_a_node_that_takes_it_and_without_an_archive_it_is_posted() {
    let mut fake = FakeServer::start(|call| {
        let is_post = call.line == "POST /messages";
        is_post.then(|| {
            let body = json!({
                "id": call.body["id"], "channel_id": general().as_str(), "sender_id": "alice",
                "message": call.body["message"], "created_at": at(0).rfc3339(),
                "duplicate": false, "server_time": at(0).unix_ms(),
            });
            (200, body)
        })
    })
    .await;
    let wait = Duration::from_millis(30);
    let delivery_waits = DeliveryWaits { archived: wait, longest: wait, socket: wait };
    let (client, mut events) = Client::start(Config { delivery_waits, ..fake.config() });
    // Its node does not take `send`.
    let peer = fake.accept_ready("c1", true).await;
    let id = client.deliver(&general(), words("one")).unwrap();
    reaches(&mut events, id, &DeliveryState::Archived).await;
    drop(peer);
    event(&mut events, |event| matches!(event, Event::Disconnected { .. })).await;
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    event(&mut events, |event| matches!(event, Event::Ready { .. })).await;
    let id = client.deliver(&general(), words("two")).unwrap();
    for _ in 0..2 {
        let sent = send(&mut peer).await;
        assert_eq!(sent.id, id);
        accept(&mut peer, &sent).await;
    }
    reaches(&mut events, id, &DeliveryState::Archived).await;
    let posted = fake.calls().into_iter().filter(|call| call.line == "POST /messages");
    let posted: Vec<_> = posted.map(|call| call.body["message"].clone()).collect();
    assert_eq!(posted, ["one", "two"]);
}

#[tokio::test]
async fn what_is_refused_for_good_is_kept_for_the_program() {
    let mut fake = FakeServer::start(|call| {
        (call.line == "POST /messages").then(|| problem(404, "channel_not_found"))
    })
    .await;
    let (client, mut events) = fake.client();
    let mut peer = fake.accept_taking("c1", &["send"]).await;
    let id = client.deliver(&general(), words("hi")).unwrap();
    let sent = send(&mut peer).await;
    let refused = Refused::of(ErrorCode::Unavailable);
    let refused = Refused { reference: Some(sent.reference), ..refused };
    peer.send(&ServerFrame::Refused(refused)).await;
    let code = "channel_not_found".to_owned();
    reaches(&mut events, id, &DeliveryState::Failed { code }).await;
    assert_eq!(client.deliveries()[0].text.as_str(), "hi");
    assert_eq!(client.discard(&general(), id), Some(words("hi")));
}
