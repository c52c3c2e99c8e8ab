//! K11 and K12: channels that keep nothing (G15). Who has joined hears what is said from then on, under
//! numbers that grow, and is told exactly how much they missed; nobody else hears anything.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use model::{ChannelId, MessageId, SessionId, SessionPosition, UserId};

use crate::history::{ClientId, Event, History, SendId};
use crate::members::Members;
use crate::verdict::{Bounds, Check, Verdict};

mod numbers;

use numbers::Numbers;

/// One socket of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// How an attempt to say something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SayOutcome {
    /// Accepted, under this number of the channel's session.
    Accepted(u64),
    /// Refused: nobody hears this attempt.
    Refused,
    /// No answer.
    Unknown,
}

/// What happens in channels that keep nothing. Frames are recorded as they pass between a socket and
/// its client, before the client's own code has seen them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meeting {
    /// An attempt to say something begins.
    Says {
        /// Which attempt.
        say: SendId,
        /// The channel.
        channel: ChannelId,
        /// The message. Further attempts may repeat it.
        id: MessageId,
    },
    /// It ended.
    SayEnded {
        /// Which attempt.
        say: SendId,
        /// Its outcome.
        outcome: SayOutcome,
    },
    /// A client joins.
    Joins {
        /// On which socket.
        socket: SocketId,
        /// Whose.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// How far the client says that it heard the channel.
        after: Option<SessionPosition>,
    },
    /// A node told a client that it takes part.
    Joined {
        /// On which socket.
        socket: SocketId,
        /// Whose.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// From where on.
        at: SessionPosition,
        /// How much it missed.
        missed: Option<u64>,
    },
    /// A node refused that a client takes part.
    NotJoined {
        /// On which socket.
        socket: SocketId,
        /// The channel.
        channel: ChannelId,
    },
    /// A client certainly takes no part any more: what it asked after it left was answered.
    Left {
        /// On which socket.
        socket: SocketId,
        /// The channel.
        channel: ChannelId,
    },
    /// A node told a client what was said.
    Said {
        /// On which socket.
        socket: SocketId,
        /// Whose.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// Its number.
        n: u64,
        /// The message.
        id: MessageId,
    },
    /// A client reported to its program what was said.
    Heard {
        /// Which client.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// Its number.
        n: u64,
        /// How many it says were lost before.
        missing: u64,
    },
    /// A call that ended a channel was answered with 2xx.
    Over {
        /// The channel.
        channel: ChannelId,
    },
}

/// One attempt to say something.
#[derive(Debug)]
struct Say<'a> {
    channel: &'a ChannelId,
    id: MessageId,
    started: (usize, Duration),
    is_refused: bool,
    /// Where its end is in the history, and its number, if it was accepted.
    accepted: Option<(usize, u64)>,
}

/// A client's part in a channel, on one socket.
#[derive(Debug, Default)]
struct Part {
    /// Where the client asked for it, and the position that it named. Nodes answer in order.
    asked: VecDeque<(usize, Option<SessionPosition>)>,
    /// Where it asked for the part that it has.
    joined: usize,
    from: Option<SessionPosition>,
    last: u64,
    /// The last answer may have been news of a session, so that the answer is still to come: both are
    /// equal if the client names a position of a session before.
    may_be_unanswered: bool,
}

/// What was pushed to a client and not reported yet: the number, and how many are missing before it.
type Unreported = VecDeque<(u64, u64)>;

pub(crate) fn meetings(
    history: &History,
    users: &HashMap<ClientId, UserId>,
    members: &Members,
    bounds: &Bounds,
    verdict: &mut Verdict,
) {
    let mut judge = Judge {
        history,
        removals_known: bounds.removals_known,
        users,
        members,
        says: says(history),
        attempts: HashMap::new(),
        parts: HashMap::new(),
        unreported: HashMap::new(),
        numbers: Numbers::default(),
        verdict,
    };
    for (name, say) in judge.says.iter().filter(|(_, say)| !say.is_refused) {
        judge.attempts.entry((say.channel, say.id)).or_default().push(*name);
    }
    for (index, (_, event)) in history.events.iter().enumerate() {
        if let Event::Meeting(event) = event {
            judge.on(index, event);
        }
    }
    let Judge { says, attempts, numbers, verdict, .. } = judge;
    numbers.judge(&says, &attempts, history, bounds, verdict);
    over(history, &says, verdict);
    verdict.said += says.values().filter(|say| say.accepted.is_some()).count() as u64;
}

