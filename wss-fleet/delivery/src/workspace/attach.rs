//! Attaching sockets: register the user, read the rows, send `ready` and missed frames (G5).

use std::sync::Arc;

use bytes::Bytes;
use model::{ChannelChange, ChannelId, Position, Timestamp, UserId, limits};
use protocol::client_frame::{ACCEPTED, KEPT};
use protocol::close::CloseCode;
use protocol::frame::{self, Ready, ServerFrame};
use protocol::publication::{Payload, Publication, Recipients};

use super::{Attach, Attached, Effect, LoadedUser, Movable, StreamState, Turn, Workspace};
use crate::audience::SocketId;
use crate::numbers::EntryNumber;
use crate::roster::UserKey;

/// An attach that waits for the stream, for its user's rows, or for a text.
#[derive(Debug)]
pub(super) struct Waiting {
    attach: Attach,
    since: Timestamp,
    /// Whether it already caused a fill because its cursor is ahead of our tail.
    has_filled: bool,
}

/// Where a socket resumes.
enum Start {
    /// After this entry.
    After(EntryNumber),
    /// Its cursor is unknown, or it has none.
    Afresh,
    /// Its cursor is ahead of our tail: it comes from a node that was faster.
    Ahead,
}

impl Workspace {
    pub(super) fn on_attach(&mut self, attach: Attach, turn: &mut Turn<'_>) {
        let (key, is_new) = self.roster.register(&attach.user);
        self.make_room(key, turn);
        // Before the first fill, rows would be too old to judge its entries (G6): read them later.
        if is_new && self.tail.is_some() {
            let user = attach.user.clone();
            turn.effects.push(Effect::LoadUser { user, registration: key });
        }
        let waiting = Waiting { attach, since: turn.now, has_filled: false };
        self.waiting.entry(key).or_default().push(waiting);
        self.settle_waiting(Some(key), turn);
    }

    /// Closes the oldest socket of a user who has too many.
    fn make_room(&mut self, key: UserKey, turn: &mut Turn<'_>) {
        let sockets = self.sockets_of(key);
        if let Some(socket) = sockets.first().copied()
            && sockets.len() >= limits::SOCKETS_PER_USER_MAX
        {
            turn.effects.push(Effect::Close { socket, code: CloseCode::TooManySockets });
            self.forget_socket(key, socket, turn);
        }
    }

    /// A user's sockets: those that are attached, then those that wait to be.
    fn sockets_of(&self, key: UserKey) -> Vec<SocketId> {
        let attached = self.roster.user(key).into_iter().flat_map(|user| &user.sockets);
        let waiting = self.waiting.get(&key).into_iter().flatten();
        attached.chain(waiting.map(|waiting| &waiting.attach.socket)).copied().collect()
    }

    pub(super) fn on_loaded(
        &mut self,
        user: &UserId,
        registration: UserKey,
        loaded: Option<LoadedUser>,
        turn: &mut Turn<'_>,
    ) {
        let Some(key) = self.roster.key_at(user, registration) else { return };
        match loaded {
            Some(LoadedUser { is_revoked: true, .. }) => {
                self.close_user(user, CloseCode::Revoked, turn);
            }
            Some(LoadedUser { channels, joined, .. }) => {
                self.read_ahead(&channels, turn);
                let (came, gone) = self.roster.load(key, channels, joined);
                if !came.is_empty() {
                    self.begin_anew(key);
                }
                for channel in &came {
                    self.tell(ChannelChange::MemberAdded, channel, user, turn);
                }
                for channel in &gone {
                    self.tell(ChannelChange::MemberRemoved, channel, user, turn);
                }
                self.no_longer_unloaded(key, turn);
                self.settle_waiting(Some(key), turn);
            }
            None => self.close_user(user, CloseCode::Internal, turn),
        }
    }

    /// Requests the members of channels with entries in the ring, because their next publication is
    /// likely and would wait for them. Channels that are requested together are read together.
    fn read_ahead(&mut self, channels: &[ChannelId], turn: &mut Turn<'_>) {
        for channel in channels {
            if self.unread.remove(channel) && self.roster.version(channel) == 0 {
                turn.effects.push(Effect::ReadAhead(channel.clone()));
            }
        }
    }

    /// Attaches the waiting sockets that have all they need; of one user, or of all.
    pub(super) fn settle_waiting(&mut self, of: Option<UserKey>, turn: &mut Turn<'_>) {
        if self.stream != StreamState::Up {
            return;
        }
        let of: Vec<UserKey> = match of {
            Some(key) => vec![key],
            None => self.waiting.keys().copied().collect(),
        };
        for key in of {
            let Some(mut waiting) = self.waiting.remove(&key) else { continue };
            waiting.retain_mut(|waiting| !self.try_attach(key, waiting, turn));
            if !waiting.is_empty() {
                self.waiting.insert(key, waiting);
            }
        }
    }

