//! Channels that keep nothing (ADR 0043): joining, sending, and what is said.

use model::{ChannelId, ErrorCode, SessionPosition, Timestamp, UserId, limits};
use protocol::client_frame::SendFrame;
use protocol::frame::{self, ServerFrame};

use super::{DeliveryClass, Effect, StreamState, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::meetings::{Hearers, Held, Question};

/// A question that the node has to ask the bus, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who waits for the answer.
    pub socket: SocketId,
    /// To be returned with the answer.
    pub number: u64,
    /// The channel.
    pub channel_id: ChannelId,
    /// The user.
    pub user: UserId,
    /// The version of the membership by which they are a member here, 0 if the members are not read;
    /// `None` if they are no member here, which may be news that has not arrived yet.
    pub members_version: Option<u64>,
    /// What they say; `None` if they join.
    pub send: Option<SendFrame>,
}

/// The answer to an [`Ask`], or why not, and which field is wrong.
pub type Answered = Result<Taken, (ErrorCode, Option<&'static str>)>;

/// What the bus made of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The place in the session of a channel that keeps nothing: of what was said, or of the join.
    At(SessionPosition),
    /// The message is delivered, and waits to be stored.
    Delivered {
        /// Whether a replica has it, too.
        replicated: bool,
    },
}

/// A message that was said, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// The channel.
    pub channel_id: ChannelId,
    /// The version of the membership by which its sender is a member (G6).
    pub members_version: u64,
    /// Its place in the session.
    pub at: SessionPosition,
    /// The JSON of the message.
    pub message: String,
}

impl Workspace {
    /// Whether somebody here takes part in a channel: what is said elsewhere need not be opened.
    #[must_use]
    pub fn takes_part(&self, channel: &ChannelId) -> bool {
        self.meetings.has(channel)
    }

    pub(super) fn on_question(&mut self, socket: SocketId, asked: Question, turn: &mut Turn<'_>) {
        self.meetings.ask(socket, asked, turn.now);
        self.ask_next(socket, turn);
    }

    /// Asks a socket's next questions, until one has to wait for its answer.
    fn ask_next(&mut self, socket: SocketId, turn: &mut Turn<'_>) {
        while let Some((number, question)) = self.meetings.next(socket) {
            let refused = match &question {
                Question::Refused(refused) => refused.clone(),
                Question::Leave(channel) => {
                    self.meetings.leaves(channel, socket);
                    continue;
                }
                Question::Join { channel_id, .. }
                | Question::Send(SendFrame { channel_id, .. }) => {
                    match self.question(socket, number, channel_id, &question) {
                        Ok(effect) => {
                            turn.effects.push(effect);
                            return;
                        }
                        Err(code) => {
                            self.meetings.answered(socket, number);
                            if code == ErrorCode::ChannelNotFound {
                                // Their addition may not have been heard of: nothing else would show it.
                                self.needs_newer_view(channel_id, turn);
                            }
                            question.refused(code, None)
                        }
                    }
                }
            };
            self.answer(socket, &ServerFrame::Refused(refused), turn);
        }
    }

    fn question(
        &mut self,
        socket: SocketId,
        number: u64,
        channel: &ChannelId,
        question: &Question,
    ) -> Result<Effect, ErrorCode> {
        let key = self.sockets.get(&socket).map(|attached| attached.key);
        let user = key.and_then(|key| self.roster.user(key)).map(|user| user.id.clone());
        let user = user.ok_or(ErrorCode::ChannelNotFound)?;
        let is_member = key.is_some_and(|key| self.roster.is_member(channel, key));
        let send = match question {
            Question::Send(send) => Some(send.clone()),
            Question::Join { .. } | Question::Leave(_) | Question::Refused(_) => {
                if !is_member {
                    return Err(ErrorCode::ChannelNotFound);
                }
                if !self.meetings.may_join(socket) {
                    return Err(ErrorCode::RateLimited);
                }
                self.meetings.joins(channel, socket);
                None
            }
        };
        let members_version = is_member.then(|| self.roster.version(channel));
        let channel_id = channel.clone();
        let ask = Ask { socket, number, channel_id, user, members_version, send };
        Ok(Effect::Ask(Box::new(ask)))
    }

    pub(super) fn on_answered(
        &mut self,
        socket: SocketId,
        number: u64,
        answered: Answered,
        turn: &mut Turn<'_>,
    ) {
        if let (Some(Question::Join { channel_id, .. }), Ok(Taken::At(at))) =
            (self.meetings.asked(socket, number), answered)
            && self.roster.version(channel_id) == 0
        {
            // Without a view of the members, what is said could not be delivered (G6).
            let channel_id = channel_id.clone();
            self.meetings.waits_for_view(&channel_id, socket, number, at);
            turn.effects.push(Effect::ReadAhead(channel_id));
            return;
        }
        let Some(question) = self.meetings.answered(socket, number) else { return };
        let answered = match &question {
            // They may have been removed since they asked.
            Question::Join { channel_id, .. } if !self.is_member(channel_id, socket) => {
                answered.and(Err((ErrorCode::ChannelNotFound, None)))
            }
            Question::Join { .. }
            | Question::Leave(_)
            | Question::Send(_)
            | Question::Refused(_) => answered,
        };
        match (&question, answered) {
            (Question::Send(send), Ok(taken)) => {
                let (n, replicated) = match taken {
                    Taken::At(at) => (Some(at.n), false),
                    Taken::Delivered { replicated } => (None, replicated),
                };
                let (reference, id, server_time) = (send.reference, send.id, turn.now);
                let accepted = ServerFrame::Accepted { reference, id, n, replicated, server_time };
                self.answer(socket, &accepted, turn);
            }
            (Question::Join { channel_id, after }, Ok(Taken::At(at))) => {
                let channel_id = channel_id.clone();
                let missed = at.missed_since(*after);
                let held = self.meetings.joined(&channel_id, socket, at);
                let joined = ServerFrame::Joined { channel_id: channel_id.clone(), at, missed };
                self.answer(socket, &joined, turn);
                for held in held {
                    self.tell_said(&channel_id, held, Some(socket), turn);
                }
            }
            (question, Err((code, field))) => {
                if let Question::Join { channel_id, .. } = question {
                    self.meetings.leaves(channel_id, socket);
                }
                self.answer(socket, &ServerFrame::Refused(question.refused(code, field)), turn);
            }
            (Question::Join { .. } | Question::Leave(_) | Question::Refused(_), Ok(_)) => {}
        }
        self.ask_next(socket, turn);
    }

