use std::path::Path;

use model::{Message, MessageText};
use protocol::client_frame::ClientFrame;
use protocol::frame::ServerFrame;

use super::*;
use crate::fake_server::{FakeServer, at, event, general, message, until_caught_up};
use crate::{Client, Config, DeliveryState};

fn config(fake: &FakeServer, path: &Path) -> Config {
    let store = Store::open(path).unwrap();
    let config = Config::with_store(fake.api(), store).unwrap();
    Config { backoff: fake.config().backoff, ..config }
}

fn is_fresh(event: &Event) -> bool {
    matches!(event, Event::Message { fresh: true, .. })
}

fn text(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// Drops a client and its events at once, and waits until its file is closed.
async fn killed(client: Client, events: mpsc::Receiver<Event>, path: &Path) -> Store {
    drop((client, events));
    let path = path.to_owned();
    spawn_blocking(move || Store::open(path)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_new_client_with_the_store_of_the_last_one_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob.sqlite");
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = Client::start(config(&fake, &path));
    let mut peer = fake.accept_answering("c1", false, &["send"]).await;
    until_caught_up(&mut events).await;
    for ms in 1..=3 {
        peer.push(&format!("c{ms}1"), &message(ms)).await;
        event(&mut events, is_fresh).await;
    }
    while client.cursor().as_deref() != Some("c31") {
        tokio::task::yield_now().await;
    }
    let queued =
        |event: &Event| matches!(event, Event::Delivery { state: DeliveryState::Queued, .. });
    let ids = ["one", "two"].map(|words| client.deliver(&general(), text(words)).unwrap());
    for _ in ids {
        event(&mut events, queued).await;
    }
    let (channel_id, archived) = (general(), vec![ids[0]]);
    let (delivered, read) = (Vec::new(), Vec::new());
    peer.send(&ServerFrame::Receipts { channel_id, delivered, read, archived }).await;
    event(&mut events, |event| {
        matches!(event, Event::Delivery { state: DeliveryState::Archived, .. })
    })
    .await;
    let store = killed(client, events, &path).await;

    let resumed = Config::with_store(fake.api(), store).unwrap();
    let (client, mut events) = Client::start(Config { backoff: fake.config().backoff, ..resumed });
    assert_eq!(client.timeline(general()).ids(), [1, 2, 3].map(|ms| message(ms).id));
    let mut peer = fake.accept_answering("c32", true, &["send"]).await;
    assert_eq!(peer.hello.cursor.as_deref(), Some("c31"));
    let ClientFrame::Send(sent) = peer.next().await else { panic!() };
    assert_eq!((sent.id, sent.text.as_str()), (ids[1], "two"), "the other one is stored");
    for ms in 3..=4 {
        peer.push("c40", &message(ms)).await;
    }
    let Event::Message { message: fresh, .. } = event(&mut events, is_fresh).await else {
        panic!()
    };
    assert_eq!(fresh.id, message(4).id, "nothing is fresh again");
    let later = client.deliver(&general(), text("three")).unwrap();
    assert!(later > ids[1]);
}

#[tokio::test]
async fn an_event_reaches_the_program_when_its_message_is_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob.sqlite");
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = Client::start(config(&fake, &path));
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    peer.push("c2", &message(1)).await;
    event(&mut events, is_fresh).await;
    let mut store = killed(client, events, &path).await;
    let resumed = store.resume(100).unwrap();
    assert_eq!(resumed.inbox.timeline(general()).unwrap().ids(), [message(1).id]);
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeServer::start(|_| None).await;
    let config = config(&fake, &directory.path().join("bob.sqlite"));
    config.store.as_ref().unwrap().fail_writes();
    let (_client, mut events) = Client::start(config);
    let stopped = event(&mut events, |event| matches!(event, Event::Stopped { .. })).await;
    let Event::Stopped { reason } = stopped else { panic!() };
    assert_eq!(reason.to_string(), "cannot use the store: attempt to write a readonly database");
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_store_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.sqlite");
    let mut fake = FakeServer::start(|_| None).await;
    let mut store = Store::open(&path).unwrap();
    let mut inbox = store.resume(100).unwrap().inbox;
    inbox.upsert(Message { sender_id: "alice".parse().unwrap(), ..message(1) });
    inbox.record_in_step(at(2));
    let (snapshot, owner) = (inbox.snapshot(), Some("demo/alice".to_owned()));
    store.write(Batch { cursor: None, owner, snapshot, outbox: Vec::new() }).unwrap();
    drop(store);
    let (_client, mut events) = Client::start(config(&fake, &path));
    let _peer = fake.accept_ready("c1", false).await;
    let stopped = event(&mut events, |event| matches!(event, Event::Stopped { .. })).await;
    let Event::Stopped { reason } = stopped else { panic!() };
    assert_eq!(reason.to_string(), "the store is demo/alice's");
}
