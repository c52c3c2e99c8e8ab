//! K15 and K16: channels that deliver first (G13, G14). What their outboxes took is in the archive at the
//! end, once and as it was, and everybody has what the archive has. What a node accepted is in a spool
//! or in the archive, and no receipt is ahead of what a device said.

mod acked;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use model::{ChannelId, DeviceId, MessageId, TextDigest, UserId};

use self::acked::Acked;
use crate::checks::Clients;
use crate::history::{ClientId, Event, History, StoredItem};
use crate::members::Members;
use crate::verdict::{Bounds, Check, Verdict};

/// What happens in channels that deliver first. Frames are recorded as they pass between a socket and its
/// client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivering {
    /// A channel that delivers first was created.
    Opened {
        /// The channel.
        channel: ChannelId,
        /// Whether nobody stores what all devices have.
        keeps_acked: bool,
    },
    /// A client took a message into its outbox.
    Takes {
        /// Which client.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// The message's id, which every attempt carries.
        id: MessageId,
        /// Its text.
        text: TextDigest,
    },
    /// A client sent it on a socket.
    Sent {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
    },
    /// A client is a process of a device.
    Runs {
        /// Which client.
        client: ClientId,
        /// On which device. It has what any of its processes has.
        device: DeviceId,
    },
    /// A node told a client that it is accepted.
    Accepted {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
        /// When the client sent what is answered.
        sent: Duration,
        /// Whether a spool or the archive has it now.
        is_kept: bool,
    },
    /// A node told a client that it is stored.
    Archived {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
        /// Whether the archive has it now.
        is_stored: bool,
    },
    /// It was refused for good, and its client said so.
    Failed {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
    },
    /// Nobody will send it again: the device that kept it is gone.
    Abandoned {
        /// The channel.
        channel: ChannelId,
        /// The message.
        id: MessageId,
    },
    /// A client said that it has a channel's messages.
    Got {
        /// Which client.
        client: ClientId,
        /// The channel.
        channel: ChannelId,
        /// Up to which one.
        up_to: MessageId,
    },
    /// A node told a client how far a user has a channel's messages.
    Receipt {
        /// The user.
        user: UserId,
        /// The channel.
        channel: ChannelId,
        /// Up to which one.
        up_to: MessageId,
    },
    /// A user begins to say to others up to where they have read a channel.
    Shares {
        /// The user.
        user: UserId,
        /// The channel.
        channel: ChannelId,
        /// Up to which message.
        up_to: MessageId,
    },
    /// A node told a client how far a user has read a channel.
    Read {
        /// The user.
        user: UserId,
        /// The channel.
        channel: ChannelId,
        /// Up to which message.
        up_to: MessageId,
    },
    /// A user read the newest page of a channel.
    Page {
        /// The channel.
        channel: ChannelId,
        /// When the call began.
        began: Duration,
        /// The oldest message of the page, unless the page has all there are.
        from: Option<MessageId>,
        /// The messages.
        ids: BTreeSet<MessageId>,
    },
}

/// A message that an outbox took.
#[derive(Debug)]
struct Taken<'a> {
    sender: Option<&'a UserId>,
    text: TextDigest,
    /// Where that is in the history, and when.
    taken: (usize, Duration),
    /// How often it was sent on a socket.
    sent: u64,
    /// When it was first accepted.
    accepted: Option<Duration>,
    is_archived: bool,
    has_failed: bool,
    is_abandoned: bool,
}

/// A message by its channel and id.
type Key<'a> = (&'a ChannelId, MessageId);

/// The channels that deliver first.
pub(crate) fn opened(history: &History) -> BTreeSet<&ChannelId> {
    let mut opened = BTreeSet::new();
    for (_, event) in &history.events {
        if let Event::Delivering(Delivering::Opened { channel, .. }) = event {
            opened.insert(channel);
        }
    }
    opened
}

pub(crate) fn delivering(
    history: &History,
    clients: &Clients,
    members: &Members,
    bounds: &Bounds,
    verdict: &mut Verdict,
) {
    let channels = opened(history);
    if channels.is_empty() {
        return;
    }
    let stored = history.stored.iter().filter(|item| channels.contains(&item.log.channel_id));
    let mut judge = Judge {
        history,
        clients,
        stored: stored.map(|item| ((&item.log.channel_id, item.id), item)).collect(),
        channels: channels.clone(),
        acked: Acked::of(history, clients, members),
        dropped: BTreeSet::new(),
        taken: BTreeMap::new(),
        losses: losses(history, bounds),
        verdict,
    };
    judge.go_through();
    judge.dropped = judge.had_by_all();
    judge.archived_once();
    judge.everybody_has_it(members, bounds.settle + bounds.sent_again);
    judge.nobody_else_has_it(members, bounds.removals_known);
    judge.pages_have_it();
}

