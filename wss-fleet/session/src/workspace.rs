//! The state of one workspace on one node: chain, ring, views, holds and attaches. One task drives
//! it, so that everything that happens to a workspace happens in one order.

mod attach;
mod backfill;
mod chain;
mod deliver;
mod resync;
mod ticks;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::{
    ChannelId, ConnectionId, EntryId, Message, MessageId, NodeId, Position, PublicationId,
    Timestamp, UserId, WorkspaceId, limits,
};
use protocol::close::CloseCode;
use protocol::publication::{Entry, Publication};

use crate::audience::{Audience, SocketId};
use crate::delivered::{Delivered, Era};
use crate::hold::Holds;
use crate::numbers::{EntryNumber, Registration, RepairId};
use crate::ring::Ring;
use crate::roster::{Roster, UserKey};

use attach::Waiting;
use backfill::Backfill;
use resync::Resyncs;
use ticks::{AUDIT, Attached};

pub use backfill::History;

/// A socket that wants to be attached: its ticket was taken.
#[derive(Debug, Clone)]
pub struct Attach {
    /// The socket.
    pub socket: SocketId,
    /// Its id for people and logs.
    pub connection_id: ConnectionId,
    /// Whose it is.
    pub user: UserId,
    /// Where it wants to resume, as it said it.
    pub cursor: Option<String>,
}

/// A user's rows, read strongly after they were registered.
#[derive(Debug, Clone, Default)]
pub struct LoadedUser {
    /// Whether they have a tombstone.
    pub is_revoked: bool,
    /// The channels they are a member of.
    pub channels: Vec<ChannelId>,
}

/// A channel's members, read strongly: version first, rows last.
#[derive(Debug, Clone, Default)]
pub struct ChannelMembers {
    /// The version read first.
    pub version: u64,
    /// The rows read last.
    pub members: Vec<UserId>,
}

/// What happens to a workspace.
#[derive(Debug)]
pub enum Input {
    /// The subscription is confirmed, or came back after a gap: from here on entries are pushed.
    Linked,
    /// The link is lost: entries may be missed.
    Lost,
    /// An entry was pushed.
    Entry(Entry),
    /// The answer to [`Effect::Fill`]: all entries from there to the end, never none for a whole.
    Filled {
        /// Which fill this answers; the answer to an older one is of no use.
        id: RepairId,
        /// In order.
        entries: Vec<Entry>,
    },
    /// The answer to [`Effect::Audit`].
    Audited {
        /// The tail that the effect named.
        tail: Position,
        /// The stream's entries from there on, inclusive; the first ones will do.
        found: Vec<Position>,
    },
    /// The answer to [`Effect::ReadHistory`]; none if it is too much, or the store refuses this read.
    HistoryRead {
        /// Which reading this answers; the answer to an older one is of no use.
        id: RepairId,
        /// Of which channel.
        channel: ChannelId,
        /// What was read.
        history: Option<History>,
    },
    /// A socket wants to be attached.
    Attach(Attach),
    /// A socket is gone.
    Detach(SocketId),
    /// The answer to [`Effect::LoadUser`]; none if the store refuses this read and answers others.
    UserLoaded {
        /// Whose.
        user: UserId,
        /// As the effect named it: rows read for an earlier registration may be too old.
        registration: Registration,
        /// Their rows.
        loaded: Option<LoadedUser>,
    },
    /// The answer to [`Effect::Refresh`] or [`Effect::ReadAhead`]; none if the store refuses this read
    /// and answers others.
    Refreshed {
        /// Of which channel.
        channel: ChannelId,
        /// What was read.
        members: Option<ChannelMembers>,
    },
    /// The answer to [`Effect::ReadStored`]; none if the store has no such message, or refuses this
    /// read and answers others.
    StoredRead {
        /// The channel that the effect named.
        channel: ChannelId,
        /// The link that the effect named.
        number: EntryNumber,
        /// The publication that the effect named: after a fork the number may be another link's.
        id: PublicationId,
        /// What was read.
        message: Option<Message>,
    },
    /// It is time for ticks: [`Workspace::next_tick`] tells when.
    Tick,
    /// Time passed: attaches may be overdue, resyncs due.
    Time,
    /// The node holds more than it may: give up holds until this many bytes are left.
    Shed {
        /// What may stay.
        bytes: usize,
    },
}

