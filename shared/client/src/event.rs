//! What a program learns from its client.

use std::time::Duration;

use model::{ChannelChange, ChannelId, Message, NodeId, Timestamp, UserId};

use crate::session::StopReason;
use crate::timeline::How;

/// Something happened. Events come in one order, and none is dropped: a program that does not take
/// them slows the socket down, and the node closes it as a slow consumer in the end.
#[derive(Debug)]
pub enum Event {
    /// A socket is up: from here on nothing is missed.
    Ready {
        /// The node that it is on.
        node_id: NodeId,
        /// Whether everything after the last cursor follows; if not, a reading has begun that ends
        /// with [`Event::CaughtUp`].
        resumed: bool,
        /// Where the stream is safe to resume.
        cursor: String,
        /// How long ago the last socket was lost; `None` for the first one.
        after: Option<Duration>,
    },
    /// A message of a channel that the user is a member of.
    Message {
        /// The message.
        message: Message,
        /// On the socket, or by a reading.
        how: How,
        /// Whether the timeline did not have it. Exactly one event per message is fresh.
        fresh: bool,
    },
    /// A channel or its membership changed: a hint to read `GET /channels`.
    Channel {
        /// What changed; `None` for a change that this version does not know.
        change: Option<ChannelChange>,
        /// Which channel.
        channel_id: ChannelId,
        /// The users that the change is about: one, or all that a `members_added` names.
        user_ids: Vec<UserId>,
    },
    /// The socket and the path behind it are alive.
    Tick {
        /// The node's clock.
        server_time: Timestamp,
        /// Whether the path behind the socket is whole.
        fresh: bool,
    },
    /// The node could not replay something; a reading begins after `delay`.
    Resync {
        /// Why, for people.
        reason: String,
        /// How long the reading waits.
        delay: Duration,
    },
    /// A reading is complete: nothing is missing in the timelines.
    CaughtUp {
        /// How many channels were read.
        channels: usize,
    },
    /// A socket ended; another one follows unless [`Event::Stopped`] does.
    Lost {
        /// Its close code, 1006 if there was none.
        code: u16,
    },
    /// The last event: this client does not reconnect.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}
