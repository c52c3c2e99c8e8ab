//! Channels that keep nothing: which the client takes part in, and what it said there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{ChannelId, MessageId, MessageText, SessionPosition, Timestamp};
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
    /// Channels that are over, or may not be joined: no later socket tries again.
    over: BTreeSet<ChannelId>,
    /// In order, so that those who wait are told in order, too.
    answers: BTreeMap<u64, (MessageId, oneshot::Sender<Result<Accepted, SayError>>)>,
    last_reference: u64,
}

#[derive(Debug, Default)]
struct Heard {
    at: Option<SessionPosition>,
    /// The ids of the last messages: what is said again has another number.
    ids: VecDeque<MessageId>,
}

impl Meetings {
    /// The socket has ended.
    pub(super) fn disconnected(&mut self) {
        self.asked.clear();
        for (id, answer) in std::mem::take(&mut self.answers).into_values() {
            // Fails only if nobody waits any more.
            answer.send(Err(SayError::Unknown(id))).unwrap_or_default();
        }
    }

    /// The frames that make this socket take part in the wanted channels and in no others.
    pub(super) fn frames(&mut self, wanted: &BTreeSet<ChannelId>) -> Vec<ClientFrame> {
        // Whoever leaves a channel may try again.
        self.over.retain(|channel| wanted.contains(channel));
        let wanted = &wanted.difference(&self.over).cloned().collect();
        let left: Vec<ChannelId> = self.asked.difference(wanted).cloned().collect();
        let new: Vec<ChannelId> = wanted.difference(&self.asked).cloned().collect();
        self.asked.clone_from(wanted);
        for channel in &left {
            self.heard.remove(channel);
        }
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

    /// Handles a frame that is not of the stream. Returns its event, if it is one for the program.
    pub(super) fn on_frame(&mut self, frame: &ServerFrame) -> Option<Event> {
        match frame {
            ServerFrame::Accepted { reference, id, n, replicated, server_time } => {
                let (id, n, replicated, server_time) = (*id, *n, *replicated, *server_time);
                let accepted = Accepted { id, n, replicated, server_time };
                self.answered(*reference, Ok(accepted));
                None
            }
            ServerFrame::Refused(refused) => {
                if let Some(reference) = refused.reference {
                    self.answered(reference, Err(SayError::Refused(refused.clone())));
                }
                let channel_id = refused.channel_id.clone()?;
                if !refused.retryable {
                    self.ended(&channel_id);
                }
                Some(Event::NotJoined { channel_id, code: refused.code.clone() })
            }
            ServerFrame::Joined { channel_id, at, missed } => {
                self.joined(channel_id, *at);
                Some(Event::Joined { channel_id: channel_id.clone(), at: *at, missed: *missed })
            }
            ServerFrame::Said { n, message } => {
                let missing = self.heard(&message.channel_id, *n, message.id)?;
                Some(Event::Said { n: *n, message: message.clone(), missing })
            }
            ServerFrame::Ended { channel_id, .. } => {
                self.ended(channel_id);
                Some(Event::Ended { channel_id: channel_id.clone() })
            }
            ServerFrame::Read { log, mark } => Some(Event::Read { log: log.clone(), mark: *mark }),
            ServerFrame::Typing { log, users, more } => {
                Some(Event::Typing { log: log.clone(), users: users.clone(), more: *more })
            }
            ServerFrame::Ready(_)
            | ServerFrame::Message { .. }
            | ServerFrame::Channel { .. }
            | ServerFrame::Tick { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Resync { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Unknown { .. } => None,
        }
    }

    fn answered(&mut self, reference: u64, answer: Result<Accepted, SayError>) {
        if let Some((_, waits)) = self.answers.remove(&reference) {
            waits.send(answer).unwrap_or_default();
        }
    }

    fn joined(&mut self, channel: &ChannelId, at: SessionPosition) {
        self.heard.entry(channel.clone()).or_default().at = Some(at);
    }

    /// A channel ended, or may not be joined.
    fn ended(&mut self, channel: &ChannelId) {
        self.heard.remove(channel);
        self.asked.remove(channel);
        self.over.insert(channel.clone());
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

#[cfg(test)]
mod tests {
    use model::SessionId;

    use super::*;

    fn channel() -> ChannelId {
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
    }

    fn id(n: u64) -> MessageId {
        MessageId::mint(Timestamp::from_unix_ms(n), n.into())
    }

    fn at(n: u64) -> SessionPosition {
        SessionPosition { session: SessionId::mint(Timestamp::from_unix_ms(1), 1), n }
    }

    #[test]
    fn g15_a_hole_is_counted_and_what_was_heard_is_not_heard_again() {
        let mut meetings = Meetings::default();
        assert_eq!(meetings.heard(&channel(), 1, id(1)), None, "it has not joined");
        meetings.joined(&channel(), at(4));
        assert_eq!(meetings.heard(&channel(), 4, id(4)), None, "said before it joined");
        assert_eq!(meetings.heard(&channel(), 5, id(5)), Some(0));
        assert_eq!(meetings.heard(&channel(), 8, id(8)), Some(2));
        assert_eq!(meetings.heard(&channel(), 8, id(8)), None);
        assert_eq!(meetings.heard(&channel(), 9, id(8)), None, "said again by its sender");
    }

    #[test]
    fn g15_a_new_socket_joins_where_the_last_one_was() {
        let (mut meetings, wanted) = (Meetings::default(), BTreeSet::from([channel()]));
        let join = |after| ClientFrame::Join { channel_id: channel(), after };
        assert_eq!(meetings.frames(&wanted), [join(None)]);
        assert_eq!(meetings.frames(&wanted), []);
        meetings.joined(&channel(), at(4));
        meetings.heard(&channel(), 5, id(5));
        meetings.disconnected();
        assert_eq!(meetings.frames(&wanted), [join(Some(at(5)))]);
        assert_eq!(meetings.frames(&BTreeSet::new()), [ClientFrame::Leave(channel())]);
        assert_eq!(meetings.frames(&wanted), [join(None)], "it left");
        meetings.ended(&channel());
        meetings.disconnected();
        assert_eq!(meetings.frames(&wanted), [], "it is over");
        assert_eq!(meetings.frames(&BTreeSet::new()), []);
        assert_eq!(meetings.frames(&wanted), [join(None)], "the program tries again");
    }
}
