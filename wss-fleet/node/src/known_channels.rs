//! What the node read lately of channels that clients asked about: their contract, whether they take
//! messages, and the version of their membership.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use messaging::members::announce;
use messaging::ports::ReadError;
use model::{Channel, ChannelId, ErrorCode, Timestamp, WorkspaceId, limits};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::hub::Hub;
use crate::workspaces::Request;

/// Channels, each for [`limits::VIEW_LEASE`], in order of their ids: a simulated node repeats its calls exactly.
#[derive(Debug, Default)]
pub(crate) struct KnownChannels(Mutex<BTreeMap<ChannelId, Known>>);

#[derive(Debug)]
struct Known {
    read_at: (Instant, Timestamp),
    channel: Channel,
    delivered: Option<Delivered>,
    /// Not announced before, because that failed.
    retry_at: Option<Instant>,
}

/// Messages were delivered to the members of a version that may have been outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivered {
    members_version: u64,
    /// When the channel was read before that: this version was not outdated then.
    since: Timestamp,
    /// When the last one was.
    last_at: Instant,
}

/// When a read of the store began.
#[derive(Debug, Clone, Copy)]
struct ReadSince {
    at: Instant,
    by_clock: Timestamp,
}

impl ReadSince {
    fn now(hub: &Hub) -> Self {
        Self { at: Instant::now(), by_clock: hub.now() }
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.read_at.0.elapsed() < limits::VIEW_LEASE
    }

    /// Members of this channel's version lack messages that were delivered by an older one.
    fn lacking(&self) -> Option<Delivered> {
        self.delivered.filter(|was| was.members_version < self.channel.members_version)
    }
}

impl KnownChannels {
    fn get(&self, id: &ChannelId) -> Option<Channel> {
        let known = self.0.lock();
        known.get(id).filter(|known| known.is_fresh()).map(|known| known.channel.clone())
    }

    /// Keeps a channel that was read between `since` and now.
    fn put(&self, channel: Channel, since: ReadSince) {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.is_fresh() || known.delivered.is_some());
        }
        let before = known.remove(&channel.id);
        let (delivered, retry_at) =
            before.map_or((None, None), |known| (known.delivered, known.retry_at));
        if known.len() < KNOWN_MAX {
            let (id, read_at) = (channel.id.clone(), (Instant::now(), since.by_clock));
            let read = Known { read_at, channel, delivered, retry_at };
            // A delivery while it was read is not covered by it.
            let is_later = delivered.is_some_and(|was| was.last_at >= since.at);
            let delivered = delivered.filter(|_| is_later).or(read.lacking());
            known.insert(id, Known { delivered, ..read });
        }
    }

    /// Notes that a message was delivered, at least to the members of this version. It is checked once
    /// more when the lease is over ([`run`]): the bus may not have taken a change since.
    pub(crate) fn delivered(&self, id: &ChannelId, members_version: u64) {
        if let Some(known) = self.0.lock().get_mut(id) {
            let new =
                Delivered { members_version, since: known.read_at.1, last_at: Instant::now() };
            known.delivered = Some(known.delivered.map_or(new, |was| Delivered {
                members_version: was.members_version.min(members_version),
                since: was.since.min(new.since),
                last_at: new.last_at,
            }));
        }
    }

    /// Channels that must be read again, because something was delivered there: all of them, or those whose
    /// lease is over.
    fn due(&self, all: bool) -> Vec<ChannelId> {
        let known = self.0.lock();
        let is_due = |known: &Known| known.delivered.is_some() && (all || !known.is_fresh());
        known.iter().filter(|(_, known)| is_due(known)).map(|(id, _)| id.clone()).collect()
    }

    /// Channels whose members may have to be told.
    fn lacking(&self) -> Vec<(Channel, Delivered)> {
        let (known, now) = (self.0.lock(), Instant::now());
        let due = known.values().filter(|known| known.retry_at.is_none_or(|at| at <= now));
        due.filter_map(|known| Some((known.channel.clone(), known.lacking()?))).collect()
    }

    fn failed(&self, id: &ChannelId) {
        if let Some(known) = self.0.lock().get_mut(id) {
            known.retry_at = Some(Instant::now() + limits::VIEW_LEASE);
        }
    }

    fn told(&self, id: &ChannelId, told: Delivered) {
        if let Some(known) = self.0.lock().get_mut(id) {
            known.delivered = known.delivered.filter(|was| *was != told);
        }
    }

    /// Forgets a channel, because it has ended.
    pub(crate) fn forget(&self, id: &ChannelId) {
        self.0.lock().remove(id);
    }
}