fn says(history: &History) -> BTreeMap<SendId, Say<'_>> {
    let mut says = BTreeMap::new();
    for (index, (at, event)) in history.events.iter().enumerate() {
        match event {
            Event::Meeting(Meeting::Says { say, channel, id }) => {
                let started = (index, *at);
                says.insert(
                    *say,
                    Say { channel, id: *id, started, is_refused: false, accepted: None },
                );
            }
            Event::Meeting(Meeting::SayEnded { say, outcome: SayOutcome::Refused }) => {
                if let Some(say) = says.get_mut(say) {
                    say.is_refused = true;
                }
            }
            Event::Meeting(Meeting::SayEnded { say, outcome: SayOutcome::Accepted(n) }) => {
                if let Some(say) = says.get_mut(say) {
                    say.accepted = Some((index, *n));
                }
            }
            _ => {}
        }
    }
    says
}

/// Nothing is accepted in a channel that is over, once every node must know it.
fn over(history: &History, says: &BTreeMap<SendId, Say<'_>>, verdict: &mut Verdict) {
    for (at, event) in &history.events {
        let Event::Meeting(Meeting::Over { channel }) = event else { continue };
        let is_late = |say: &&Say<'_>| {
            say.channel == channel
                && say.accepted.is_some()
                && say.started.1 > *at + model::limits::VIEW_LEASE + OVER_MARGIN
        };
        for say in says.values().filter(is_late) {
            verdict
                .note(Check::K11Apart, format!("{} was said in {channel}, which is over", say.id));
        }
    }
}