/// What the node does for a workspace, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offer one frame to sockets.
    Deliver {
        /// As the framing made it.
        frame: Bytes,
        /// To whom.
        to: Audience,
        /// Whether it counts against what may queue for a socket.
        class: DeliveryClass,
        /// What it tells of, if it tells of one: for those who watch.
        publication: Option<Arc<Publication>>,
    },
    /// Offer a socket its first frames: `ready`, then what it missed. Live frames come after.
    Ready {
        /// The socket.
        socket: SocketId,
        /// In order. Replayed ones are the ring's own bytes, shared by all who resume.
        frames: Vec<Bytes>,
    },
    /// Offer sockets what a backfill found for them, before the live frames that follow.
    Replay {
        /// In order; paced by each socket, whatever their number.
        frames: Vec<Bytes>,
        /// To whom.
        to: Audience,
    },
    /// End a socket that cannot be attached soon: its client is to come back later.
    Refuse {
        /// The socket.
        socket: SocketId,
    },
    /// End a socket.
    Close {
        /// The socket.
        socket: SocketId,
        /// Why.
        code: CloseCode,
    },
    /// Read a user's rows and tombstone, strongly.
    LoadUser {
        /// Whose.
        user: UserId,
        /// To be given back with the answer.
        registration: Registration,
    },
    /// Read a channel's members, strongly, version first: publications wait for them.
    Refresh(ChannelId),
    /// The same, before any publication waits for it.
    ReadAhead(ChannelId),
    /// Read a message that did not travel with its publication, strongly.
    ReadStored {
        /// Names the link in the answer.
        number: EntryNumber,
        /// The channel.
        channel: ChannelId,
        /// The publication, to be given back with the answer.
        id: PublicationId,
        /// The message.
        message: MessageId,
    },
    /// Read the stream from an entry, inclusive, to its end; from its beginning if none. A stream
    /// that is empty gets a marker first.
    Fill {
        /// To be given back with the answer.
        id: RepairId,
        /// The first entry.
        from: Option<EntryId>,
    },
    /// Look whether the stream still ends with this entry.
    Audit {
        /// What it should end with.
        tail: Position,
    },
    /// Read a channel's messages from a time on, strongly, and then its members.
    ReadHistory {
        /// To be given back with the answer.
        id: RepairId,
        /// The channel.
        channel: ChannelId,
        /// From when on; from its late mark on where that was set since and lies before.
        since: Timestamp,
    },
}

/// What a delivered frame counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryClass {
    /// It was just published: it counts against what may queue for a socket.
    Live,
    /// A repair brought it, or it waited for membership or a text. It comes in a burst that is not the
    /// client's fault, so it does not count.
    Repair,
}

/// The handling of one input.
struct Turn<'a> {
    now: Timestamp,
    /// Of what is delivered in this turn.
    class: DeliveryClass,
    /// What the node does about it, in order.
    effects: &'a mut Vec<Effect>,
}

