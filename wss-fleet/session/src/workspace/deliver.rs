//! From a link of the chain to its audience: the view decides, or the publication is held (G5, G6).

use std::sync::Arc;

use bytes::Bytes;
use model::{ChannelChange, ChannelId, MessageText, PublicationId, Timestamp, limits};
use protocol::close::CloseCode;
use protocol::frame::ServerFrame;
use protocol::publication::{
    Entry, Publication, PublicationBody, PublishedChange, PublishedMessage, message_of,
};

use super::{ChannelMembers, Effect, Workspace};
use crate::audience::Audience;
use crate::delivered::ALL;
use crate::hold::Need;
use crate::roster::UserKey;

impl Workspace {
    /// Takes the next link of the chain.
    pub(super) fn accept(&mut self, entry: Entry, now: Timestamp, effects: &mut Vec<Effect>) {
        let before = self.tail;
        self.tail = Some(entry.position);
        let publication = Arc::clone(&entry.publication);
        let number = self.ring.push(entry.position, entry.publication);
        let channel = match &publication.body {
            PublicationBody::Message(PublishedMessage { channel_id, .. })
            | PublicationBody::Channel(PublishedChange { channel_id, .. }) => channel_id,
            PublicationBody::Revoked { user_id } => return self.revoke(user_id, now, effects),
            PublicationBody::Marker | PublicationBody::Unreadable => return,
        };
        if self.holds.is_lost(channel) {
            return self.holds.lose_another(channel, version_of(&publication));
        }
        let need = self.need(&publication);
        if need.is_none() && !self.holds.is_held(channel) {
            return self.deliver(number, &publication, effects);
        }
        // There always is one before: sockets attach only after the first fill.
        let before = before.unwrap_or(entry.position);
        self.holds.push(channel, number, before, Arc::clone(&publication), now);
        if self.holds.first(channel).is_some_and(|(first, _)| first == number) {
            self.ask(channel, number, &publication, need, effects);
        }
        self.shed(limits::HELD_BYTES_MAX, effects);
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
    fn need(&mut self, publication: &Publication) -> Option<Need> {
        match &publication.body {
            PublicationBody::Message(message) => {
                if message.members_version > self.roster.version(&message.channel_id) {
                    return Some(Need::View(message.members_version));
                }
                let is_wanted =
                    message.text.is_none() && !self.roster.audience(&message.channel_id).is_empty();
                is_wanted.then_some(Need::Text)
            }
            // The next version's change is a delta; any newer one needs the rows.
            PublicationBody::Channel(change) => {
                let is_known = change.members_version <= self.next_version(&change.channel_id);
                (!is_known).then_some(Need::View(change.members_version))
            }
            PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => None,
        }
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
            Need::Text => self.read_text(number, channel, publication, effects),
        }
    }

