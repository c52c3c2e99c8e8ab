//! What the stream has lost is read from the store (G4): the node catches up, its clients do
//! nothing.
//!
//! 1. [`Workspace::owe`]: the stream holds no link of ours. What was delivered is noted, and where
//!    cursors have to stay.
//! 2. Everybody's rows are read anew; they name the channels.
//! 3. Each channel is read from [`limits::OVERLAP`] before the last link on, its members last, and
//!    its members' sockets get what they have not had.
//! 4. When all channels are read, or given up with a `resync`, the link is up.

use std::collections::{BTreeSet, HashSet};

use model::{ChannelId, Message, Position, PublicationId, Timestamp, limits};
use protocol::frame::ServerFrame;
use protocol::publication::{PublicationBody, PublishedMessage};

use super::{ChannelMembers, Effect, Link, Workspace};
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
    /// What the sockets have had: not pushed again. An id is unique within a channel only.
    delivered: HashSet<(ChannelId, PublicationId)>,
    /// Whose rows are being read.
    users: BTreeSet<UserKey>,
    /// Which channels are being read.
    channels: BTreeSet<ChannelId>,
    /// Messages that were pushed from the store.
    paid: usize,
    reading: u64,
    reading_since: Timestamp,
}

impl Workspace {
    /// Notes what sockets are owed. A debt that is there already reaches further back, and what
    /// was taken since was delivered to nobody.
    pub(super) fn owe(&mut self, now: Timestamp) {
        let Some(before) = self.safe().filter(|_| self.debt.is_none()) else { return };
        if self.sockets.is_empty() {
            return;
        }
        let is_decided =
            |number: &u64| !self.holds.holds(*number) && !self.undecided.contains(number);
        let links = self.ring.from(0).filter(|(number, _)| is_decided(number));
        let delivered = links.filter_map(|(_, link)| match &link.publication.body {
            PublicationBody::Message(PublishedMessage { channel_id, .. }) => {
                Some((channel_id.clone(), link.publication.id))
            }
            PublicationBody::Channel(_)
            | PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => None,
        });
        self.debt = Some(Debt {
            before,
            since: Timestamp::from_unix_ms(before.entry.ms).minus(limits::OVERLAP),
            delivered: delivered.collect(),
            users: BTreeSet::new(),
            channels: BTreeSet::new(),
            paid: 0,
            reading: 0,
            reading_since: now,
        });
    }

    /// Starts to pay: with the rows of whoever is not loaded.
    pub(super) fn start_back_fill(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(debt) = &mut self.debt else { return };
        self.link = Link::BackFilling;
        self.fills += 1;
        (debt.reading, debt.reading_since) = (self.fills, now);
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
                let to = self.roster.audience(channel);
                self.resync("a channel could not be read", &to, effects);
            }
        }
        self.settle_debt(now, effects);
    }

    fn pay(&mut self, channel: &ChannelId, messages: Vec<Message>, effects: &mut Vec<Effect>) {
        let to = self.roster.audience(channel);
        let Some(debt) = self.debt.as_mut().filter(|_| !to.is_empty()) else { return };
        let (cursor, framing) = (debt.before.to_string(), self.framing);
        let mut frames = Vec::new();
        for message in messages {
            if debt.delivered.insert((channel.clone(), message.id.into())) {
                let frame = ServerFrame::Message { cursor: cursor.clone(), message };
                frames.push(framing(frame.encode()));
            }
        }
        debt.paid += frames.len();
        if !frames.is_empty() {
            effects.push(Effect::Replay { frames, to });
        }
    }

    fn settle_debt(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.debt.as_ref().is_some_and(|debt| debt.users.is_empty() && debt.channels.is_empty())
        {
            self.debt = None;
            self.linked_up(now, effects);
        }
    }

    /// Gives a reading up that takes too long, whatever became of it.
    pub(super) fn expire_debt(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_overdue = |debt: &Debt| now.since(debt.reading_since) >= limits::BACK_FILL_MAX;
        if self.link == Link::BackFilling && self.debt.as_ref().is_some_and(is_overdue) {
            self.give_up_debt("reading took too long", now, effects);
        }
    }

    fn give_up_debt(&mut self, why: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        self.debt = None;
        let everyone = self.roster.everyone();
        self.resync(why, &everyone, effects);
        self.linked_up(now, effects);
    }
}