/// When Redis may have lost data.
fn losses(history: &History, bounds: &Bounds) -> Vec<(Duration, Duration)> {
    let mut losses: Vec<(&str, Duration, Duration)> = Vec::new();
    for (at, event) in &history.events {
        match event {
            Event::FaultBegan { kind } if (bounds.ends_sessions)(kind) => {
                losses.push((kind, *at, Duration::MAX));
            }
            Event::FaultEnded { kind } => {
                let is_open = |(of, _, end): &&mut (&str, Duration, Duration)| {
                    of == kind && *end == Duration::MAX
                };
                if let Some((.., end)) = losses.iter_mut().find(is_open) {
                    *end = *at;
                }
            }
            _ => {}
        }
    }
    losses.into_iter().map(|(_, began, ended)| (began, ended)).collect()
}

impl<'a> Taken<'a> {
    fn new(sender: Option<&'a UserId>, text: TextDigest, taken: (usize, Duration)) -> Self {
        Self {
            sender,
            text,
            taken,
            sent: 0,
            accepted: None,
            is_archived: false,
            has_failed: false,
            is_abandoned: false,
        }
    }
}

struct Judge<'a> {
    history: &'a History,
    clients: &'a Clients,
    channels: BTreeSet<&'a ChannelId>,
    stored: BTreeMap<Key<'a>, &'a StoredItem>,
    acked: Acked<'a>,
    /// Messages that were not stored, and that all devices have.
    dropped: BTreeSet<Key<'a>>,
    taken: BTreeMap<Key<'a>, Taken<'a>>,
    losses: Vec<(Duration, Duration)>,
    verdict: &'a mut Verdict,
}

impl<'a> Judge<'a> {
    fn may_have_lost(&self, from: Duration, until: Duration) -> bool {
        self.losses.iter().any(|(began, ended)| *began <= until && from <= *ended)
    }

    /// Follows each message, and checks what nodes say.
    fn go_through(&mut self) {
        let mut said: HashMap<(&UserId, &ChannelId), MessageId> = HashMap::new();
        let mut shared: HashMap<(&UserId, &ChannelId), MessageId> = HashMap::new();
        let mut left = BTreeSet::new();
        for (index, (at, event)) in self.history.events.iter().enumerate() {
            if let Event::Leaves { client } = event {
                left.insert(*client);
            }
            let Event::Delivering(event) = event else { continue };
            match event {
                Delivering::Takes { client, channel, id, text } => {
                    let taken = Taken::new(self.clients.user(*client), *text, (index, *at));
                    self.taken.insert((channel, *id), taken);
                }
                Delivering::Accepted { channel, id, sent, is_kept } => {
                    self.of((channel, *id), |taken| _ = taken.accepted.get_or_insert(*at));
                    let is_nowhere = !is_kept && !self.all_have(&(channel, *id), *at);
                    if is_nowhere && !self.may_have_lost(*sent, *at) {
                        let what = format!("{id} in {channel} was accepted, and is nowhere");
                        self.verdict.note(Check::K16Accepted, what);
                    }
                }
                Delivering::Archived { channel, id, is_stored } => {
                    self.of((channel, *id), |taken| taken.is_archived = true);
                    if !is_stored && !self.all_have(&(channel, *id), *at) {
                        let what = format!("{id} in {channel} is said to be stored, and is not");
                        self.verdict.note(Check::K16Accepted, what);
                    }
                }
                Delivering::Sent { channel, id } => {
                    self.of((channel, *id), |taken| taken.sent += 1);
                }
                Delivering::Failed { channel, id } => {
                    self.of((channel, *id), |taken| taken.has_failed = true);
                }
                Delivering::Abandoned { channel, id } => {
                    self.of((channel, *id), |taken| taken.is_abandoned = true);
                }
                Delivering::Got { client, channel, up_to } => {
                    // The last frame of a process that dies: its program takes no more events.
                    if !left.contains(client) {
                        self.got(*client, channel, *up_to, *at);
                    }
                    if let Some(user) = self.clients.user(*client) {
                        let said = said.entry((user, channel)).or_insert(*up_to);
                        *said = (*said).max(*up_to);
                    }
                }
                Delivering::Receipt { user, channel, up_to } => {
                    let said = said.get(&(user, channel)).copied();
                    self.is_not_ahead("to have", (user, channel), *up_to, said);
                }
                Delivering::Shares { user, channel, up_to } => {
                    let shared = shared.entry((user, channel)).or_insert(*up_to);
                    *shared = (*shared).max(*up_to);
                }
                Delivering::Read { user, channel, up_to } => {
                    let shared = shared.get(&(user, channel)).copied();
                    self.is_not_ahead("to have read", (user, channel), *up_to, shared);
                }
                Delivering::Opened { .. } | Delivering::Runs { .. } | Delivering::Page { .. } => {}
            }
        }
    }