/// Reads channels again in which something was delivered, once their lease is over. If the bus did not take
/// the addition of a member, it is announced: they would read it only after the next message.
pub(crate) async fn run(hub: Arc<Hub>) {
    let mut turns = tokio::time::interval(LOOK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        look(&hub, false).await;
    }
}

/// The same for all channels, because the node ends.
pub(crate) async fn look_once_more(hub: &Hub) {
    if tokio::time::timeout(ANNOUNCE_DEADLINE, look(hub, true)).await.is_err() {
        warn!("some members may learn late of messages that this node delivered");
    }
}

async fn look(hub: &Hub, all: bool) {
    for due in hub.channels.due(all).chunks(CHANNELS_READ_MAX) {
        let since = ReadSince::now(hub);
        // What cannot be read stays due.
        let found = read(hub, hub.ports.channels.channels(due)).await.unwrap_or_default();
        found.into_iter().for_each(|channel| hub.channels.put(channel, since));
    }
    for (channel, delivered) in hub.channels.lacking() {
        let heard = tokio::time::timeout(limits::PUBLISH_DEADLINE, heard(hub, &channel)).await;
        if heard.is_ok_and(|version| version >= channel.members_version) {
            hub.channels.told(&channel.id, delivered);
            continue;
        }
        let since = delivered.since.minus(ADDED_BEFORE);
        let announced = announce(&hub.ports, &channel, since);
        match tokio::time::timeout(ANNOUNCE_DEADLINE, announced).await {
            Ok(Ok(members)) => {
                info!(channel = %channel.id, members, "announced members whom nobody had announced");
                hub.channels.told(&channel.id, delivered);
            }
            Ok(Err(_)) | Err(_) => hub.channels.failed(&channel.id),
        }
    }
}

/// The version of a channel's membership of which this node, and so each of them, heard by the stream (G4).
async fn heard(hub: &Hub, channel: &Channel) -> u64 {
    let Some(queue) = hub.workspaces.queue(&channel.workspace_id) else { return 0 };
    let (answer, answered) = oneshot::channel();
    if queue.send(Request::Heard(Box::new(channel.id.clone()), answer)).await.is_err() {
        return 0;
    }
    answered.await.unwrap_or_default()
}

/// The workspace's channel of this id, as it was at most [`limits::VIEW_LEASE`] ago.
pub(crate) async fn channel(
    hub: &Hub,
    workspace: &WorkspaceId,
    id: &ChannelId,
) -> Result<Channel, ErrorCode> {
    if let Some(known) = hub.channels.get(id) {
        return if known.workspace_id == *workspace {
            Ok(known)
        } else {
            Err(ErrorCode::ChannelNotFound)
        };
    }
    let since = ReadSince::now(hub);
    let found = read(hub, hub.ports.channels.channels(std::slice::from_ref(id))).await?;
    let is_ours = |found: &Channel| found.workspace_id == *workspace;
    let found = found.into_iter().find(is_ours).ok_or(ErrorCode::ChannelNotFound)?;
    hub.channels.put(found.clone(), since);
    Ok(found)
}

/// Reads the store for a client that waits for the answer.
pub(crate) async fn read<T>(
    hub: &Hub,
    call: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ErrorCode> {
    let _permit = hub.store.admit().await;
    let answer = tokio::time::timeout(limits::PUBLISH_DEADLINE, call).await;
    // Not counted as a failure of the store: the reads of workspaces wait longer than a client does.
    answer.ok().and_then(Result::ok).ok_or(ErrorCode::Unavailable)
}

/// Channels that are known at the same time.
const KNOWN_MAX: usize = 10_000;
/// Channels in one read: the store's own limit.
const CHANNELS_READ_MAX: usize = 100;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For a read of all members, and the bus.
const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(5);
/// How long before it took effect an addition may be dated: a call's length, and what clocks differ by.
const ADDED_BEFORE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
