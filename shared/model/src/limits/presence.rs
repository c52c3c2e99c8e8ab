//! Who is there, and who is told (G16).

use std::time::Duration;

use super::LEASE_TTL;

/// Changes of a workspace's users on a node are written together, this often at most.
pub const PRESENCE_BATCH: Duration = Duration::from_millis(250);
/// Users in one such batch: a push of some 50 KB. The others follow with the next one.
pub const PRESENCE_BATCH_USERS_MAX: usize = 2_000;
/// How long users count as present after their last socket ended, or after their node died. Covers a
/// reload, a change of the network, and the ramp of a lost node's clients.
pub const OFFLINE_GRACE: Duration = Duration::from_secs(10);
/// How often a socket is told about changes of the users it views.
pub const PRESENCE_TOLD_EVERY: Duration = Duration::from_secs(1);
/// How often a socket's views are answered.
pub const PRESENCE_ANSWER_EVERY: Duration = Duration::from_millis(500);
/// A socket that was told changes is told all users that it views again after this, because a full
/// queue drops signals.
pub const PRESENCE_TOLD_AGAIN: Duration = Duration::from_secs(60);
/// How often a node confirms what it wrote, and pushes its number, so that a lost push shows.
pub const PRESENCE_RENEW: Duration = Duration::from_secs(20);
/// How long what a node wrote is kept without a confirmation: two of them may fail.
pub const PRESENCE_TTL: Duration = PRESENCE_RENEW.saturating_mul(3);
/// A node that was not heard for so long is read again: two confirmations were lost.
pub const PRESENCE_SILENT: Duration = PRESENCE_RENEW.saturating_mul(2).saturating_add(LEASE_TTL);
/// How often one node's users are read again: holes come in bursts.
pub const PRESENCE_READ_EVERY: Duration = Duration::from_secs(1);
/// First and longest wait before a failed write is repeated.
pub const PRESENCE_RETRY: (Duration, Duration) = (Duration::from_secs(1), PRESENCE_RENEW);
/// Users of other nodes that a node knows in one workspace: some 10 MB. Others show as offline.
pub const PRESENCE_KNOWN_MAX: usize = 100_000;
/// Writes, and reads, of presence that a node has under way for all its workspaces.
pub const PRESENCE_CALLS_MAX: usize = 32;
