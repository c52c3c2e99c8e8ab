//! The store reads of one workspace: their order, which are joined, and which are repeated.
//!
//! **Main path.** [`ReadQueue::enqueue`] queues the read that an effect wants; [`ReadQueue::next`]
//! returns the next read when the workspace's [`Pace`] allows one; `reads::read` performs it;
//! [`ReadQueue::record`] records the result and queues failed parts again. Reads that publications
//! wait for come first; every fourth one is one of the others, so that attaches do not starve.
//!
//! **Invariants.** A read is repeated for as long as its answer is wanted: the store may be down
//! for minutes. It is given up only if it fails while the store answers others, after
//! [`limits::STORE_REFUSALS_MAX`] failures.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use delivery::{Effect, EntryNumber, Input, Registration, RepairId, Workspace};
use model::{ChannelId, MessageRef, PublicationId, Timestamp, UserId, limits};
use tokio::time::Instant;

use crate::pace::{Pace, Started};

/// One read; [`Read::Members`] may join several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Read {
    /// A user's channels and tombstone.
    User { user: UserId, registration: Registration },
    /// Channels' versions and members.
    Members(Vec<ChannelId>),
    /// A message that was too large to travel with its publication.
    Message { channel: ChannelId, number: EntryNumber, id: PublicationId, message: MessageRef },
    /// A channel's messages since a time.
    History { repair: RepairId, channel: ChannelId, since: Timestamp },
}

/// A read in flight.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) read: Read,
    pub(crate) started: Started,
}

/// The result of a read.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) started: Started,
    /// The rows and messages that were read, as inputs of the workspace.
    pub(crate) inputs: Vec<Input>,
    /// The part that failed, and why.
    pub(crate) failed: Option<(Read, Failure)>,
    pub(crate) took: Duration,
}

/// Why a read failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There was no answer in time.
    Silent,
    /// The store throttled it.
    Throttled,
    /// The store could not be reached, or answered with an error.
    Refused,
}

/// A workspace's queues of reads.
#[derive(Debug)]
pub(crate) struct ReadQueue {
    pace: Pace,
    /// Messages that publications wait for.
    messages: VecDeque<Read>,
    /// Channels whose members publications wait for, and channels that are read ahead.
    members: Channels,
    ahead: Channels,
    /// Attaches and backfills.
    others: VecDeque<Read>,
    turn: u32,
    /// How many more channels are read one by one, because a batch of them was refused.
    alone: usize,
    /// Refusals of reads, counted while the store answers others.
    refusals: HashMap<Read, Refusals>,
    /// The number of reads that were answered.
    answers: u64,
    loads: Rate,
}

#[derive(Debug, Default)]
struct Refusals {
    count: u32,
    /// [`ReadQueue::answers`] at the last refusal.
    answers: u64,
}

/// A queue of distinct channels.
#[derive(Debug, Default)]
struct Channels {
    queue: VecDeque<ChannelId>,
    known: HashSet<ChannelId>,
}

impl Channels {
    fn push(&mut self, channel: ChannelId) {
        if self.known.insert(channel.clone()) {
            self.queue.push_back(channel);
        }
    }

    /// Removes up to `most` channels that are still wanted.
    fn pop(&mut self, most: usize, state: &Workspace) -> Option<Read> {
        let mut batch = Vec::new();
        while batch.len() < most
            && let Some(channel) = self.queue.pop_front()
        {
            self.known.remove(&channel);
            if state.awaits_members(&channel) {
                batch.push(channel);
            }
        }
        (!batch.is_empty()).then_some(Read::Members(batch))
    }
}

