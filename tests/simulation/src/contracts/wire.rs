//! Records the frames of channels that keep nothing, or deliver first, as they pass between a socket and
//! its client: the client itself drops what it must not show, so its events would hide a leak.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use checker::{ClientId, Delivering, Event, Meeting, SocketId};
use client::ByteStream;
use model::{ChannelId, MessageId, UserId};
use protocol::client_frame::{ClientFrame, SendFrame};
use protocol::frame::ServerFrame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::signals;
use crate::feed::TableLog;
use crate::record::Recorder;
use crate::redis::Redis;

/// Records the sockets of one client.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub client: ClientId,
    pub recorder: Recorder,
    /// How many sockets there are.
    pub sockets: Arc<AtomicU64>,
    /// What is true about messages that are delivered first, where there are any.
    pub truth: Option<Truth>,
}

/// What Redis and the archive have.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    pub redis: Redis,
    pub log: TableLog,
}

impl Truth {
    fn is_stored(&self, channel: &ChannelId, id: MessageId) -> bool {
        self.log.has(&channel.into(), id)
    }

    fn is_kept(&self, channel: &ChannelId, id: MessageId) -> bool {
        self.is_stored(channel, id) || self.redis.has_spooled(&id.to_string())
    }
}

/// A connection that is recorded.
#[derive(Debug)]
struct Recorded {
    stream: Box<dyn ByteStream>,
    wire: Wire,
    socket: SocketId,
    incoming: Frames,
    outgoing: Frames,
    /// Channels that the client left, with the number of what it asked next: its answer shows that the
    /// node knows.
    leaving: BTreeMap<ChannelId, Option<u64>>,
    /// What the client sent, and when, and no node has answered.
    sends: BTreeMap<u64, (ChannelId, MessageId, Duration)>,
    /// The receipts that the client was told.
    receipts: BTreeMap<(ChannelId, UserId), MessageId>,
}

/// Bytes of one direction that are not a whole frame yet.
#[derive(Debug, Default)]
struct Frames {
    raw: BytesMut,
    has_upgraded: bool,
}

impl Wire {
    /// A connection that is recorded.
    pub(crate) fn over(&self, stream: Box<dyn ByteStream>) -> Box<dyn ByteStream> {
        Box::new(Recorded {
            stream,
            wire: self.clone(),
            socket: SocketId(self.sockets.fetch_add(1, Ordering::Relaxed)),
            incoming: Frames::default(),
            outgoing: Frames::default(),
            leaving: BTreeMap::new(),
            sends: BTreeMap::new(),
            receipts: BTreeMap::new(),
        })
    }
}

impl Frames {
    /// Adds bytes; returns the texts of the frames that are whole now, as far as they are of interest.
    fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        self.raw.extend_from_slice(bytes);
        if !self.has_upgraded {
            let Some(at) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Vec::new();
            };
            self.raw.advance(at + 4);
            self.has_upgraded = true;
        }
        let mut texts = Vec::new();
        while let Some(text) = self.next() {
            texts.extend(text);
        }
        texts
    }

    /// Takes the next frame, and returns its text if that is of interest.
    fn next(&mut self) -> Option<Option<String>> {
        let (first, second) = (*self.raw.first()?, *self.raw.get(1)?);
        let (head, length) = match second & 0x7f {
            126 => {
                let length: [u8; 2] = self.raw.get(2..4)?.try_into().ok()?;
                (4, usize::from(u16::from_be_bytes(length)))
            }
            127 => {
                let length: [u8; 8] = self.raw.get(2..10)?.try_into().ok()?;
                (10, usize::try_from(u64::from_be_bytes(length)).ok()?)
            }
            length => (2, usize::from(length)),
        };
        let masks = if second & 0x80 == 0 { 0 } else { 4 };
        let whole = self.raw.get(..head + masks + length)?;
        let (mask, payload) = whole.get(head..)?.split_at_checked(masks)?;
        let text = match (first, mask) {
            (0x81, []) => {
                std::str::from_utf8(payload).ok().filter(is_of_interest).map(str::to_owned)
            }
            (0x81, mask) => {
                let payload =
                    payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
                String::from_utf8(payload.collect()).ok()
            }
            _ => None,
        };
        self.raw.advance(head + masks + length);
        Some(text)
    }
}

/// Whether a text from a node is looked at: messages, and most of what comes, are not.
fn is_of_interest(text: &&str) -> bool {
    signals::KINDS.contains(&kind_of(text))
}

impl Recorded {
    fn note(&self, event: Meeting) {
        self.wire.recorder.note(Event::Meeting(event));
    }

