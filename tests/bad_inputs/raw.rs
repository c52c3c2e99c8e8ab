//! A WebSocket as bytes: no library corrects what is sent or received.

use std::time::Duration;

use client::SocketKind;
use tests::cluster::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::door::ANSWER_MAX;

/// A socket after its 101.
pub(crate) struct Socket {
    tcp: TcpStream,
    read: Vec<u8>,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A frame: its opcode and payload.
    Frame(u8, Vec<u8>),
    /// The end of the stream.
    End,
    /// Nothing, within the time.
    Nothing,
}

impl Socket {
    /// Opens a socket at a node.
    pub(crate) async fn open(url: &str) -> Result<Self, String> {
        let authority = url.trim_start_matches("ws://").trim_end_matches("/socket");
        let mut tcp = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let request = format!(
            "GET /socket HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut socket = Self { tcp, read: Vec::new() };
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            if let Some(end) = socket.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = socket.read.drain(..end + 4).collect();
                let is_open = head.starts_with(b"HTTP/1.1 101 ");
                return if is_open { Ok(socket) } else { Err("no 101".to_owned()) };
            }
            if !socket.more(deadline).await {
                return Err("no answer to the upgrade".to_owned());
            }
        }
    }

    /// Opens a socket as a user and waits for its `ready`.
    pub(crate) async fn ready(cluster: &Cluster, name: &str) -> Result<Self, String> {
        Self::ready_as(cluster, name, &SocketKind::default()).await
    }

    /// The same, of a device or an invisible user.
    pub(crate) async fn ready_as(
        cluster: &Cluster,
        name: &str,
        kind: &SocketKind,
    ) -> Result<Self, String> {
        let assigned = cluster.api(name).connect_as(None, kind).await;
        let target = assigned.map_err(|error| error.to_string())?.target;
        let mut socket = Self::open(&target.url).await?;
        let hello = format!(r#"{{"type":"hello","ticket":"{}"}}"#, target.ticket);
        socket.send(&text(hello.as_bytes())).await;
        match socket.next(ANSWER_MAX).await {
            Received::Frame(1, frame) if frame.starts_with(b"{") => Ok(socket),
            other => Err(format!("no ready, but {other:?}")),
        }
    }

    /// Sends bytes. If the connection is cut, the next read shows it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.ok();
    }

    /// Shuts down the sending half.
    pub(crate) async fn half_close(&mut self) {
        self.tcp.shutdown().await.ok();
    }

    /// The next frame.
    pub(crate) async fn next(&mut self, within: Duration) -> Received {
        let deadline = Instant::now() + within;
        loop {
            if let Some((opcode, payload, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Received::Frame(opcode, payload);
            }
            if !self.more(deadline).await {
                let is_over = Instant::now() < deadline;
                return if is_over { Received::End } else { Received::Nothing };
            }
        }
    }

    /// The code of the next close frame, skipping other frames: 1005 if it has none, 1006 if the
    /// stream ends without a close frame, `None` if the socket stays open.
    pub(crate) async fn close(&mut self, within: Duration) -> Option<u16> {
        let deadline = Instant::now() + within;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await {
                Received::Frame(8, payload) => {
                    return Some(match payload.as_slice() {
                        [high, low, ..] => u16::from_be_bytes([*high, *low]),
                        _ => 1005,
                    });
                }
                Received::Frame(..) => {}
                Received::End => return Some(1006),
                Received::Nothing => return None,
            }
        }
    }

    /// Checks that the socket survives everything that was sent so far: a ping sent now is
    /// answered, and no close arrives before the answer.
    pub(crate) async fn lives(&mut self) -> Result<(), String> {
        self.send(&frame(0x89, ALIVE)).await;
        loop {
            match self.next(ANSWER_MAX).await {
                Received::Frame(10, payload) if payload == ALIVE => return Ok(()),
                Received::Frame(8, payload) => return Err(format!("closed: {payload:?}")),
                Received::Frame(..) => {}
                other => return Err(format!("no pong, but {other:?}")),
            }
        }
    }

    async fn more(&mut self, deadline: Instant) -> bool {
        let read = timeout_at(deadline, self.tcp.read_buf(&mut self.read)).await;
        matches!(read, Ok(Ok(1..)))
    }
}

const ALIVE: &[u8] = b"alive?";

/// A frame from a server: final, not masked.
fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (header, length) = match bytes {
        [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [_, length @ 0..126, ..] => (2, usize::from(*length)),
        _ => return None,
    };
    assert_eq!(bytes[0] & 0xf0, 0x80, "a server's frames are final");
    let payload = bytes.get(header..header + length)?;
    Some((bytes[0] & 0x0f, payload.to_owned(), header + length))
}

/// A masked frame with an all-zero mask (RFC 6455 5.2): any first byte, any payload.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    crate::client_frames::frame(first, payload)
}

/// A whole text message, in one frame.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(0x81, payload)
}

/// The header of a frame with this length, encoded in 0, 2 or 8 extra bytes.
pub(crate) fn header(first: u8, length: u64, encoding: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match encoding {
        0 => bytes.push(0x80 | length as u8),
        2 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes
}