impl ReadQueue {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            pace: Pace::new(now),
            messages: VecDeque::new(),
            members: Channels::default(),
            ahead: Channels::default(),
            others: VecDeque::new(),
            turn: 0,
            alone: 0,
            refusals: HashMap::new(),
            answers: 0,
            loads: Rate::new(now),
        }
    }

    /// Queues the read that an effect wants; returns any other effect.
    pub(crate) fn enqueue(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::LoadUser { user, registration } => {
                self.others.push_back(Read::User { user, registration });
            }
            Effect::Refresh(channel) => self.members.push(channel),
            Effect::ReadAhead(channel) => self.ahead.push(channel),
            Effect::ReadStored { number, channel, id, message } => {
                self.messages.push_back(Read::Message { channel, number, id, message });
            }
            Effect::ReadHistory { id: repair, channel, since } => {
                self.others.push_back(Read::History { repair, channel, since });
            }
            other @ (Effect::Deliver { .. }
            | Effect::Ready { .. }
            | Effect::Replay { .. }
            | Effect::Refuse { .. }
            | Effect::Close { .. }
            | Effect::Signal(_)
            | Effect::Ask(_)
            | Effect::Told { .. }
            | Effect::KeepMeeting(_)
            | Effect::Fill { .. }
            | Effect::Presence(_)
            | Effect::Audit { .. }) => return Some(other),
        }
        None
    }

    /// The next read that may start now and whose answer is still wanted.
    pub(crate) fn next(&mut self, state: &Workspace, now: Instant) -> Option<Running> {
        if self.is_empty() || !self.pace.may_start(now) {
            return None;
        }
        let read = self.pop(state)?;
        Some(Running { read, started: self.pace.start(now) })
    }

    fn pop(&mut self, state: &Workspace) -> Option<Read> {
        self.turn = self.turn.wrapping_add(1);
        let others_first = self.turn.is_multiple_of(4);
        let early = if others_first { None } else { self.pop_urgent(state) };
        early
            .or_else(|| self.pop_other(state))
            .or_else(|| self.pop_urgent(state))
            .or_else(|| self.ahead.pop(limits::MEMBERS_BATCH_MAX, state))
    }

    fn pop_urgent(&mut self, state: &Workspace) -> Option<Read> {
        let most = if self.alone > 0 { 1 } else { limits::MEMBERS_BATCH_MAX };
        self.alone = self.alone.saturating_sub(1);
        self.members.pop(most, state).or_else(|| self.messages.pop_front())
    }

    fn pop_other(&mut self, state: &Workspace) -> Option<Read> {
        std::iter::from_fn(|| self.others.pop_front()).find(|read| match read {
            Read::User { user, registration } => state.awaits_user(user, *registration),
            Read::Members(_) | Read::Message { .. } | Read::History { .. } => true,
        })
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.members.queue.is_empty()
            && self.ahead.queue.is_empty()
            && self.others.is_empty()
    }

    /// When [`ReadQueue::next`] will return a read, if it waits only for time to pass.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        if self.is_empty() { None } else { self.pace.next_at(now) }
    }

    /// Records the result of a read; returns the workspace's inputs. `jitter` is from 0 to 1.
    pub(crate) fn record(&mut self, ended: Ended, jitter: f64, now: Instant) -> Vec<Input> {
        let Ended { started, mut inputs, failed, took } = ended;
        match failed {
            Some((_, failure)) if inputs.is_empty() => {
                self.pace.failed(started, failure == Failure::Silent, jitter, now);
            }
            Some(_) | None => {
                self.answers += 1;
                self.pace.succeeded(started, took, now);
            }
        }
        self.forget_refusals(&inputs);
        let is_load = |input: &&Input| matches!(input, Input::UserLoaded { .. });
        self.loads.add(inputs.iter().filter(is_load).count(), now);
        if let Some((read, failure)) = failed {
            inputs.extend(self.again(read, failure));
        }
        inputs
    }

    /// Queues a failed read again, or gives it up and returns the input that says so.
    fn again(&mut self, read: Read, failure: Failure) -> Option<Input> {
        let is_one = !matches!(&read, Read::Members(channels) if channels.len() > 1);
        if is_one && failure == Failure::Refused && self.is_given_up(&read) {
            return answer_without(read);
        }
        match read {
            Read::Members(channels) => {
                // One of them may be the reason: read each alone, so that the others succeed.
                if failure == Failure::Refused {
                    self.alone = channels.len();
                }
                channels.into_iter().for_each(|channel| self.members.push(channel));
            }
            message @ Read::Message { .. } => self.messages.push_back(message),
            other @ (Read::User { .. } | Read::History { .. }) => self.others.push_back(other),
        }
        None
    }

    /// Counts a refusal if the store answered another read since the last one.
    fn is_given_up(&mut self, read: &Read) -> bool {
        let answers = self.answers;
        let refusals = self.refusals.entry(read.clone()).or_default();
        if answers > refusals.answers {
            *refusals = Refusals { count: refusals.count + 1, answers };
        }
        let is_given_up = refusals.count >= limits::STORE_REFUSALS_MAX;
        if is_given_up {
            self.refusals.remove(read);
        }
        is_given_up
    }

    fn forget_refusals(&mut self, inputs: &[Input]) {
        if self.refusals.is_empty() {
            return;
        }
        for input in inputs {
            if let Input::Refreshed { channel, .. } = input {
                self.refusals.remove(&Read::Members(vec![channel.clone()]));
            } else if let Input::UserLoaded { user, registration, .. } = input {
                let (user, registration) = (user.clone(), *registration);
                self.refusals.remove(&Read::User { user, registration });
            }
        }
    }

    /// Whether one more socket may wait for its user's rows. While the store is well, any number
    /// may; while it is not, only as many as can be attached in time.
    pub(crate) fn admits(&self, waiting: usize, now: Instant) -> bool {
        self.pace.troubled_since(now).is_none()
            || waiting < limits::ATTACHES_IN_TROUBLE_MIN.max(self.loads.within(ADMIT_AHEAD, now))
    }

    /// How long a socket that is not admitted should wait: until those before it are attached, or
    /// half as long as the trouble has lasted if none are. `jitter` is random, from 0 to 1.
    pub(crate) fn busy_delay(&self, waiting: usize, jitter: f64, now: Instant) -> Duration {
        let (least, most) = limits::BUSY_DELAY;
        let each = self.loads.within(Duration::from_secs(1), now);
        let since = self.pace.troubled_since(now).unwrap_or(now);
        let wait = match each {
            0 => (now - since) / 2,
            each => Duration::from_secs((waiting / each) as u64),
        };
        wait.clamp(least, most).mul_f64(1.0 + jitter.clamp(0.0, 1.0))
    }
}

