//! Moves to another node: the next socket is opened before this one is closed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use model::{MessageText, SessionId, SessionPosition};
use protocol::client_frame::ClientFrame;
use protocol::frame::{Going, Ready};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::*;
use crate::Token;
use crate::fake_server::{Peer, WAIT};

fn going(url: &str) -> ServerFrame {
    let (node_id, url, ticket) = ("N2".parse().unwrap(), url.to_owned(), "next".to_owned());
    ServerFrame::Going(Going { node_id, url, ticket, by: Duration::from_secs(5) })
}

/// The `ready` of a node that takes part in channels that keep nothing.
fn ready_of(node: &str, cursor: &str, resumed: bool) -> ServerFrame {
    let ServerFrame::Ready(ready) = ready(cursor, resumed) else { panic!("a ready") };
    let accepts = ["join", "leave", "send"].map(str::to_owned).to_vec();
    ServerFrame::Ready(Ready { node_id: node.parse().unwrap(), accepts, ..ready })
}

fn joined(n: u64) -> ServerFrame {
    let at = SessionPosition { session: SessionId::mint(at(0), 1), n };
    ServerFrame::Joined { channel_id: general(), at, missed: Some(0) }
}

fn said(n: u64) -> ServerFrame {
    let text = MessageText::from_stored(format!("said {n}"));
    let message =
        Message::new(MessageId::mint(at(n), 9), general(), "carol".parse().unwrap(), text);
    ServerFrame::Said { n, message }
}

/// What a client says next; `None` if it closes the socket.
async fn next(peer: &mut Peer) -> Option<ClientFrame> {
    match timeout(WAIT, peer.stream.next()).await.expect("nothing is said") {
        Some(Ok(WsMessage::Text(text))) => Some(ClientFrame::decode(&text).unwrap()),
        Some(Ok(WsMessage::Close(_))) | None => None,
        other => panic!("{other:?}"),
    }
}

async fn is_heard(events: &mut mpsc::Receiver<Event>, wanted: u64) {
    let said = event(events, |event| matches!(event, Event::Said { .. })).await;
    assert!(matches!(said, Event::Said { n, missing: 0, .. } if n == wanted), "{said:?}");
}

#[tokio::test]
async fn a_going_node_is_left_once_the_next_socket_is_ready() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let mut old = fake.accept_ready("c1", false).await;
    assert_eq!(old.hello.accepts, ["going"]);
    until_caught_up(&mut events).await;
    old.send(&tick("c2")).await;
    event(&mut events, |event| matches!(event, Event::Tick { .. })).await;
    old.send(&going(&fake.node_url)).await;
    let mut new = fake.accept().await;
    let (ticket, cursor) = (new.hello.ticket.as_str(), new.hello.cursor.as_deref());
    assert_eq!((ticket, cursor), ("next", Some("c2")));
    assert_eq!(new.hello.accepts, ["going"]);
    // Until the next socket is ready, this one is used.
    old.push("c3", &message(6)).await;
    let first = event(&mut events, is_message).await;
    assert!(matches!(first, Event::Message { fresh: true, .. }));
    assert_eq!(client.node_id().unwrap().as_str(), "N1");

    new.send(&ready_of("N2", "c2", true)).await;
    new.push("c3", &message(6)).await;
    new.push("c4", &message(7)).await;
    let ready = event(&mut events, |event| !matches!(event, Event::Tick { .. })).await;
    assert!(matches!(ready, Event::Ready { resumed: true, after: Some(_), .. }), "{ready:?}");
    let again = event(&mut events, is_message).await;
    assert!(matches!(again, Event::Message { fresh: false, .. }), "replayed, since c2");
    let second = event(&mut events, is_message).await;
    assert!(matches!(second, Event::Message { fresh: true, .. }));
    assert_eq!(client.node_id().unwrap().as_str(), "N2");
    assert_eq!(client.cursor().as_deref(), Some("c4"));
    assert_eq!(next(&mut old).await, None, "closed by the client");
    assert_eq!(fake.lines("GET /connect").len(), 1, "nobody was asked for a node");
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_not_moved_to() {
    let mut fake = FakeServer::start(|_| None).await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    // The first is no URL, and the second refuses the ticket.
    peer.send(&going("nowhere")).await;
    peer.send(&going(&fake.node_url)).await;
    let mut refusing = fake.accept().await;
    refusing.close(4411).await;
    peer.push("c2", &message(6)).await;
    event(&mut events, is_message).await;
    peer.close(1012).await;
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1012 })).await;
    let peer = fake.accept_ready("c2", true).await;
    assert_eq!(peer.hello.ticket, "ticket");
    assert_eq!(fake.lines("GET /connect"), ["GET /connect", "GET /connect?failed=N1"]);
}

