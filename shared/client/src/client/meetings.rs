//! Channels that keep nothing: which the client takes part in, and what it said there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{ChannelId, Message, MessageId, MessageText, SessionPosition, Timestamp, limits};
use protocol::client_frame::{ClientFrame, SendFrame};
use protocol::frame::{Refused, ServerFrame};
use tokio::sync::oneshot;

use crate::event::Event;

/// Why something was not said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SayError {
    /// There is no socket, or its node does not take sends.
    #[error("there is no socket that takes it")]
    NoSocket,
    /// The node refused it.
    #[error("refused: {}", .0.code)]
    Refused(Refused),
    /// The socket ended before the answer: it may have been said. Saying it again with this id is safe,
    /// since clients drop what they know.
    #[error("the socket ended before the answer")]
    Unknown(MessageId),
}

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The message's id.
    pub id: MessageId,
    /// Its number in the session of a channel that keeps nothing.
    pub n: Option<u64>,
    /// Whether a second server has it.
    pub replicated: bool,
    /// The node's clock.
    pub server_time: Timestamp,
}

/// Something to say, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) channel_id: ChannelId,
    pub(super) id: MessageId,
    pub(super) text: MessageText,
    pub(super) answer: oneshot::Sender<Result<Accepted, SayError>>,
}

#[derive(Debug, Default)]
pub(super) struct Meetings {
    /// How far each channel was heard, over all sockets.
    heard: BTreeMap<ChannelId, Heard>,
    /// The channels that this socket has joined, or is joining.
    asked: BTreeSet<ChannelId>,
    /// Those of them whose answer is on its way.
    joining: BTreeSet<ChannelId>,
    /// Channels that are over, or may not be joined: no later socket tries again.
    over: BTreeSet<ChannelId>,
    /// In order, so that those who wait are told in order, too.
    answers: BTreeMap<u64, (MessageId, oneshot::Sender<Result<Accepted, SayError>>)>,
    last_reference: u64,
    /// Set while the socket before this one is still open.
    moving: Option<Moving>,
}

#[derive(Debug, Default)]
struct Heard {
    at: Option<SessionPosition>,
    /// The ids of the last messages: what is said again has another number.
    ids: VecDeque<MessageId>,
}

/// The client moves to another node. What was said up to where the new socket joined comes on the
/// old one only, and what follows on both. So a channel is heard on the old one until it is there.
#[derive(Debug)]
struct Moving {
    /// The channels that are heard on the old socket.
    channels: BTreeMap<ChannelId, Held>,
    /// The last send of the old socket.
    last_reference: u64,
}

/// What the new socket brought of a channel that is heard on the old one.
#[derive(Debug, Default)]
struct Held {
    /// Where it joined.
    at: Option<SessionPosition>,
    said: Vec<(u64, Message)>,
}

impl Meetings {
    /// The socket has ended, and any older one with it.
    pub(super) fn disconnected(&mut self) -> Vec<Event> {
        let events = self.moved();
        self.asked.clear();
        self.joining.clear();
        self.unanswered(u64::MAX);
        events
    }

    /// Nobody will answer the sends up to this one.
    fn unanswered(&mut self, last: u64) {
        for (_, (id, answer)) in self.answers.extract_if(..=last, |_, _| true) {
            // Fails only if nobody waits any more.
            answer.send(Err(SayError::Unknown(id))).unwrap_or_default();
        }
    }

    /// A socket on another node takes the place of this one, which stays open for a while.
    pub(super) fn moves(&mut self) {
        let joined = self.asked.difference(&self.joining);
        let channels = joined.map(|channel| (channel.clone(), Held::default())).collect();
        self.moving = Some(Moving { channels, last_reference: self.last_reference });
        self.asked.clear();
        self.joining.clear();
    }

    /// Whether the socket before this one is of no more use.
    pub(super) fn has_moved(&self) -> bool {
        self.moving.as_ref().is_none_or(|moving| {
            let is_its = |reference: &u64| *reference <= moving.last_reference;
            moving.channels.is_empty() && !self.answers.keys().any(is_its)
        })
    }

    /// The socket before this one has ended. Returns what was held back for it.
    pub(super) fn moved(&mut self) -> Vec<Event> {
        let Some(moving) = self.moving.take() else { return Vec::new() };
        self.unanswered(moving.last_reference);
        let mut events = Vec::new();
        for (channel_id, held) in moving.channels {
            match held.at {
                // Nothing follows that would show what is missing.
                Some(at) if held.said.is_empty() => {
                    events.push(self.joined(&channel_id, at, None));
                }
                Some(_) | None => events.extend(self.all_said(held)),
            }
        }
        events
    }

