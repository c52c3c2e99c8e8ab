//! The numbers of all sessions: each is of one message, and each message that was accepted has one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{ChannelId, MessageId, SessionId, SessionPosition};

use super::{Say, Sessions};
use crate::history::{Event, History, SendId};
use crate::verdict::{Bounds, Check, Verdict};

/// What clients were told of numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers<'a> {
    messages: BTreeMap<(&'a ChannelId, SessionId, u64), BTreeSet<MessageId>>,
    sessions: Sessions<'a>,
    joins: Vec<Join<'a>>,
}

/// A client joined: where it asked, and where it was answered.
#[derive(Debug)]
struct Join<'a> {
    channel: &'a ChannelId,
    at: SessionPosition,
    asked: usize,
    answered: usize,
}

impl<'a> Numbers<'a> {
    pub(super) fn session(&mut self, channel: &'a ChannelId, session: SessionId) {
        self.sessions.entry(channel).or_default().insert(session);
    }

    pub(super) fn joined(
        &mut self,
        channel: &'a ChannelId,
        at: SessionPosition,
        asked: usize,
        answered: usize,
    ) {
        self.joins.push(Join { channel, at, asked, answered });
    }

    pub(super) fn heard(
        &mut self,
        channel: &'a ChannelId,
        session: SessionId,
        n: u64,
        id: MessageId,
    ) {
        self.messages.entry((channel, session, n)).or_default().insert(id);
    }

    pub(super) fn judge(
        &self,
        says: &BTreeMap<SendId, Say<'_>>,
        attempts: &HashMap<(&ChannelId, MessageId), Vec<SendId>>,
        history: &History,
        bounds: &Bounds,
        verdict: &mut Verdict,
    ) {
        self.one_message_each(verdict);
        let has_faults = history.events.iter().any(|(_, event)| is_fault(event));
        self.one_number_each(says, attempts, has_faults, verdict);
        self.accepted_numbers(says, explained(history, bounds), verdict);
        self.joins_are_in_time(says, attempts, verdict);
        self.few_sessions(history, bounds, verdict);
    }

    fn one_message_each(&self, verdict: &mut Verdict) {
        for ((channel, session, n), ids) in &self.messages {
            if ids.len() > 1 {
                verdict.doubled += 1;
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                let what = format!("{session}:{n} in {channel} is of {ids:?}");
                verdict.note(Check::K12Numbers, what);
            }
        }
    }

    /// A message has a number for each attempt at most, and the one with which it was accepted. If an
    /// answer of the bus is lost, a node tries once more, and the message has two.
    fn one_number_each(
        &self,
        says: &BTreeMap<SendId, Say<'_>>,
        attempts: &HashMap<(&ChannelId, MessageId), Vec<SendId>>,
        has_faults: bool,
        verdict: &mut Verdict,
    ) {
        let tries = if has_faults { 2 } else { 1 };
        let mut numbers: BTreeMap<(&ChannelId, MessageId), BTreeSet<(SessionId, u64)>> =
            BTreeMap::new();
        for ((channel, session, n), ids) in &self.messages {
            for id in ids {
                numbers.entry((channel, *id)).or_default().insert((*session, *n));
            }
        }
        for (message, numbers) in numbers {
            let attempts = attempts.get(&message).map_or(&[][..], Vec::as_slice);
            let accepted = attempts.iter().filter_map(|say| says.get(say)?.accepted);
            let accepted: Vec<u64> = accepted.map(|(_, n)| n).collect();
            let is_all = accepted.len() == attempts.len() && !has_faults;
            let is_other = |(_, n): &(SessionId, u64)| is_all && !accepted.contains(n);
            if numbers.len() > attempts.len() * tries || numbers.iter().any(is_other) {
                verdict.doubled += 1;
                let what =
                    format!("{} was accepted as {accepted:?}, heard as {numbers:?}", message.1);
                verdict.note(Check::K12Numbers, what);
            }
        }
    }

    /// A number was given to as many messages as the channel may have had sessions, at most. Nobody may
    /// have joined one of them.
    fn accepted_numbers(
        &self,
        says: &BTreeMap<SendId, Say<'_>>,
        explained: usize,
        verdict: &mut Verdict,
    ) {
        let mut times: BTreeMap<(&ChannelId, u64), usize> = BTreeMap::new();
        for say in says.values() {
            if let Some((_, n)) = say.accepted {
                *times.entry((say.channel, n)).or_default() += 1;
            }
        }
        for ((channel, n), times) in times {
            let sessions = explained + 1;
            if times > sessions {
                verdict.doubled += 1;
                let what =
                    format!("{n} of {channel} was accepted {times} times in {sessions} sessions");
                verdict.note(Check::K12Numbers, what);
            }
        }
    }

    /// Who joins is told of everything that was accepted before they asked, and of nothing whose saying
    /// began after they were answered.
    fn joins_are_in_time(
        &self,
        says: &BTreeMap<SendId, Say<'_>>,
        attempts: &HashMap<(&ChannelId, MessageId), Vec<SendId>>,
        verdict: &mut Verdict,
    ) {
        for Join { channel, at, asked, answered } in &self.joins {
            let of_session = (*channel, at.session, 0)..=(*channel, at.session, u64::MAX);
            for ((_, _, n), ids) in self.messages.range(of_session) {
                for id in ids {
                    let attempts = attempts.get(&(*channel, *id)).map_or(&[][..], Vec::as_slice);
                    let mut said = attempts.iter().filter_map(|say| says.get(say));
                    let is_later = said.clone().all(|say| say.started.0 > *answered);
                    let is_before =
                        said.all(|say| say.accepted.is_some_and(|(ended, _)| ended < *asked));
                    if (is_later && *n <= at.n) || (is_before && *n > at.n) {
                        let what =
                            format!("who joined {channel} at {at} miscounts {id}, number {n}");
                        verdict.note(Check::K12Numbers, what);
                    }
                }
            }
        }
    }

    /// A session ends only if a fault explains it.
    fn few_sessions(&self, history: &History, bounds: &Bounds, verdict: &mut Verdict) {
        let explained = explained(history, bounds);
        for (channel, sessions) in &self.sessions {
            if sessions.len() > explained + 1 {
                let what = format!("{channel} had {} sessions, {explained} faults", sessions.len());
                verdict.note(Check::K12Numbers, what);
            }
        }
    }
}

/// How many sessions may have ended.
fn explained(history: &History, bounds: &Bounds) -> usize {
    let explains = |event: &Event| match event {
        Event::FaultBegan { kind } => (bounds.ends_sessions)(kind),
        _ => false,
    };
    history.events.iter().filter(|(_, event)| explains(event)).count()
}

const fn is_fault(event: &Event) -> bool {
    matches!(event, Event::FaultBegan { .. })
}
