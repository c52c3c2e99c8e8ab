//! Bounds of channels that deliver first and store afterwards (ADR 0044).

use std::time::Duration;

/// Bytes of a text that is sent on a socket. It travels on the bus whole, since no store has it yet.
pub const SEND_TEXT_BYTES_MAX: usize = 12 * 1024;
/// Bytes of a workspace's messages that are delivered and not yet stored: hours of a busy workspace,
/// and a hundredth of a small cache. Above it, sends are refused and clients use `POST /messages`.
pub const SPOOL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages of a channel that wait to be stored while its pages can be read: a few megabytes for each
/// page. More wait only if `archive` is late for hours; then pages are refused rather than incomplete.
pub const SPOOL_CHANNEL_MAX: usize = 10_000;
/// Entries of the spool that one read returns.
pub const SPOOL_READ_ENTRIES_MAX: usize = 500;
/// How long a node collects sends for one trip to Redis and one wait for its replica.
pub const DELIVER_BATCH: Duration = Duration::from_millis(2);
/// Sends in one such trip.
pub const DELIVER_BATCH_MAX: usize = 64;
/// How long such a trip waits for a replica. After it, `accepted` says that no replica has the message.
pub const DELIVER_REPLICA_WAIT: Duration = Duration::from_millis(100);
/// How long a send may take, the trip before it included. After it, it is refused as `unavailable`: it
/// may have been delivered, and a repetition finds out.
pub const DELIVER_DEADLINE: Duration = Duration::from_secs(1);
/// From this age of its id on, a message may have been sent so long ago that its guard is gone: the
/// store is asked first.
pub const DELIVER_LOOK_UP_AFTER: Duration = Duration::from_secs(300);
/// How often a channel's receipts are told, at most (G14).
pub const RECEIPTS_EVERY: Duration = Duration::from_secs(1);
/// The same, for each member: 100 members make a hundred times the receipts of one.
pub const RECEIPTS_EVERY_A_MEMBER: Duration = Duration::from_millis(50);
/// Members of a channel whose receipts are told as they happen. In larger ones they are read.
pub const RECEIPTS_MEMBERS_MAX: usize = 100;
/// Ids of stored messages that a sender is told at once.
pub const RECEIPTS_ARCHIVED_MAX: usize = 200;
/// How long a channel's receipts are kept without a new one.
pub const RECEIPTS_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an archiver that took entries has for them. After it, another one takes them over.
pub const ARCHIVE_CLAIM: Duration = Duration::from_secs(10);
/// Entries that an archiver takes at once.
pub const ARCHIVE_BATCH_MAX: usize = 100;
/// Entries that an archiver stores at the same time.
pub const ARCHIVE_AT_ONCE: usize = 16;
/// Workspaces that an archiver serves at the same time.
pub const ARCHIVE_WORKSPACES_AT_ONCE: usize = 8;
/// How often an archiver looks for new entries.
pub const ARCHIVE_POLL: Duration = Duration::from_millis(250);
/// How long it leaves a workspace alone of which the store did not take a message.
pub const ARCHIVE_RETRY: Duration = Duration::from_secs(2);
/// How often it looks at a workspace of which it knows nothing new: entries that another archiver took
/// and did not store are found then.
pub const ARCHIVE_LOOK_EVERY: Duration = ARCHIVE_CLAIM;
/// How long after its last send a workspace without waiting messages is forgotten. While one is known,
/// `archive` runs all the time, so that a message is stored within seconds; far above the time between
/// the note and the send that follows it, and the difference of two clocks.
pub const SPOOL_FORGET_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long one run of `archive` lasts. It is started every minute, give or take some seconds: the next
/// run has begun by then, so that no message waits for it.
pub const ARCHIVE_RUN: Duration = Duration::from_secs(70);

/// How long a message waits for the devices of a channel that keeps only what some device lacks (ADR 0046).
/// Within [`ARCHIVE_CLAIM`] after it, the message is stored: before its sender sends it again, after a minute.
pub const ACK_WAIT: Duration = Duration::from_secs(45);
/// How long it is kept then.
pub const UNACKED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Members of a channel whose devices are asked. In a larger one, all messages are stored.
pub const ACKED_MEMBERS_MAX: usize = 100;
/// How long an archiver goes by the devices that it read: those that come later are owed nothing.
pub const DEVICES_KNOWN: Duration = Duration::from_secs(10);
/// Messages that a device can say at once that it keeps: a frame of 3 KiB.
pub const KEPT_IDS_MAX: usize = 100;
/// How long Redis knows which devices keep a message: well above [`ACK_WAIT`].
pub const KEEPERS_TTL: Duration = Duration::from_secs(120);
/// Devices of a user. The one that was seen longest ago makes room.
pub const DEVICES_MAX: usize = 8;
/// How long a device is owed messages after it was seen.
pub const DEVICE_TTL: Duration = Duration::from_secs(45 * 24 * 3600);
/// How often its row is renewed.
pub const DEVICE_SEEN_EVERY: Duration = Duration::from_secs(24 * 3600);