    fn sent(&mut self, text: &str) {
        match kind_of(text) {
            "join" | "leave" | "send" => {}
            "got" if self.wire.truth.is_some() => {}
            _ => return,
        }
        match ClientFrame::decode(text) {
            Ok(ClientFrame::Join { channel_id: channel, after }) => {
                self.leaving.remove(&channel);
                let (socket, client) = (self.socket, self.wire.client);
                self.note(Meeting::Joins { socket, client, channel, after });
            }
            Ok(ClientFrame::Leave(channel)) => {
                self.leaving.insert(channel, None);
            }
            Ok(ClientFrame::Got { channel_id: channel, up_to }) => {
                self.note_delivering(Delivering::Got { client: self.wire.client, channel, up_to });
            }
            Ok(ClientFrame::Send(SendFrame { reference, channel_id: channel, id, .. })) => {
                if self.wire.truth.is_some() {
                    let sent = self.wire.recorder.elapsed();
                    self.sends.insert(reference, (channel.clone(), id, sent));
                    self.note_delivering(Delivering::Sent { channel, id });
                }
                for asked in self.leaving.values_mut() {
                    asked.get_or_insert(reference);
                }
            }
            _ => {}
        }
    }

    fn received(&mut self, text: &str) {
        let kind = kind_of(text);
        if text.contains("\"cursor\":\"") {
            self.wire.recorder.cursor_of(kind);
        }
        match kind {
            "joined" | "said" | "accepted" | "refused" => {}
            "receipts" if self.wire.truth.is_some() => {}
            _ => return,
        }
        let (socket, client) = (self.socket, self.wire.client);
        match ServerFrame::decode(text) {
            Some(ServerFrame::Joined { channel_id: channel, at, missed }) => {
                self.note(Meeting::Joined { socket, client, channel, at, missed });
            }
            Some(ServerFrame::Said { n, message }) => {
                let (channel, id) = (message.channel_id, message.id);
                self.note(Meeting::Said { socket, client, channel, n, id });
            }
            Some(ServerFrame::Accepted { reference, .. }) => {
                self.accepted(reference);
                self.answered(Some(reference));
            }
            Some(ServerFrame::Receipts { channel_id, delivered, read, archived }) => {
                self.told(&channel_id, delivered, read, archived);
            }
            Some(ServerFrame::Refused(refused)) => match refused.channel_id {
                Some(channel) => self.note(Meeting::NotJoined { socket, channel }),
                None => self.answered(refused.reference),
            },
            _ => {}
        }
    }

    fn note_delivering(&self, event: Delivering) {
        self.wire.recorder.note(Event::Delivering(event));
    }

    fn accepted(&mut self, reference: u64) {
        let Some(truth) = &self.wire.truth else { return };
        if let Some((channel, id, sent)) = self.sends.remove(&reference) {
            let is_kept = truth.is_kept(&channel, id);
            self.note_delivering(Delivering::Accepted { channel, id, sent, is_kept });
        }
    }

    /// Receipts: what is new in them.
    fn told(
        &mut self,
        channel: &ChannelId,
        delivered: Vec<(UserId, MessageId)>,
        read: Vec<(UserId, MessageId)>,
        archived: Vec<MessageId>,
    ) {
        let Some(truth) = self.wire.truth.clone() else { return };
        for (user, up_to) in delivered {
            let key = (channel.clone(), user.clone());
            if self.receipts.insert(key, up_to) != Some(up_to) {
                let channel = channel.clone();
                self.note_delivering(Delivering::Receipt { user, channel, up_to });
            }
        }
        for (user, up_to) in read {
            self.note_delivering(Delivering::Read { user, channel: channel.clone(), up_to });
        }
        for id in archived {
            let (channel, is_stored) = (channel.clone(), truth.is_stored(channel, id));
            self.note_delivering(Delivering::Archived { channel, id, is_stored });
        }
    }

    fn answered(&mut self, reference: Option<u64>) {
        let Some(reference) = reference else { return };
        let is_answered = |asked: &Option<u64>| asked.is_some_and(|asked| asked <= reference);
        let (left, leaving) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(|(_, asked)| is_answered(asked));
        self.leaving = leaving;
        let left: BTreeMap<ChannelId, Option<u64>> = left;
        for channel in left.into_keys() {
            self.note(Meeting::Left { socket: self.socket, channel });
        }
    }
}

/// The type of a frame. In a frame that is looked at, it is the first field of this name.
fn kind_of(text: &str) -> &str {
    let rest = text.split_once("\"type\":\"").map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(kind, _)| kind)
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        for text in self.incoming.add(read) {
            self.received(&text);
        }
        polled
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &polled {
            for text in self.outgoing.add(bytes.get(..*count).unwrap_or(bytes)) {
                self.sent(&text);
            }
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
