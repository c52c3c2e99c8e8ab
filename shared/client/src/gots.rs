//! Tells nodes how far this client has the messages of channels that deliver first (G14). Without socket
//! or clock.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ChannelId, MessageId};
use protocol::client_frame::ClientFrame;
use tokio::time::Instant;

/// What the client has, and what it said of it.
#[derive(Debug, Default)]
pub(crate) struct Gots {
    /// The newest message that is here and not told.
    untold: BTreeMap<ChannelId, MessageId>,
    /// What was told, and when.
    told: BTreeMap<ChannelId, (MessageId, Instant)>,
    /// No frame before.
    next_at: Option<Instant>,
}

/// Whether the client may say that it has a channel's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Now,
    /// Messages before it may be missing, or the channel's contract is unknown.
    Later,
    /// The channel has no receipts.
    Never,
}

impl Gots {
    /// The client has a message for good.
    pub(crate) fn note(&mut self, channel: &ChannelId, id: MessageId) {
        if self.told.get(channel).is_none_or(|(told, _)| id > *told) {
            let newest = self.untold.entry(channel.clone()).or_insert(id);
            *newest = id.max(*newest);
        }
    }

    /// A socket opened. A node tells others what it was told within [`LOST_WITHIN`]: if it died before,
    /// nobody else knows, so it is told again.
    pub(crate) fn socket_opened(&mut self, lost_at: Option<Instant>) {
        self.next_at = None;
        let Some(lost_at) = lost_at else { return };
        let is_unsure = |at: Instant| at + LOST_WITHIN >= lost_at;
        let unsure = self.told.extract_if(.., |_, (_, at)| is_unsure(*at));
        for (channel, (id, _)) in unsure {
            let newest = self.untold.entry(channel).or_insert(id);
            *newest = id.max(*newest);
        }
    }

    /// Sends every `got` again, because the node dropped them.
    pub(crate) fn tell_again(&mut self) {
        for (channel, (id, _)) in std::mem::take(&mut self.told) {
            let newest = self.untold.entry(channel).or_insert(id);
            *newest = id.max(*newest);
        }
    }

    /// What to say now: the newest of each channel, a few channels at a time.
    pub(crate) fn frames(
        &mut self,
        now: Instant,
        telling: impl Fn(&ChannelId) -> Telling,
    ) -> Vec<ClientFrame> {
        if self.next_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        self.untold.retain(|channel, _| telling(channel) != Telling::Never);
        let may_tell = |(channel, _): &(&ChannelId, &MessageId)| telling(channel) == Telling::Now;
        let due = self.untold.iter().filter(may_tell).take(AT_ONCE);
        let due: Vec<(ChannelId, MessageId)> =
            due.map(|(id, up_to)| (id.clone(), *up_to)).collect();
        if !due.is_empty() {
            self.next_at = Some(now + EVERY);
        }
        let tell = |(channel_id, up_to): (ChannelId, MessageId)| {
            self.untold.remove(&channel_id);
            self.told.insert(channel_id.clone(), (up_to, now));
            ClientFrame::Got { channel_id, up_to }
        };
        due.into_iter().map(tell).collect()
    }

    /// When there is something to say.
    pub(crate) fn due_at(
        &self,
        now: Instant,
        telling: impl Fn(&ChannelId) -> Telling,
    ) -> Option<Instant> {
        let is_due = self.untold.keys().any(|channel| telling(channel) == Telling::Now);
        is_due.then(|| self.next_at.map_or(now, |at| at.max(now)))
    }
}

/// The time between two frames of a channel.
const EVERY: Duration = Duration::from_millis(500);
/// Channels of which something is said at once: with [`EVERY`], half of what a socket may say.
const AT_ONCE: usize = 10;
/// A node merges receipts for 5 s at most, in a channel of 100 members.
const LOST_WITHIN: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server::{at, general};

    fn id(ms: u64) -> MessageId {
        MessageId::mint(at(ms), 7)
    }

    fn got(channel: &ChannelId, ms: u64) -> ClientFrame {
        ClientFrame::Got { channel_id: channel.clone(), up_to: id(ms) }
    }

    fn always(_: &ChannelId) -> Telling {
        Telling::Now
    }

    #[test]
    fn the_newest_of_a_channel_is_told_twice_a_second_at_most() {
        let (mut gots, now, channel) = (Gots::default(), Instant::now(), general());
        assert_eq!(gots.due_at(now, always), None);
        for ms in [3, 5, 4] {
            gots.note(&channel, id(ms));
        }
        assert_eq!(gots.due_at(now, always), Some(now));
        assert_eq!(gots.frames(now, always), [got(&channel, 5)]);
        gots.note(&channel, id(5));
        assert_eq!(gots.due_at(now, always), None, "it is told");
        gots.note(&channel, id(6));
        assert_eq!(gots.due_at(now, always), Some(now + EVERY));
        assert_eq!(gots.frames(now + EVERY / 2, always), []);
        assert_eq!(gots.frames(now + EVERY, always), [got(&channel, 6)]);
    }

    #[test]
    fn nothing_is_told_while_messages_before_it_may_be_missing() {
        let (mut gots, now, channel) = (Gots::default(), Instant::now(), general());
        gots.note(&channel, id(3));
        assert_eq!(gots.due_at(now, |_| Telling::Later), None);
        assert_eq!(gots.frames(now, |_| Telling::Later), []);
        assert_eq!(gots.frames(now, always), [got(&channel, 3)]);
        gots.note(&channel, id(4));
        assert_eq!(gots.frames(now + EVERY, |_| Telling::Never), []);
        assert_eq!(gots.due_at(now + EVERY, always), None, "forgotten");
    }

    #[test]
    fn what_the_node_dropped_is_told_again() {
        let (mut gots, now) = (Gots::default(), Instant::now());
        gots.note(&general(), id(3));
        gots.frames(now, always);
        gots.tell_again();
        assert_eq!(gots.frames(now + EVERY, always), [got(&general(), 3)]);
    }

    #[test]
    fn a_new_node_is_told_again_what_the_last_one_may_have_kept_to_itself() {
        let (mut gots, now) = (Gots::default(), Instant::now());
        let other = ChannelId::mint_group(at(0), 2);
        gots.note(&general(), id(3));
        gots.frames(now, always);
        let later = now + LOST_WITHIN * 2;
        gots.note(&other, id(4));
        gots.frames(later, always);
        gots.socket_opened(Some(later));
        assert_eq!(gots.frames(later, always), [got(&other, 4)]);
    }

    #[test]
    fn many_channels_are_told_a_few_at_a_time() {
        let (mut gots, now) = (Gots::default(), Instant::now());
        for n in 0..25 {
            gots.note(&ChannelId::mint_group(at(0), n), id(3));
        }
        let told = [0, 1, 2].map(|n| gots.frames(now + EVERY * n, always).len());
        assert_eq!(told, [10, 10, 5]);
    }
}
