//! The state of one workspace on one node: chain, ring, views, holds and attaches. One task drives
//! it, so all inputs of a workspace are handled in one order.

mod attach;
mod backfill;
mod chain;
mod deliver;
mod io;
mod meetings;
mod presence;
mod receipts;
mod renew;
mod resync;
mod said;
mod ticks;

use bytes::Bytes;
use model::{ChannelId, DeviceId, NodeId, Position, Timestamp, UserId, WorkspaceId, limits};
use protocol::frame::ServerFrame;
use protocol::publication::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::audience::{Audience, SocketId};
use crate::delivered::{Delivered, Era};
use crate::hold::Holds;
use crate::meetings::Meetings;
use crate::numbers::{EntryNumber, Registration, RepairId};
use crate::presence::Present;
use crate::receipts::Receipts;
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
pub use io::{
    Attach, ChannelMembers, DeliveryClass, Effect, Framing, Input, LoadedUser, Movable, Renewal,
};
pub use meetings::{Answered, Ask, Spoken, Taken};

/// The handling of one input.
struct Turn<'a> {
    now: Timestamp,
    /// The class of everything delivered in this turn.
    class: DeliveryClass,
    /// The resulting effects, in order.
    effects: &'a mut Vec<Effect>,
}

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
    meetings: Meetings,
    /// Channels of which a signal needs a newer view, which is being read.
    behind: BTreeSet<ChannelId>,
    presence: Present,
    receipts: Receipts,
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
    /// The devices of sockets whose clients registered one.
    devices: HashMap<SocketId, DeviceId>,
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
            meetings: Meetings::default(),
            behind: BTreeSet::new(),
            presence: Present::new(now),
            receipts: Receipts::default(),
            waiting: BTreeMap::new(),
            reading: HashSet::new(),
            unresolved: HashSet::new(),
            unread: HashSet::new(),
            delivered: Delivered::default(),
            era: 0,
            backfill: None,
            resyncs: Resyncs::default(),
            devices: HashMap::default(),
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
            Input::Linked => {
                self.start_fill(self.tail, turn);
                self.on_presence_linked(turn);
            }
            Input::Lost => {
                self.presence.others.on_lost();
                self.stream = StreamState::Down;
                self.pending.clear();
                self.overflowed = false;
            }
            Input::Entry(entry) => self.on_entry(entry, turn),
            Input::Signal(signal) => self.on_signal(&signal, turn),
            Input::Spoken(spoken) => self.on_spoken(spoken, turn),
            Input::Answered { socket, number, answered } => {
                self.on_answered(socket, number, answered, turn);
            }
            Input::MeetingOver(channel) => self.on_meeting_over(&channel, true, turn),
            Input::Filled { id, entries } => self.on_filled(id, entries, turn),
            Input::Audited { tail, found } => self.on_audited(tail, &found, turn),
            Input::HistoryRead { id, channel, history } => {
                self.on_history(id, &channel, history, turn);
            }
            Input::Attach(attach) => self.on_attach(attach, turn),
            Input::Detach(socket) => self.detach(socket, turn),
            Input::Said { socket, frame } => self.on_said(socket, frame, turn),
            Input::Renew { socket, reference, ticket } => {
                self.on_renew(socket, reference, ticket, turn);
            }
            Input::UserLoaded { user, registration, loaded } => {
                self.on_loaded(&user, registration, loaded, turn);
            }
            Input::Refreshed { channel, members } => self.on_refreshed(&channel, members, turn),
            Input::StoredRead { channel, number, id, message } => {
                self.on_stored((&channel, number, id), message.as_ref(), turn);
            }
            Input::Presence(input) => self.on_presence(input, turn),
            Input::Tick => self.on_tick(turn),
            Input::Time => self.on_time(turn),
            Input::Shed { bytes } => self.shed(bytes, turn),
        }
        self.answer_joins(turn);
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
            || self.presence.is_waiting()
            || !self.receipts.is_empty()
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

    /// The greatest version of a channel's membership that came with the stream; 0 if none did.
    #[must_use]
    pub fn heard(&self, channel: &ChannelId) -> u64 {
        self.roster.heard(channel)
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
            || self.behind.contains(channel)
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
        self.push((self.framing)(frame.encode()), to, DeliveryClass::Live, turn);
    }

    /// Delivers bytes that carry no publication.
    fn push(&self, frame: Bytes, to: Audience, class: DeliveryClass, turn: &mut Turn<'_>) {
        if !to.is_empty() {
            turn.effects.push(Effect::Deliver { frame, to, class, publication: None });
        }
    }

    fn on_time(&mut self, turn: &mut Turn<'_>) {
        let oldest = self.holds.oldest();
        self.is_held_up = oldest.is_some_and(|since| turn.now.since(since) >= limits::HOLD_STALE);
        self.expire_waiting(turn);
        self.on_time_of_signals(turn);
        self.on_time_of_presence(turn);
        self.on_time_of_receipts(turn);
    }
}

#[cfg(test)]
mod tests;
