//! Keeps messages for channels that deliver first until they are stored (G13): decides when each is
//! sent, by which path, and when it is sent again. Without socket, calls or clock.
//!
//! **What ends the keeping.** `archived` in a `receipts` frame, a `200` of `POST /messages`, or a final
//! refusal. The watermarks in `receipts` do not: a member's watermark passes a message that Redis lost as
//! soon as that member has a later one.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use model::{ChannelId, ErrorCode, MessageId, MessageText, Timestamp, limits};
use protocol::client_frame::SendFrame;
use protocol::frame::Refused;
use tokio::time::Instant;

mod types;

pub use types::{Delivery, DeliveryState, DeliveryWaits, OutboxFull};
pub(crate) use types::{Post, Posted};

use crate::backoff::Backoff;

/// A message by its channel and id.
pub(crate) type Key = (ChannelId, MessageId);

#[derive(Debug)]
struct Kept {
    text: MessageText,
    state: DeliveryState,
    stage: Stage,
    /// How often it was sent and not stored in time.
    rounds: u32,
    /// How many calls failed, or brought nothing.
    posts: u32,
}

impl Kept {
    fn delivery(&self, (channel_id, id): &Key) -> Delivery {
        let (text, state) = (self.text.clone(), self.state.clone());
        Delivery { channel_id: channel_id.clone(), id: *id, text, state }
    }
}

/// What happens next with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is sent on the socket as soon as possible.
    Waiting,
    /// It was sent on the socket, and is sent again if it is not stored by then.
    Sent { reference: u64, until: Instant },
    /// It was accepted, and is sent again if it is not stored by then.
    Accepted { until: Instant },
    /// It is sent by a call.
    PostAt(Instant),
    /// The call is under way.
    Posting,
    /// Nothing: it was refused for good.
    Failed,
}

/// The outbox.
#[derive(Debug)]
pub(crate) struct Deliveries {
    kept: BTreeMap<Key, Kept>,
    /// The newest id that was minted here in each channel.
    newest: BTreeMap<ChannelId, MessageId>,
    /// What this socket has not answered yet.
    asked: HashMap<u64, Key>,
    last_reference: u64,
    is_online: bool,
    socket: Socket,
    /// The node said that this socket sends too fast.
    paused_until: Option<Instant>,
    waits: DeliveryWaits,
    backoff: Backoff,
    changes: VecDeque<(Key, DeliveryState)>,
    /// What a store has not written yet; `None` without a store.
    unsaved: Option<BTreeSet<Key>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Open,
    NoneSince(Instant),
}

impl Deliveries {
    /// An empty outbox of a client that has no socket yet.
    pub(crate) fn new(waits: DeliveryWaits, backoff: Backoff, now: Instant) -> Self {
        Self {
            kept: BTreeMap::new(),
            newest: BTreeMap::new(),
            asked: HashMap::new(),
            last_reference: REFERENCES_AFTER,
            is_online: true,
            socket: Socket::NoneSince(now),
            paused_until: None,
            waits,
            backoff,
            changes: VecDeque::new(),
            unsaved: None,
        }
    }

    /// Starts with what an earlier client kept: all of it is sent again, but for what was refused for
    /// good.
    pub(crate) fn restore(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { channel_id, id, text, state } in deliveries {
            let newest = self.newest.entry(channel_id.clone()).or_insert(id);
            *newest = id.max(*newest);
            self.put((channel_id, id), text, state);
        }
    }

    /// Notes changes for a store from now on, and what is there already.
    pub(crate) fn save_from_now(&mut self) {
        self.unsaved = Some(self.kept.keys().cloned().collect());
    }

