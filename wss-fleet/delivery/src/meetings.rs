//! Who takes part in channels that keep nothing, and what their clients still wait to be answered.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use model::{ChannelId, SessionId, SessionPosition, Timestamp, limits};
use protocol::client_frame::SendFrame;
use protocol::frame::Refused;

use crate::audience::SocketId;
use crate::rate_limit::TokenBucket;

/// Participants and their questions. Sockets that never ask cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    channels: BTreeMap<ChannelId, Meeting>,
    asking: HashMap<SocketId, Asking>,
    questions: u64,
    /// Joins that are answered once the members of their channel are read: who asked, and the answer.
    waiting: BTreeMap<ChannelId, Vec<(SocketId, u64, SessionPosition)>>,
    /// When the nodes' bus was last told that somebody takes part.
    pub(crate) kept_at: Option<Timestamp>,
}

/// The participants of one channel here.
#[derive(Debug, Default)]
struct Meeting {
    participants: BTreeMap<SocketId, Participant>,
    /// The last session here.
    session: Option<SessionId>,
}

/// One participant.
#[derive(Debug)]
enum Participant {
    /// The answer is on its way: what is said meanwhile may be for them.
    Joins(Vec<Held>),
    /// Hears what comes after this.
    Since(SessionPosition),
}

/// What was said while somebody joins.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) at: SessionPosition,
    /// The version of the membership by which its sender is a member (G6).
    pub(crate) members_version: u64,
    pub(crate) frame: Bytes,
}

/// Who hears what is said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hearers {
    pub(crate) all: BTreeSet<SocketId>,
    /// Those who do not know that its session has begun.
    pub(crate) uninformed: BTreeSet<SocketId>,
}

/// What a client asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// It joins.
    Join { channel_id: ChannelId, after: Option<SessionPosition> },
    /// It leaves: nothing is answered.
    Leave(ChannelId),
    /// It sends.
    Send(SendFrame),
    /// It was refused already; the answer waits for its turn.
    Refused(Refused),
}

#[derive(Debug)]
struct Asking {
    bucket: TokenBucket,
    waiting: VecDeque<Question>,
    /// The number of the first one, if its answer is on its way.
    asked: Option<u64>,
}

