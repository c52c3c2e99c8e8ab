//! Receipts of channels that deliver first (G14): who has which messages, and which are stored.

use model::{ChannelId, MessageId, limits};
use protocol::frame::ServerFrame;
use protocol::publication::Subject;
use protocol::receipts::ReceiptsSignal;

use super::{DeliveryClass, Effect, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::receipts::{Due, News};
use crate::roster::Roster;

impl Workspace {
    /// A client has all messages of a channel up to an id.
    pub(super) fn on_got(
        &mut self,
        socket: SocketId,
        channel: &ChannelId,
        up_to: MessageId,
        turn: &Turn<'_>,
    ) {
        let Some(key) = self.sockets.get(&socket).map(|attached| attached.key) else { return };
        let is_member = self.roster.is_member(channel, key);
        // What cannot have been sent yet is no receipt.
        let is_possible = up_to.time() <= turn.now.plus(limits::FUTURE);
        if let Some(user) = self.roster.user(key).filter(|_| is_member && is_possible) {
            self.receipts.got(channel, &user.id, up_to);
        }
    }

    /// A device keeps messages of a channel for good. Only what was sent lately is passed on: so a client
    /// cannot fill Redis with what nobody sent.
    pub(super) fn on_kept(
        &mut self,
        socket: SocketId,
        channel: &ChannelId,
        ids: &[MessageId],
        turn: &Turn<'_>,
    ) {
        let Some(device) = self.devices.get(&socket) else { return };
        let Some(key) = self.sockets.get(&socket).map(|attached| attached.key) else { return };
        let is_member = self.roster.is_member(channel, key);
        let Some(user) = self.roster.user(key).filter(|_| is_member) else { return };
        let since = turn.now.minus(limits::KEEPERS_TTL);
        for id in ids {
            if self.ring.is_until_acked(&Subject::name(channel, *id), since) {
                self.receipts.keeps(channel, *id, (user.id.clone(), device.clone()));
            }
        }
    }

    pub(super) fn on_receipts(&mut self, signal: &ReceiptsSignal, turn: &mut Turn<'_>) {
        let channel = &signal.channel_id;
        let has_members_here = self.roster.members(channel).next().is_some();
        if has_members_here && self.roster.size(channel).is_none() {
            self.needs_newer_view(channel, turn);
        }
        let roster = &self.roster;
        let is_viewed = size(roster, channel) <= limits::RECEIPTS_MEMBERS_MAX
            && self.views.is_viewed(&channel.into());
        self.receipts.happened(signal, is_viewed, |user| roster.key_of(user).is_some());
    }

    pub(super) fn on_time_of_receipts(&mut self, turn: &mut Turn<'_>) {
        let roster = &self.roster;
        for Due { channel, got, kept, news } in
            self.receipts.due(turn.now, |channel| size(roster, channel))
        {
            if !(got.is_empty() && kept.is_empty()) {
                turn.effects.push(Effect::Told { channel: channel.clone(), got, kept });
            }
            self.tell_receipts(&channel, news, turn);
        }
    }

    fn tell_receipts(&self, channel: &ChannelId, news: News, turn: &mut Turn<'_>) {
        let News { delivered, read, archived } = news;
        let (delivered, read): (Vec<_>, Vec<_>) =
            (delivered.into_iter().collect(), read.into_iter().collect());
        let mut viewers: Vec<SocketId> = self.views.of(&channel.into()).collect();
        let has_marks = !(delivered.is_empty() && read.is_empty());
        // A sender's sockets get one frame, with the marks if they view the channel.
        for (sender, ids) in archived {
            let ids: Vec<MessageId> = ids.into_iter().collect();
            let (viewing, others): (Vec<_>, Vec<_>) = self
                .roster
                .audience_of(&sender)
                .sockets()
                .partition(|socket| has_marks && viewers.contains(socket));
            viewers.retain(|socket| !viewing.contains(socket));
            self.send_receipts(channel, (&delivered, &read, &ids), viewing, turn);
            self.send_receipts(channel, (&[], &[], &ids), others, turn);
        }
        if has_marks {
            self.send_receipts(channel, (&delivered, &read, &[]), viewers, turn);
        }
    }

    fn send_receipts(
        &self,
        channel: &ChannelId,
        (delivered, read, archived): (&[Mark], &[Mark], &[MessageId]),
        to: Vec<SocketId>,
        turn: &mut Turn<'_>,
    ) {
        let to: Audience = self.members_among(channel, to);
        if to.is_empty() {
            return;
        }
        let frame = ServerFrame::Receipts {
            channel_id: channel.clone(),
            delivered: delivered.to_vec(),
            read: read.to_vec(),
            archived: archived.to_vec(),
        };
        self.push((self.framing)(frame.encode()), to, DeliveryClass::Signal, turn);
    }
}

/// How many members a channel has; the most that have receipts, until they were read.
fn size(roster: &Roster, channel: &ChannelId) -> usize {
    roster.size(channel).unwrap_or(limits::RECEIPTS_MEMBERS_MAX)
}

type Mark = (model::UserId, MessageId);
