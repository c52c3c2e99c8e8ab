//! Bugs 1, 8, 10, 18 and 22: a client receives other frames than its node sent.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use memory::SeededRng;
use model::ChannelId;
use parking_lot::Mutex;
use protocol::frame::ServerFrame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::network::End;

/// What happens to the text frames that a client receives.
#[derive(Debug, Clone)]
pub(crate) struct Spoil(Arc<Mutex<Kind>>);

#[derive(Debug)]
enum Kind {
    /// One message in a thousand is lost.
    Dropping(SeededRng),
    /// A tick's cursor is replaced by that of the last frame of another kind.
    WithoutTicks,
    /// What was said before a client joined follows the answer.
    Replaying(Said),
    /// Who joins is told of one message too many.
    Miscounting,
    /// Adds a `resync` frame each time that the shared counter rises.
    Storming(Arc<AtomicU64>),
}

/// What was said in each meeting: the number and the frame.
pub(super) type Said = Arc<Mutex<BTreeMap<ChannelId, BTreeMap<u64, Vec<u8>>>>>;

/// A connection whose incoming frames are spoiled.
#[derive(Debug)]
pub(crate) struct Spoiled {
    end: End,
    spoil: Spoil,
    /// Bytes that arrived but are not a whole frame yet.
    raw: Vec<u8>,
    /// Bytes that are ready for the client.
    ready: Vec<u8>,
    has_upgraded: bool,
    cursor: Option<String>,
    /// The counter's value at the last frame.
    storms: Option<u64>,
}

impl Spoil {
    pub(super) fn dropping(rng: SeededRng) -> Self {
        Self(Arc::new(Mutex::new(Kind::Dropping(rng))))
    }

    pub(super) fn without_ticks() -> Self {
        Self(Arc::new(Mutex::new(Kind::WithoutTicks)))
    }

    pub(super) fn storming(storms: Arc<AtomicU64>) -> Self {
        Self(Arc::new(Mutex::new(Kind::Storming(storms))))
    }

    pub(super) fn replaying(said: Said) -> Self {
        Self(Arc::new(Mutex::new(Kind::Replaying(said))))
    }

    pub(super) fn miscounting() -> Self {
        Self(Arc::new(Mutex::new(Kind::Miscounting)))
    }

    /// A connection with this bug.
    #[must_use]
    pub(crate) fn over(&self, end: End) -> Spoiled {
        let (raw, ready) = (Vec::new(), Vec::new());
        let (spoil, cursor, storms) = (self.clone(), None, None);
        Spoiled { end, spoil, raw, ready, has_upgraded: false, cursor, storms }
    }
}

impl Spoiled {
    /// Passes on all whole frames, spoiled.
    fn pass_on(&mut self) {
        if !self.has_upgraded {
            let Some(at) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            self.ready.extend(self.raw.drain(..at + 4));
            self.has_upgraded = true;
        }
        while let Some((head, length)) = frame_of(&self.raw) {
            if self.raw.len() < head + length {
                return;
            }
            let frame: Vec<u8> = self.raw.drain(..head + length).collect();
            let is_text = frame.first() == Some(&0x81);
            let payload = frame.get(head..).and_then(|text| std::str::from_utf8(text).ok());
            match payload.filter(|_| is_text).map(str::to_owned) {
                Some(text) => self.text(&text, &frame),
                None => self.ready.extend(frame),
            }
        }
    }

    fn text(&mut self, text: &str, frame: &[u8]) {
        let is = |kind: &str| text.contains(&format!("\"type\":\"{kind}\""));
        let cursor = cursor_of(text);
        let spoil = self.spoil.clone();
        match &*spoil.0.lock() {
            Kind::Dropping(rng) => {
                if !(is("message") && rng.one_in(1_000)) {
                    self.ready.extend(frame);
                }
            }
            Kind::WithoutTicks => match (is("tick"), cursor, &self.cursor) {
                (true, Some(new), Some(old)) => {
                    let old = text.replace(&new, old);
                    self.ready.extend(text_frame(&old));
                }
                (false, Some(new), _) => {
                    self.cursor = Some(new);
                    self.ready.extend(frame);
                }
                _ => self.ready.extend(frame),
            },
            Kind::Replaying(said) => {
                self.ready.extend(frame);
                match ServerFrame::decode(text) {
                    Some(ServerFrame::Said { n, message }) => {
                        let mut said = said.lock();
                        said.entry(message.channel_id).or_default().insert(n, frame.to_vec());
                    }
                    Some(ServerFrame::Joined { channel_id, at, .. }) => {
                        let said = said.lock();
                        let before = said.get(&channel_id).into_iter().flatten();
                        let before = before.filter(|(n, _)| **n <= at.n);
                        self.ready.extend(before.flat_map(|(_, frame)| frame));
                    }
                    _ => {}
                }
            }
            Kind::Miscounting => match ServerFrame::decode(text) {
                Some(ServerFrame::Joined { channel_id, at, missed: Some(missed) }) => {
                    let told = ServerFrame::Joined { channel_id, at, missed: Some(missed + 1) };
                    self.ready.extend(text_frame(&told.encode()));
                }
                _ => self.ready.extend(frame),
            },
            Kind::Storming(storms) => {
                self.ready.extend(frame);
                let now = storms.load(Ordering::Relaxed);
                // The first frame is `ready`. What was counted before it is skipped.
                for _ in self.storms.unwrap_or(now)..now {
                    let resync = r#"{"type":"resync","reason":"a hold ended","delay_ms":0}"#;
                    self.ready.extend(text_frame(resync));
                }
                self.storms = Some(now);
            }
        }
    }
}

/// The length of a frame's header and of its payload. Servers do not mask.
fn frame_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = usize::from(bytes.get(1)? & 0x7f);
    match length {
        126 => {
            let of: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
            Some((4, usize::from(u16::from_be_bytes(of))))
        }
        127 => {
            let of: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            Some((10, usize::try_from(u64::from_be_bytes(of)).ok()?))
        }
        _ => Some((2, length)),
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..126), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}

fn cursor_of(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("\"cursor\":\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}

impl AsyncRead for Spoiled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let count = self.ready.len().min(buffer.remaining());
                let passed: Vec<u8> = self.ready.drain(..count).collect();
                buffer.put_slice(&passed);
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; 2_048];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut self.end).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    self.raw.extend(read.filled());
                    self.pass_on();
                }
                other => return other,
            }
        }
    }
}

impl AsyncWrite for Spoiled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(context)
    }
}