    /// A message was said, here or on another node.
    pub(super) fn on_spoken(&mut self, spoken: Spoken, turn: &mut Turn<'_>) {
        let Spoken { channel_id, members_version, at, message } = spoken;
        let frame = (self.framing)(frame::said(&channel_id, at.n, &message));
        let held = Held { at, members_version, frame };
        self.meetings.hold(&channel_id, &held);
        // For others it is never held: its number shows that it is missing.
        if self.meetings.is_heard(&channel_id) {
            self.tell_said(&channel_id, held, None, turn);
        }
    }

    /// Tells what was said to the members who have joined, or to one of them.
    fn tell_said(
        &mut self,
        channel: &ChannelId,
        said: Held,
        only: Option<SocketId>,
        turn: &mut Turn<'_>,
    ) {
        let Held { at, members_version, frame } = said;
        if !self.is_current(channel, members_version, turn) {
            return;
        }
        let (sockets, roster) = (&self.sockets, &self.roster);
        let may_hear = |socket: SocketId| {
            let attached = sockets.get(&socket).filter(|_| only.is_none_or(|only| only == socket));
            attached.is_some_and(|attached| roster.is_member(channel, attached.key))
        };
        let Hearers { all, uninformed } = self.meetings.hearers(channel, at, may_hear);
        if !uninformed.is_empty() {
            // Numbers begin again, and nobody knows what was lost with the old ones.
            let at = SessionPosition { n: at.n.saturating_sub(1), ..at };
            let joined = ServerFrame::Joined { channel_id: channel.clone(), at, missed: None };
            self.send(&joined, Audience::of(uninformed), turn);
        }
        self.push(frame, Audience::of(all), DeliveryClass::Said, turn);
    }

    /// Whether the view of a channel's members is good enough for what was said at a version (G6): all
    /// changes that were pushed before it are in the view.
    fn is_current(
        &mut self,
        channel: &ChannelId,
        members_version: u64,
        turn: &mut Turn<'_>,
    ) -> bool {
        let version = self.roster.version(channel);
        if version == 0 || version < members_version {
            self.needs_newer_view(channel, turn);
            return false;
        }
        self.stream == StreamState::Up
            && !self.holds.is_held(channel)
            && !self.holds.is_lost(channel)
    }

    fn is_member(&self, channel: &ChannelId, socket: SocketId) -> bool {
        let attached = self.sockets.get(&socket);
        attached.is_some_and(|attached| self.roster.is_member(channel, attached.key))
    }

    /// The meeting is over: nobody here hears any more of it.
    pub(super) fn on_meeting_over(
        &mut self,
        channel: &ChannelId,
        is_told: bool,
        turn: &mut Turn<'_>,
    ) {
        // Those who are still joining are answered first, or they would ask nothing more.
        self.answer_waiting(channel, Some(ErrorCode::Ended), turn);
        let took_part = self.meetings.end(channel);
        if is_told && !took_part.is_empty() {
            let ended = ServerFrame::Ended { cursor: None, channel_id: channel.clone() };
            self.send(&ended, Audience::of(took_part), turn);
        }
    }

    /// Answers the joins whose channel's members are known now, however they became known.
    pub(super) fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let is_known = |channel: &&ChannelId| self.roster.version(channel) > 0;
        let known: Vec<ChannelId> =
            self.meetings.channels_waiting().filter(is_known).cloned().collect();
        for channel in known {
            self.answer_waiting(&channel, None, turn);
        }
    }

    /// Answers the joins that waited for the channel's members, or refuses them.
    pub(super) fn answer_waiting(
        &mut self,
        channel: &ChannelId,
        refused: Option<ErrorCode>,
        turn: &mut Turn<'_>,
    ) {
        for (socket, number, at) in self.meetings.take_waiting(channel) {
            let answered = refused.map_or(Ok(Taken::At(at)), |code| Err((code, None)));
            self.on_answered(socket, number, answered, turn);
        }
    }

    /// Tells the bus now and then that somebody takes part.
    pub(super) fn keep_meetings(&mut self, turn: &mut Turn<'_>) {
        let is_due =
            |at: Timestamp| turn.now < at || turn.now.since(at) >= limits::SESSION_SEEN_EVERY;
        if self.meetings.kept_at.is_none_or(is_due) {
            self.meetings.kept_at = Some(turn.now);
            turn.effects.extend(self.meetings.channels().into_iter().map(Effect::KeepMeeting));
        }
    }

    fn answer(&self, socket: SocketId, frame: &ServerFrame, turn: &mut Turn<'_>) {
        self.send(frame, Audience::of([socket]), turn);
    }
}