    fn try_attach(&mut self, key: UserKey, waiting: &mut Waiting, turn: &mut Turn<'_>) -> bool {
        let is_loaded = self.roster.user(key).is_some_and(|user| user.is_loaded);
        if !is_loaded || self.stream != StreamState::Up {
            return false;
        }
        let start = match self.start_of(waiting.attach.cursor.as_deref()) {
            Start::Ahead if !waiting.has_filled => {
                waiting.has_filled = true;
                self.start_fill(self.tail, turn);
                return false;
            }
            Start::After(number) => Some(number),
            Start::Ahead | Start::Afresh => None,
        };
        match start.map_or(Replay::Impossible, |number| self.replay(key, number, turn)) {
            Replay::Frames(frames) => {
                // Until the replay is delivered, only the client's own cursor is safe.
                let cursor = waiting.attach.cursor.clone().unwrap_or_default();
                let joined = self.joined_since(key, &cursor);
                let ready = self.ready(&waiting.attach, cursor, true, turn.now);
                let frames = std::iter::once(ready).chain(joined).chain(frames).collect();
                self.attach(key, waiting, frames, turn);
            }
            Replay::Impossible => {
                let ready = self.ready(&waiting.attach, self.cursor(), false, turn.now);
                self.attach(key, waiting, vec![ready], turn);
            }
            Replay::WaitsForText => return false,
        }
        true
    }

    fn start_of(&self, cursor: Option<&str>) -> Start {
        let Some(position) = cursor.and_then(Position::parse) else { return Start::Afresh };
        match self.ring.number_of(position) {
            Some(number) => Start::After(number),
            None if self.tail.is_some_and(|tail| position.entry > tail.entry) => Start::Ahead,
            None => Start::Afresh,
        }
    }

    /// The frames that a user missed after an entry, without held publications: those come live.
    fn replay(&mut self, key: UserKey, after: EntryNumber, turn: &mut Turn<'_>) -> Replay {
        let mut numbers = Vec::new();
        let mut texts = Vec::new();
        for (number, entry) in self.ring.from(after.next()) {
            if self.is_unresolved(number, &entry.publication) {
                return Replay::Impossible;
            }
            if self.holds.holds(number) || !self.is_visible(key, &entry.publication) {
                continue;
            }
            numbers.push(number);
            if matches!(entry.publication.payload, Payload::Stored(_)) {
                texts.push((number, Arc::clone(&entry.publication)));
            }
        }
        if texts.len() > limits::REPLAY_TEXTS_MAX {
            return Replay::Impossible;
        }
        if texts.is_empty() {
            let frames = numbers.into_iter().filter_map(|number| self.replay_frame(number));
            return Replay::Frames(frames.collect());
        }
        for (number, publication) in texts {
            self.read_stored(number, &publication, turn);
        }
        Replay::WaitsForText
    }

    /// Frames of the user's memberships that are younger than a cursor. The entries of these changes
    /// may be lost, and what happened in a channel before its user came back reached nobody of them.
    fn joined_since(&self, key: UserKey, cursor: &str) -> Vec<Bytes> {
        let position = Position::parse(cursor);
        let (Some(user), Some(position)) = (self.roster.user(key), position) else {
            return Vec::new();
        };
        let at = Timestamp::from_unix_ms(position.entry.ms).minus(limits::JOINED_MARGIN);
        let is_news = |(channel, joined_at): &&(ChannelId, Timestamp)| {
            *joined_at > at
                && self.roster.is_member(channel, key)
                && !self.has_addition(channel, &user.id, *joined_at)
        };
        let frame = |(channel, _): &(ChannelId, Timestamp)| {
            let told =
                frame::channel(ChannelChange::MemberAdded, channel, std::slice::from_ref(&user.id));
            (self.framing)(frame::with_cursor(&told, cursor))
        };
        user.joined.iter().filter(is_news).map(frame).collect()
    }

    /// Whether the ring has the entry by which a user joined a channel at this time: then the client
    /// got it, or gets it with the replay.
    fn has_addition(&self, channel: &ChannelId, user: &UserId, joined_at: Timestamp) -> bool {
        let since = joined_at.minus(limits::JOINED_MARGIN).unix_ms();
        self.ring.from(EntryNumber::default()).any(|(_, entry)| {
            let to = entry.publication.channel().filter(|to| to.channel_id == *channel);
            let mut changes = to.into_iter().flat_map(|to| &to.changes);
            entry.position.entry.ms >= since
                && changes.any(|change| change.is_member && change.user_id == *user)
        })
    }

    /// Whether the audience of this entry is unknown.
    fn is_unresolved(&self, number: EntryNumber, publication: &Publication) -> bool {
        match &publication.to {
            Recipients::Channel(to) => {
                self.unresolved.contains(&number)
                    || self.holds.is_unresolved(&to.channel_id, number)
            }
            Recipients::Unknown => true,
            Recipients::User(_) | Recipients::Workspace | Recipients::Nobody => false,
        }
    }

