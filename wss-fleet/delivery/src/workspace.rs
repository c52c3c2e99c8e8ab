//! The state of one workspace on one node: chain, ring, views, holds and attaches. One task drives
//! it, so all inputs of a workspace are handled in one order.

mod attach;
mod backfill;
mod chain;
mod deliver;
mod resync;
mod said;
mod ticks;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::{
    ChannelId, ConnectionId, EntryId, Member, Message, MessageRef, NodeId, Position, PublicationId,
    Timestamp, UserId, WorkspaceId, limits,
};
use protocol::client_frame::ClientFrame;
use protocol::close::CloseCode;
use protocol::frame::ServerFrame;
use protocol::publication::{Entry, Publication};
use protocol::signal::Signal;

use crate::audience::{Audience, SocketId};
use crate::delivered::{Delivered, Era};
use crate::hold::Holds;
use crate::numbers::{EntryNumber, Registration, RepairId};
use crate::ring::Ring;
use crate::roster::{Roster, UserKey};
use crate::typing::Typing;
use crate::views::Views;

use attach::Waiting;
use backfill::Backfill;
use resync::Resyncs;
use said::Pongs;
use ticks::{AUDIT, Attached};

pub use backfill::History;

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
    /// Push a signal to all nodes of the workspace, this one included. It may be lost.
    Signal(Signal),
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
}

/// The handling of one input.
struct Turn<'a> {
    now: Timestamp,
    /// The class of everything delivered in this turn.
    class: DeliveryClass,
    /// The resulting effects, in order.
    effects: &'a mut Vec<Effect>,
}

/// Turns a frame's text into the bytes that a socket carries. Done once per frame: the ring keeps
/// the result, and all recipients share it.
pub type Framing = fn(String) -> Bytes;

/// One workspace on one node.
#[derive(Debug)]
pub struct Workspace {
    id: WorkspaceId,
    node_id: NodeId,
    framing: Framing,
    stream: StreamState,
    tail: Option<Position>,
    ring: Ring,
    pending: VecDeque<Entry>,
    /// More entries arrived during a fill than `pending` may hold: fill again.
    overflowed: bool,
    holds: Holds,
    roster: Roster,
    sockets: HashMap<SocketId, Attached>,
    views: Views,
    typing: Typing,
    pongs: Pongs,
    /// By user, in order of arrival, so that lookups are fast in a reconnect storm.
    waiting: BTreeMap<UserKey, Vec<Waiting>>,
    reading: HashSet<EntryNumber>,
    /// Entries whose audience is unknown, because the store refuses to return the members.
    unresolved: HashSet<EntryNumber>,
    /// Channels in the ring whose members are not read: the next publication would wait.
    unread: HashSet<ChannelId>,
    delivered: Delivered,
    era: Era,
    /// Set while the stream has lost entries that are not backfilled yet.
    backfill: Option<Backfill>,
    resyncs: Resyncs,
    /// Publications have been held for so long that ticks report it.
    is_held_up: bool,
    audit_at: Timestamp,
    /// The last repair.
    repair: RepairId,
    resyncs_sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Down,
    /// Waits for the fill `id`; `whole`: of the whole stream.
    Filling {
        id: RepairId,
        whole: bool,
    },
    /// Waits for the backfill of entries that the stream has lost.
    Backfilling,
    Up,
}

impl Workspace {
    /// A workspace without sockets.
    #[must_use]
    pub fn new(id: WorkspaceId, node_id: NodeId, framing: Framing, now: Timestamp) -> Self {
        Self {
            id,
            node_id,
            framing,
            stream: StreamState::Down,
            tail: None,
            ring: Ring::default(),
            pending: VecDeque::new(),
            overflowed: false,
            holds: Holds::default(),
            roster: Roster::default(),
            sockets: HashMap::new(),
            views: Views::default(),
            typing: Typing::default(),
            pongs: Pongs::default(),
            waiting: BTreeMap::new(),
            reading: HashSet::new(),
            unresolved: HashSet::new(),
            unread: HashSet::new(),
            delivered: Delivered::default(),
            era: 0,
            backfill: None,
            resyncs: Resyncs::default(),
            is_held_up: false,
            audit_at: now.plus(AUDIT),
            repair: RepairId::default(),
            resyncs_sent: 0,
        }
    }

