//! One client socket of a crowd: its phase, and the frames that it receives.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use memchr::memmem;
use socket2::{Domain, Socket, Type};

use crate::population::{DIGITS, MARK};

/// The phase of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The upgrade request was sent.
    Upgrading,
    /// `hello` was sent.
    Greeting,
    /// The socket is open, and what arrives is counted.
    Live,
    /// The socket has ended.
    Gone,
}

/// A socket of the crowd.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) phase: Phase,
    /// When it began to connect.
    pub(crate) begun: Instant,
    /// The start of a frame of which the rest has not arrived.
    rest: Vec<u8>,
}

/// Something that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The upgrade was answered. The client must send `hello` next.
    Upgraded,
    /// The node's first frame. The socket is open now.
    Ready,
    /// The message with this number.
    Message(u64),
    /// The frame `resync`.
    Resync,
    /// The server ended the connection.
    End,
}

impl Client {
    /// Connects from the `number`-th source address. Blocks, but only on this machine's kernel.
    ///
    /// # Errors
    /// If that fails.
    pub(crate) fn connect(to: SocketAddr, number: usize) -> io::Result<Self> {
        let begun = Instant::now();
        let stream = connect(to, number)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, phase: Phase::Upgrading, begun, rest: Vec::new() })
    }

    /// Sends the upgrade request.
    ///
    /// # Errors
    /// If the socket accepts no bytes.
    pub(crate) fn upgrade(&mut self, to: SocketAddr) -> io::Result<()> {
        self.stream.write_all(upgrade(to).as_bytes())
    }

    /// Sends `hello`.
    ///
    /// # Errors
    /// If the socket accepts no bytes.
    pub(crate) fn hello(&mut self, ticket: &str) -> io::Result<()> {
        self.phase = Phase::Greeting;
        self.stream.write_all(&hello(ticket))
    }

    /// Reads what is available, and reports what arrived.
    pub(crate) fn read(&mut self, buffer: &mut [u8], mut arrived: impl FnMut(Arrival)) {
        loop {
            let kept = self.rest.len();
            let Some((head, room)) = buffer.split_at_mut_checked(kept) else { return };
            head.copy_from_slice(&self.rest);
            match self.stream.read(room) {
                Ok(0) => break,
                Ok(count) => {
                    let is_all = count < room.len();
                    let read = buffer.get(..kept + count).unwrap_or_default();
                    let used = self.take(read, &mut arrived);
                    let rest = read.get(used..).unwrap_or_default();
                    // An idle socket keeps no buffer.
                    self.rest = if rest.is_empty() { Vec::new() } else { rest.to_vec() };
                    if is_all {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.phase = Phase::Gone;
        arrived(Arrival::End);
    }

    /// Takes whole frames off the front. Returns their length in bytes.
    fn take(&mut self, mut bytes: &[u8], arrived: &mut impl FnMut(Arrival)) -> usize {
        let all = bytes.len();
        while !bytes.is_empty() {
            if self.phase == Phase::Upgrading {
                let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { break };
                let is_upgraded = bytes.starts_with(b"HTTP/1.1 101");
                bytes = bytes.get(end + 4..).unwrap_or_default();
                arrived(if is_upgraded { Arrival::Upgraded } else { Arrival::End });
                continue;
            }
            let Some((payload, rest)) = frame(bytes) else { break };
            bytes = rest;
            if self.phase == Phase::Greeting {
                self.phase = Phase::Live;
                arrived(if payload.starts_with(b"{") { Arrival::Ready } else { Arrival::End });
            } else if let Some(number) = number(payload) {
                arrived(Arrival::Message(number));
            } else if memmem::find(payload, RESYNC).is_some() {
                arrived(Arrival::Resync);
            }
        }
        all - bytes.len()
    }
}

/// A connection from the `number`-th source address.
///
/// # Errors
/// If the kernel has no port left, or the connection fails.
pub(crate) fn connect(to: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Each source address has its own ports: 127.1.0.0, 127.1.0.1 and so on.
    let source = u32::from(FIRST_SOURCE) + u32::try_from(number / SOCKETS_AN_ADDRESS).unwrap_or(0);
    socket.bind(&SocketAddr::from((Ipv4Addr::from(source), 0)).into())?;
    // Else the kernel delays the second of two small writes until the first is acknowledged.
    socket.set_tcp_nodelay(true)?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// The request that asks for the upgrade (RFC 6455 4.1).
pub(crate) fn upgrade(to: SocketAddr) -> String {
    format!(
        "GET /socket HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The frame `hello`.
pub(crate) fn hello(ticket: &str) -> Vec<u8> {
    let text = format!(r#"{{"type":"hello","ticket":"{ticket}"}}"#);
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    // A mask of zeros is valid, and leaves the text as it is.
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Splits off a server's first whole frame (RFC 6455 5.2).
pub(crate) fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, short], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match short {
        ..126 => (usize::from(short), rest),
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127.. => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
    };
    rest.split_at_checked(length)
}

/// The number in a message's text.
pub(crate) fn number(payload: &[u8]) -> Option<u64> {
    let digits = payload.get(memmem::find(payload, MARK.as_bytes())? + MARK.len()..)?;
    std::str::from_utf8(digits.get(..DIGITS)?).ok()?.parse().ok()
}

/// Only a frame `resync` contains this.
const RESYNC: &[u8] = br#""type":"resync""#;
/// Fewer than a source address has ports, so that the kernel quickly finds a free one.
const SOCKETS_AN_ADDRESS: usize = 4_000;
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 0);
