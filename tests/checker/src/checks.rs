//! The checks of messages that are kept, K1 to K8, and the order of all checks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use model::{ChangeId, ChannelId, LogId, MessageId, Rev, TextDigest, UserId};

use crate::counts::counted;
use crate::delivering::{delivering, opened};
use crate::history::{ClientId, Event, History, SendId, SendOutcome};
use crate::lasting::lasting;
use crate::meetings::meetings;
use crate::members::Members;
use crate::presence::present;
use crate::unread::read_state;
use crate::verdict::{Bounds, Check, Verdict};

/// Judges a run.
#[must_use]
pub fn check(history: &History, bounds: &Bounds) -> Verdict {
    let mut verdict = Verdict::default();
    let sends = Sends::of(history);
    let members = Members::of(history);
    let clients = Clients::of(history);
    verdict.removals = members.removals();
    let began = |(_, event): &&(Duration, Event)| matches!(event, Event::FaultBegan { .. });
    verdict.faults = history.events.iter().filter(began).count() as u64;
    let first = opened(history);
    stored_once(history, &sends, &first, &mut verdict);
    in_order(history, &sends, &first, &mut verdict);
    let posted = sends.posted(history);
    no_leak(history, &clients, &members, &posted, &mut verdict);
    delivered(history, &sends, &clients, &members, bounds, &mut verdict);
    converged(history, &clients, &members, &mut verdict);
    counted(history, &mut verdict);
    read_state(history, &mut verdict);
    few_resyncs(&clients, bounds, &mut verdict);
    present(history, &mut verdict);
    lasting(history, &mut verdict);
    let users = clients.clients.iter().map(|(id, client)| (*id, client.user.clone())).collect();
    meetings(history, &users, &members, bounds, &mut verdict);
    delivering(history, &clients, &members, bounds, &mut verdict);
    verdict
}

/// A send and the outcome of its attempts.
#[derive(Debug)]
struct Send {
    log: LogId,
    sender: UserId,
    text: TextDigest,
    after: Option<MessageId>,
    started: usize,
    /// Attempts that have not ended, or whose outcome is unknown.
    unknown: u32,
    /// The first 200: its id, its index in the history, and its time.
    stored: Option<(MessageId, usize, Duration)>,
    /// Whether another 200 had a different id.
    is_torn: bool,
}

#[derive(Debug, Default)]
struct Sends(BTreeMap<SendId, Send>);

impl Sends {
    fn of(history: &History) -> Self {
        let mut sends = BTreeMap::new();
        for (index, (at, event)) in history.events.iter().enumerate() {
            match event {
                Event::SendStarted { send, log, sender, text, after } => {
                    let first = || Send {
                        log: log.clone(),
                        sender: sender.clone(),
                        text: *text,
                        after: *after,
                        started: index,
                        unknown: 0,
                        stored: None,
                        is_torn: false,
                    };
                    sends.entry(*send).or_insert_with(first).unknown += 1;
                }
                Event::SendEnded { send, outcome } => {
                    let Some(send) = sends.get_mut(send) else { continue };
                    match outcome {
                        SendOutcome::Stored(id) => {
                            send.unknown = send.unknown.saturating_sub(1);
                            send.is_torn |= send.stored.is_some_and(|(first, ..)| first != *id);
                            send.stored.get_or_insert((*id, index, *at));
                        }
                        SendOutcome::NotStored => send.unknown = send.unknown.saturating_sub(1),
                        SendOutcome::Unknown => {}
                    }
                }
                _ => {}
            }
        }
        Self(sends)
    }

    /// When the first `POST` of each stored message began.
    fn posted(&self, history: &History) -> HashMap<(LogId, MessageId), usize> {
        let by_text: HashMap<_, _> = self
            .0
            .values()
            .map(|send| ((&send.log, &send.sender, send.text), send.started))
            .collect();
        let of_item = |item: &crate::StoredItem| {
            let started = by_text.get(&(&item.log, &item.sender, item.text))?;
            Some(((item.log.clone(), item.id), *started))
        };
        history.stored.iter().filter_map(of_item).collect()
    }
}

