//! Feeds arbitrary client bytes after the upgrade through the node's own reading half, in reads of
//! any size, with any time between them.
//!
//! For every input: no panic, no busy loop, no more answer bytes than were asked for, only close
//! codes of the protocol, and an end: a client that sends nothing more, or is gone, is ended.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use model::Timestamp;
use node::inbound::{End, Inbound, Incoming, Said};
use protocol::close::CloseCode;
use tokio::io::{AsyncRead, ReadBuf};

/// The ticket that is accepted.
pub const TICKET: &str = "good";

/// The operations in an input: the two highest bits of a byte choose one, the others are its size.
pub mod op {
    /// One read, of as many following bytes as the size plus one.
    pub const READ: u8 = 0x00;
    /// A masked frame in one read. Its first byte and a length follow as one byte each, then
    /// that many bytes. The payload repeats them, as often as the size plus one.
    pub const FRAME: u8 = 0x40;
    /// As many quarters of a second pass as the size says.
    pub const WAIT: u8 = 0x80;
    /// A `hello` in one read. Its cursor is the following bytes, as many as the size says.
    pub const HELLO: u8 = 0xc0;
}

/// Runs one input. Returns how the client's side ended.
///
/// # Panics
/// If an input breaks one of the rules above.
pub fn run(input: &[u8]) -> End {
    let Some((first, mut rest)) = input.split_first() else { return End::Peer };
    let early = usize::from(first >> 1).min(rest.len());
    let early = Bytes::copy_from_slice(take(&mut rest, early));
    let mut client = Client::connect(early);
    if let Some(end) = client.settle() {
        return client.over(end);
    }
    while let Some(operation) = rest.split_first() {
        rest = operation.1;
        let size = operation.0 & 0x3f;
        match operation.0 & 0xc0 {
            op::READ => {
                let bytes = take(&mut rest, usize::from(size) + 1);
                client.send(bytes);
            }
            op::FRAME => {
                let [head, length] = take(&mut rest, 2) else { break };
                let payload = take(&mut rest, usize::from(*length));
                client.send(&frame(*head, &payload.repeat(usize::from(size) + 1)));
            }
            op::WAIT => client.wait(Duration::from_millis(250 * u64::from(size))),
            _ => {
                let cursor = String::from_utf8_lossy(take(&mut rest, usize::from(size)));
                let cursor = serde_json::Value::from(cursor.as_ref());
                let text = format!(r#"{{"type":"hello","ticket":"{TICKET}","cursor":{cursor}}}"#);
                client.send(&frame(0x81, text.as_bytes()));
            }
        }
        if let Some(end) = client.settle() {
            return client.over(end);
        }
    }
    client.finish(first & 1 == 1)
}

/// A masked frame with an all-zero mask.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

struct Client {
    inbound: Inbound<Reads>,
    now: Timestamp,
    sent: usize,
    answered: usize,
}

impl Client {
    fn connect(early: Bytes) -> Self {
        let now = Timestamp::from_unix_ms(1_767_225_600_000);
        let sent = early.len();
        Self { inbound: Inbound::new(Reads::default(), early, now), now, sent, answered: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
        self.inbound.reader_mut().bytes.extend(bytes);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Reads until nothing is left to read. Returns the end if this is it.
    fn settle(&mut self) -> Option<End> {
        if self.now >= self.inbound.deadline()
            && let Some(end) = self.step(Incoming::Time)
        {
            return Some(end);
        }
        // Each turn reads a byte or returns a message.
        for _ in 0..2 * self.sent + 8 {
            let answered = &mut self.answered;
            match poll(self.inbound.next(&mut |frame| *answered += frame.len())) {
                Poll::Pending => return None,
                Poll::Ready(incoming) => {
                    if let Some(end) = self.step(incoming) {
                        return Some(end);
                    }
                }
            }
        }
        panic!("a busy loop");
    }

    fn step(&mut self, incoming: Incoming) -> Option<End> {
        match self.inbound.react(incoming, self.now) {
            Ok(None | Some(Said::Frame(_) | Said::Malformed(_))) => None,
            Err(end) => Some(end),
            Ok(Some(Said::Hello(hello))) if hello.ticket == TICKET => {
                assert!(hello.cursor.is_none_or(|cursor| cursor.len() <= 128));
                self.inbound.attached(self.now.plus(Duration::from_secs(3_600)), self.now);
                None
            }
            Ok(Some(Said::Hello(_))) => Some(End::Close(CloseCode::Unauthenticated)),
        }
    }

    /// The input is over: the client is gone, or silent for ever.
    fn finish(mut self, is_gone: bool) -> End {
        if is_gone {
            self.inbound.reader_mut().is_over = true;
        } else {
            self.now = self.inbound.deadline();
        }
        match self.settle() {
            Some(end) => self.over(end),
            None => panic!("no end: gone {is_gone}"),
        }
    }

    fn over(self, end: End) -> End {
        // A pong repeats its ping's payload without the mask. A close is answered once.
        assert!(self.answered <= self.sent + 256, "{} for {}", self.answered, self.sent);
        if let End::Close(code) = end {
            let number = code.number();
            let is_ours = matches!(number, 1002 | 1003 | 1007 | 1009 | 4400 | 4401 | 4408 | 4429);
            assert!(is_ours, "{number} is no answer to a client");
        }
        end
    }
}

/// What was sent and not read yet. One read takes everything, as from a socket.
#[derive(Debug, Default)]
struct Reads {
    bytes: VecDeque<u8>,
    is_over: bool,
}

impl AsyncRead for Reads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() && !self.is_over {
            return Poll::Pending;
        }
        let count = buffer.remaining().min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let of_front = count.min(front.len());
        buffer.put_slice(&front[..of_front]);
        buffer.put_slice(&back[..count - of_front]);
        self.bytes.drain(..count);
        Poll::Ready(Ok(()))
    }
}

/// Polls once. Everything here is ready, or waits for the next read.
fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count.min(rest.len()));
    *rest = left;
    taken
}