/// The input that reports a read as given up.
fn answer_without(read: Read) -> Option<Input> {
    Some(match read {
        Read::User { user, registration } => Input::UserLoaded { user, registration, loaded: None },
        Read::Members(channels) => {
            Input::Refreshed { channel: channels.into_iter().next()?, members: None }
        }
        Read::Message { channel, number, id, .. } => {
            Input::StoredRead { channel, number, id, message: None }
        }
        Read::History { repair, channel, .. } => {
            Input::HistoryRead { id: repair, channel, history: None }
        }
    })
}

/// The rate at which reads of one kind end, over the last few seconds.
#[derive(Debug)]
struct Rate {
    since: Instant,
    this: usize,
    last: usize,
}

impl Rate {
    const fn new(now: Instant) -> Self {
        Self { since: now, this: 0, last: 0 }
    }

    fn add(&mut self, count: usize, now: Instant) {
        if count == 0 {
            return;
        }
        let passed = now - self.since;
        if passed >= RATE_WINDOW {
            let last = if passed < RATE_WINDOW * 2 { self.this } else { 0 };
            *self = Self { since: now, this: 0, last };
        }
        self.this += count;
    }

    /// How many end within `time` at the recent rate.
    fn within(&self, time: Duration, now: Instant) -> usize {
        let passed = now - self.since;
        let (count, over) = match passed {
            passed if passed >= RATE_WINDOW * 2 => return 0,
            passed if passed >= RATE_WINDOW => (self.this, passed),
            passed => (self.this + self.last, passed + RATE_WINDOW),
        };
        usize::try_from(count as u128 * time.as_millis() / over.as_millis().max(1)).unwrap_or(0)
    }
}

/// While the store is in trouble, as many sockets may wait as are attached in this time.
const ADMIT_AHEAD: Duration = Duration::from_secs(5);
const RATE_WINDOW: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
