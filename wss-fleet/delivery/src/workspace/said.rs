//! What clients say after their `hello`, and the signals that follow from it.

use std::collections::HashMap;

use model::{ChannelId, LogId, Timestamp, UserId, limits};
use protocol::client_frame::ClientFrame;
use protocol::close::CloseCode;
use protocol::frame::{self, Refused, ServerFrame};
use protocol::publication::{Payload, Publication};
use protocol::signal::Signal;

use super::{DeliveryClass, Effect, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::meetings::Question;
use crate::typing::TypingSet;

/// When sockets were answered a ping last, and whether they asked again since. Forgotten after
/// [`limits::PONG_EVERY`].
#[derive(Debug, Default)]
pub(super) struct Pongs(HashMap<SocketId, (Timestamp, bool)>);

impl Pongs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a ping is to be answered now; if not, it is later.
    fn asked(&mut self, socket: SocketId, now: Timestamp) -> bool {
        if let Some((at, asks_again)) = self.0.get_mut(&socket)
            && now.since(*at) < limits::PONG_EVERY
        {
            *asks_again = true;
            return false;
        }
        self.0.insert(socket, (now, false));
        true
    }

    /// The sockets that are to be answered now, in order.
    fn due(&mut self, now: Timestamp) -> Vec<SocketId> {
        let is_over = |at: Timestamp| now.since(at) >= limits::PONG_EVERY || now < at;
        let asked = self.0.iter().filter(|(_, (at, asks_again))| *asks_again && is_over(*at));
        let mut due: Vec<SocketId> = asked.map(|(socket, _)| *socket).collect();
        due.sort_unstable();
        self.0.retain(|_, (at, _)| !is_over(*at));
        self.0.extend(due.iter().map(|socket| (*socket, (now, false))));
        due
    }

    pub(super) fn remove(&mut self, socket: SocketId) {
        self.0.remove(&socket);
    }
}

impl Workspace {
    pub(super) fn on_said(&mut self, socket: SocketId, frame: ClientFrame, turn: &mut Turn<'_>) {
        if !self.sockets.contains_key(&socket) {
            // It closed meanwhile; or it waits for its `ready`, which says what the node accepts.
            return turn.effects.push(Effect::Close { socket, code: CloseCode::BadFrame });
        }
        match frame {
            ClientFrame::Ping => {
                if self.pongs.asked(socket, turn.now) {
                    self.send_pongs(vec![socket], turn);
                }
            }
            ClientFrame::View(view) => {
                self.watch(socket, view.users.clone(), turn);
                self.views.set(socket, view);
            }
            ClientFrame::Idle(is_idle) => self.on_idle(socket, is_idle, turn),
            // Each would tell that the user is there.
            ClientFrame::Got { .. } | ClientFrame::Kept { .. } | ClientFrame::Typing(_)
                if self.is_invisible(socket) => {}
            ClientFrame::Got { channel_id, up_to } => {
                self.on_got(socket, &channel_id, up_to, turn);
            }
            // Only devices are told that their nodes take it.
            ClientFrame::Kept { .. } if !self.devices.contains_key(&socket) => {
                turn.effects.push(Effect::Close { socket, code: CloseCode::BadFrame });
            }
            ClientFrame::Kept { channel_id, ids } => self.on_kept(socket, &channel_id, &ids, turn),
            ClientFrame::Typing(log) => self.on_typing(socket, log, turn),
            ClientFrame::Leave(channel) => {
                self.on_question(socket, Question::Leave(channel), turn);
            }
            ClientFrame::Join { channel_id, after } => {
                self.on_question(socket, Question::Join { channel_id, after }, turn);
            }
            ClientFrame::Send(send) => self.on_question(socket, Question::Send(send), turn),
            // Its ticket is for the node: see `Input::Renew`.
            ClientFrame::Renew(_) => {}
            ClientFrame::BadSend { reference, code, field } => {
                let (reference, field) = (Some(reference), Some(field));
                let refused = Refused { reference, field, ..Refused::of(code) };
                self.on_question(socket, Question::Refused(refused), turn);
            }
        }
    }

