//! Resyncs: which users must read which channels again, sent once per incident (G4).
//!
//! Clients that read again put load on a store that may have just come back. So no user gets a
//! resync for a channel that they are not in, one frame names all channels of an incident, and the
//! more sockets there are, the longer the time over which their reads are spread.

use std::collections::{BTreeMap, BTreeSet};

use model::{ChannelId, Timestamp, limits};
use protocol::frame::ServerFrame;

use super::{StreamState, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::roster::UserKey;

/// What users must read again and have not been sent yet.
#[derive(Debug, Default)]
pub(super) struct Resyncs {
    due: BTreeMap<UserKey, Reread>,
    reason: &'static str,
    since: Timestamp,
    /// When resyncs because of unreadable entries may be sent next: there may be many such entries
    /// while nodes are being replaced.
    unknown_at: Option<Timestamp>,
    /// When resyncs for such entries were last sent.
    unknown_sent_at: Option<Timestamp>,
}

/// What a user must read again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reread {
    /// These channels.
    Channels(BTreeSet<ChannelId>),
    /// All of them.
    All,
}

impl Resyncs {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Adds a channel, or all channels, to what users must read again.
    pub(super) fn add(
        &mut self,
        users: impl IntoIterator<Item = UserKey>,
        channel: Option<&ChannelId>,
        reason: &'static str,
        now: Timestamp,
    ) {
        if self.due.is_empty() {
            (self.reason, self.since) = (reason, now);
        }
        for user in users {
            let reread = self.due.entry(user).or_insert_with(|| Reread::Channels(BTreeSet::new()));
            reread.add(channel);
        }
    }

    /// Makes everybody read again, because the recipients of an entry cannot be read.
    pub(super) fn add_unknown(
        &mut self,
        everyone: impl IntoIterator<Item = UserKey>,
        now: Timestamp,
    ) {
        let next = |sent: Timestamp| sent.plus(limits::RESYNC_JOIN_MAX);
        self.unknown_at = Some(self.unknown_sent_at.map_or(now, next));
        self.add(everyone, None, "an event of a later version", now);
    }
}

impl Reread {
    fn add(&mut self, channel: Option<&ChannelId>) {
        match (&mut *self, channel) {
            (Self::Channels(channels), Some(channel))
                if channels.len() < limits::RESYNC_CHANNELS_MAX =>
            {
                channels.insert(channel.clone());
            }
            (Self::Channels(_), _) => *self = Self::All,
            (Self::All, _) => {}
        }
    }

    fn channels(&self) -> Option<Vec<ChannelId>> {
        match self {
            Self::Channels(channels) => Some(channels.iter().cloned().collect()),
            Self::All => None,
        }
    }
}

impl Workspace {
    /// Sends resyncs once the incident is over: the stream is up, and no channel is still lost. An
    /// incident that does not end is reported in parts, [`limits::RESYNC_JOIN_MAX`] apart.
    pub(super) fn send_resyncs(&mut self, turn: &mut Turn<'_>) {
        if self.resyncs.is_empty() || self.stream != StreamState::Up || self.backfill.is_some() {
            return;
        }
        let is_over =
            !self.holds.has_lost() || turn.now.since(self.resyncs.since) >= limits::RESYNC_JOIN_MAX;
        if !is_over || self.resyncs.unknown_at.is_some_and(|at| turn.now < at) {
            return;
        }
        let Resyncs { due, reason, unknown_at, unknown_sent_at, .. } =
            std::mem::take(&mut self.resyncs);
        self.resyncs.unknown_sent_at = unknown_at.map(|_| turn.now).or(unknown_sent_at);
        let sockets = |key: &UserKey| self.roster.user(*key).map_or(&[][..], |user| &user.sockets);
        let rereads: Vec<(SocketId, Reread)> = due
            .iter()
            .flat_map(|(key, reread)| sockets(key).iter().map(|socket| (*socket, reread.clone())))
            .collect();
        for ((delay_ms, reread), sockets) in spread(rereads) {
            self.resyncs_sent += sockets.len() as u64;
            let (reason, channels) = (reason.to_owned(), reread.channels());
            let resync = ServerFrame::Resync { reason, delay_ms, channels };
            self.send(&resync, Audience::of(sockets), turn);
        }
        self.holds.resyncs_sent();
    }
}

/// Groups sockets by delay and content. Delays grow with the number of sockets, so that the same
/// number of clients reads each second, however many there are.
fn spread(rereads: Vec<(SocketId, Reread)>) -> BTreeMap<(u64, Reread), Vec<SocketId>> {
    let count = rereads.len() as u64;
    let longest_ms = limits::RESYNC_SPREAD_MAX.as_secs() * 1_000;
    let all_ms = (count * 1_000 / limits::RESYNCS_PER_SECOND).min(longest_ms);
    let steps = RESYNC_STEPS.min(count.max(1));
    let mut groups: BTreeMap<(u64, Reread), Vec<SocketId>> = BTreeMap::new();
    for (n, (socket, reread)) in rereads.into_iter().enumerate() {
        let step = n as u64 * steps / count.max(1);
        groups.entry((all_ms * step / steps, reread)).or_default().push(socket);
    }
    groups
}

/// The most delay steps over which a resync's sockets are spread; each needs its own frame.
const RESYNC_STEPS: u64 = 64;
