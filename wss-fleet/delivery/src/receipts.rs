//! How far the messages of channels that deliver first have come (G14): what is to be told, and when.
//!
//! Watermarks are merged until they are told, so that a channel costs each viewer one frame an interval,
//! whatever happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ChannelId, MessageId, Timestamp, UserId, limits};
use protocol::receipts::{ReceiptsSignal, UserDevice};

/// What is to be told of all channels.
#[derive(Debug, Default)]
pub(crate) struct Receipts(BTreeMap<ChannelId, Channel>);

#[derive(Debug, Default)]
struct Channel {
    /// What clients here have got, for all nodes.
    got: BTreeMap<UserId, MessageId>,
    /// Which messages devices here keep for good (ADR 0046).
    kept: BTreeSet<(MessageId, UserDevice)>,
    passed_at: Option<Timestamp>,
    news: News,
    told_at: Option<Timestamp>,
}

/// What sockets of this node are to be told of a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) delivered: BTreeMap<UserId, MessageId>,
    pub(crate) read: BTreeMap<UserId, MessageId>,
    /// By sender.
    pub(crate) archived: BTreeMap<UserId, BTreeSet<MessageId>>,
}

/// What is due of one channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) channel: ChannelId,
    /// For all nodes.
    pub(crate) got: Vec<(UserId, MessageId)>,
    pub(crate) kept: Vec<(MessageId, UserDevice)>,
    /// For sockets here.
    pub(crate) news: News,
}

impl Receipts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A client has all messages up to here.
    pub(crate) fn got(&mut self, channel: &ChannelId, user: &UserId, up_to: MessageId) {
        raise(&mut self.0.entry(channel.clone()).or_default().got, user, up_to);
    }

    /// A device keeps a message of a channel.
    pub(crate) fn keeps(&mut self, channel: &ChannelId, id: MessageId, device: UserDevice) {
        self.0.entry(channel.clone()).or_default().kept.insert((id, device));
    }

    /// Something happened, here or on another node. Watermarks are kept only where somebody views the
    /// channel, and ids only of senders who are here.
    pub(crate) fn happened(
        &mut self,
        signal: &ReceiptsSignal,
        is_viewed: bool,
        is_here: impl Fn(&UserId) -> bool,
    ) {
        let archived: Vec<_> = signal.archived.iter().filter(|(_, user)| is_here(user)).collect();
        if !is_viewed && archived.is_empty() {
            return;
        }
        let news = &mut self.0.entry(signal.channel_id.clone()).or_default().news;
        if is_viewed {
            signal.delivered.iter().for_each(|(user, id)| raise(&mut news.delivered, user, *id));
            signal.read.iter().for_each(|(user, id)| raise(&mut news.read, user, *id));
        }
        for (id, user) in archived {
            let ids = news.archived.entry(user.clone()).or_default();
            // A sender who is not told sends again.
            if ids.len() < limits::RECEIPTS_ARCHIVED_MAX {
                ids.insert(*id);
            }
        }
    }

    /// What is due now. `members` says how many members a channel has.
    pub(crate) fn due(
        &mut self,
        now: Timestamp,
        members: impl Fn(&ChannelId) -> usize,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        self.0.retain(|channel, it| {
            let every = interval(members(channel));
            let is_over =
                |at: Option<Timestamp>| at.is_none_or(|at| now < at || now.since(at) >= every);
            let has_notes = |it: &Channel| !(it.got.is_empty() && it.kept.is_empty());
            let passes = has_notes(it) && is_over(it.passed_at);
            let tells = it.news != News::default() && is_over(it.told_at);
            let (got, kept) = (Vec::new(), Vec::new());
            let mut one = Due { channel: channel.clone(), got, kept, news: News::default() };
            if passes {
                it.passed_at = Some(now);
                one.got = std::mem::take(&mut it.got).into_iter().collect();
                one.kept = std::mem::take(&mut it.kept).into_iter().collect();
            }
            if tells {
                it.told_at = Some(now);
                one.news = std::mem::take(&mut it.news);
            }
            if passes || tells {
                due.push(one);
            }
            // Kept while it has something to tell, or has just told.
            let is_empty = !has_notes(it) && it.news == News::default();
            !(is_empty && is_over(it.passed_at) && is_over(it.told_at))
        });
        due
    }
}

/// How often a channel's receipts are told: seldom where many members make many of them.
fn interval(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    limits::RECEIPTS_EVERY.max(limits::RECEIPTS_EVERY_A_MEMBER.saturating_mul(members))
}

fn raise(marks: &mut BTreeMap<UserId, MessageId>, user: &UserId, to: MessageId) {
    let mark = marks.entry(user.clone()).or_insert(to);
    *mark = to.max(*mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn id(n: u64) -> MessageId {
        MessageId::mint(Timestamp::from_unix_ms(n), 0)
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    fn channel() -> ChannelId {
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
    }

    fn delivered(to: &str, n: u64) -> ReceiptsSignal {
        let (channel_id, delivered) = (channel(), vec![(user(to), id(n))]);
        ReceiptsSignal { channel_id, delivered, read: Vec::new(), archived: Vec::new() }
    }

    #[test]
    fn g14_a_channel_costs_one_frame_an_interval_whatever_happens() {
        let mut receipts = Receipts::default();
        let mut frames = 0;
        for ms in 0..20_000 {
            receipts.happened(&delivered(&format!("u{}", ms % 100), ms), true, |_| false);
            let due = receipts.due(at(ms), |_| 100);
            frames += due.len();
        }
        assert_eq!(frames, 4, "100 members: every 5 s, in 20 s");
    }

    #[test]
    fn g14_watermarks_only_grow() {
        let mut receipts = Receipts::default();
        for n in [5, 9, 7] {
            receipts.happened(&delivered("bob", n), true, |_| false);
            receipts.got(&channel(), &user("ann"), id(n));
        }
        let [due] = &receipts.due(at(0), |_| 2)[..] else { panic!() };
        assert_eq!(due.news.delivered, BTreeMap::from([(user("bob"), id(9))]));
        assert_eq!(due.got, [(user("ann"), id(9))]);
    }

    #[test]
    fn only_senders_who_are_here_are_told_what_is_stored() {
        let mut receipts = Receipts::default();
        let archived = vec![(id(1), user("ann")), (id(2), user("bob"))];
        let signal = ReceiptsSignal { archived, delivered: Vec::new(), ..delivered("x", 1) };
        receipts.happened(&signal, false, |sender| *sender == user("ann"));
        let [due] = &receipts.due(at(0), |_| 2)[..] else { panic!() };
        assert_eq!(due.news.archived, BTreeMap::from([(user("ann"), BTreeSet::from([id(1)]))]));
        receipts.happened(&delivered("bob", 1), false, |_| false);
        assert_eq!(receipts.due(at(60_000), |_| 2), []);
        assert!(receipts.is_empty());
    }
}