    /// What is due by time: pongs, and news of who types.
    pub(super) fn on_time_of_signals(&mut self, turn: &mut Turn<'_>) {
        let pongs = self.pongs.due(turn.now);
        self.send_pongs(pongs, turn);
        self.typing.forget_old(turn.now);
        for set in self.typing.due(None, turn.now) {
            self.tell_typing(set, turn);
        }
    }

    fn send_pongs(&self, to: Vec<SocketId>, turn: &mut Turn<'_>) {
        if to.is_empty() {
            return;
        }
        let (cursor, fresh) = (self.cursor(), self.is_fresh());
        let pong = ServerFrame::Pong { cursor, server_time: turn.now, fresh };
        self.send(&pong, Audience::of(to), turn);
    }

    fn is_invisible(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|attached| attached.is_invisible)
    }

    fn on_typing(&mut self, socket: SocketId, log: LogId, turn: &mut Turn<'_>) {
        let Some(key) = self.sockets.get(&socket).map(|attached| attached.key) else { return };
        let is_member = self.roster.is_member(&log.channel_id, key);
        let Some(user) = self.roster.user(key).filter(|_| is_member) else { return };
        let user_id = user.id.clone();
        let members_version = self.roster.version(&log.channel_id);
        if members_version == 0 {
            return self.needs_newer_view(&log.channel_id, turn);
        }
        if self.typing.passes(key, &log, turn.now) {
            let signal = Signal::Typing { user_id, log, members_version };
            turn.effects.push(Effect::Signal(signal));
        }
    }

    /// Somebody types, here or on another node.
    pub(super) fn typed(
        &mut self,
        user: &UserId,
        log: &LogId,
        members_version: u64,
        turn: &mut Turn<'_>,
    ) {
        if !self.views.is_viewed(log) {
            return;
        }
        // A view older than the sender's may name members who are none any more (G6).
        if self.roster.version(&log.channel_id) < members_version {
            return self.needs_newer_view(&log.channel_id, turn);
        }
        self.typing.types(log, user, turn.now);
        for set in self.typing.due(Some(log), turn.now) {
            self.tell_typing(set, turn);
        }
    }

    /// A signal is dropped because the view of the members is too old for it: later ones find a newer one.
    pub(super) fn needs_newer_view(&mut self, channel: &ChannelId, turn: &mut Turn<'_>) {
        if self.behind.insert(channel.clone()) {
            turn.effects.push(Effect::ReadAhead(channel.clone()));
        }
    }

    fn tell_typing(&self, TypingSet { log, users, more }: TypingSet, turn: &mut Turn<'_>) {
        let to = self.members_among(&log.channel_id, self.views.of(&log));
        if to.is_empty() {
            return;
        }
        let frame = (self.framing)(ServerFrame::Typing { log, users, more }.encode());
        self.push(frame, to, DeliveryClass::Signal, turn);
    }

    /// Those of these sockets whose user is a member of the channel, by the view here.
    pub(super) fn members_among(
        &self,
        channel: &ChannelId,
        sockets: impl IntoIterator<Item = SocketId>,
    ) -> Audience {
        let is_member = |socket: &SocketId| {
            let attached = self.sockets.get(socket);
            attached.is_some_and(|attached| self.roster.is_member(channel, attached.key))
        };
        Audience::of(sockets.into_iter().filter(is_member))
    }

    /// A message is delivered: its sender types no more.
    pub(super) fn ends_typing(&mut self, publication: &Publication) {
        // Frames are read only where somebody types.
        let to = publication.channel().filter(|to| self.typing.is_typed_in(&to.channel_id));
        let Some(to) = to else { return };
        let Payload::Frame(frame) = &publication.payload else { return };
        if let Some((sender, thread)) = frame::sender_of(frame) {
            self.typing.sent(&LogId::new(to.channel_id.clone(), thread), &sender);
        }
    }
}