#[tokio::test]
async fn g15_a_move_waits_for_what_only_the_old_socket_brings() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let mut old = fake.accept().await;
    old.send(&ready_of("N1", "c1", false)).await;
    client.join(&general());
    let join = |after| ClientFrame::Join { channel_id: general(), after };
    assert_eq!(next(&mut old).await, Some(join(None)));
    old.send(&joined(3)).await;
    old.send(&said(4)).await;
    is_heard(&mut events, 4).await;
    old.send(&going(&fake.node_url)).await;
    let mut new = fake.accept().await;
    new.send(&ready_of("N2", "c1", true)).await;
    let ClientFrame::Join { after, .. } = next(&mut new).await.unwrap() else { panic!("a join") };
    assert_eq!(after.unwrap().n, 4);
    // The new socket joins after 6, of which the old one has brought nothing yet.
    new.send(&joined(6)).await;
    new.send(&said(7)).await;
    for n in [5, 6, 7] {
        old.send(&said(n)).await;
    }
    for n in [5, 6, 7] {
        is_heard(&mut events, n).await;
    }
    assert_eq!(next(&mut old).await, None, "closed by the client");
    // What is said goes out on the new socket.
    let channel = general();
    let says = client.say(&channel, MessageText::from_stored("hi".to_owned()));
    let answers = async {
        let Some(ClientFrame::Send(send)) = next(&mut new).await else { panic!("a send") };
        let accepted = ServerFrame::Accepted {
            reference: send.reference,
            id: send.id,
            n: Some(8),
            replicated: false,
            server_time: at(0),
        };
        new.stream.send(WsMessage::text(accepted.encode())).await.unwrap();
    };
    let (accepted, ()) = tokio::join!(says, answers);
    assert_eq!(accepted.unwrap().n, Some(8));
    let joined = |event: &Event| matches!(event, Event::Joined { .. });
    new.send(&said(8)).await;
    let next =
        event(&mut events, |event| joined(event) || matches!(event, Event::Said { .. })).await;
    assert!(matches!(next, Event::Said { n: 8, missing: 0, .. }), "{next:?}");
}

/// A token source whose tokens live for two seconds, and how many it made.
fn login(made: &Arc<AtomicUsize>) -> TokenSource {
    let made = Arc::clone(made);
    TokenSource::Login(Arc::new(move || {
        let n = made.fetch_add(1, Ordering::Relaxed);
        let exp = at(2_000 * (n as u64 + 1)).unix_ms() as f64 / 1_000.0;
        let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": exp }).to_string());
        Box::pin(async move { Ok(Token::new(format!("e30.{claims}.{n}"))) })
    }))
}

fn ready_that_renews(node: &str) -> ServerFrame {
    let ServerFrame::Ready(ready) = ready_of(node, "c1", true) else { panic!("a ready") };
    ServerFrame::Ready(Ready { accepts: vec!["renew".to_owned()], ..ready })
}

/// A client whose tokens live for two seconds; `GET /connect?renew=` is answered with this node.
async fn renewing(
    node: &'static str,
) -> (FakeServer, Arc<AtomicUsize>, (Client, mpsc::Receiver<Event>)) {
    let (url, made) = (Arc::new(Mutex::new(String::new())), Arc::default());
    let of_node = Arc::clone(&url);
    let fake = FakeServer::start(move |call| {
        call.line.starts_with("GET /connect?renew=").then(|| {
            let mut assignment = assignment(&of_node.lock());
            assignment["node_id"] = json!(node);
            assignment["ticket"] = json!("newer");
            (200, assignment)
        })
    })
    .await;
    *url.lock() = fake.node_url.clone();
    let api = Api::new(&fake.base_url, login(&made)).unwrap();
    let client = Client::start(Config { api, ..fake.config() });
    (fake, made, client)
}

#[tokio::test]
async fn g8_a_client_renews_its_token_before_it_ends() {
    let (mut fake, made, _client) = renewing("N1").await;
    let mut peer = fake.accept().await;
    peer.send(&ready_that_renews("N1")).await;
    for n in 1..=2 {
        let Some(ClientFrame::Renew(renew)) = next(&mut peer).await else { panic!("a renew") };
        assert_eq!((renew.ticket.as_str(), renew.reference), ("newer", Some(0)));
        assert_eq!(made.load(Ordering::Relaxed), n + 1, "one token for each");
        let calls = fake.calls();
        let call = calls.iter().rfind(|call| call.line.starts_with("GET /connect")).unwrap();
        assert_eq!(call.line, "GET /connect?renew=N1");
        assert!(call.token.ends_with(&format!(".{n}")), "with the newer token: {}", call.token);
        let expires_at = at(2_000 * (n as u64 + 1));
        let invisible = false;
        peer.send(&ServerFrame::Renewed { reference: Some(0), expires_at, invisible }).await;
    }
}

#[tokio::test]
async fn a_renewal_that_names_another_node_is_a_move() {
    let (mut fake, _made, (_client, mut events)) = renewing("N2").await;
    let mut old = fake.accept().await;
    old.send(&ready_that_renews("N1")).await;
    event(&mut events, is_ready).await;
    let mut new = fake.accept().await;
    assert_eq!(new.hello.ticket, "newer");
    new.send(&ready_that_renews("N2")).await;
    let moved = event(&mut events, is_ready).await;
    assert!(
        matches!(&moved, Event::Ready { node_id, .. } if node_id.as_str() == "N2"),
        "{moved:?}"
    );
    assert_eq!(next(&mut old).await, None, "closed by the client");
}
