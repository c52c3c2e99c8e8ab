//! The events that a client reports to its program.

use std::time::Duration;

use model::{
    ChannelChange, ChannelDetails, ChannelId, LogId, Message, MessageId, NodeId, Presence,
    ReadMark, SessionPosition, Timestamp, UserId,
};
use serde::Serialize;

use crate::deliveries::DeliveryState;
use crate::session::StopReason;

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the socket.
    Pushed,
    /// By `GET /scroll`, after a gap or on the first visit.
    CaughtUp,
}

/// Something that happened. Events are ordered and none is dropped. If the program does not receive
/// them, the client stops reading the socket, and the node closes it as a slow consumer.
#[derive(Debug)]
pub enum Event {
    /// A socket is open: nothing published from here on is missed.
    Ready {
        /// The node that the socket is open to.
        node_id: NodeId,
        /// Whether the node pushes everything after the last cursor. If not, the client catches up
        /// and then sends [`Event::CaughtUp`].
        resumed: bool,
        /// The cursor to resume from.
        cursor: String,
        /// How long ago the last socket was lost; `None` for the first one. Zero if it is still open,
        /// because its node is going and the client moves.
        after: Option<Duration>,
    },
    /// A message of a channel that the user is a member of.
    Message {
        /// The message.
        message: Message,
        /// Whether it was pushed or read by a catch-up.
        source: Source,
        /// Whether it is new, or a newer revision. A duplicate is not fresh.
        fresh: bool,
    },
    /// A channel or its membership changed: a hint to read `GET /channels`.
    Channel {
        /// What changed; `None` for a change that this version does not know.
        change: Option<ChannelChange>,
        /// The channel.
        channel_id: ChannelId,
        /// The users that the change is about: one, or every user that a `members_added` names. Who
        /// changed the details, if they changed.
        user_ids: Vec<UserId>,
        /// The details after the change, if they changed. Of two copies, the one with the greater
        /// version is newer.
        details: Option<ChannelDetails>,
    },
    /// The user was added to a channel that they had left: its timeline starts afresh, because what
    /// was sent or changed meanwhile did not reach this client. In a channel of `keep: acked` its messages
    /// stay: nothing changes there, and this device may have the only copies.
    Restarted {
        /// The channel.
        channel_id: ChannelId,
    },
    /// One of the user's devices moved a read mark. Such events may be lost and come in any order:
    /// keep the greater mark, and ask [`crate::Api::unread`] after a gap.
    Read {
        /// The log: a channel's main log, or a thread.
        log: LogId,
        /// The mark.
        mark: ReadMark,
    },
    /// Who types in a log that this client views ([`crate::Client::set_view`]): everybody who does. Such
    /// events may be lost. Forget it after 6 s, and each of them with their next message.
    Typing {
        /// The log.
        log: LogId,
        /// The first of them, at most five.
        users: Vec<UserId>,
        /// How many others.
        more: u64,
    },
    /// This client takes part in a channel that keeps nothing, from here on. Once more if the numbers
    /// begin again.
    Joined {
        /// The channel.
        channel_id: ChannelId,
        /// Where it begins.
        at: SessionPosition,
        /// How many messages it missed since it was there last, or in this session; `None` if nobody
        /// knows.
        missed: Option<u64>,
    },
    /// A channel could not be joined. The next socket tries again if that may help; to try at once, leave it
    /// and join again.
    NotJoined {
        /// The channel.
        channel_id: ChannelId,
        /// Why, as the protocol names it.
        code: String,
    },
    /// A message of a channel that keeps nothing.
    Said {
        /// Its number in the session.
        n: u64,
        /// The message.
        message: Message,
        /// How many before it were lost.
        missing: u64,
    },
    /// A channel that keeps nothing has ended.
    Ended {
        /// The channel.
        channel_id: ChannelId,
    },
    /// Whether users that this client views are there: all of them after each change of the view and
    /// on each new socket, then those that changed. Such events may be lost; the node says all of
    /// them again from time to time.
    Presence {
        /// In order of their ids.
        users: Vec<(UserId, Presence)>,
    },
    /// How far messages of a channel that delivers first have come, since the last such event. Watermarks
    /// only grow, and a lost event costs nothing: the next one says as much.
    Receipts {
        /// The channel.
        channel_id: ChannelId,
        /// Up to where a device of each user has the messages.
        delivered: Vec<(UserId, MessageId)>,
        /// Up to where each user has read.
        read: Vec<(UserId, MessageId)>,
        /// Messages of this user that are stored now.
        archived: Vec<MessageId>,
    },
    /// A message that [`crate::Client::deliver`] took has come further.
    Delivery {
        /// The channel.
        channel_id: ChannelId,
        /// Its id.
        id: MessageId,
        /// How far.
        state: DeliveryState,
    },
    /// The socket is alive.
    Tick {
        /// The node's clock.
        server_time: Timestamp,
        /// Whether the node receives all publications. If not, messages may be late.
        fresh: bool,
    },
    /// The node could not replay some messages; the client catches up after `delay`.
    Resync {
        /// The reason, as text for people.
        reason: String,
        /// How long the catch-up waits before it starts.
        delay: Duration,
    },
    /// The catch-up is complete: no message is missing in the timelines.
    CaughtUp {
        /// How many channels were read.
        channels: usize,
    },
    /// A socket ended. The client reconnects, unless [`Event::Stopped`] follows.
    Disconnected {
        /// Its close code; 1006 if it had none.
        code: u16,
    },
    /// The last event: this client does not reconnect.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}
