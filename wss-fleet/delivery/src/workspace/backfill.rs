//! Backfill (G4): the node reads what the stream has lost from the store, so that clients need not.
//!
//! 1. [`Workspace::start_backfill`]: the stream has none of our entries. Cursors stay put.
//! 2. All local users' rows are read again; they name the channels.
//! 3. Each channel's messages are read, from [`limits::OVERLAP`] before the last entry on, and then
//!    its members. Their sockets get the messages that they do not have.
//! 4. Once all channels are read, or given up with a `resync` because they are too long, the stream
//!    is up. While the store is down the workspace waits: its clients would read the same store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{ChannelId, Message, Position, Timestamp, limits};
use protocol::frame;
use protocol::publication::Subject;

use super::{ChannelMembers, Effect, StreamState, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::delivered::{ALL, Era};
use crate::numbers::RepairId;
use crate::roster::UserKey;

/// What is new or changed in a channel since a time, and its members.
#[derive(Debug, Clone)]
pub struct History {
    /// Messages in order of their ids.
    pub messages: Vec<Message>,
    /// Read after the messages: a view at least as new as any of them.
    pub members: ChannelMembers,
}

/// What is still missing on the attached sockets after the stream lost entries.
#[derive(Debug)]
pub(super) struct Backfill {
    /// No frame's cursor passes this until the backfill is done.
    pub(super) before: Position,
    since: Timestamp,
    /// Users whose rows are being read.
    users: BTreeSet<UserKey>,
    /// Channels that are being read.
    channels: BTreeSet<ChannelId>,
    /// The number of messages pushed from the store.
    delivered: usize,
    reading: RepairId,
}

impl Workspace {
    /// Starts a backfill. If one is under way it stays: it reaches further back, and what was
    /// accepted since was delivered to nobody.
    pub(super) fn start_backfill(&mut self) {
        let Some(before) = self.safe().filter(|_| self.backfill.is_none()) else { return };
        if self.sockets.is_empty() {
            return;
        }
        self.backfill = Some(Backfill {
            before,
            since: Timestamp::from_unix_ms(before.entry.ms).minus(limits::OVERLAP),
            users: BTreeSet::new(),
            channels: BTreeSet::new(),
            delivered: 0,
            reading: RepairId::default(),
        });
    }

    /// Starts the reads of a backfill, with the rows of users that are not loaded.
    pub(super) fn read_backfill(&mut self, turn: &mut Turn<'_>) {
        let Some(backfill) = &mut self.backfill else { return };
        self.stream = StreamState::Backfilling;
        self.repair = self.repair.next();
        backfill.reading = self.repair;
        backfill.users = self.roster.unloaded();
        backfill.channels.clear();
        self.read_channels_when_known(turn);
    }

    /// Records that a user's rows were read, or that the user left.
    pub(super) fn no_longer_unloaded(&mut self, key: UserKey, turn: &mut Turn<'_>) {
        if self.stream == StreamState::Backfilling
            && self.backfill.as_mut().is_some_and(|backfill| backfill.users.remove(&key))
        {
            self.read_channels_when_known(turn);
        }
    }

    fn read_channels_when_known(&mut self, turn: &mut Turn<'_>) {
        let Some(backfill) = self.backfill.as_mut().filter(|backfill| backfill.users.is_empty())
        else {
            return;
        };
        backfill.channels = self.roster.inhabited_channels();
        if backfill.channels.len() > limits::BACKFILL_CHANNELS_MAX {
            backfill.channels.clear();
            self.resyncs.add(self.roster.keys(), None, "too many channels to read", turn.now);
        }
        let (id, since) = (backfill.reading, backfill.since);
        let read =
            |channel: &ChannelId| Effect::ReadHistory { id, channel: channel.clone(), since };
        turn.effects.extend(backfill.channels.iter().map(read));
        self.finish_backfill(turn);
    }

    pub(super) fn on_history(
        &mut self,
        id: RepairId,
        channel: &ChannelId,
        history: Option<History>,
        turn: &mut Turn<'_>,
    ) {
        let is_awaited = self.stream == StreamState::Backfilling;
        let Some(backfill) =
            self.backfill.as_mut().filter(|backfill| is_awaited && backfill.reading == id)
        else {
            return;
        };
        if !backfill.channels.remove(channel) {
            return;
        }
        let delivered = backfill.delivered;
        if let Some(History { members, .. }) = &history {
            let (version, members) = (members.version, members.members.clone());
            self.refresh_view(channel, version, &members, turn);
        }
        let fits =
            |history: &History| delivered + history.messages.len() <= limits::BACKFILL_TOTAL_MAX;
        match history.filter(fits) {
            Some(History { messages, .. }) => self.deliver_backfill(channel, messages, turn),
            None => {
                let members = self.roster.members(channel);
                self.resyncs.add(members, Some(channel), "a channel could not be read", turn.now);
            }
        }
        self.finish_backfill(turn);
    }

    /// Pushes messages to those sockets of the channel that do not have them.
    fn deliver_backfill(
        &mut self,
        channel: &ChannelId,
        messages: Vec<Message>,
        turn: &mut Turn<'_>,
    ) {
        let to = self.roster.audience(channel);
        let next = self.era.wrapping_add(1);
        let Some(backfill) = self.backfill.as_mut().filter(|_| !to.is_empty()) else { return };
        let (cursor, framing) = (backfill.before.to_string(), self.framing);
        let mut frames: BTreeMap<Era, Vec<Bytes>> = BTreeMap::new();
        for message in messages {
            let state = Subject::of_message(&message);
            let reached = self.delivered.reached(&state).unwrap_or(0);
            if reached == ALL {
                continue;
            }
            self.delivered.insert(&state, next);
            let frame = frame::with_cursor(&frame::message(&message), &cursor);
            frames.entry(reached).or_default().push(framing(frame));
            backfill.delivered += 1;
        }
        for (era, frames) in frames {
            let to = if era == 0 { to.clone() } else { self.since_era(&to, era) };
            if !to.is_empty() {
                turn.effects.push(Effect::Replay { frames, to });
            }
        }
    }

    /// The sockets that attached in this era or later.
    pub(super) fn since_era(&self, to: &Audience, era: Era) -> Audience {
        let is_later = |socket: &SocketId| {
            self.sockets.get(socket).is_some_and(|attached| attached.era >= era)
        };
        Audience::of(to.sockets().filter(is_later))
    }

    /// Ends the backfill once all is read. Sockets that attach from now on do not have what it
    /// pushed.
    fn finish_backfill(&mut self, turn: &mut Turn<'_>) {
        let is_done = |it: &mut Backfill| it.users.is_empty() && it.channels.is_empty();
        if self.backfill.take_if(is_done).is_some() {
            self.era = self.era.wrapping_add(1);
            self.linked_up(turn);
        }
    }
}