/// K1, but for channels that deliver first.
fn stored_once(
    history: &History,
    sends: &Sends,
    first: &BTreeSet<&ChannelId>,
    verdict: &mut Verdict,
) {
    let mut items: HashMap<_, Vec<MessageId>> = HashMap::new();
    for item in history.stored.iter().filter(|item| !first.contains(&item.log.channel_id)) {
        items.entry((&item.log, &item.sender, item.text)).or_default().push(item.id);
    }
    for (name, send) in &sends.0 {
        let found = items.remove(&(&send.log, &send.sender, send.text)).unwrap_or_default();
        if found.len() > 1 || send.is_torn {
            verdict.doubled += 1;
            verdict.note(Check::K1Stored, format!("{name:?} is stored as {found:?}"));
        }
        match send.stored {
            Some((id, ..)) => {
                verdict.acknowledged += 1;
                if !found.contains(&id) {
                    verdict.lost += 1;
                    verdict.note(
                        Check::K1Stored,
                        format!("{name:?} was acknowledged as {id}, and is not there"),
                    );
                }
            }
            None if send.unknown == 0 && !found.is_empty() => {
                verdict.note(Check::K1Stored, format!("{name:?} was refused, and is stored"));
            }
            None => {}
        }
    }
    for found in items.values() {
        verdict.note(Check::K1Stored, format!("{found:?} was not sent by anyone"));
    }
}

/// K3. What channels that deliver first show may not be stored: see K15.
fn in_order(history: &History, sends: &Sends, first: &BTreeSet<&ChannelId>, verdict: &mut Verdict) {
    let stored: BTreeSet<_> = history.stored.iter().map(|item| (&item.log, item.id)).collect();
    for shown in &history.shown {
        let client = shown.client;
        if !shown.ids.is_sorted_by(|one, next| one < next) {
            verdict.note(Check::K3Order, format!("{client:?} shows {} out of order", shown.log));
        }
        let ids = shown.ids.iter().filter(|_| !first.contains(&shown.log.channel_id));
        for id in ids.filter(|id| !stored.contains(&(&shown.log, **id))) {
            verdict.note(Check::K3Order, format!("{client:?} shows {id}, which is not stored"));
        }
    }
    for (name, send) in &sends.0 {
        if let (Some((id, ..)), Some(after)) = (send.stored, send.after)
            && id <= after
        {
            verdict.note(Check::K3Order, format!("{name:?} is {id}, not after {after}"));
        }
    }
}

/// What one client saw.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    pub(crate) follows_from: usize,
    leaves: bool,
    resyncs: u32,
    /// When each message first arrived.
    seen: HashMap<(LogId, MessageId), Duration>,
    /// How often each revision of a message was new.
    new: HashMap<(LogId, MessageId, Rev), u32>,
    seen_again: u64,
}

#[derive(Debug)]
pub(crate) struct Clients {
    clients: BTreeMap<ClientId, Client>,
    pub(crate) last_fault_end: Duration,
    /// The kind of each fault that began.
    faults: Vec<String>,
}

