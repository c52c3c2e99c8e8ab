//! Bounds of what is sent on sockets, and of channels that keep nothing (ADR 0043).

use std::time::Duration;

/// Bytes of a text that is never stored. It travels on the bus whole.
pub const EPHEMERAL_TEXT_BYTES_MAX: usize = 4 * 1024;
/// How long a channel that keeps nothing lives.
pub const MEETING_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long after its last participant the next one begins a new session.
pub const SESSION_IDLE: Duration = Duration::from_secs(300);
/// How often a node says that participants are still there: well within [`SESSION_IDLE`].
pub const SESSION_SEEN_EVERY: Duration = Duration::from_secs(60);
/// How long a node may go by what it read of a channel, such as whether it was ended.
pub const VIEW_LEASE: Duration = Duration::from_secs(10);
/// Sends a second of one socket; a bucket holds [`SENDS_BURST`].
pub const SENDS_PER_SECOND: u32 = 5;
/// Sends at once of one socket.
pub const SENDS_BURST: u32 = 20;
/// Sends and joins of one socket that are not answered yet.
pub const UNANSWERED_MAX: usize = 8;
/// Channels that one socket has joined.
pub const JOINED_MAX: usize = 20;
