//! What goes into a workspace, and what comes out.

use std::sync::Arc;

use bytes::Bytes;
use model::{
    ChannelId, ConnectionId, DeviceId, EntryId, Member, Message, MessageId, MessageRef, Position,
    PublicationId, Timestamp, UserId, WorkspaceId,
};
use protocol::client_frame::ClientFrame;
use protocol::close::CloseCode;
use protocol::publication::{Entry, Publication};
use protocol::receipts::UserDevice;
use protocol::signal::Signal;

use super::{Answered, Ask, History, Spoken};
use crate::audience::{Audience, SocketId};
use crate::numbers::{EntryNumber, Registration, RepairId};
use crate::presence::{PresenceEffect, PresenceInput};

/// Turns a frame's text into the bytes that a socket carries. Done once per frame: the ring keeps
/// the result, and all recipients share it.
pub type Framing = fn(String) -> Bytes;

/// A socket whose ticket was accepted and that is to be attached.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The socket.
    pub socket: SocketId,
    /// Its id for clients and logs.
    pub connection_id: ConnectionId,
    /// Its user.
    pub user: UserId,
    /// The cursor to resume from, as the client sent it.
    pub cursor: Option<String>,
    /// When the user's token expires.
    pub ends_at: Timestamp,
    /// Whether the client handles `going`.
    pub takes_going: bool,
    /// Whether the user is invisible on it (G16).
    pub is_invisible: bool,
    /// The client's device, if it has registered one.
    pub device: Option<DeviceId>,
}

/// What a valid ticket for this node says of a socket that is to last longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its user.
    pub user: UserId,
    /// When the user's token expires.
    pub ends_at: Timestamp,
    /// Whether the user is invisible on it from now on.
    pub is_invisible: bool,
}

/// A client that can be handed over to another node: it handles `going`, and is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movable {
    /// Its socket.
    pub socket: SocketId,
    /// Its user.
    pub user: UserId,
    /// When the user's token expires.
    pub ends_at: Timestamp,
    /// Whether the user is invisible on it.
    pub is_invisible: bool,
    /// The client's device.
    pub device: Option<DeviceId>,
}

/// A user's rows, read strongly after the user was registered.
#[derive(Debug, Clone, Default)]
pub struct LoadedUser {
    /// Whether they have a tombstone.
    pub is_revoked: bool,
    /// The channels that they are a member of.
    pub channels: Vec<ChannelId>,
    /// Those of them that they joined within the life of a stream's entries
    /// ([`limits::STREAM_TTL`]), and when.
    pub joined: Vec<(ChannelId, Timestamp)>,
}

/// A channel's members, read strongly: version first, rows last.
#[derive(Debug, Clone, Default)]
pub struct ChannelMembers {
    /// The version, read first.
    pub version: u64,
    /// The members, read last.
    pub members: Vec<Member>,
}

/// An event for a workspace.
#[derive(Debug)]
pub enum Input {
    /// The subscription is confirmed, or restored after a gap: entries are pushed from now on.
    Linked,
    /// The subscription is lost: entries may be missed.
    Lost,
    /// An entry was pushed.
    Entry(Entry),
    /// A signal was pushed, beside the stream.
    Signal(Signal),
    /// A message of a channel that keeps nothing was pushed.
    Spoken(Spoken),
    /// The answer to [`Effect::Ask`].
    Answered {
        /// The socket in the effect.
        socket: SocketId,
        /// The number in the effect.
        number: u64,
        /// The answer.
        answered: Answered,
    },
    /// A channel that keeps nothing was found to be over: see [`Effect::KeepMeeting`].
    MeetingOver(ChannelId),
    /// The answer to [`Effect::Fill`]: all entries from there on; a whole stream has at least one.
    Filled {
        /// The fill that this answers; an answer to an older one is ignored.
        id: RepairId,
        /// In order.
        entries: Vec<Entry>,
    },
    /// The answer to [`Effect::Audit`].
    Audited {
        /// The tail in the effect.
        tail: Position,
        /// The stream's entries from there on, inclusive; the first few are enough.
        found: Vec<Position>,
    },
    /// The answer to [`Effect::ReadHistory`]; `None` if it is too long or the store refuses it.
    HistoryRead {
        /// The backfill that this answers; an answer to an older one is ignored.
        id: RepairId,
        /// The channel.
        channel: ChannelId,
        /// What was read.
        history: Option<History>,
    },
    /// A socket is to be attached.
    Attach(Attach),
    /// A socket is gone.
    Detach(SocketId),
    /// A client said something after its `hello`.
    Said {
        /// Its socket.
        socket: SocketId,
        /// What it said.
        frame: ClientFrame,
    },
    /// A client presented a ticket that was made with a newer token.
    Renew {
        /// Its socket.
        socket: SocketId,
        /// The client's number for it.
        reference: Option<u64>,
        /// Whom the ticket is for, and when that token expires; `None` if it is not valid.
        ticket: Option<Renewal>,
    },
    /// The answer to [`Effect::LoadUser`]; `None` if the store refuses only this read.
    UserLoaded {
        /// The user.
        user: UserId,
        /// The registration in the effect: rows read for an earlier one may be too old.
        registration: Registration,
        /// Their rows.
        loaded: Option<LoadedUser>,
    },
    /// The answer to [`Effect::Refresh`] or [`Effect::ReadAhead`]; `None` if the store refuses only
    /// this read.
    Refreshed {
        /// The channel.
        channel: ChannelId,
        /// What was read.
        members: Option<ChannelMembers>,
    },
    /// The answer to [`Effect::ReadStored`]; `None` if the store has no such message, or refuses
    /// only this read.
    StoredRead {
        /// The channel in the effect.
        channel: ChannelId,
        /// The ring entry in the effect.
        number: EntryNumber,
        /// The publication in the effect: after a fork, the number may belong to another entry.
        id: PublicationId,
        /// What was read.
        message: Option<Message>,
    },
    /// Something about who is present.
    Presence(PresenceInput),
    /// Ticks may be due: see [`Workspace::next_tick`].
    Tick,
    /// Time passed: attaches may be overdue, or resyncs due.
    Time,
    /// The node holds too much: give up holds until at most this many bytes are left.
    Shed {
        /// How much may stay.
        bytes: usize,
    },
}

