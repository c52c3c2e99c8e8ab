//! A fake environment for tests: a closure answers REST calls, and the test drives the sockets.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::{ChannelId, Message, MessageId, MessageText, Timestamp};
use parking_lot::Mutex;
use protocol::client_frame::{ClientFrame, Hello};
use protocol::frame::{Ready, ServerFrame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::{Api, Backoff, Client, Config, Event, Token, TokenSource};

/// Timeout of every wait, long enough for a slow machine. A wait ends once its predicate holds.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// One REST request that the server received.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) token: String,
    pub(crate) body: Value,
}

type Script = Box<dyn FnMut(&Request) -> Option<(u16, Value)> + Send>;

/// The fake environment: a REST address and a node `N1`.
pub(crate) struct FakeServer {
    pub(crate) base_url: String,
    pub(crate) node_url: String,
    calls: Arc<Mutex<Vec<Request>>>,
    sockets: mpsc::Receiver<WebSocketStream<TcpStream>>,
}

/// The node's end of one socket.
pub(crate) struct Peer {
    pub(crate) stream: WebSocketStream<TcpStream>,
    pub(crate) hello: Hello,
}

impl FakeServer {
    /// Starts a fake. It answers as an empty but correct system where the script returns `None`.
    pub(crate) async fn start(
        script: impl FnMut(&Request) -> Option<(u16, Value)> + Send + 'static,
    ) -> Self {
        let rest = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", rest.local_addr().unwrap());
        let node_url = format!("ws://{}/ws", node.local_addr().unwrap());
        let calls = Arc::default();
        let (tx, sockets) = mpsc::channel(16);
        tokio::spawn(serve_rest(rest, node_url.clone(), Arc::clone(&calls), Box::new(script)));
        tokio::spawn(async move {
            loop {
                let (tcp, _) = node.accept().await.unwrap();
                if let Ok(stream) = accept_async(tcp).await {
                    tx.send(stream).await.unwrap();
                }
            }
        });
        Self { base_url, node_url, calls, sockets }
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.base_url, TokenSource::Fixed(Token::new("secret"))).unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        let (base, cap) = (Duration::from_millis(1), Duration::from_millis(20));
        let backoff = Backoff::seeded(1).with_windows(base, cap);
        Config { backoff, ..Config::new(self.api()) }
    }

    pub(crate) fn client(&self) -> (Client, mpsc::Receiver<Event>) {
        Client::start(self.config())
    }

    pub(crate) fn calls(&self) -> Vec<Request> {
        self.calls.lock().clone()
    }

    pub(crate) fn lines(&self, prefix: &str) -> Vec<String> {
        let lines = self.calls().into_iter().map(|call| call.line);
        lines.filter(|line| line.starts_with(prefix)).collect()
    }

    /// Accepts the next socket and reads its `hello`.
    pub(crate) async fn accept(&mut self) -> Peer {
        let mut stream = timeout(WAIT, self.sockets.recv()).await.unwrap().unwrap();
        let hello = timeout(WAIT, stream.next()).await.unwrap().unwrap().unwrap();
        let hello = Hello::decode(hello.to_text().unwrap()).unwrap();
        Peer { stream, hello }
    }

    /// Accepts the next socket, whose node takes these frames.
    pub(crate) async fn accept_taking(&mut self, cursor: &str, accepts: &[&str]) -> Peer {
        self.accept_answering(cursor, true, accepts).await
    }

    /// The same, of a node that may not have resumed.
    pub(crate) async fn accept_answering(
        &mut self,
        cursor: &str,
        resumed: bool,
        accepts: &[&str],
    ) -> Peer {
        let mut peer = self.accept().await;
        let ServerFrame::Ready(mut says) = ready(cursor, resumed) else { panic!() };
        says.accepts = accepts.iter().map(ToString::to_string).collect();
        peer.send(&ServerFrame::Ready(says)).await;
        peer
    }

    /// Accepts the next socket and sends its `ready`.
    pub(crate) async fn accept_ready(&mut self, cursor: &str, resumed: bool) -> Peer {
        let mut peer = self.accept().await;
        peer.send(&ready(cursor, resumed)).await;
        peer
    }
}

impl Peer {
    pub(crate) async fn send(&mut self, frame: &ServerFrame) {
        self.stream.send(WsMessage::text(frame.encode())).await.unwrap();
    }

    /// The client's next frame.
    pub(crate) async fn next(&mut self) -> ClientFrame {
        let said = timeout(WAIT, self.stream.next()).await.unwrap().unwrap().unwrap();
        ClientFrame::decode(said.to_text().unwrap()).unwrap()
    }

    pub(crate) async fn push(&mut self, cursor: &str, message: &Message) {
        let (cursor, message) = (cursor.to_owned(), message.clone());
        self.send(&ServerFrame::Message { cursor, message, lacks_text: false }).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        self.close_because(code, "").await;
    }

