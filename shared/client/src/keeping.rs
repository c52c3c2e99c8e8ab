//! Tells nodes which messages this device keeps for good, in channels where nobody stores what all devices
//! keep (ADR 0046). Without socket or clock.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ChannelId, MessageId, limits};
use protocol::client_frame::ClientFrame;
use tokio::time::Instant;

use crate::gots::Telling;
use crate::inbox::Inbox;

/// What the device keeps, and what it said of it. What it does not say is stored by the server.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// When it was noted that a message is kept. Soon it is too late to say so.
    untold: BTreeMap<ChannelId, BTreeMap<MessageId, Instant>>,
    /// The messages that nodes were told of, and when.
    told: BTreeMap<(ChannelId, MessageId), Instant>,
    /// No frame before.
    next_at: Option<Instant>,
}

impl Keeping {
    /// The device keeps a message for good.
    pub(crate) fn note(&mut self, channel: &ChannelId, id: MessageId, now: Instant) {
        let ids = self.untold.entry(channel.clone()).or_default();
        ids.insert(id, now);
        if ids.len() > UNTOLD_MAX {
            ids.pop_first();
        }
    }

    /// A socket opened. The node of the one before may have died before it wrote down what it was told last:
    /// that is told again.
    pub(crate) fn socket_opened(&mut self, lost_at: Option<Instant>) {
        self.next_at = None;
        let Some(lost_at) = lost_at else { return };
        for ((channel, id), at) in std::mem::take(&mut self.told) {
            if at + WRITTEN_WITHIN >= lost_at {
                self.untold.entry(channel).or_default().insert(id, at);
            }
        }
    }

    /// What to say now: the newest messages first. What the inbox has no more is not kept any longer.
    pub(crate) fn frames(&mut self, now: Instant, inbox: &Inbox) -> Vec<ClientFrame> {
        if self.next_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let in_time = |at: &Instant| *at + limits::KEEPERS_TTL > now;
        self.told.retain(|_, at| in_time(at));
        self.untold.retain(|channel, ids| {
            let telling = inbox.keeping(channel);
            let is_here = |id| inbox.timeline(channel).is_some_and(|it| it.get(id).is_some());
            ids.retain(|id, at| in_time(at) && (telling == Telling::Later || is_here(*id)));
            !ids.is_empty() && telling != Telling::Never
        });
        let tellable = self.untold.iter_mut();
        let tellable = tellable.filter(|(channel, _)| inbox.keeping(channel) == Telling::Now);
        let mut frames = Vec::new();
        for (channel, untold) in tellable.take(AT_ONCE) {
            let mut ids: Vec<MessageId> =
                untold.keys().rev().take(limits::KEPT_IDS_MAX).copied().collect();
            ids.reverse();
            for id in &ids {
                untold.remove(id);
                self.told.insert((channel.clone(), *id), now);
            }
            frames.push(ClientFrame::Kept { channel_id: channel.clone(), ids });
        }
        if !frames.is_empty() {
            self.next_at = Some(now + EVERY);
        }
        frames
    }

    /// When there is something to say.
    pub(crate) fn due_at(&self, now: Instant, inbox: &Inbox) -> Option<Instant> {
        let mut untold = self.untold.iter().filter(|(_, ids)| !ids.is_empty());
        let is_due = untold.any(|(channel, _)| inbox.keeping(channel) == Telling::Now);
        is_due.then(|| self.next_at.map_or(now, |at| at.max(now)))
    }
}

