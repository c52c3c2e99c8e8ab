//! From a link of the chain to its audience: the view decides, or the publication is held (G5, G6).

use std::sync::Arc;

use bytes::Bytes;
use model::{ChannelId, Message, Position, PublicationId, Timestamp, limits};
use protocol::frame;
use protocol::publication::{ChannelRecipients, Entry, Payload, Publication, Recipients, Subject};

use super::{ChannelMembers, Effect, Workspace};
use crate::audience::Audience;
use crate::delivered::ALL;
use crate::hold::Need;
use crate::ring::Pushed;
use crate::roster::UserKey;

impl Workspace {
    /// Takes the next link of the chain.
    pub(super) fn accept(&mut self, entry: Entry, now: Timestamp, effects: &mut Vec<Effect>) {
        // There always is one before: sockets attach only after the first fill.
        let before = self.tail.unwrap_or(entry.position);
        self.tail = Some(entry.position);
        let Pushed { number, publication, replaced } =
            self.ring.push(entry.position, entry.publication);
        match &publication.to {
            Recipients::Channel(to) => {
                self.accept_of_channel(to, number, before, &publication, now, effects);
            }
            Recipients::User(user) => match &publication.payload {
                Payload::Close(code) => self.close_user(user, *code, now, effects),
                Payload::Frame(_) | Payload::Stored(_) | Payload::Nothing => {
                    self.deliver(number, &publication, effects);
                }
            },
            Recipients::Workspace => self.deliver(number, &publication, effects),
            Recipients::Nobody => {}
            Recipients::Unknown => {
                let everyone: Vec<UserKey> = self.roster.keys().collect();
                if !everyone.is_empty() {
                    self.holds.bar(number, before);
                    self.resyncs.owe_unknown(everyone, now);
                }
            }
        }
        for number in replaced {
            self.empty_held(number, now, effects);
        }
    }

    /// Takes a link for a channel's members: delivers it, or holds it until that is possible.
    fn accept_of_channel(
        &mut self,
        to: &ChannelRecipients,
        number: u64,
        before: Position,
        publication: &Arc<Publication>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let channel = &to.channel_id;
        if self.holds.is_lost(channel) {
            return self.holds.lose_another(channel, to.members_version);
        }
        let need = self.need(to, &publication.payload);
        if need.is_none() && !self.holds.is_held(channel) {
            return self.deliver(number, publication, effects);
        }
        self.holds.push(channel, number, before, Arc::clone(publication), now);
        if self.holds.first(channel).is_some_and(|(first, _)| first == number) {
            self.ask(channel, number, publication, need, effects);
        }
        self.shed(limits::HELD_BYTES_MAX, effects);
    }

    /// A newer state replaced a link's payload: where the link is held, it waits for that no more.
    fn empty_held(&mut self, number: u64, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(publication) =
            self.ring.link_mut(number).map(|link| Arc::clone(&link.publication))
        else {
            return;
        };
        let Some(to) = publication.channel().filter(|_| self.holds.holds(number)) else { return };
        self.holds.set_publication(&to.channel_id, number, &publication);
        self.holds.answered(&to.channel_id);
        self.release(&to.channel_id, now, effects);
    }

    /// Gives up the largest holds until no more than this is held.
    pub(super) fn shed(&mut self, bytes: usize, effects: &mut Vec<Effect>) {
        while self.holds.bytes() > bytes
            && let Some(channel) = self.holds.largest()
        {
            self.holds.lose(&channel, version_of);
            effects.push(Effect::Refresh(channel));
        }
    }

    /// What a publication's delivery needs and is not there.
    fn need(&mut self, to: &ChannelRecipients, payload: &Payload) -> Option<Need> {
        // The next version's changes are a delta; any newer version needs the rows.
        let version = match to.changes.is_empty() {
            true => self.roster.version(&to.channel_id),
            false => self.next_version(&to.channel_id),
        };
        if to.members_version > version {
            return Some(Need::View(to.members_version));
        }
        let is_wanted = matches!(payload, Payload::Stored(_))
            && !self.roster.audience_and(&to.channel_id, &to.also).is_empty();
        is_wanted.then_some(Need::Stored)
    }

    fn ask(
        &mut self,
        channel: &ChannelId,
        number: u64,
        publication: &Publication,
        need: Option<Need>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(need) = need else { return };
        if !self.holds.ask(channel, need) {
            return;
        }
        match need {
            Need::View(_) => effects.push(Effect::Refresh(channel.clone())),
            Need::Stored => self.read_stored(number, channel, publication, effects),
        }
    }

    pub(super) fn read_stored(
        &mut self,
        number: u64,
        channel: &ChannelId,
        publication: &Publication,
        effects: &mut Vec<Effect>,
    ) {
        if let Payload::Stored(message) = publication.payload
            && self.reading.insert(number)
        {
            let (channel, id) = (channel.clone(), publication.id);
            effects.push(Effect::ReadStored { number, channel, id, message });
        }
    }

    pub(super) fn on_refreshed(
        &mut self,
        channel: &ChannelId,
        members: Option<ChannelMembers>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.holds.answered(channel);
        let Some(ChannelMembers { version, members }) = members else {
            return self.fail_closed(channel, now);
        };
        self.unread.remove(channel);
        self.roster.refresh(channel, version, &members);
        if self.holds.find(channel, self.roster.version(channel)) {
            let users: Vec<UserKey> = self.roster.members(channel).collect();
            self.resyncs.owe(users, Some(channel), "too much was held", now);
        } else if self.holds.is_lost(channel) {
            effects.push(Effect::Refresh(channel.clone()));
        }
        self.release(channel, now, effects);
    }