impl Meetings {
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.asking.is_empty()
    }

    /// Adds a question. A client that asks too much is refused, in its turn.
    pub(crate) fn ask(&mut self, socket: SocketId, question: Question, now: Timestamp) {
        let bucket = || TokenBucket::with_burst(limits::SENDS_PER_SECOND, limits::SENDS_BURST, now);
        let asking = self.asking.entry(socket).or_insert_with(|| Asking {
            bucket: bucket(),
            waiting: VecDeque::new(),
            asked: None,
        });
        let open = asking.waiting.iter().filter(|question| question.is_asked()).count();
        let question = if !question.is_asked()
            || (open < limits::UNANSWERED_MAX && asking.bucket.take(1, now))
        {
            question
        } else {
            Question::Refused(question.too_much())
        };
        asking.waiting.push_back(question);
    }

    /// The next question of a socket, and its number, if none is being answered. One that nobody else
    /// answers needs no number.
    pub(crate) fn next(&mut self, socket: SocketId) -> Option<(u64, Question)> {
        let asking = self.asking.get_mut(&socket).filter(|asking| asking.asked.is_none())?;
        let question = asking.waiting.front()?.clone();
        if question.is_asked() {
            self.questions += 1;
            asking.asked = Some(self.questions);
        } else {
            asking.waiting.pop_front();
        }
        Some((self.questions, question))
    }

    /// The question of this number, which is answered now; `None` if its socket is gone.
    pub(crate) fn answered(&mut self, socket: SocketId, number: u64) -> Option<Question> {
        let asking = self.asking.get_mut(&socket).filter(|asking| asking.asked == Some(number))?;
        asking.asked = None;
        asking.waiting.pop_front()
    }

    /// Whether one more channel may be joined.
    pub(crate) fn may_join(&self, socket: SocketId) -> bool {
        let joined = self.channels.values().filter(|it| it.participants.contains_key(&socket));
        joined.count() < limits::JOINED_MAX
    }

    /// Notes that a socket joins: from now on, what is said may be for it.
    pub(crate) fn joins(&mut self, channel: &ChannelId, socket: SocketId) {
        let meeting = self.channels.entry(channel.clone()).or_default();
        meeting.participants.insert(socket, Participant::Joins(Vec::new()));
    }

    /// A socket has joined at a position. Returns what was said after it meanwhile.
    pub(crate) fn joined(
        &mut self,
        channel: &ChannelId,
        socket: SocketId,
        at: SessionPosition,
    ) -> Vec<Held> {
        let Some(meeting) = self.channels.get_mut(channel) else { return Vec::new() };
        meeting.session = meeting.session.max(Some(at.session));
        let joined = meeting.participants.insert(socket, Participant::Since(at));
        let Some(Participant::Joins(held)) = joined else { return Vec::new() };
        held.into_iter().filter(|held| is_after(held.at, at)).collect()
    }

    /// Notes that a join is to be answered once the members are read.
    pub(crate) fn waits_for_view(
        &mut self,
        channel: &ChannelId,
        socket: SocketId,
        number: u64,
        at: SessionPosition,
    ) {
        self.waiting.entry(channel.clone()).or_default().push((socket, number, at));
    }

    /// The channels with joins that wait for the members.
    pub(crate) fn channels_waiting(&self) -> impl Iterator<Item = &ChannelId> {
        self.waiting.keys()
    }

    /// The joins that waited for the members.
    pub(crate) fn take_waiting(
        &mut self,
        channel: &ChannelId,
    ) -> Vec<(SocketId, u64, SessionPosition)> {
        self.waiting.remove(channel).unwrap_or_default()
    }

    /// What a socket asked under a number, if that waits for its answer.
    pub(crate) fn asked(&self, socket: SocketId, number: u64) -> Option<&Question> {
        let asking = self.asking.get(&socket).filter(|asking| asking.asked == Some(number))?;
        asking.waiting.front()
    }

    pub(crate) fn leaves(&mut self, channel: &ChannelId, socket: SocketId) {
        if let Some(meeting) = self.channels.get_mut(channel) {
            meeting.participants.remove(&socket);
            if meeting.participants.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    /// Forgets a socket.
    pub(crate) fn remove(&mut self, socket: SocketId) {
        if self.is_empty() {
            return;
        }
        self.asking.remove(&socket);
        self.waiting.retain(|_, joins| {
            joins.retain(|(waits, ..)| *waits != socket);
            !joins.is_empty()
        });
        self.channels.retain(|_, meeting| {
            meeting.participants.remove(&socket);
            !meeting.participants.is_empty()
        });
    }

    /// Ends a meeting. Returns who took part.
    pub(crate) fn end(&mut self, channel: &ChannelId) -> Vec<SocketId> {
        let ended = self.channels.remove(channel);
        ended.into_iter().flat_map(|meeting| meeting.participants.into_keys()).collect()
    }

    /// The channels in which somebody takes part here.
    pub(crate) fn channels(&self) -> Vec<ChannelId> {
        self.channels.keys().cloned().collect()
    }

    pub(crate) fn has(&self, channel: &ChannelId) -> bool {
        self.channels.contains_key(channel)
    }

    /// Keeps what is said for those who are joining.
    pub(crate) fn hold(&mut self, channel: &ChannelId, said: &Held) {
        let participants = self.channels.get_mut(channel).map(|meeting| &mut meeting.participants);
        for participant in participants.into_iter().flat_map(BTreeMap::values_mut) {
            if let Participant::Joins(held) = participant
                && held.len() < HELD_MAX
            {
                held.push(said.clone());
            }
        }
    }

    /// Whether somebody has joined a channel, and is not only about to.
    pub(crate) fn is_heard(&self, channel: &ChannelId) -> bool {
        let meeting = self.channels.get(channel);
        let participants = meeting.into_iter().flat_map(|meeting| meeting.participants.values());
        participants.into_iter().any(|one| matches!(one, Participant::Since(_)))
    }

    /// The participants who hear what is said at a position, of those who may. Each of them is told once
    /// of a new session: others may have joined it, or may have been no members when it began.
    pub(crate) fn hearers(
        &mut self,
        channel: &ChannelId,
        said: SessionPosition,
        may_hear: impl Fn(SocketId) -> bool,
    ) -> Hearers {
        let mut hearers = Hearers::default();
        let Some(meeting) = self.channels.get_mut(channel) else { return hearers };
        // Later sessions have greater ids. What comes late from an earlier one is dropped: its number
        // would be taken for one of the present session.
        if meeting.session.is_some_and(|present| said.session < present) {
            return hearers;
        }
        meeting.session = Some(said.session);
        for (socket, participant) in &mut meeting.participants {
            let Participant::Since(at) = participant else { continue };
            if !is_after(said, *at) || !may_hear(*socket) {
                continue;
            }
            hearers.all.insert(*socket);
            if at.session != said.session {
                *at = SessionPosition { n: said.n.saturating_sub(1), ..said };
                hearers.uninformed.insert(*socket);
            }
        }
        hearers
    }
}

impl Question {
    /// Whether the bus has to be asked.
    const fn is_asked(&self) -> bool {
        matches!(self, Self::Join { .. } | Self::Send(_))
    }

    /// The answer to a client that asks too much.
    fn too_much(&self) -> Refused {
        let wait = std::time::Duration::from_secs(1) / limits::SENDS_PER_SECOND;
        Refused { retry_after: Some(wait), ..self.refused(model::ErrorCode::RateLimited, None) }
    }

    /// A refusal of this question.
    pub(crate) fn refused(&self, code: model::ErrorCode, field: Option<&str>) -> Refused {
        let (reference, channel_id) = match self {
            Self::Join { channel_id, .. } | Self::Leave(channel_id) => {
                (None, Some(channel_id.clone()))
            }
            Self::Send(send) => (Some(send.reference), None),
            Self::Refused(refused) => (refused.reference, refused.channel_id.clone()),
        };
        let field = field.map(str::to_owned);
        Refused { reference, channel_id, field, ..Refused::of(code) }
    }
}

/// Whether something was said after a position. A later session is after every earlier one.
fn is_after(said: SessionPosition, at: SessionPosition) -> bool {
    said.session > at.session || (said.session == at.session && said.n > at.n)
}

/// What is held for a socket that is joining: its answer takes some milliseconds.
const HELD_MAX: usize = 100;
