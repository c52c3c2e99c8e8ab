//! What the stream has lost is read from the store (G4): the node catches up, its clients do
//! nothing.
//!
//! 1. [`Workspace::owe`]: the stream holds no link of ours. Cursors stay where they are.
//! 2. Everybody's rows are read anew; they name the channels.
//! 3. Each channel is read from [`limits::OVERLAP`] before the last link on, its members last, and
//!    its members' sockets get what they have not had.
//! 4. When all channels are read, or are too much and given up with a `resync`, the link is up. While
//!    the store is away the workspace waits: its clients would read from the same store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{ChannelId, Message, Position, Timestamp, limits};
use protocol::frame;
use protocol::publication::Subject;

use super::{ChannelMembers, Effect, Link, Workspace};
use crate::audience::{Audience, SocketId};
use crate::delivered::{ALL, Era};
use crate::roster::UserKey;

/// What the store holds of a channel since a time.
#[derive(Debug, Clone)]
pub struct History {
    /// In the order of their ids.
    pub messages: Vec<Message>,
    /// Read after the messages: a view at least as new as any of them.
    pub members: ChannelMembers,
}

/// What the attached sockets are owed since the stream lost what lay between.
#[derive(Debug)]
pub(super) struct Debt {
    /// No frame carries a cursor beyond this until it is paid.
    pub(super) before: Position,
    since: Timestamp,
    /// Whose rows are being read.
    users: BTreeSet<UserKey>,
    /// Which channels are being read.
    channels: BTreeSet<ChannelId>,
    /// Messages that were pushed from the store.
    paid: usize,
    reading: u64,
}

impl Workspace {
    /// Notes what sockets are owed. A debt that is there already reaches further back, and what
    /// was taken since was delivered to nobody.
    pub(super) fn owe(&mut self) {
        let Some(before) = self.safe().filter(|_| self.debt.is_none()) else { return };
        if self.sockets.is_empty() {
            return;
        }
        self.debt = Some(Debt {
            before,
            since: Timestamp::from_unix_ms(before.entry.ms).minus(limits::OVERLAP),
            users: BTreeSet::new(),
            channels: BTreeSet::new(),
            paid: 0,
            reading: 0,
        });
    }

    /// Starts to pay: with the rows of whoever is not loaded.
    pub(super) fn start_back_fill(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(debt) = &mut self.debt else { return };
        self.link = Link::BackFilling;
        self.fills += 1;
        debt.reading = self.fills;
        debt.users = self.roster.unloaded();
        debt.channels.clear();
        self.read_channels_when_known(now, effects);
    }

    /// A user's rows are here, or the user is gone.
    pub(super) fn no_longer_unloaded(
        &mut self,
        key: UserKey,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.link == Link::BackFilling
            && self.debt.as_mut().is_some_and(|debt| debt.users.remove(&key))
        {
            self.read_channels_when_known(now, effects);
        }
    }

    fn read_channels_when_known(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(debt) = self.debt.as_mut().filter(|debt| debt.users.is_empty()) else { return };
        debt.channels = self.roster.inhabited_channels();
        if debt.channels.len() > limits::BACK_FILL_CHANNELS_MAX {
            return self.give_up_debt("too many channels to read", now, effects);
        }
        let (id, since) = (debt.reading, debt.since);
        let read =
            |channel: &ChannelId| Effect::ReadHistory { id, channel: channel.clone(), since };
        effects.extend(debt.channels.iter().map(read));
        self.settle_debt(now, effects);
    }

    pub(super) fn on_history(
        &mut self,
        id: u64,
        channel: &ChannelId,
        history: Option<History>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let is_awaited = self.link == Link::BackFilling;
        let Some(debt) = self.debt.as_mut().filter(|debt| is_awaited && debt.reading == id) else {
            return;
        };
        if !debt.channels.remove(channel) {
            return;
        }
        if let Some(History { members, .. }) = &history {
            self.roster.refresh(channel, members.version, &members.members);
        }
        let fits =
            |history: &History| debt.paid + history.messages.len() <= limits::BACK_FILL_TOTAL_MAX;
        match history.filter(fits) {
            Some(History { messages, .. }) => self.pay(channel, messages, effects),
            None => {
                let members: Vec<UserKey> = self.roster.members(channel).collect();
                self.resyncs.owe(members, Some(channel), "a channel could not be read", now);
            }
        }
        self.settle_debt(now, effects);
    }

    /// Pushes to each socket of the channel what it has not had.
    fn pay(&mut self, channel: &ChannelId, messages: Vec<Message>, effects: &mut Vec<Effect>) {
        let to = self.roster.audience(channel);
        let next = self.era.wrapping_add(1);
        let Some(debt) = self.debt.as_mut().filter(|_| !to.is_empty()) else { return };
        let (cursor, framing) = (debt.before.to_string(), self.framing);
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
            debt.paid += 1;
        }
        for (era, frames) in frames {
            let to = if era == 0 { to.clone() } else { self.since_era(&to, era) };
            if !to.is_empty() {
                effects.push(Effect::Replay { frames, to });
            }
        }
    }

    /// The sockets that attached in an era or later.
    pub(super) fn since_era(&self, to: &Audience, era: Era) -> Audience {
        let is_later = |socket: &SocketId| {
            self.sockets.get(socket).is_some_and(|attached| attached.era >= era)
        };
        Audience::of(to.sockets().filter(is_later))
    }

    fn settle_debt(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.debt.as_ref().is_some_and(|debt| debt.users.is_empty() && debt.channels.is_empty())
        {
            self.end_debt();
            self.linked_up(now, effects);
        }
    }

    fn give_up_debt(&mut self, why: &'static str, now: Timestamp, effects: &mut Vec<Effect>) {
        self.end_debt();
        let everyone: Vec<UserKey> = self.roster.keys().collect();
        self.resyncs.owe(everyone, None, why, now);
        self.linked_up(now, effects);
    }

    /// Sockets that attach from now on have not had what was pushed from the store.
    fn end_debt(&mut self) {
        self.debt = None;
        self.era = self.era.wrapping_add(1);
    }
}