/// How a frame's text becomes the bytes that a socket carries. Done once per frame: the ring keeps
/// the result, and every reader shares it.
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
    /// Entries came while a fill ran and did not fit: fill again.
    overflowed: bool,
    holds: Holds,
    roster: Roster,
    sockets: HashMap<SocketId, Attached>,
    /// By user, in the order in which they came: of a herd, one user is found at once.
    waiting: BTreeMap<UserKey, Vec<Waiting>>,
    reading: HashSet<EntryNumber>,
    /// Links whose audience the store refuses to tell.
    unresolved: HashSet<EntryNumber>,
    /// Channels of the stream's past whose members were not read: the next publication would wait.
    unread: HashSet<ChannelId>,
    delivered: Delivered,
    era: Era,
    /// What the stream has lost and nobody was told yet.
    backfill: Option<Backfill>,
    resyncs: Resyncs,
    /// Publications have waited for so long that ticks say so.
    is_held_up: bool,
    audit_at: Timestamp,
    /// The last repair.
    repair: RepairId,
    resyncs_told: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Down,
    /// Waits for the answer to the fill of this number; `whole`: of the whole stream.
    Filling {
        id: RepairId,
        whole: bool,
    },
    /// Waits for what the stream has lost and the store has.
    Backfilling,
    Up,
}

impl Workspace {
    /// A workspace that nobody is connected to yet.
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
            resyncs_told: 0,
        }
    }

    /// Takes an input and puts out what is to be done about it, in order.
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
            Input::Filled { id, entries } => self.on_filled(id, entries, turn),
            Input::Audited { tail, found } => self.on_audited(tail, &found, turn),
            Input::HistoryRead { id, channel, history } => {
                self.on_history(id, &channel, history, turn);
            }
            Input::Attach(attach) => self.on_attach(attach, turn),
            Input::Detach(socket) => self.detach(socket, turn),
            Input::UserLoaded { user, registration, loaded } => {
                self.on_loaded(&user, registration, loaded, turn);
            }
            Input::Refreshed { channel, members } => {
                self.on_refreshed(&channel, members, turn);
            }
            Input::StoredRead { channel, number, id, message } => {
                self.on_stored((&channel, number, id), message.as_ref(), turn);
            }
            Input::Tick => self.on_tick(turn),
            Input::Time => self.on_time(turn),
            Input::Shed { bytes } => self.shed(bytes, turn),
        }
        self.tell_resyncs(turn);
    }

    /// Whether [`Input::Time`] has something to look at.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
            || self.holds.safe().is_some()
            || !self.resyncs.is_empty()
            || self.is_held_up
    }

    /// Whether nobody is connected, or about to be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.waiting.is_empty()
    }

    /// Whether the path behind the sockets is whole.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.stream == StreamState::Up && !self.is_held_up
    }

    /// Fills that were started, and resyncs that were told to sockets.
    #[must_use]
    pub fn repairs(&self) -> (u64, u64) {
        (self.repair.get(), self.resyncs_told)
    }

    /// Bytes of publications that wait for the store.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.holds.bytes()
    }

    /// Sockets that wait to be attached.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.values().map(Vec::len).sum()
    }

    /// Whether the answer to a [`Effect::LoadUser`] is still of use.
    #[must_use]
    pub fn awaits_user(&self, user: &UserId, registration: Registration) -> bool {
        let key = self.roster.key_at(user, registration);
        key.and_then(|key| self.roster.user(key)).is_some_and(|user| !user.is_loaded)
    }

    /// Whether the answer to a [`Effect::Refresh`] or [`Effect::ReadAhead`] is still of use.
    #[must_use]
    pub fn awaits_members(&self, channel: &ChannelId) -> bool {
        self.holds.is_held(channel)
            || self.holds.is_lost(channel)
            || self.roster.version(channel) == 0
    }

    /// The position that frames may carry now: the tail, or before the oldest publication that is
    /// held or owed.
    fn safe(&self) -> Option<Position> {
        self.backfill
            .as_ref()
            .map(|backfill| backfill.before)
            .or_else(|| self.holds.safe())
            .or(self.tail)
    }

    fn cursor(&self) -> String {
        self.safe().map(|position| position.to_string()).unwrap_or_default()
    }

    fn on_time(&mut self, turn: &mut Turn<'_>) {
        let oldest = self.holds.oldest();
        self.is_held_up = oldest.is_some_and(|since| turn.now.since(since) >= limits::HOLD_STALE);
        self.expire_waiting(turn);
    }
}

#[cfg(test)]
mod tests;
