//! From a link of the chain to its audience: the view decides, or the publication is held (G5, G6).

use std::sync::Arc;

use bytes::Bytes;
use model::{ChannelChange, ChannelId, MessageText, PublicationId, Timestamp};
use protocol::close::CloseCode;
use protocol::frame::ServerFrame;
use protocol::publication::{
    Entry, Publication, PublicationBody, PublishedChange, PublishedMessage, message_of,
};

use super::{ChannelMembers, Effect, Workspace};
use crate::hold::Need;

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
        let need = self.need(&publication);
        if need.is_none() && !self.holds.is_held(channel) {
            return self.deliver(number, &publication, effects);
        }
        // There always is one before: sockets attach only after the first fill.
        let before = before.unwrap_or(entry.position);
        if !self.holds.push(channel, number, before, now) {
            return self.fail_closed(channel, "too much is held", effects);
        }
        if self.holds.first(channel) == Some(number) {
            self.ask(channel, number, &publication, need, effects);
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
        if let Some(ChannelMembers { version, members }) = members {
            self.roster.refresh(channel, version, &members);
        }
        self.release(channel, now, effects);
    }

    pub(super) fn on_text(
        &mut self,
        number: u64,
        id: PublicationId,
        text: Option<MessageText>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(link) = self.ring.link_mut(number).filter(|link| link.publication.id == id) else {
            return;
        };
        let PublicationBody::Message(message) = &link.publication.body else { return };
        let (channel, message) = (message.channel_id.clone(), message.clone());
        self.reading.remove(&number);
        match text {
            Some(text) => {
                let message = PublishedMessage { text: Some(text), ..message };
                let body = PublicationBody::Message(message);
                self.ring.set_publication(number, Arc::new(Publication { id, body }));
                self.holds.answered(&channel);
                self.release(&channel, now, effects);
            }
            None => {
                self.give_up([number]);
                if self.holds.first(&channel) == Some(number) {
                    self.fail_closed(&channel, "a message could not be read", effects);
                }
            }
        }
        self.settle_waiting(None, now, effects);
    }

    /// Delivers what a channel's hold has no reason to keep any more, in order.
    fn release(&mut self, channel: &ChannelId, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some(number) = self.holds.first(channel) {
            let Some(link) = self.ring.link_mut(number) else {
                return self.fail_closed(channel, "too much is held", effects);
            };
            let publication = Arc::clone(&link.publication);
            if let Some(need) = self.need(&publication) {
                return self.ask(channel, number, &publication, Some(need), effects);
            }
            self.holds.pop(channel, now);
            self.deliver(number, &publication, effects);
        }
    }

    fn deliver(&mut self, number: u64, publication: &Arc<Publication>, effects: &mut Vec<Effect>) {
        let to = match &publication.body {
            PublicationBody::Message(message) => self.roster.audience(&message.channel_id),
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
        let safe = self.safe();
        let Some(link) = self.ring.link_mut(number) else { return };
        let is_own = safe == Some(link.position);
        let cursor = safe.map(|position| position.to_string()).unwrap_or_default();
        let framing = self.framing;
        let Some(frame) = encode(publication, cursor).map(framing) else { return };
        if is_own {
            link.frame = Some(frame.clone());
        }
        let (is_live, publication) = (self.is_live, Some(Arc::clone(publication)));
        effects.push(Effect::Deliver { frame, to, is_live, publication });
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

    /// A hold that cannot end: what it holds is not delivered, and its readers are told (G6).
    pub(super) fn fail_closed(
        &mut self,
        channel: &ChannelId,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        let dropped = self.holds.drop_channel(channel);
        self.give_up(dropped);
        // The view is of another version: whom it does not name may be concerned as well.
        let everyone = self.roster.everyone();
        self.resync(why, &everyone, effects);
    }

    pub(super) fn give_up_holds(&mut self, effects: &mut Vec<Effect>) {
        let dropped = self.holds.clear();
        if !dropped.is_empty() {
            self.give_up(dropped);
            let everyone = self.roster.everyone();
            self.resync("the stream was forked", &everyone, effects);
        }
    }

    /// Nobody resumes across these links: they stay in the ring, and nobody knows whose they are.
    fn give_up(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let oldest = self.ring.from(0).next().map_or(0, |(number, _)| number);
        self.undecided.retain(|number| *number >= oldest);
        self.undecided.extend(numbers);
    }

    fn revoke(&mut self, user: &model::UserId, now: Timestamp, effects: &mut Vec<Effect>) {
        self.close_user(user, CloseCode::Revoked, now, effects);
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