    /// A message was read. Its link may have left the ring, and its number may be another link's:
    /// after a fork they are given again.
    pub(super) fn on_stored(
        &mut self,
        (channel, number, id): (&ChannelId, u64, PublicationId),
        message: Option<&Message>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let of_ring = self.ring.link_mut(number).map(|link| Arc::clone(&link.publication));
        let of_hold = self.holds.first(channel).filter(|(first, _)| *first == number);
        let known = of_ring.or_else(|| of_hold.map(|(_, publication)| Arc::clone(publication)));
        let Some(known) = known.filter(|publication| publication.id == id) else { return };
        self.reading.remove(&number);
        if !matches!(known.payload, Payload::Stored(_)) {
            return;
        }
        // If there is no such message, nobody ever reads it.
        let payload = message.map_or(Payload::Nothing, Payload::message);
        let publication = Arc::new(known.with_payload(payload));
        self.ring.set_publication(number, Arc::clone(&publication));
        self.holds.set_publication(channel, number, &publication);
        self.holds.answered(channel);
        self.release(channel, now, effects);
        self.settle_waiting(None, now, effects);
    }

    /// Delivers what a channel's hold has no reason to keep any more, in order.
    fn release(&mut self, channel: &ChannelId, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((number, publication)) = self.holds.first(channel) {
            let publication = Arc::clone(publication);
            let need = publication.channel().and_then(|to| self.need(to, &publication.payload));
            if need.is_some() {
                return self.ask(channel, number, &publication, need, effects);
            }
            self.holds.pop(channel, now);
            self.deliver(number, &publication, effects);
        }
    }

    fn deliver(&mut self, number: u64, publication: &Arc<Publication>, effects: &mut Vec<Effect>) {
        let to = match &publication.to {
            Recipients::Channel(to) => {
                self.apply(to);
                self.roster.audience_and(&to.channel_id, &to.also)
            }
            Recipients::User(user) => self.roster.audience_of(user),
            Recipients::Workspace => self.roster.everyone(),
            Recipients::Nobody | Recipients::Unknown => return,
        };
        let Payload::Frame(payload) = &publication.payload else { return };
        let to = self.without_those_that_had_it(to, publication.subject.as_ref());
        if to.is_empty() {
            return;
        }
        let safe = self.safe();
        let frame = (self.framing)(frame::with_cursor(payload, &self.cursor()));
        // What was held for long may have left the ring.
        if let Some(link) = self.ring.link_mut(number)
            && safe == Some(link.position)
        {
            link.frame = Some(frame.clone());
        }
        let (is_live, publication) = (self.is_live, Some(Arc::clone(publication)));
        effects.push(Effect::Deliver { frame, to, is_live, publication });
    }

    /// Of some sockets, those that have not had this state of a subject: all, but after a repair,
    /// which brings what is then pushed as well.
    fn without_those_that_had_it(&mut self, to: Audience, state: Option<&Subject>) -> Audience {
        let Some(state) = state else { return to };
        let reached = self.delivered.reached(state);
        self.delivered.insert(state, ALL);
        match reached {
            None => to,
            Some(ALL) => Audience::default(),
            Some(era) => self.since_era(&to, era),
        }
    }

    /// The version whose change is a delta. A channel that is not there has the last one.
    fn next_version(&self, channel: &ChannelId) -> u64 {
        self.roster.version(channel).saturating_add(1)
    }

    fn apply(&mut self, to: &ChannelRecipients) {
        let (channel, version) = (&to.channel_id, to.members_version);
        if version == self.next_version(channel) {
            for change in &to.changes {
                self.roster.apply(channel, version, &change.user_id, change.is_member);
            }
        }
    }

    /// The frame of a link for a replay; its cursor is its own position, or before what is held.
    pub(super) fn replay_frame(&mut self, number: u64) -> Option<Bytes> {
        let (safe, framing) = (self.holds.safe_at(number), self.framing);
        let link = self.ring.link_mut(number)?;
        if safe.is_none() && link.frame.is_some() {
            return link.frame.clone();
        }
        let Payload::Frame(payload) = &link.publication.payload else { return None };
        let cursor = safe.unwrap_or(link.position).to_string();
        let frame = framing(frame::with_cursor(payload, &cursor));
        if safe.is_none() {
            link.frame = Some(frame.clone());
        }
        Some(frame)
    }

    /// The store answers, but refuses to tell a channel's members, again and again. What is held is
    /// not delivered, nobody resumes across it, and everybody is told: the view is of another
    /// version, so whom it does not name may be concerned as well (G6).
    fn fail_closed(&mut self, channel: &ChannelId, now: Timestamp) {
        let held = self.holds.remove(channel);
        let was_lost = self.holds.find(channel, u64::MAX);
        if held.is_empty() && !was_lost {
            return;
        }
        let oldest = self.ring.from(0).next().map_or(0, |(number, _)| number);
        self.unresolved.retain(|number| *number >= oldest);
        self.unresolved.extend(held);
        let everyone: Vec<UserKey> = self.roster.keys().collect();
        self.resyncs.owe(everyone, Some(channel), "membership could not be read", now);
    }
}

/// The membership version that the view must have which a publication is delivered through.
fn version_of(publication: &Publication) -> u64 {
    publication.channel().map_or(0, |to| to.members_version)
}