    /// What a store has to write: messages, or `None` for those that are not kept any more.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(Key, Option<Delivery>)> {
        let unsaved = self.unsaved.as_mut().map(std::mem::take).unwrap_or_default();
        let kept = |key: Key| {
            let kept = self.kept.get(&key).map(|kept| kept.delivery(&key));
            (key, kept)
        };
        unsaved.into_iter().map(kept).collect()
    }

    fn note_unsaved(&mut self, key: &Key) {
        if let Some(unsaved) = &mut self.unsaved {
            unsaved.insert(key.clone());
        }
    }

    /// Mints an id for the server's time, which sorts after every message of the channel that was minted
    /// here or seen.
    pub(crate) fn mint(
        &mut self,
        channel: &ChannelId,
        seen: Option<MessageId>,
        (server_now, random): (Timestamp, u128),
    ) -> MessageId {
        let floor = self.newest.get(channel).copied().max(seen);
        let time = floor.map_or(server_now, |floor| floor.time().max(server_now));
        let minted = MessageId::mint(time, random);
        let is_above = floor.is_none_or(|floor| minted > floor);
        // Others may mint above the same message in the same millisecond.
        let above = floor.filter(|_| !is_above).and_then(|floor| floor.above(random));
        let id = above.unwrap_or(minted);
        self.newest.insert(channel.clone(), id);
        id
    }

    /// Takes a message and mints its id.
    ///
    /// # Errors
    /// [`OutboxFull`].
    pub(crate) fn add(
        &mut self,
        channel: &ChannelId,
        text: MessageText,
        seen: Option<MessageId>,
        minting: (Timestamp, u128),
    ) -> Result<MessageId, OutboxFull> {
        if self.kept.len() >= KEPT_MAX {
            return Err(OutboxFull);
        }
        let id = self.mint(channel, seen, minting);
        let key = (channel.clone(), id);
        self.put(key.clone(), text, DeliveryState::Queued);
        self.note_unsaved(&key);
        self.changes.push_back((key, DeliveryState::Queued));
        Ok(id)
    }

    fn put(&mut self, key: Key, text: MessageText, state: DeliveryState) {
        let failed = matches!(state, DeliveryState::Failed { .. });
        let stage = if failed { Stage::Failed } else { Stage::Waiting };
        self.kept.insert(key, Kept { text, state, stage, rounds: 0, posts: 0 });
    }

    /// All messages that are kept, in order of channel and id.
    pub(crate) fn list(&self) -> Vec<Delivery> {
        self.kept.iter().map(|(key, kept)| kept.delivery(key)).collect()
    }

    /// Forgets a failed message. Returns its text; `None` if there is no such message, or it is still
    /// being sent.
    pub(crate) fn discard(&mut self, channel: &ChannelId, id: MessageId) -> Option<MessageText> {
        let key = (channel.clone(), id);
        let is_failed = self.kept.get(&key)?.stage == Stage::Failed;
        if !is_failed {
            return None;
        }
        self.note_unsaved(&key);
        self.kept.remove(&key).map(|kept| kept.text)
    }

    /// A socket is open whose node takes `send`.
    pub(crate) fn socket_opened(&mut self) {
        self.asked.clear();
        (self.socket, self.paused_until) = (Socket::Open, None);
        for kept in self.kept.values_mut() {
            let is_new = kept.state == DeliveryState::Queued;
            // A call was only the way around the missing socket.
            if matches!(kept.stage, Stage::PostAt(_)) && is_new {
                kept.stage = Stage::Waiting;
            }
        }
    }

    /// The socket has ended: what it did not answer is sent again on the next one.
    pub(crate) fn socket_lost(&mut self, now: Instant) {
        self.asked.clear();
        if self.socket == Socket::Open {
            self.socket = Socket::NoneSince(now);
        }
        for kept in self.kept.values_mut() {
            if matches!(kept.stage, Stage::Sent { .. }) {
                kept.stage = Stage::Waiting;
            }
        }
    }

    /// The program went offline or online: an offline client makes no calls.
    pub(crate) fn set_online(&mut self, is_online: bool, now: Instant) {
        if self.is_online == is_online {
            return;
        }
        self.is_online = is_online;
        if let Socket::NoneSince(since) = &mut self.socket {
            *since = now;
        }
        for kept in self.kept.values_mut() {
            if !is_online && kept.stage == Stage::Posting {
                kept.stage = Stage::PostAt(now);
            }
        }
    }

    pub(crate) const fn is_online(&self) -> bool {
        self.is_online
    }

    /// What to send on the socket now, in the order of each channel's ids.
    pub(crate) fn sends(&mut self, now: Instant) -> Vec<SendFrame> {
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        if self.socket != Socket::Open || is_paused {
            return Vec::new();
        }
        let (until, mut frames) = (now + self.waits.archived, Vec::new());
        for (key, kept) in &mut self.kept {
            if self.asked.len() >= limits::UNANSWERED_MAX {
                break;
            }
            if kept.stage == Stage::Waiting {
                self.last_reference += 1;
                let reference = self.last_reference;
                kept.stage = Stage::Sent { reference, until };
                self.asked.insert(reference, key.clone());
                let ((channel_id, id), text) = (key.clone(), kept.text.clone());
                frames.push(SendFrame {
                    reference,
                    channel_id,
                    id,
                    text,
                    after: None,
                    quote: None,
                });
            }
        }
        frames
    }

    /// The calls to make now: at most one in a channel at a time.
    pub(crate) fn posts(&mut self, now: Instant) -> Vec<Post> {
        self.expire(now);
        let mut posts = Vec::new();
        if !self.is_online {
            return posts;
        }
        let mut busy = self.busy();
        for (key, kept) in &mut self.kept {
            let is_due = matches!(kept.stage, Stage::PostAt(at) if at <= now);
            if is_due && busy.len() < POSTS_MAX && busy.insert(key.0.clone()) {
                kept.stage = Stage::Posting;
                posts.push(Post { key: key.clone(), text: kept.text.clone() });
            }
        }
        posts
    }

    /// Moves on what was not stored in time, and what waited too long for a socket.
    fn expire(&mut self, now: Instant) {
        let without_socket = match self.socket {
            Socket::Open => false,
            Socket::NoneSince(since) => now >= since + self.waits.socket,
        };
        for kept in self.kept.values_mut() {
            if let Stage::Sent { until, .. } | Stage::Accepted { until } = kept.stage
                && until <= now
            {
                if let Stage::Sent { reference, .. } = kept.stage {
                    self.asked.remove(&reference);
                }
                kept.rounds += 1;
                let again = kept.rounds <= SENT_AGAIN_MAX;
                kept.stage = if again { Stage::Waiting } else { Stage::PostAt(now) };
            }
            if kept.stage == Stage::Waiting && without_socket {
                kept.stage = Stage::PostAt(now);
            }
        }
        self.paused_until = self.paused_until.filter(|until| now < *until);
    }

    /// When to look again.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let no_socket_at = match self.socket {
            Socket::Open => self.paused_until,
            Socket::NoneSince(since) => Some(since + self.waits.socket),
        };
        let busy = self.busy();
        let may_post = self.is_online && busy.len() < POSTS_MAX;
        let due_at = |((channel, _), kept): (&Key, &Kept)| match kept.stage {
            Stage::Waiting => no_socket_at,
            Stage::Sent { until, .. } | Stage::Accepted { until } => Some(until),
            // Otherwise the end of a call is the time to look.
            Stage::PostAt(at) => Some(at).filter(|_| may_post && !busy.contains(channel)),
            Stage::Posting | Stage::Failed => None,
        };
        self.kept.iter().filter_map(due_at).min()
    }

    /// The channels with a call under way.
    fn busy(&self) -> BTreeSet<ChannelId> {
        let posting = self.kept.iter().filter(|(_, kept)| kept.stage == Stage::Posting);
        posting.map(|((channel, _), _)| channel.clone()).collect()
    }

    /// A `send` was accepted. Returns whether it was one of this outbox.
    pub(crate) fn on_accepted(&mut self, reference: u64, replicated: bool, now: Instant) -> bool {
        let until = now + self.waits.archived;
        let key = self.asked.remove(&reference);
        if let Some((key, kept)) = key.and_then(|key| self.kept.get_mut(&key).map(|it| (key, it))) {
            kept.stage = Stage::Accepted { until };
            let state = DeliveryState::Accepted { replicated };
            if kept.state != state {
                kept.state = state.clone();
                self.changes.push_back((key, state));
            }
        }
        reference > REFERENCES_AFTER
    }

    /// A `send` was refused. Returns whether it was one of this outbox.
    pub(crate) fn on_refused(&mut self, refused: &Refused, now: Instant) -> bool {
        let Some(reference) = refused.reference else { return false };
        let Some(key) = self.asked.remove(&reference) else { return reference > REFERENCES_AFTER };
        if refused.code == ErrorCode::RateLimited.as_str() {
            let wait = refused.retry_after.unwrap_or(PAUSE).min(limits::CLIENT_WAIT_MAX);
            self.paused_until = self.paused_until.max(Some(now + wait));
            self.set_stage(&key, Stage::Waiting);
        } else if refused.retryable {
            let wait = match self.kept.get(&key) {
                Some(kept) if kept.posts > 0 => self.post_wait(kept.posts, &key),
                Some(_) | None => Duration::ZERO,
            };
            self.set_stage(&key, Stage::PostAt(now + wait));
        } else {
            self.fail(key, refused.code.clone());
        }
        true
    }

    /// Messages of a channel are stored.
    pub(crate) fn on_archived(&mut self, channel: &ChannelId, archived: &[MessageId]) {
        for id in archived {
            self.stored((channel.clone(), *id));
        }
    }

    /// A call has ended.
    pub(crate) fn on_posted(&mut self, key: Key, posted: Posted, now: Instant) {
        if self.kept.get(&key).is_none_or(|kept| kept.stage != Stage::Posting) {
            return;
        }
        match posted {
            Posted::Stored => self.stored(key),
            Posted::Failed(code) => self.fail(key, code),
            Posted::Later(asked) => {
                let posts = self.kept.get_mut(&key).map_or(0, |kept| {
                    kept.posts += 1;
                    kept.posts
                });
                let asked = asked.unwrap_or_default().min(limits::CLIENT_WAIT_MAX);
                let wait = self.post_wait(posts, &key).max(asked);
                self.set_stage(&key, Stage::PostAt(now + wait));
            }
        }
    }

    /// How long to wait after a number of calls that brought nothing. What Redis has can wait longer than
    /// what nobody has.
    fn post_wait(&mut self, posts: u32, key: &Key) -> Duration {
        let is_new = self.kept.get(key).is_some_and(|kept| kept.state == DeliveryState::Queued);
        if is_new {
            return self.backoff.wait_after(posts.saturating_sub(1));
        }
        let bounds = (self.waits.archived, self.waits.longest);
        let wait = model::backoff(bounds, posts.saturating_sub(1));
        wait + self.backoff.jitter(wait)
    }

    fn set_stage(&mut self, key: &Key, stage: Stage) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.stage = stage;
        }
    }

    fn stored(&mut self, key: Key) {
        if self.kept.remove(&key).is_some() {
            self.note_unsaved(&key);
            self.changes.push_back((key, DeliveryState::Archived));
        }
    }

    fn fail(&mut self, key: Key, code: String) {
        if code == ErrorCode::IdOutOfRange.as_str() {
            self.lower_newest(&key);
        }
        if let Some(kept) = self.kept.get_mut(&key) {
            let state = DeliveryState::Failed { code };
            (kept.stage, kept.state) = (Stage::Failed, state.clone());
            self.note_unsaved(&key);
            self.changes.push_back((key, state));
        }
    }

    /// Forgets the newest id if its time is not now, as of a device whose clock was minutes ahead: what
    /// sorts after it would be refused, too, until that time has come.
    fn lower_newest(&mut self, (channel, id): &Key) {
        if self.newest.get(channel) != Some(id) {
            return;
        }
        let is_before = |((of, other), kept): &(&Key, &Kept)| {
            of == channel && other < id && kept.stage != Stage::Failed
        };
        let before = self.kept.iter().filter(is_before).map(|((_, id), _)| *id).max();
        match before {
            Some(before) => self.newest.insert(channel.clone(), before),
            None => self.newest.remove(channel),
        };
    }

    /// What the program is to be told, in order.
    pub(crate) fn take_changes(&mut self) -> VecDeque<(Key, DeliveryState)> {
        std::mem::take(&mut self.changes)
    }
}

/// Messages that an outbox keeps: with texts of 12 KiB it is bounded by 12 MiB.
const KEPT_MAX: usize = 1_000;
/// Channels with a call under way.
const POSTS_MAX: usize = 4;
/// How often a message is sent on a socket again that was not stored in time.
const SENT_AGAIN_MAX: u32 = 1;
/// The wait after `rate_limited` if the node names none.
const PAUSE: Duration = Duration::from_secs(1);
/// Numbers of `send` above this are the outbox's; `Client::say` counts below.
const REFERENCES_AFTER: u64 = 1 << 32;

#[cfg(test)]
mod tests;