    /// Handles an input; appends the resulting effects, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_pushed = matches!(input, Input::Entry(_));
        let class = if is_pushed { DeliveryClass::Live } else { DeliveryClass::Repair };
        let turn = &mut Turn { now, class, effects };
        match input {
            Input::Linked => self.start_fill(self.tail, turn),
            Input::Lost => {
                self.stream = StreamState::Down;
                self.pending.clear();
                self.overflowed = false;
            }
            Input::Entry(entry) => self.on_entry(entry, turn),
            Input::Signal(signal) => self.on_signal(&signal, turn),
            Input::Filled { id, entries } => self.on_filled(id, entries, turn),
            Input::Audited { tail, found } => self.on_audited(tail, &found, turn),
            Input::HistoryRead { id, channel, history } => {
                self.on_history(id, &channel, history, turn);
            }
            Input::Attach(attach) => self.on_attach(attach, turn),
            Input::Detach(socket) => self.detach(socket, turn),
            Input::Said { socket, frame } => self.on_said(socket, frame, turn),
            Input::UserLoaded { user, registration, loaded } => {
                self.on_loaded(&user, registration, loaded, turn);
            }
            Input::Refreshed { channel, members } => self.on_refreshed(&channel, members, turn),
            Input::StoredRead { channel, number, id, message } => {
                self.on_stored((&channel, number, id), message.as_ref(), turn);
            }
            Input::Tick => self.on_tick(turn),
            Input::Time => self.on_time(turn),
            Input::Shed { bytes } => self.shed(bytes, turn),
        }
        self.send_resyncs(turn);
    }

    /// Whether [`Input::Time`] has anything to check.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
            || self.holds.safe().is_some()
            || !self.resyncs.is_empty()
            || self.is_held_up
            || !self.typing.is_empty()
            || !self.pongs.is_empty()
    }

    /// Whether no socket is attached or waits to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.waiting.is_empty()
    }

    /// Whether sockets are up to date: the stream is whole, and nothing is held for long.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.stream == StreamState::Up && !self.is_held_up
    }

    /// The numbers of fills started and of resyncs sent to sockets.
    #[must_use]
    pub fn repairs(&self) -> (u64, u64) {
        (self.repair.get(), self.resyncs_sent)
    }

    /// Bytes of held publications.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.holds.bytes()
    }

    /// The number of sockets that wait to be attached.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// Whether the answer to an [`Effect::LoadUser`] is still wanted.
    #[must_use]
    pub fn awaits_user(&self, user: &UserId, registration: Registration) -> bool {
        let key = self.roster.key_at(user, registration);
        key.and_then(|key| self.roster.user(key)).is_some_and(|user| !user.is_loaded)
    }

    /// Whether the answer to an [`Effect::Refresh`] or [`Effect::ReadAhead`] is still wanted.
    #[must_use]
    pub fn awaits_members(&self, channel: &ChannelId) -> bool {
        self.holds.is_held(channel)
            || self.holds.is_lost(channel)
            || self.roster.version(channel) == 0
    }

    /// The position that frames may carry as their cursor now: the tail, or the entry before the
    /// oldest publication that is held or still to be backfilled.
    fn safe(&self) -> Option<Position> {
        let backfilled = self.backfill.as_ref().map(|backfill| backfill.before);
        backfilled.or_else(|| self.holds.safe()).or(self.tail)
    }

    fn cursor(&self) -> String {
        self.safe().map(|position| position.to_string()).unwrap_or_default()
    }

    /// Delivers a frame that carries no publication.
    fn send(&self, frame: &ServerFrame, to: Audience, turn: &mut Turn<'_>) {
        let frame = (self.framing)(frame.encode());
        let (class, publication) = (DeliveryClass::Live, None);
        turn.effects.push(Effect::Deliver { frame, to, class, publication });
    }

    fn on_time(&mut self, turn: &mut Turn<'_>) {
        let oldest = self.holds.oldest();
        self.is_held_up = oldest.is_some_and(|since| turn.now.since(since) >= limits::HOLD_STALE);
        self.expire_waiting(turn);
        self.on_time_of_signals(turn);
    }
}

#[cfg(test)]
mod tests;
