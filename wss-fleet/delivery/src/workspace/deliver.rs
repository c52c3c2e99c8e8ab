//! Delivers an entry to its audience if the view is new enough, otherwise holds it (G5, G6).

use std::sync::Arc;

use bytes::Bytes;
use model::{
    ChannelChange, ChannelId, ErrorCode, Member, Message, Position, PublicationId, Timestamp,
    UserId, limits,
};
use protocol::frame::{self, ServerFrame};
use protocol::publication::{ChannelRecipients, Entry, Payload, Publication, Recipients, Subject};
use protocol::signal::Signal;

use super::{ChannelMembers, DeliveryClass, Effect, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::delivered::{ALL, Era};
use crate::hold::HoldReason;
use crate::numbers::EntryNumber;
use crate::ring::Pushed;
use crate::roster::UserKey;

impl Workspace {
    /// Accepts the next entry of the chain.
    pub(super) fn accept(&mut self, entry: Entry, turn: &mut Turn<'_>) {
        // Sockets attach only after the first fill, so for them there always is an entry before.
        let before = self.tail.unwrap_or(entry.position);
        self.tail = Some(entry.position);
        let Pushed { number, publication, replaced } =
            self.ring.push(entry.position, entry.publication);
        match &publication.to {
            Recipients::Channel(to) => {
                self.accept_of_channel(to, number, before, &publication, turn);
            }
            Recipients::User(user) => match &publication.payload {
                Payload::Close(code) => self.close_user(user, *code, turn),
                Payload::Frame(_) | Payload::Stored(_) | Payload::Nothing => {
                    self.deliver(number, &publication, turn);
                }
            },
            Recipients::Workspace => self.deliver(number, &publication, turn),
            Recipients::Nobody => {}
            Recipients::Unknown => {
                let mut everyone = self.roster.keys().peekable();
                if everyone.peek().is_some() {
                    self.holds.bar(number, before);
                    self.resyncs.add_unknown(everyone, turn.now);
                }
            }
        }
        for number in replaced {
            self.empty_held(number, turn);
        }
    }

    /// Delivers a signal to the sockets that are here. It is in no ring: nobody resumes it.
    pub(super) fn on_signal(&mut self, signal: &Signal, turn: &mut Turn<'_>) {
        let (user, marks) = match signal {
            Signal::Read { user_id, marks } => (user_id, marks),
            Signal::Typing { user_id, log, members_version } => {
                return self.typed(user_id, log, *members_version, turn);
            }
            Signal::Presence { node, news } => {
                return self.on_presence_signal(node, news, turn);
            }
            // The end's frame comes with the stream.
            Signal::Ended { channel_id } => return self.on_meeting_over(channel_id, false, turn),
            Signal::Receipts(receipts) => return self.on_receipts(receipts, turn),
            // The node opens it first.
            Signal::Said(_) | Signal::Unknown => return,
        };
        let to = self.roster.audience_of(user);
        if to.is_empty() {
            return;
        }
        for new in marks {
            let read = ServerFrame::Read { log: new.log.clone(), mark: new.mark };
            let frame = (self.framing)(read.encode());
            self.push(frame, to.clone(), DeliveryClass::Signal, turn);
        }
    }

    /// Delivers an entry to a channel's members, or holds it until that is possible.
    fn accept_of_channel(
        &mut self,
        to: &ChannelRecipients,
        number: EntryNumber,
        before: Position,
        publication: &Arc<Publication>,
        turn: &mut Turn<'_>,
    ) {
        let channel = &to.channel_id;
        if self.holds.is_lost(channel) {
            return self.holds.lose_another(channel, to.members_version);
        }
        let need = self.need(to, &publication.payload);
        if need.is_none() && !self.holds.is_held(channel) {
            return self.deliver(number, publication, turn);
        }
        self.holds.push(channel, number, before, Arc::clone(publication), turn.now);
        if self.holds.first(channel).is_some_and(|(first, _)| first == number) {
            self.request(channel, number, publication, need, turn);
        }
        self.shed(limits::HELD_BYTES_MAX, turn);
    }

    /// Handles an entry whose payload a newer state replaced: a hold stops waiting for its text.
    fn empty_held(&mut self, number: EntryNumber, turn: &mut Turn<'_>) {
        let Some(publication) =
            self.ring.entry_mut(number).map(|entry| Arc::clone(&entry.publication))
        else {
            return;
        };
        let Some(to) = publication.channel().filter(|_| self.holds.holds(number)) else { return };
        self.holds.set_publication(&to.channel_id, number, &publication);
        self.holds.answered(&to.channel_id);
        self.release(&to.channel_id, turn);
    }

    /// Gives up the largest holds until at most `bytes` are held.
    pub(super) fn shed(&mut self, bytes: usize, turn: &mut Turn<'_>) {
        while self.holds.bytes() > bytes
            && let Some(channel) = self.holds.largest()
        {
            self.holds.lose(&channel);
            turn.effects.push(Effect::Refresh(channel));
        }
    }

    /// What is missing for a publication's delivery, if anything.
    fn need(&mut self, to: &ChannelRecipients, payload: &Payload) -> Option<HoldReason> {
        let version = self.roster.hear(&to.channel_id, to.members_version);
        // Changes of the next version apply as a delta; any other newer version needs the rows.
        if to.members_version > version.saturating_add(u64::from(!to.changes.is_empty())) {
            return Some(HoldReason::View(to.members_version));
        }
        let is_wanted = matches!(payload, Payload::Stored(_))
            && !self.roster.audience_and(&to.channel_id, &to.also).is_empty();
        is_wanted.then_some(HoldReason::Stored)
    }

    fn request(
        &mut self,
        channel: &ChannelId,
        number: EntryNumber,
        publication: &Publication,
        need: Option<HoldReason>,
        turn: &mut Turn<'_>,
    ) {
        let Some(need) = need else { return };
        if !self.holds.request(channel, need) {
            return;
        }
        match need {
            HoldReason::View(_) => turn.effects.push(Effect::Refresh(channel.clone())),
            HoldReason::Stored => self.read_stored(number, publication, turn),
        }
    }

    pub(super) fn read_stored(
        &mut self,
        number: EntryNumber,
        publication: &Publication,
        turn: &mut Turn<'_>,
    ) {
        if let (Payload::Stored(message), Some(to)) = (&publication.payload, publication.channel())
            && self.reading.insert(number)
        {
            let (channel, id, message) = (to.channel_id.clone(), publication.id, *message);
            turn.effects.push(Effect::ReadStored { number, channel, id, message });
        }
    }

    pub(super) fn on_refreshed(
        &mut self,
        channel: &ChannelId,
        members: Option<ChannelMembers>,
        turn: &mut Turn<'_>,
    ) {
        self.holds.answered(channel);
        self.behind.remove(channel);
        let Some(ChannelMembers { version, members }) = members else {
            self.answer_waiting(channel, Some(ErrorCode::Unavailable), turn);
            return self.fail_closed(channel, turn.now);
        };
        self.unread.remove(channel);
        self.refresh_view(channel, version, &members, turn);
        if self.holds.find(channel, self.roster.version(channel)) {
            let users = self.roster.members(channel);
            self.resyncs.add(users, Some(channel), "too much was held", turn.now);
        } else if self.holds.is_lost(channel) {
            turn.effects.push(Effect::Refresh(channel.clone()));
        }
        self.release(channel, turn);
    }

    /// Sets a view that was read, and tells the users whose own membership it changes. The entries of
    /// these changes may be lost with the stream, and a client must learn that it missed something:
    /// what was sent or changed while its user was no member.
    pub(super) fn refresh_view(
        &mut self,
        channel: &ChannelId,
        version: u64,
        members: &[Member],
        turn: &mut Turn<'_>,
    ) {
        let (added, gone) = self.roster.refresh(channel, version, members, turn.now);
        added.iter().for_each(|key| self.begin_anew(*key));
        let added = added.into_iter().map(|key| (ChannelChange::MemberAdded, key));
        let gone = gone.into_iter().map(|key| (ChannelChange::MemberRemoved, key));
        for (change, key) in added.chain(gone) {
            let Some(user) = self.roster.user(key).map(|user| user.id.clone()) else { continue };
            self.tell(change, channel, &user, turn);
        }
    }

    /// Tells a user's sockets of a change of their own membership that was found by reading rows.
    pub(super) fn tell(
        &self,
        change: ChannelChange,
        channel: &ChannelId,
        user: &UserId,
        turn: &mut Turn<'_>,
    ) {
        let to = self.roster.audience_of(user);
        if to.is_empty() {
            return;
        }
        let told = frame::channel(change, channel, std::slice::from_ref(user));
        let frame = (self.framing)(frame::with_cursor(&told, &self.cursor()));
        let (class, publication) = (turn.class, None);
        turn.effects.push(Effect::Deliver { frame, to, class, publication });
    }

    /// Handles a message that was read. Its entry may have left the ring, and its number may belong
    /// to another entry, since numbers are used again after a fork.
    pub(super) fn on_stored(
        &mut self,
        (channel, number, id): (&ChannelId, EntryNumber, PublicationId),
        message: Option<&Message>,
        turn: &mut Turn<'_>,
    ) {
        let of_ring = self.ring.entry_mut(number).map(|entry| Arc::clone(&entry.publication));
        let of_hold = self.holds.first(channel).filter(|(first, _)| *first == number);
        let known = of_ring.or_else(|| of_hold.map(|(_, publication)| Arc::clone(publication)));
        let Some(known) = known.filter(|publication| publication.id == id) else { return };
        self.reading.remove(&number);
        if !matches!(known.payload, Payload::Stored(_)) {
            return;
        }
        // If the message does not exist, no client will ever read it.
        let payload = message.map_or(Payload::Nothing, Payload::message);
        let publication = Arc::new(known.with_payload(payload));
        self.ring.set_publication(number, Arc::clone(&publication));
        self.holds.set_publication(channel, number, &publication);
        self.holds.answered(channel);
        self.release(channel, turn);
        self.settle_waiting(None, turn);
    }

    /// Delivers a channel's held publications, in order, until one still has to wait.
    fn release(&mut self, channel: &ChannelId, turn: &mut Turn<'_>) {
        while let Some((number, publication)) = self.holds.first(channel) {
            let publication = Arc::clone(publication);
            let need = publication.channel().and_then(|to| self.need(to, &publication.payload));
            if need.is_some() {
                return self.request(channel, number, &publication, need, turn);
            }
            self.holds.pop(channel, turn.now);
            self.deliver(number, &publication, turn);
        }
    }

    fn deliver(
        &mut self,
        number: EntryNumber,
        publication: &Arc<Publication>,
        turn: &mut Turn<'_>,
    ) {
        let to = match &publication.to {
            Recipients::Channel(to) => {
                self.apply(to, turn.now);
                self.roster.audience_and(&to.channel_id, &to.also)
            }
            Recipients::User(user) => self.roster.audience_of(user),
            Recipients::Workspace => self.roster.everyone(),
            Recipients::Nobody | Recipients::Unknown => return,
        };
        self.ends_typing(publication);
        let Payload::Frame(payload) = &publication.payload else { return };
        let to = self.without_those_that_had_it(to, publication.subject.as_ref());
        if to.is_empty() {
            return;
        }
        let safe = self.safe();
        let frame = (self.framing)(frame::with_cursor(payload, &self.cursor()));
        // An entry that was held for long may have left the ring.
        if let Some(entry) = self.ring.entry_mut(number)
            && safe == Some(entry.position)
        {
            entry.frame = Some(frame.clone());
        }
        let (class, publication) = (turn.class, Some(Arc::clone(publication)));
        turn.effects.push(Effect::Deliver { frame, to, class, publication });
    }

    /// The sockets that have not received this state of a subject yet. That is all of them, except
    /// after a repair, which may have brought the same message.
    fn without_those_that_had_it(&mut self, to: Audience, state: Option<&Subject>) -> Audience {
        let Some(state) = state else { return to };
        let reached = self.delivered.reached(state);
        self.delivered.pushed(state, self.era);
        match reached {
            None => to,
            Some(ALL) => Audience::default(),
            Some(era) => self.since_era(&to, era),
        }
    }

    /// The version whose changes apply as a delta. A missing channel has the last version.
    fn next_version(&self, channel: &ChannelId) -> u64 {
        self.roster.version(channel).saturating_add(1)
    }

    fn apply(&mut self, to: &ChannelRecipients, now: Timestamp) {
        let (channel, version) = (&to.channel_id, to.members_version);
        if version == self.next_version(channel) {
            for change in &to.changes {
                self.roster.apply(channel, version, (&change.user_id, change.is_member), now);
                if let Some(key) = self.roster.key_of(&change.user_id).filter(|_| change.is_member)
                {
                    self.begin_anew(key);
                }
            }
        }
    }

    /// The era of who attaches or joins now.
    pub(super) fn era_of_newcomers(&mut self) -> Era {
        if self.delivered.ends_era(self.era) {
            self.era = self.era.wrapping_add(1);
        }
        self.era
    }

    /// A user joined a channel: their sockets have what was pushed there before only as far as their
    /// clients could read it, as if they attached now.
    pub(super) fn begin_anew(&mut self, key: UserKey) {
        if !self.delivered.had_unstored() {
            return;
        }
        let era = self.era_of_newcomers();
        let Some(user) = self.roster.user(key) else { return };
        let sockets: Vec<SocketId> = self.roster.audience_of(&user.id).sockets().collect();
        for socket in sockets {
            if let Some(attached) = self.sockets.get_mut(&socket) {
                attached.era = era;
            }
        }
    }

    /// The frame of an entry for a replay. Its cursor is its own position, or the one before the
    /// oldest held publication.
    pub(super) fn replay_frame(&mut self, number: EntryNumber) -> Option<Bytes> {
        let (safe, framing) = (self.holds.safe_at(number), self.framing);
        let entry = self.ring.entry_mut(number)?;
        if safe.is_none() && entry.frame.is_some() {
            return entry.frame.clone();
        }
        let Payload::Frame(payload) = &entry.publication.payload else { return None };
        let cursor = safe.unwrap_or(entry.position).to_string();
        let frame = framing(frame::with_cursor(payload, &cursor));
        if safe.is_none() {
            entry.frame = Some(frame.clone());
        }
        Some(frame)
    }

    /// Fails closed: the store keeps refusing a channel's members while it answers other reads.
    /// Held publications are not delivered, and no client resumes across them. Everybody gets a
    /// resync: the view has another version, so users whom it does not name may be members (G6).
    fn fail_closed(&mut self, channel: &ChannelId, now: Timestamp) {
        let held = self.holds.remove(channel);
        let was_lost = self.holds.find(channel, u64::MAX);
        if held.is_empty() && !was_lost {
            return;
        }
        let oldest = self.ring.oldest();
        self.unresolved.retain(|number| *number >= oldest);
        self.unresolved.extend(held);
        let everyone = self.roster.keys();
        self.resyncs.add(everyone, Some(channel), "membership could not be read", now);
    }
}