struct Judge<'a> {
    history: &'a History,
    removals_known: Duration,
    users: &'a HashMap<ClientId, UserId>,
    members: &'a Members,
    says: BTreeMap<SendId, Say<'a>>,
    /// The attempts at each message.
    attempts: HashMap<(&'a ChannelId, MessageId), Vec<SendId>>,
    parts: HashMap<(SocketId, &'a ChannelId), Part>,
    unreported: HashMap<(ClientId, &'a ChannelId), Unreported>,
    numbers: Numbers<'a>,
    verdict: &'a mut Verdict,
}

impl<'a> Judge<'a> {
    fn on(&mut self, index: usize, event: &'a Meeting) {
        match event {
            Meeting::Joins { socket, channel, after, .. } => {
                self.parts.entry((*socket, channel)).or_default().asked.push_back((index, *after));
            }
            Meeting::Joined { socket, client, channel, at, missed } => {
                self.joined(index, (*socket, *client, channel), *at, *missed);
            }
            Meeting::NotJoined { socket, channel } => {
                if let Some(part) = self.parts.get_mut(&(*socket, channel)) {
                    part.asked.pop_front();
                }
            }
            Meeting::Left { socket, channel } => {
                self.parts.remove(&(*socket, channel));
            }
            Meeting::Said { socket, client, channel, n, id } => {
                self.said(index, (*socket, *client, channel), *n, *id);
            }
            Meeting::Heard { client, channel, n, missing } => {
                self.reported((*client, channel), *n, *missing);
            }
            Meeting::Says { .. } | Meeting::SayEnded { .. } | Meeting::Over { .. } => {}
        }
    }

    fn apart(&mut self, what: String) {
        self.verdict.leaked += 1;
        self.verdict.note(Check::K11Apart, what);
    }

    fn joined(
        &mut self,
        index: usize,
        (socket, client, channel): (SocketId, ClientId, &'a ChannelId),
        at: SessionPosition,
        missed: Option<u64>,
    ) {
        let part = self.parts.entry((socket, channel)).or_default();
        let before = part.from;
        // Nobody asked for news of a session. An answer to who names no position is a number.
        let is_news = missed.is_none()
            && before.is_some_and(|before| before.session < at.session)
            && part.asked.front().is_none_or(|(_, after)| after.is_none());
        let asked = if is_news { None } else { part.asked.pop_front() };
        let is_unclear = missed.is_none() && before.is_some() && asked.is_some();
        let was_unclear = std::mem::replace(&mut part.may_be_unanswered, is_unclear);
        let is_late = was_unclear && before.is_some_and(|before| before.session == at.session);
        let expected = match asked {
            Some((_, None)) => Some(at.n),
            Some((_, Some(after))) if after.session == at.session => at.n.checked_sub(after.n),
            Some((_, Some(_))) | None => None,
        };
        if let Some((asked_at, _)) = asked {
            part.joined = asked_at;
            self.verdict.joins += 1;
            self.numbers.joined(channel, at, asked_at, index);
        }
        (part.from, part.last) = (Some(at), at.n);
        self.numbers.session(channel, at.session);
        self.verdict.missed += missed.unwrap_or_default();
        if missed != expected {
            let what = format!("{client:?} is told {missed:?} missed at {at}, not {expected:?}");
            self.verdict.note(Check::K12Numbers, what);
        }
        let is_older = before.is_none_or(|before| before.session >= at.session);
        if asked.is_none() && is_older && !is_late {
            let what = format!("{client:?} is told of {at} in {channel} and did not ask");
            self.verdict.note(Check::K12Numbers, what);
        }
    }

    fn said(
        &mut self,
        index: usize,
        (socket, client, channel): (SocketId, ClientId, &'a ChannelId),
        n: u64,
        id: MessageId,
    ) {
        self.verdict.heard += 1;
        let attempts = self.attempts.get(&(channel, id)).map_or(&[][..], Vec::as_slice);
        let attempts: Vec<&Say<'_>> = attempts.iter().filter_map(|it| self.says.get(it)).collect();
        let started = attempts.iter().map(|say| say.started).min();
        // Somebody may say it again, so all of what was said must have been before.
        let accepted = attempts.iter().map(|say| say.accepted.map(|(at, _)| at)).max().flatten();
        let is_all_accepted = attempts.iter().all(|say| say.accepted.is_some());
        let part = self.parts.get_mut(&(socket, channel));
        let Some((part, from)) = part.and_then(|part| part.from.map(|from| (part, from))) else {
            return self
                .apart(format!("{id} in {channel} reached {client:?}, which had not joined"));
        };
        let (before, joined) = (part.last, part.joined);
        part.last = n.max(before);
        let Some(started) = started else {
            let what = format!("{id} in {channel} was said by nobody");
            return self.verdict.note(Check::K12Numbers, what);
        };
        if n <= from.n || (is_all_accepted && accepted.is_some_and(|at| at < joined)) {
            self.apart(format!("{id} was said before {client:?} joined {channel} at {from}"));
        } else if n <= before {
            self.verdict.doubled += 1;
            let what = format!("{client:?} heard {n} of {channel} after {before}");
            self.verdict.note(Check::K12Numbers, what);
        } else {
            let unreported = self.unreported.entry((client, channel)).or_default();
            unreported.push_back((n, n - before - 1));
        }
        if let Some(user) = self.users.get(&client)
            && self.members.is_leak(channel, user, self.known_at(started), index)
        {
            self.verdict.leaked += 1;
            self.verdict.note(Check::K4Leak, format!("{id} in {channel} reached {user}"));
        }
        self.numbers.heard(channel, from.session, n, id);
    }

    /// What happened before this is known to everybody who says something at a place in the history.
    fn known_at(&self, (started, at): (usize, Duration)) -> usize {
        if self.removals_known.is_zero() {
            return started;
        }
        let known = at.saturating_sub(self.removals_known);
        self.history.events.partition_point(|(at, _)| *at < known)
    }

    fn reported(&mut self, (client, channel): (ClientId, &'a ChannelId), n: u64, missing: u64) {
        let unreported = self.unreported.entry((client, channel)).or_default();
        // What came before it, and was not reported: a socket that ended, or a message said again.
        let found = std::iter::from_fn(|| unreported.pop_front()).find(|(pushed, _)| *pushed == n);
        if found.is_none_or(|(_, expected)| expected != missing) {
            let what = format!("{client:?} reports {n} of {channel}, {missing} missing: {found:?}");
            self.verdict.note(Check::K12Numbers, what);
        }
    }
}

/// How long a node may take to act on what it read.
const OVER_MARGIN: Duration = Duration::from_secs(2);

/// The sessions of each channel.
type Sessions<'a> = BTreeMap<&'a ChannelId, BTreeSet<SessionId>>;

#[cfg(test)]
mod tests;