    /// The frames that make this socket take part in the wanted channels and in no others. It waits for
    /// answers before it joins more channels than a node answers at once.
    pub(super) fn frames(&mut self, wanted: &BTreeSet<ChannelId>) -> Vec<ClientFrame> {
        // Whoever leaves a channel may try again.
        self.over.retain(|channel| wanted.contains(channel));
        let wanted: BTreeSet<ChannelId> = wanted.difference(&self.over).cloned().collect();
        let left: Vec<ChannelId> = self.asked.difference(&wanted).cloned().collect();
        let room = limits::UNANSWERED_MAX.saturating_sub(self.joining.len());
        let new: Vec<ChannelId> = wanted.difference(&self.asked).take(room).cloned().collect();
        if let Some(moving) = &mut self.moving {
            moving.channels.retain(|channel, _| wanted.contains(channel));
        }
        for channel in &left {
            self.forget(channel);
        }
        self.asked.extend(new.iter().cloned());
        self.joining.extend(new.iter().cloned());
        let join = |channel_id: ChannelId| {
            let after = self.heard.get(&channel_id).and_then(|heard| heard.at);
            ClientFrame::Join { channel_id, after }
        };
        left.into_iter().map(ClientFrame::Leave).chain(new.into_iter().map(join)).collect()
    }

    /// The frame for something to say.
    pub(super) fn say(&mut self, saying: Saying) -> ClientFrame {
        let Saying { channel_id, id, text, answer } = saying;
        self.last_reference += 1;
        let reference = self.last_reference;
        self.answers.insert(reference, (id, answer));
        ClientFrame::Send(SendFrame { reference, channel_id, id, text, after: None, quote: None })
    }

