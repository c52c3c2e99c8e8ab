//! What a client may send on its socket, and how often.

use std::time::Duration;

/// Bytes of an upgrade request's head.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of an upgrade request.
pub const HEAD_HEADERS_MAX: usize = 64;
/// How long a connection may take to send its request's head.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a socket may take to send `hello`.
pub const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of a frame, and of a message, from a client before its `hello`.
pub const CLIENT_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Frames a second from one client before its `hello`.
pub const CLIENT_FRAMES_PER_SECOND_MAX: u32 = 20;
/// Bytes a second from one client before its `hello`, measured below the parser.
pub const CLIENT_BYTES_PER_SECOND_MAX: u32 = 64 * 1024;
/// Bytes of a frame, and of a message, from an attached client: it may carry a text.
pub const ATTACHED_FRAME_BYTES_MAX: usize = 128 * 1024;
/// Frames a second from one attached client.
pub const ATTACHED_FRAMES_PER_SECOND_MAX: u32 = 40;
/// Bytes a second from one attached client, measured below the parser.
pub const ATTACHED_BYTES_PER_SECOND_MAX: u32 = 256 * 1024;
/// Channels, and threads, that a client says it views.
pub const VIEW_LOGS_MAX: usize = 4;
/// Users that a client says it views.
pub const VIEW_USERS_MAX: usize = 200;
/// A node answers pings of a socket this often; one in between is answered at the end of it.
pub const PONG_EVERY: Duration = Duration::from_secs(2);
/// Signals of a workspace that a node pushes at the same time; more are dropped.
pub const SIGNALS_AT_ONCE_MAX: usize = 64;
/// How often a socket's `typing` in one log is passed on.
pub const TYPING_EVERY: Duration = Duration::from_secs(3);
/// How long somebody counts as typing: twice [`TYPING_EVERY`], so that one lost signal does not show.
pub const TYPING_VOID: Duration = Duration::from_secs(6);
/// How often viewers of a log are told who types there.
pub const TYPING_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Users whom such a frame names; it counts the others.
pub const TYPING_USERS_MAX: usize = 5;
/// Typing users that a node knows of a log: more would not be shown.
pub const TYPING_KNOWN_MAX: usize = 1_000;
/// How long a frame, or a message in fragments, may stay unfinished.
pub const CLIENT_MESSAGE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest cursor that is parsed; a longer one counts as unknown.
pub const CURSOR_BYTES_MAX: usize = 128;
