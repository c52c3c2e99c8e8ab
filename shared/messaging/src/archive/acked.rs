//! Which messages all devices keep, so that nobody stores them (ADR 0046).
//!
//! Each device names the messages that it keeps. The watermarks of receipts prove nothing: an old id may have
//! been accepted after a newer one was reported, and Redis may have lost what a later id passed.

use std::collections::{BTreeSet, HashMap};

use model::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::receipts::UserDevice;

use super::ArchiverPorts;
use crate::error::StoreError;

/// What an archiver knows of channels that keep only what some device lacks.
#[derive(Debug, Default)]
pub(super) struct Acked(Mutex<HashMap<ChannelId, Owed>>);

/// The devices that must have a channel's messages.
#[derive(Debug, Clone)]
struct Owed {
    /// When they were read.
    at: Timestamp,
    /// `None`: all messages are stored.
    devices: Option<Vec<UserDevice>>,
}

/// Whether all devices have a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They have: nobody needs it.
    Acked,
    /// Some may yet say so.
    Wait,
    /// They will not.
    Store,
}

impl Acked {
    /// Decides about a message. Whatever cannot be read is no reason to drop it.
    pub(super) async fn judge(
        &self,
        ports: &ArchiverPorts,
        workspace: &WorkspaceId,
        (channel, id): (&ChannelId, MessageId),
        accepted_at: Timestamp,
    ) -> Verdict {
        let age = ports.clock.now().since(accepted_at);
        let late = if age < limits::ACK_WAIT { Verdict::Wait } else { Verdict::Store };
        // Devices that came after the message are owed nothing; the others are in a list that was read later.
        if age < limits::CLOCK_SKEW_MAX {
            return late;
        }
        let Ok(keepers) = ports.receipts.keepers(workspace, channel, id).await else { return late };
        let read_after = accepted_at.plus(limits::CLOCK_SKEW_MAX);
        let Ok(owed) = self.owed(ports, workspace, channel, read_after).await else { return late };
        let Some(devices) = owed.devices else { return Verdict::Store };
        let is_kept = !devices.is_empty() && devices.iter().all(|one| keepers.contains(one));
        if is_kept { Verdict::Acked } else { late }
    }

    /// The devices, as they were at `after` or later.
    async fn owed(
        &self,
        ports: &ArchiverPorts,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        after: Timestamp,
    ) -> Result<Owed, StoreError> {
        let now = ports.clock.now();
        let is_fresh = |owed: &Owed| owed.at <= now && now.since(owed.at) < limits::DEVICES_KNOWN;
        let known = self.0.lock().get(channel).cloned();
        if let Some(known) = known.filter(|owed| is_fresh(owed) && owed.at >= after) {
            return Ok(known);
        }
        let devices = read(ports, workspace, channel, now).await?;
        let owed = Owed { at: now, devices };
        let mut known = self.0.lock();
        if known.len() >= CHANNELS_MAX {
            known.retain(|_, owed| is_fresh(owed));
        }
        if known.len() < CHANNELS_MAX {
            known.insert(channel.clone(), owed.clone());
        }
        Ok(owed)
    }
}

/// Reads the devices of all members; `None` if there are too many members, or one has no device: nobody
/// can say that they have a message for good.
async fn read(
    ports: &ArchiverPorts,
    workspace: &WorkspaceId,
    channel: &ChannelId,
    now: Timestamp,
) -> Result<Option<Vec<UserDevice>>, StoreError> {
    let limit = u32::try_from(limits::ACKED_MEMBERS_MAX).unwrap_or(u32::MAX);
    let members = ports.members.members(channel, None, limit).await?;
    if members.more {
        return Ok(None);
    }
    let users: Vec<UserId> = members.rows.into_iter().map(|member| member.user_id).collect();
    let devices = ports.devices.devices(workspace, &users, now).await?;
    let with_device: BTreeSet<&UserId> = devices.iter().map(|(user, _)| user).collect();
    let has_device = |user: &UserId| with_device.contains(user);
    Ok(users.iter().all(has_device).then_some(devices))
}

/// Channels whose devices an archiver knows at the same time.
const CHANNELS_MAX: usize = 1_000;