    /// A receipt is not ahead of what its user said.
    fn is_not_ahead(
        &mut self,
        what: &str,
        (user, channel): (&UserId, &ChannelId),
        up_to: MessageId,
        said: Option<MessageId>,
    ) {
        if said.is_none_or(|said| said < up_to) {
            let what = format!("{user} is said {what} {channel} up to {up_to}, and said {said:?}");
            self.verdict.note(Check::K16Accepted, what);
        }
    }

    fn of(&mut self, key: Key<'a>, change: impl FnOnce(&mut Taken<'a>)) {
        if let Some(taken) = self.taken.get_mut(&key) {
            change(taken);
        }
    }

    /// A device says only that it has what it was sent.
    fn got(&mut self, client: ClientId, channel: &ChannelId, up_to: MessageId, at: Duration) {
        let seen = self.clients.seen_at(client, channel, up_to);
        if seen.is_none_or(|seen| seen > at + SAYING) {
            let what = format!("{client:?} says that it has {up_to} in {channel}, since {seen:?}");
            self.verdict.note(Check::K16Accepted, what);
        }
    }

    /// What nobody stored, although it was delivered, because each device that could have it has it.
    fn had_by_all(&self) -> BTreeSet<Key<'a>> {
        let gone = self.taken.iter().filter(|((channel, id), taken)| {
            let is_over = taken.is_archived || taken.is_abandoned || taken.has_failed;
            is_over && !self.stored.contains_key(&(*channel, *id))
        });
        gone.filter(|(key, _)| self.all_have(key, Duration::MAX)).map(|(key, _)| *key).collect()
    }

    /// Whether nobody need store a message at a time.
    fn all_have(&self, (channel, id): &Key<'_>, at: Duration) -> bool {
        let taken = self.taken.get(&(*channel, *id));
        taken.is_some_and(|taken| self.acked.all_have(channel, *id, taken.taken.0, at))
    }

    /// K15: what is in the archive.
    fn archived_once(&mut self) {
        let mut by_text: HashMap<_, Vec<MessageId>> = HashMap::new();
        for ((channel, id), item) in &self.stored {
            by_text.entry((*channel, &item.sender, item.text)).or_default().push(*id);
            if !self.taken.contains_key(&(*channel, *id)) {
                let what = format!("{id} in {channel} is stored, and no outbox took it");
                self.verdict.note(Check::K15Archived, what);
            }
        }
        for found in by_text.values().filter(|found| found.len() > 1) {
            self.verdict.doubled += 1;
            self.verdict.note(Check::K15Archived, format!("one message is stored as {found:?}"));
        }
        for ((channel, id), taken) in &self.taken {
            let verdict = &mut *self.verdict;
            verdict.taken += 1;
            verdict.accepted += u64::from(taken.accepted.is_some());
            verdict.repeated += taken.sent.saturating_sub(1);
            let is_spread = || self.clients.is_seen(channel, *id);
            match self.stored.get(&(*channel, *id)) {
                None if self.dropped.contains(&(*channel, *id)) => verdict.dropped += 1,
                Some(item) => {
                    verdict.archived += 1;
                    if item.text != taken.text || Some(&item.sender) != taken.sender {
                        let what = format!("{id} in {channel} is not stored as it was taken");
                        verdict.note(Check::K15Archived, what);
                    }
                }
                None if taken.has_failed && !taken.is_archived => verdict.refused += 1,
                // It never left its device.
                None if taken.is_abandoned && taken.accepted.is_none() && !is_spread() => {}
                None if taken.is_abandoned && self.history.lost.contains(id) => verdict.hole += 1,
                None => {
                    verdict.lost += 1;
                    verdict
                        .note(Check::K15Archived, format!("{id} in {channel} is lost: {taken:?}"));
                }
            }
        }
    }

    /// K15, and K7's time: everybody has what the archive has, soon after it was accepted, and shows nothing
    /// else but what was lost with its sender.
    fn everybody_has_it(&mut self, members: &Members, settle: Duration) {
        for (name, client) in self.clients.lasting() {
            for (channel, since) in members.channels_of(&client.user) {
                let since = since.max(client.follows_from);
                let of_channel = self.stored.keys().filter(|(of, _)| **of == channel);
                for key in of_channel {
                    let Some(taken) = self.taken.get(key).filter(|it| it.taken.0 > since) else {
                        continue;
                    };
                    self.verdict.deliveries += 1;
                    let Some(seen) = self.clients.seen_at(name, key.0, key.1) else {
                        self.verdict.lost += 1;
                        let what = format!("{name:?} misses {} in {channel}", key.1);
                        self.verdict.note(Check::K15Archived, what);
                        continue;
                    };
                    let Some(accepted) = taken.accepted else { continue };
                    let took = seen.saturating_sub(accepted.max(self.clients.last_fault_end));
                    self.verdict.slowest = self.verdict.slowest.max(took);
                    if took > settle {
                        let what = format!("{} reached {name:?} {took:?} after that", key.1);
                        self.verdict.note(Check::K7Alive, what);
                    }
                }
            }
        }
        let is_of = |channel: &ChannelId| self.channels.contains(channel);
        for shown in self.history.shown.iter().filter(|shown| is_of(&shown.log.channel_id)) {
            let channel = &shown.log.channel_id;
            for id in &shown.ids {
                let is_lost = || {
                    let taken = self.taken.get(&(channel, *id));
                    let is_left = taken.is_some_and(|it| it.is_abandoned || it.has_failed);
                    is_left && self.history.lost.contains(id)
                };
                let key = (channel, *id);
                let is_kept = self.stored.contains_key(&key) || self.dropped.contains(&key);
                if !is_kept && !is_lost() {
                    let what = format!("{:?} shows {id}, which is not stored", shown.client);
                    self.verdict.note(Check::K15Archived, what);
                }
            }
        }
    }

    /// K4: a removal cuts exactly; later if the bus may not have taken it.
    fn nobody_else_has_it(&mut self, members: &Members, removals_known: Duration) {
        for (index, (_, event)) in self.history.events.iter().enumerate() {
            let Event::Seen { client, log, id, .. } = event else { continue };
            let Some(taken) = self.taken.get(&(&log.channel_id, *id)) else { continue };
            let Some(user) = self.clients.user(*client) else { continue };
            let (mut since, at) = taken.taken;
            if !removals_known.is_zero() {
                let known = at.saturating_sub(removals_known);
                since = self.history.events.partition_point(|(at, _)| *at < known);
            }
            if members.is_leak(&log.channel_id, user, since, index) {
                self.verdict.leaked += 1;
                let what = format!("{id} in {log} reached {user} ({client:?})");
                self.verdict.note(Check::K4Leak, what);
            }
        }
    }

    /// K15: a page has what was accepted before, stored or not.
    fn pages_have_it(&mut self) {
        for (at, event) in &self.history.events {
            let Event::Delivering(Delivering::Page { channel, began, from, ids }) = event else {
                continue;
            };
            for ((_, id), taken) in self.taken.iter().filter(|((of, _), _)| *of == channel) {
                let Some(accepted) = taken.accepted.filter(|accepted| accepted < began) else {
                    continue;
                };
                let is_here = from.is_none_or(|from| *id >= from) && !ids.contains(id);
                if is_here
                    && !self.all_have(&(channel, *id), *at)
                    && !self.history.lost.contains(id)
                    && !self.may_have_lost(taken.taken.1, *at)
                {
                    let what = format!("a page of {channel} lacks {id}, accepted at {accepted:?}");
                    self.verdict.note(Check::K15Archived, what);
                }
            }
        }
    }
}

/// A client says it in the moment in which it reports the message to its program.
const SAYING: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