/// The time between two frames of a channel.
const EVERY: Duration = Duration::from_millis(500);
/// Channels of which something is said at once: with [`EVERY`], a quarter of what a socket may say.
const AT_ONCE: usize = 5;
/// A node writes down what it was told after 5 s at most: in a channel of 100 members.
const WRITTEN_WITHIN: Duration = Duration::from_secs(6);
/// Messages of a channel that wait to be told.
const UNTOLD_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use model::Contract;

    use super::*;
    use crate::fake_server::{at, general, message};

    fn id(ms: u64) -> MessageId {
        message(ms).id
    }

    fn kept(ids: impl IntoIterator<Item = u64>) -> ClientFrame {
        ClientFrame::Kept { channel_id: general(), ids: ids.into_iter().map(id).collect() }
    }

    /// A channel of this contract with so many messages, all of which are noted.
    fn noted(count: u64, contract: Option<Contract>, now: Instant) -> (Keeping, Inbox) {
        let (mut keeping, mut inbox) = (Keeping::default(), Inbox::new(1_000));
        inbox.add_channel(&general(), at(0));
        contract.into_iter().for_each(|contract| inbox.set_contract(&general(), contract));
        for ms in 0..count {
            inbox.upsert(message(ms));
            keeping.note(&general(), id(ms), now);
        }
        (keeping, inbox)
    }

    const ACKED: Option<Contract> = Some(Contract::DeliverUntilAcked);

    #[test]
    fn g13_a_device_names_what_it_keeps_once_and_the_newest_first() {
        let now = Instant::now();
        let (mut it, inbox) = noted(150, ACKED, now);
        assert_eq!(it.due_at(now, &inbox), Some(now));
        assert_eq!(it.frames(now, &inbox), [kept(50..150)]);
        assert_eq!(it.due_at(now, &inbox), Some(now + EVERY));
        assert_eq!(it.frames(now + EVERY / 2, &inbox), []);
        assert_eq!(it.frames(now + EVERY, &inbox), [kept(0..50)]);
        assert_eq!(it.due_at(now + EVERY, &inbox), None);
    }

    #[test]
    fn g13_nothing_is_said_where_everything_is_stored_or_nothing_is_known() {
        let now = Instant::now();
        let (mut it, mut inbox) = noted(1, None, now);
        assert_eq!((it.frames(now, &inbox), it.due_at(now, &inbox)), (vec![], None));
        inbox.set_contract(&general(), Contract::DeliverUntilAcked);
        assert_eq!(it.frames(now, &inbox), [kept([0])], "it is known now");
        let (mut it, mut inbox) = noted(1, Some(Contract::DeliverFirst), now);
        assert_eq!(it.frames(now, &inbox), []);
        inbox.set_contract(&general(), Contract::DeliverUntilAcked);
        assert_eq!(it.frames(now, &inbox), [], "forgotten");
    }

    #[test]
    fn g13_what_was_forgotten_meanwhile_is_not_said() {
        let now = Instant::now();
        let (mut it, mut inbox) = noted(2, None, now);
        inbox.restart_channel(&general(), at(9));
        inbox.upsert(message(1));
        inbox.set_contract(&general(), Contract::DeliverUntilAcked);
        assert_eq!(it.frames(now, &inbox), [kept([1])]);
    }

    #[test]
    fn g13_what_is_decided_by_now_is_not_said() {
        let now = Instant::now();
        let (mut it, inbox) = noted(1, ACKED, now);
        assert_eq!(it.frames(now + limits::KEEPERS_TTL, &inbox), []);
    }

    #[test]
    fn g13_what_a_lost_node_may_not_have_passed_on_is_said_again() {
        let now = Instant::now();
        let (mut it, inbox) = noted(2, ACKED, now);
        it.untold.get_mut(&general()).unwrap().remove(&id(1));
        assert_eq!(it.frames(now, &inbox), [kept([0])]);
        let later = now + WRITTEN_WITHIN;
        it.note(&general(), id(1), later);
        assert_eq!(it.frames(later, &inbox), [kept([1])]);
        it.socket_opened(Some(later + EVERY));
        assert_eq!(it.frames(later + EVERY, &inbox), [kept([1])]);
        it.socket_opened(None);
        assert_eq!(it.frames(later + EVERY, &inbox), []);
    }

    #[test]
    fn what_waits_is_bounded() {
        let (mut it, now) = (Keeping::default(), Instant::now());
        (0..=UNTOLD_MAX as u64).for_each(|ms| it.note(&general(), id(ms), now));
        assert_eq!(it.untold[&general()].len(), UNTOLD_MAX);
    }
}