    pub(super) fn read_text(
        &mut self,
        number: u64,
        channel: &ChannelId,
        publication: &Publication,
        effects: &mut Vec<Effect>,
    ) {
        if self.reading.insert(number) {
            let (channel, id) = (channel.clone(), publication.id);
            effects.push(Effect::ReadText { number, channel, id });
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

    /// A text was read. Its link may have left the ring, and its number may be another link's: after
    /// a fork they are given again.
    pub(super) fn on_text(
        &mut self,
        (channel, number, id): (&ChannelId, u64, PublicationId),
        text: Option<MessageText>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let of_ring = self.ring.link_mut(number).map(|link| Arc::clone(&link.publication));
        let of_hold = self.holds.first(channel).filter(|(first, _)| *first == number);
        let known = of_ring.or_else(|| of_hold.map(|(_, publication)| Arc::clone(publication)));
        let Some(known) = known.filter(|publication| publication.id == id) else { return };
        let PublicationBody::Message(message) = &known.body else { return };
        self.reading.remove(&number);
        let body = match text {
            Some(text) => {
                PublicationBody::Message(PublishedMessage { text: Some(text), ..message.clone() })
            }
            // There is no such message: nobody ever reads it.
            None => PublicationBody::Unreadable,
        };
        let publication = Arc::new(Publication { id, body });
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
            if let Some(need) = self.need(&publication) {
                return self.ask(channel, number, &publication, Some(need), effects);
            }
            self.holds.pop(channel, now);
            self.deliver(number, &publication, effects);
        }
    }

    fn deliver(&mut self, number: u64, publication: &Arc<Publication>, effects: &mut Vec<Effect>) {
        let to = match &publication.body {
            PublicationBody::Message(message) => self.readers(&message.channel_id, publication.id),
            PublicationBody::Channel(change) => {
                self.apply(change);
                self.roster.audience_and(&change.channel_id, change.concerned())
            }
            PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => return,
        };
        if to.is_empty() {
            return;
        }
        let (safe, framing) = (self.safe(), self.framing);
        let cursor = safe.map(|position| position.to_string()).unwrap_or_default();
        let Some(frame) = encode(publication, cursor).map(framing) else { return };
        // What was held for long may have left the ring.
        if let Some(link) = self.ring.link_mut(number)
            && safe == Some(link.position)
        {
            link.frame = Some(frame.clone());
        }
        let (is_live, publication) = (self.is_live, Some(Arc::clone(publication)));
        effects.push(Effect::Deliver { frame, to, is_live, publication });
    }

    /// The sockets of a channel that have not had a message: all of them, but after a repair, which
    /// brings what is then pushed as well.
    fn readers(&mut self, channel: &ChannelId, id: PublicationId) -> Audience {
        let reached = self.delivered.reached(channel, id);
        self.delivered.insert(channel, id, ALL);
        match reached {
            None => self.roster.audience(channel),
            Some(ALL) => Audience::default(),
            Some(era) => {
                let to = self.roster.audience(channel);
                self.since_era(&to, era)
            }
        }
    }

    /// The version whose change is a delta. A channel that is not there has the last one.
    fn next_version(&self, channel: &ChannelId) -> u64 {
        self.roster.version(channel).saturating_add(1)
    }

    fn apply(&mut self, change: &PublishedChange) {
        let (channel, version) = (&change.channel_id, change.members_version);
        if version != self.next_version(channel) {
            return;
        }
        match change.change {
            ChannelChange::Created => self.roster.refresh(channel, version, &change.members),
            ChannelChange::MemberAdded => {
                self.roster.apply(channel, version, &change.user_id, true)
            }
            ChannelChange::MembersAdded => {
                for user in &change.members {
                    self.roster.apply(channel, version, user, true);
                }
            }
            ChannelChange::MemberRemoved => {
                self.roster.apply(channel, version, &change.user_id, false);
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
        let frame =
            encode(&link.publication, safe.unwrap_or(link.position).to_string()).map(framing)?;
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

    fn revoke(&mut self, user: &model::UserId, now: Timestamp, effects: &mut Vec<Effect>) {
        self.close_user(user, CloseCode::Revoked, now, effects);
    }
}

/// The membership version that the view must have which a publication is delivered through.
fn version_of(publication: &Publication) -> u64 {
    match &publication.body {
        PublicationBody::Message(message) => message.members_version,
        PublicationBody::Channel(change) => change.members_version,
        PublicationBody::Revoked { .. } | PublicationBody::Marker | PublicationBody::Unreadable => {
            0
        }
    }
}

/// The frame of a publication; none for one that is not for clients, or whose text is not here.
fn encode(publication: &Publication, cursor: String) -> Option<String> {
    let frame = match &publication.body {
        PublicationBody::Message(published) => {
            let text = published.text.clone()?;
            let message = message_of(publication.id, published, text)?;
            ServerFrame::Message { cursor, message }
        }
        PublicationBody::Channel(change) => ServerFrame::Channel {
            cursor,
            change: change.change,
            channel_id: change.channel_id.clone(),
            user_ids: change.concerned().to_vec(),
        },
        PublicationBody::Revoked { .. } | PublicationBody::Marker | PublicationBody::Unreadable => {
            return None;
        }
    };
    Some(frame.encode())
}