    fn is_visible(&self, key: UserKey, publication: &Publication) -> bool {
        let id = || self.roster.user(key).map(|user| &user.id);
        match &publication.to {
            Recipients::Channel(to) => {
                self.roster.is_member(&to.channel_id, key)
                    || id().is_some_and(|id| to.also.contains(id))
            }
            Recipients::User(user) => id() == Some(user),
            Recipients::Workspace => true,
            Recipients::Nobody | Recipients::Unknown => false,
        }
    }

    fn ready(&self, attach: &Attach, cursor: String, resumed: bool, now: Timestamp) -> Bytes {
        let of_device = attach.device.is_some().then_some(KEPT);
        let accepts = ACCEPTED.into_iter().chain(of_device).map(str::to_owned).collect();
        let ready = ServerFrame::Ready(Ready {
            connection_id: attach.connection_id.clone(),
            node_id: self.node_id.clone(),
            workspace_id: self.id.clone(),
            user_id: attach.user.clone(),
            cursor,
            resumed,
            accepts,
            tick: limits::TICK,
            server_time: now,
            invisible: attach.is_invisible,
        });
        (self.framing)(ready.encode())
    }

    fn attach(&mut self, key: UserKey, waiting: &Waiting, frames: Vec<Bytes>, turn: &mut Turn<'_>) {
        let socket = waiting.attach.socket;
        let era = self.era_of_newcomers();
        let attached = Attached::new(key, &waiting.attach, era, turn.now);
        self.sockets.insert(socket, attached);
        if let Some(device) = &waiting.attach.device {
            self.devices.insert(socket, device.clone());
        }
        self.roster.add_socket(key, socket);
        self.note_presence(key, turn.now);
        turn.effects.push(Effect::Ready { socket, frames });
    }

    /// The clients that can be handed over to another node, in order.
    #[must_use]
    pub fn movable(&self) -> Vec<Movable> {
        let movable = |(socket, attached): (&SocketId, &Attached)| {
            let user = self.roster.user(attached.key).filter(|_| attached.takes_going)?;
            let Attached { ends_at, is_invisible, .. } = *attached;
            let (user, device) = (user.id.clone(), self.devices.get(socket).cloned());
            Some(Movable { socket: *socket, user, ends_at, is_invisible, device })
        };
        let mut movable: Vec<Movable> = self.sockets.iter().filter_map(movable).collect();
        movable.sort_unstable_by_key(|one| one.socket);
        movable
    }

    pub(super) fn expire_waiting(&mut self, turn: &mut Turn<'_>) {
        let all =
            self.waiting.iter().flat_map(|(key, waiting)| waiting.iter().map(|one| (*key, one)));
        let is_overdue =
            |(_, one): &(UserKey, &Waiting)| turn.now.since(one.since) >= limits::ATTACH_WAIT_MAX;
        let overdue: Vec<(UserKey, SocketId)> =
            all.filter(is_overdue).map(|(key, one)| (key, one.attach.socket)).collect();
        for (key, socket) in overdue {
            turn.effects.push(Effect::Refuse { socket });
            self.forget_socket(key, socket, turn);
        }
    }

    pub(super) fn close_user(&mut self, user: &UserId, code: CloseCode, turn: &mut Turn<'_>) {
        let Some(key) = self.roster.key_of(user) else { return };
        for socket in self.sockets_of(key) {
            turn.effects.push(Effect::Close { socket, code });
            self.forget_socket(key, socket, turn);
        }
    }

    pub(super) fn detach(&mut self, socket: SocketId, turn: &mut Turn<'_>) {
        let attached = self.sockets.get(&socket).map(|attached| attached.key);
        let is_its = |waiting: &Waiting| waiting.attach.socket == socket;
        let waiting = || self.waiting.iter().find(|(_, waiting)| waiting.iter().any(is_its));
        if let Some(key) = attached.or_else(|| waiting().map(|(key, _)| *key)) {
            self.forget_socket(key, socket, turn);
        }
    }

    /// Forgets a socket, and its user with the last one.
    fn forget_socket(&mut self, key: UserKey, socket: SocketId, turn: &mut Turn<'_>) {
        self.sockets.remove(&socket);
        self.devices.remove(&socket);
        self.views.remove(socket);
        self.pongs.remove(socket);
        self.meetings.remove(socket);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.retain(|waiting| waiting.attach.socket != socket);
            if waiting.is_empty() {
                self.waiting.remove(&key);
            }
        }
        self.roster.remove_socket(key, socket);
        self.note_presence(key, turn.now);
        self.unwatch(socket, turn);
        let is_attached = self.roster.user(key).is_some_and(|user| !user.sockets.is_empty());
        if !is_attached && !self.waiting.contains_key(&key) {
            self.roster.leave(key);
            self.no_longer_unloaded(key, turn);
        }
    }
}

/// The replay for a resuming socket.
enum Replay {
    /// These frames.
    Frames(Vec<Bytes>),
    /// No replay is possible: the client reads the store.
    Impossible,
    /// Not yet: a text is being read.
    WaitsForText,
}