/// An action for the node; effects are performed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offer one frame to sockets.
    Deliver {
        /// The framed bytes.
        frame: Bytes,
        /// The recipients.
        to: Audience,
        /// Which queue limit of a socket it counts against.
        class: DeliveryClass,
        /// The publication that it carries, if any; for metrics and logs.
        publication: Option<Arc<Publication>>,
    },
    /// Offer a socket its first frames: `ready`, then those it missed. Live frames follow.
    Ready {
        /// The socket.
        socket: SocketId,
        /// In order. Replayed frames are the ring's own bytes, shared by all clients that resume.
        frames: Vec<Bytes>,
    },
    /// Offer sockets the frames that a backfill found for them, before the live frames that follow.
    Replay {
        /// In order; the socket's speed paces them, whatever their number.
        frames: Vec<Bytes>,
        /// The recipients.
        to: Audience,
    },
    /// Close a socket that cannot be attached soon; its client should reconnect later.
    Refuse {
        /// The socket.
        socket: SocketId,
    },
    /// Close a socket.
    Close {
        /// The socket.
        socket: SocketId,
        /// The close code.
        code: CloseCode,
    },
    /// Ask the bus for a client that sends, or that joins a channel which keeps nothing.
    Ask(Box<Ask>),
    /// Tell the bus that somebody takes part in a channel that keeps nothing, unless it is over.
    KeepMeeting(ChannelId),
    /// Note, for all nodes, up to where users here have a channel's messages. It may be lost: their
    /// clients say it again.
    Told {
        /// The channel.
        channel: ChannelId,
        /// The users and the ids.
        got: Vec<(UserId, MessageId)>,
        /// The messages that devices keep for good (ADR 0046).
        kept: Vec<(MessageId, UserDevice)>,
    },
    /// Push a signal to all nodes of the workspace, this one included. It may be lost.
    Signal(Signal),
    /// Announce who is present, or read it.
    Presence(PresenceEffect),
    /// Read a user's rows and tombstone, strongly.
    LoadUser {
        /// The user.
        user: UserId,
        /// To be returned with the answer.
        registration: Registration,
    },
    /// Read a channel's members, strongly, version first, because publications wait for them.
    Refresh(ChannelId),
    /// The same read, before any publication waits for it.
    ReadAhead(ChannelId),
    /// Read a message, strongly, that was too long to travel with its publication.
    ReadStored {
        /// The ring entry, to be returned with the answer.
        number: EntryNumber,
        /// The channel.
        channel: ChannelId,
        /// The publication, to be returned with the answer.
        id: PublicationId,
        /// The message.
        message: MessageRef,
    },
    /// Read the stream from an entry, inclusive, to its end; from its start if `None`. An empty
    /// stream gets a marker first.
    Fill {
        /// To be returned with the answer.
        id: RepairId,
        /// The first entry.
        from: Option<EntryId>,
    },
    /// Check whether the stream still ends with this entry.
    Audit {
        /// The entry that it should end with.
        tail: Position,
    },
    /// Read a channel's messages since a time, strongly, and then its members.
    ReadHistory {
        /// To be returned with the answer.
        id: RepairId,
        /// The channel.
        channel: ChannelId,
        /// The time; or the channel's late mark, if that was set since and reaches further back.
        since: Timestamp,
    },
}

/// Which queue limit a delivered frame counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryClass {
    /// It was just published: it counts against the normal limit of a socket's queue.
    Live,
    /// It comes from a repair, or had to wait for membership or a text. Such frames come in bursts
    /// that are not the client's fault, so they have a larger limit of their own.
    Repair,
    /// It may be lost: it takes only the first half of a socket's queue, and is dropped beyond.
    Signal,
    /// It may be lost, and its number shows that: it takes three quarters of a socket's queue.
    Said,
}