    pub(crate) async fn close_because(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.stream.send(WsMessage::Close(Some(frame))).await.unwrap();
    }
}

/// Waits for the next event that matches `wanted` and skips the others.
pub(crate) async fn event(
    events: &mut mpsc::Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let find = async {
        loop {
            let event = events.recv().await.expect("the client has stopped");
            if wanted(&event) {
                return event;
            }
        }
    };
    timeout(WAIT, find).await.expect("no such event")
}

/// The fresh messages up to the end of a catch-up.
pub(crate) async fn until_caught_up(events: &mut mpsc::Receiver<Event>) -> Vec<MessageId> {
    let mut fresh_ids = Vec::new();
    let collect = async {
        loop {
            match events.recv().await.expect("the client has stopped") {
                Event::Message { message, fresh: true, .. } => fresh_ids.push(message.id),
                Event::CaughtUp { .. } => return,
                Event::Ready { .. }
                | Event::Message { .. }
                | Event::Channel { .. }
                | Event::Restarted { .. }
                | Event::Read { .. }
                | Event::Tick { .. }
                | Event::Resync { .. }
                | Event::Disconnected { .. }
                | Event::Typing { .. }
                | Event::Joined { .. }
                | Event::NotJoined { .. }
                | Event::Said { .. }
                | Event::Ended { .. }
                | Event::Presence { .. }
                | Event::Receipts { .. }
                | Event::Delivery { .. }
                | Event::Stopped { .. } => {}
            }
        }
    };
    timeout(WAIT, collect).await.expect("the catch-up never ends");
    fresh_ids
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}

pub(crate) fn general() -> ChannelId {
    ChannelId::mint_group(at(0), 1)
}

pub(crate) fn message(ms: u64) -> Message {
    Message::new(
        MessageId::mint(at(ms), 7),
        general(),
        "alice".parse().unwrap(),
        MessageText::from_stored(format!("at {ms}")),
    )
}

pub(crate) fn page(messages: &[Message], next_offset: Option<MessageId>) -> (u16, Value) {
    let next_offset = next_offset.map(|id| id.to_string());
    (200, json!({ "messages": messages, "next_offset": next_offset }))
}

pub(crate) fn problem(status: u16, code: &str) -> (u16, Value) {
    (status, json!({ "code": code, "status": status, "retryable": status >= 429 }))
}

pub(crate) fn assignment(url: &str) -> Value {
    json!({
        "node_id": "N1", "url": url, "ticket": "ticket", "expires_at": 0, "delay_ms": 0,
        "server_time": at(0).unix_ms(), "alternates": [],
    })
}

pub(crate) fn ready(cursor: &str, resumed: bool) -> ServerFrame {
    ServerFrame::Ready(Ready {
        connection_id: "S1".parse().unwrap(),
        node_id: "N1".parse().unwrap(),
        workspace_id: "demo".parse().unwrap(),
        user_id: "bob".parse().unwrap(),
        cursor: cursor.into(),
        resumed,
        accepts: Vec::new(),
        tick: TICK,
        server_time: at(0),
        invisible: false,
    })
}

/// Short, so that 1.5 ticks stay below the silence timeouts that tests set.
pub(crate) const TICK: Duration = Duration::from_millis(10);

fn channels() -> Value {
    json!({ "next_offset": null, "channels": [{
        "channel_id": general().as_str(), "workspace_id": "demo", "type": "GROUP_CHANNEL",
        "name": "general", "contract": "persist_first", "created_at": at(0).rfc3339(),
        "created_by": "alice", "members_version": 1, "late": null,
    }]})
}

async fn serve_rest(
    listener: TcpListener,
    node_url: String,
    calls: Arc<Mutex<Vec<Request>>>,
    mut script: Script,
) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let Some(call) = read_call(&mut tcp).await else { continue };
        calls.lock().push(call.clone());
        let (status, body) = script(&call).unwrap_or_else(|| match call.line.as_str() {
            line if line.starts_with("GET /connect") => (200, assignment(&node_url)),
            line if line.starts_with("GET /channels?") => (200, channels()),
            line if line.starts_with("GET /scroll") => page(&[], None),
            _ => problem(404, "not_found"),
        });
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(answer.as_bytes()).await.ok();
    }
}

async fn read_call(tcp: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let line = head.lines().find(|line| line.to_lowercase().starts_with(name))?;
                Some(line.split_once(": ")?.1.to_owned())
            };
            let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
                let token = header("authorization:").unwrap_or_default();
                let body = serde_json::from_str(body).unwrap_or(Value::Null);
                return Some(Request { line, token, body });
            }
        }
        if tcp.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