impl Clients {
    fn of(history: &History) -> Self {
        let (clients, faults) = (BTreeMap::new(), Vec::new());
        let mut all = Self { clients, last_fault_end: Duration::ZERO, faults };
        for (index, (at, event)) in history.events.iter().enumerate() {
            match event {
                Event::Starts { client, user } => {
                    all.clients.entry(*client).or_insert_with(|| Client::new(user));
                }
                Event::FaultBegan { kind } => all.faults.push(kind.clone()),
                Event::FaultEnded { .. } => all.last_fault_end = *at,
                Event::Follows { client }
                | Event::Leaves { client }
                | Event::Resynced { client }
                | Event::Restarts { client, .. }
                | Event::Seen { client, .. } => {
                    if let Some(client) = all.clients.get_mut(client) {
                        client.on(event, index, *at);
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// The user of a client.
    pub(crate) fn user(&self, client: ClientId) -> Option<&UserId> {
        self.clients.get(&client).map(|client| &client.user)
    }

    /// Clients that are there at the end.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.clients.iter().filter(|(_, client)| !client.leaves).map(|(id, it)| (*id, it))
    }

    /// All clients that ever were.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.clients.iter().map(|(id, client)| (*id, client))
    }

    /// When a message of a channel's main log first reached a client.
    pub(crate) fn seen_at(
        &self,
        client: ClientId,
        channel: &ChannelId,
        id: MessageId,
    ) -> Option<Duration> {
        self.clients.get(&client)?.seen.get(&(channel.into(), id)).copied()
    }

    /// Whether it reached anybody.
    pub(crate) fn is_seen(&self, channel: &ChannelId, id: MessageId) -> bool {
        self.clients.keys().any(|client| self.seen_at(*client, channel, id).is_some())
    }
}

impl Client {
    fn new(user: &UserId) -> Self {
        Self {
            user: user.clone(),
            follows_from: usize::MAX,
            leaves: false,
            resyncs: 0,
            seen: HashMap::new(),
            new: HashMap::new(),
            seen_again: 0,
        }
    }

    fn on(&mut self, event: &Event, index: usize, at: Duration) {
        match event {
            Event::Follows { .. } => self.follows_from = self.follows_from.min(index),
            Event::Leaves { .. } => self.leaves = true,
            Event::Resynced { .. } => self.resyncs += 1,
            Event::Restarts { channel, .. } => {
                self.new.retain(|(of, ..), _| of.channel_id != *channel);
            }
            Event::Seen { log, id, rev, fresh, .. } => {
                self.seen.entry((log.clone(), *id)).or_insert(at);
                let times = self.new.entry((log.clone(), *id, rev.clone())).or_default();
                *times += u32::from(*fresh);
                self.seen_again += u64::from(!fresh);
            }
            _ => {}
        }
    }
}

/// K4.
fn no_leak(
    history: &History,
    clients: &Clients,
    members: &Members,
    posted: &HashMap<(LogId, MessageId), usize>,
    verdict: &mut Verdict,
) {
    for (index, (_, event)) in history.events.iter().enumerate() {
        let Event::Seen { client, log, id, .. } = event else { continue };
        let Some(user) = clients.clients.get(client).map(|client| &client.user) else { continue };
        let Some(posted) = posted.get(&(log.clone(), *id)) else { continue };
        if members.is_leak(&log.channel_id, user, *posted, index) {
            verdict.leaked += 1;
            verdict.note(Check::K4Leak, format!("{id} in {log} reached {user} ({client:?})"));
        }
    }
}

/// K2, and K7's time.
fn delivered(
    history: &History,
    sends: &Sends,
    clients: &Clients,
    members: &Members,
    bounds: &Bounds,
    verdict: &mut Verdict,
) {
    let mut by_channel: BTreeMap<&ChannelId, Vec<(&LogId, MessageId, usize, Duration)>> =
        BTreeMap::new();
    // Who has nothing of a thread need not learn of replies that are gone: no summary counts them.
    let is_gone_reply = |item: &&crate::StoredItem| item.is_deleted && item.log.thread.is_some();
    let gone: BTreeSet<_> =
        history.stored.iter().filter(is_gone_reply).map(|item| (&item.log, item.id)).collect();
    for send in sends.0.values() {
        if let Some((id, _, at)) = send.stored {
            let of_channel = by_channel.entry(&send.log.channel_id).or_default();
            of_channel.push((&send.log, id, send.started, at));
        }
    }
    for (name, client) in &clients.clients {
        verdict.raw_duplicates += client.seen_again;
        for ((_, id, _), times) in client.new.iter().filter(|(_, times)| **times > 1) {
            verdict.doubled += 1;
            verdict.note(Check::K2Delivered, format!("{name:?} shows {id} as new {times} times"));
        }
        if client.leaves {
            continue;
        }
        for (channel, member_since) in members.channels_of(&client.user) {
            let since = member_since.max(client.follows_from);
            let messages = by_channel.get(&channel).into_iter().flatten();
            for (log, id, _, acked_at) in messages.filter(|(_, _, started, _)| *started > since) {
                verdict.deliveries += 1;
                let from = (*acked_at).max(clients.last_fault_end);
                let due = from + bounds.settle;
                let seen = client.seen.get(&((*log).clone(), *id));
                let took = seen.map_or(Duration::ZERO, |at| at.saturating_sub(from));
                verdict.slowest = verdict.slowest.max(took);
                match seen {
                    None if gone.contains(&(*log, *id)) => {}
                    None => {
                        verdict.lost += 1;
                        verdict.note(Check::K2Delivered, format!("{name:?} misses {id} in {log}"));
                    }
                    Some(at) if *at > due => {
                        let late = at.saturating_sub(due);
                        verdict.note(
                            Check::K7Alive,
                            format!("{id} reached {name:?} {late:?} too late"),
                        );
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// K8.
fn converged(history: &History, clients: &Clients, members: &Members, verdict: &mut Verdict) {
    let stored: HashMap<(&LogId, MessageId), &Rev> =
        history.stored.iter().map(|item| ((&item.log, item.id), &item.rev)).collect();
    for (_, event) in &history.events {
        let Event::Revised { log, id, rev, .. } = event else { continue };
        verdict.changes += 1;
        if stored.get(&(log, *id)).is_none_or(|stored| *stored < rev) {
            verdict.lost += 1;
            let what = format!("a change of {id} was acknowledged as {rev}, and is not there");
            verdict.note(Check::K8Converged, what);
        }
    }
    last_edits_win(history, verdict);
    for shown in &history.shown {
        let Some(client) = clients.clients.get(&shown.client) else { continue };
        let follows = !client.leaves && client.follows_from != usize::MAX;
        let of = members.channels_of(&client.user);
        if !follows || !of.iter().any(|(channel, _)| *channel == shown.log.channel_id) {
            continue;
        }
        for (id, rev) in shown.ids.iter().zip(&shown.revs) {
            let Some(stored) = stored.get(&(&shown.log, *id)) else { continue };
            if *stored != rev {
                verdict.diverged += 1;
                let (here, there) = (rev, stored);
                let what = format!("{:?} shows {id} as {here}, stored as {there}", shown.client);
                verdict.note(Check::K8Converged, what);
            }
        }
    }
}

/// The text of a message is that of its last edit, or of one after it whose answer was lost.
fn last_edits_win(history: &History, verdict: &mut Verdict) {
    let mut edits: HashMap<(&LogId, MessageId), BTreeMap<ChangeId, TextDigest>> = HashMap::new();
    let mut last: HashMap<(&LogId, MessageId), ChangeId> = HashMap::new();
    for (_, event) in &history.events {
        match event {
            Event::Edits { log, id, change_id, text } => {
                edits.entry((log, *id)).or_default().insert(*change_id, *text);
            }
            Event::Revised { log, id, change_id: Some(change_id), .. } => {
                let last = last.entry((log, *id)).or_insert(*change_id);
                *last = (*last).max(*change_id);
            }
            _ => {}
        }
    }
    for item in history.stored.iter().filter(|item| !item.is_deleted) {
        let key = (&item.log, item.id);
        let (Some(last), Some(edits)) = (last.get(&key), edits.get(&key)) else { continue };
        if !edits.range(last..).any(|(_, text)| *text == item.present) {
            verdict.lost += 1;
            verdict.note(Check::K8Converged, format!("the last edit of {} was lost", item.id));
        }
    }
}

/// K7's count.
fn few_resyncs(clients: &Clients, bounds: &Bounds, verdict: &mut Verdict) {
    let explaining = clients.faults.iter().filter(|kind| (bounds.explains)(kind)).count();
    let explaining = u32::try_from(explaining).unwrap_or(u32::MAX);
    let allowed = bounds.resyncs_per_fault.saturating_mul(explaining);
    let allowed = allowed.saturating_add(bounds.resyncs_besides);
    for (name, client) in &clients.clients {
        verdict.resyncs += u64::from(client.resyncs);
        verdict.resyncs_most = verdict.resyncs_most.max(client.resyncs);
        if client.resyncs > allowed {
            let resyncs = client.resyncs;
            verdict.note(
                Check::K7Alive,
                format!("{name:?} got {resyncs} resyncs, {allowed} are explained"),
            );
        }
    }
}