    /// Handles a frame that is not of the stream. Returns its events for the program.
    pub(super) fn on_frame(&mut self, frame: &ServerFrame) -> Vec<Event> {
        match frame {
            ServerFrame::Refused(refused) => {
                self.on_answer(frame);
                let Some(channel_id) = refused.channel_id.clone() else { return Vec::new() };
                self.joining.remove(&channel_id);
                if !refused.retryable {
                    self.ended(&channel_id);
                }
                vec![Event::NotJoined { channel_id, code: refused.code.clone() }]
            }
            ServerFrame::Joined { channel_id, at, missed } => {
                self.on_joined(channel_id, *at, *missed)
            }
            ServerFrame::Said { n, message } => {
                if let Some(held) = self.held(&message.channel_id) {
                    held.said.push((*n, message.clone()));
                    return self.settle(&message.channel_id);
                }
                self.said(*n, message).into_iter().collect()
            }
            ServerFrame::Read { log, mark } => {
                vec![Event::Read { log: log.clone(), mark: *mark }]
            }
            ServerFrame::Presence { users } => {
                vec![Event::Presence { users: users.clone() }]
            }
            ServerFrame::Receipts { channel_id, delivered, read, archived } => {
                let (channel_id, archived) = (channel_id.clone(), archived.clone());
                let (delivered, read) = (delivered.clone(), read.clone());
                vec![Event::Receipts { channel_id, delivered, read, archived }]
            }
            ServerFrame::Typing { log, users, more } => {
                vec![Event::Typing { log: log.clone(), users: users.clone(), more: *more }]
            }
            ServerFrame::Accepted { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Ready(_)
            | ServerFrame::Message { .. }
            | ServerFrame::Channel { .. }
            | ServerFrame::Tick { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Resync { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. }
            | ServerFrame::Unknown { .. } => self.on_answer(frame),
        }
    }

    /// Handles a frame of the socket before this one. What is of the stream comes again on this one.
    pub(super) fn on_old_frame(&mut self, frame: &ServerFrame) -> Vec<Event> {
        if let ServerFrame::Said { n, message } = frame
            && self.held(&message.channel_id).is_some()
        {
            let mut events: Vec<Event> = self.said(*n, message).into_iter().collect();
            events.extend(self.settle(&message.channel_id));
            return events;
        }
        if let ServerFrame::Joined { channel_id, at, missed } = frame
            && self.held(channel_id).is_some()
            && !self.is_in(channel_id, *at)
        {
            let mut events = vec![self.joined(channel_id, *at, *missed)];
            events.extend(self.settle(channel_id));
            return events;
        }
        self.on_answer(frame)
    }

    /// Handles what counts on whichever socket it comes.
    fn on_answer(&mut self, frame: &ServerFrame) -> Vec<Event> {
        match frame {
            ServerFrame::Accepted { reference, id, n, replicated, server_time } => {
                let (id, n, replicated, server_time) = (*id, *n, *replicated, *server_time);
                let accepted = Accepted { id, n, replicated, server_time };
                self.answered(*reference, Ok(accepted));
            }
            ServerFrame::Refused(refused) => {
                if let Some(reference) = refused.reference {
                    self.answered(reference, Err(SayError::Refused(refused.clone())));
                }
            }
            ServerFrame::Ended { channel_id, .. } => {
                if self.ended(channel_id) {
                    return vec![Event::Ended { channel_id: channel_id.clone() }];
                }
            }
            ServerFrame::Ready(_)
            | ServerFrame::Message { .. }
            | ServerFrame::Channel { .. }
            | ServerFrame::Tick { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Resync { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. }
            | ServerFrame::Unknown { .. } => {}
        }
        Vec::new()
    }

    fn answered(&mut self, reference: u64, answer: Result<Accepted, SayError>) {
        if let Some((_, waits)) = self.answers.remove(&reference) {
            waits.send(answer).unwrap_or_default();
        }
    }

    /// This socket has joined a channel, or a new session began there.
    fn on_joined(
        &mut self,
        channel: &ChannelId,
        at: SessionPosition,
        missed: Option<u64>,
    ) -> Vec<Event> {
        self.joining.remove(channel);
        if self.is_in(channel, at)
            && let Some(held) = self.held(channel)
        {
            // Nothing was missed: the old socket brings what was said before.
            held.at = Some(at);
            return self.settle(channel);
        }
        let mut events = self.release(channel);
        events.push(self.joined(channel, at, missed));
        events
    }

    /// Whether a channel was heard in the session of a position.
    fn is_in(&self, channel: &ChannelId, at: SessionPosition) -> bool {
        let heard = self.heard.get(channel).and_then(|heard| heard.at);
        heard.is_some_and(|heard| heard.session == at.session)
    }

    /// Hears a channel from a position on. What was heard of its session tells how much was missed.
    fn joined(&mut self, channel: &ChannelId, at: SessionPosition, missed: Option<u64>) -> Event {
        let heard = self.heard.entry(channel.clone()).or_default();
        let before = heard.at.filter(|before| before.session == at.session);
        let missed = before.map(|before| at.n.saturating_sub(before.n)).or(missed);
        heard.at = Some(before.filter(|before| before.n > at.n).unwrap_or(at));
        Event::Joined { channel_id: channel.clone(), at, missed }
    }

    fn held(&mut self, channel: &ChannelId) -> Option<&mut Held> {
        self.moving.as_mut()?.channels.get_mut(channel)
    }

    /// Hears a channel on the new socket from now on, if the old one has brought what came before.
    fn settle(&mut self, channel: &ChannelId) -> Vec<Event> {
        let heard = self.heard.get(channel).and_then(|heard| heard.at);
        let Some(held) = self.held(channel) else { return Vec::new() };
        let (Some(heard), Some(at)) = (heard, held.at) else { return Vec::new() };
        if heard.session != at.session {
            // The old socket was the first to hear of a new session, and of all before it.
            held.said.clear();
        } else if heard.n < at.n && held.said.len() < HELD_MAX {
            return Vec::new();
        }
        self.release(channel)
    }

    fn release(&mut self, channel: &ChannelId) -> Vec<Event> {
        let held = self.moving.as_mut().and_then(|moving| moving.channels.remove(channel));
        self.all_said(held.unwrap_or_default())
    }

    fn all_said(&mut self, held: Held) -> Vec<Event> {
        held.said.iter().filter_map(|(n, message)| self.said(*n, message)).collect()
    }

    /// Notes that a channel ended, or may not be joined. Returns whether that is new.
    fn ended(&mut self, channel: &ChannelId) -> bool {
        self.forget(channel);
        self.over.insert(channel.clone())
    }

    fn forget(&mut self, channel: &ChannelId) {
        self.heard.remove(channel);
        self.asked.remove(channel);
        self.joining.remove(channel);
        if let Some(moving) = &mut self.moving {
            moving.channels.remove(channel);
        }
    }

    fn said(&mut self, n: u64, message: &Message) -> Option<Event> {
        let missing = self.heard(&message.channel_id, n, message.id)?;
        Some(Event::Said { n, message: message.clone(), missing })
    }

    /// Notes a message. Returns how many are missing before it; `None` if it was heard already.
    fn heard(&mut self, channel: &ChannelId, n: u64, id: MessageId) -> Option<u64> {
        let heard = self.heard.get_mut(channel)?;
        let at = heard.at.as_mut()?;
        let missing = n.checked_sub(at.n + 1)?;
        at.n = n;
        if heard.ids.contains(&id) {
            return None;
        }
        heard.ids.push_back(id);
        if heard.ids.len() > IDS_MAX {
            heard.ids.pop_front();
        }
        Some(missing)
    }
}

const IDS_MAX: usize = 100;
/// What is held of a channel while the old socket is behind: some seconds of a busy one.
const HELD_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
