//! The answers of typed calls.

use std::fmt;
use std::time::Duration;

use model::{Channel, ChannelId, Member, Message, MessageId, NodeId, Timestamp, UserId, limits};
use protocol::http::ChannelBody;
use protocol::http::{
    AlternateBody, ChannelsBody, ConnectBody, MemberBody, MembersBody, PageBody, PostedBody,
};

/// The answer of `POST /messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The stored message. Its id may differ from the client's.
    pub message: Message,
    /// Whether an earlier attempt had stored it.
    pub duplicate: bool,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// The answer of `GET /scroll`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages, in the requested direction.
    pub messages: Vec<Message>,
    /// Offset of the next page; `None` if there are no more messages in this direction now.
    pub next_offset: Option<MessageId>,
}

/// The answer of `GET /channels`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPage {
    /// The caller's channels.
    pub channels: Vec<Channel>,
    /// Offset of the next page; `None` after the last one.
    pub next_offset: Option<ChannelId>,
}

/// The answer of `GET /channels/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage {
    /// The channel's members.
    pub members: Vec<Member>,
    /// Offset of the next page; `None` after the last one.
    pub next_offset: Option<UserId>,
}

/// The answer of `GET /connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The node to connect to.
    pub target: Target,
    /// A second node, if a second one is live.
    pub alternates: Vec<Target>,
    /// How long to wait before connecting: it spreads the reconnect storm after a node is lost.
    pub delay: Duration,
    /// When the tickets expire.
    pub expires_at: Timestamp,
    /// The server's clock.
    pub server_time: Timestamp,
}

/// A node, and the ticket that opens one socket there. `Debug` does not show the ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node_id: NodeId,
    /// The URL to open a socket at, such as `ws://…`.
    pub url: String,
    /// The ticket. It opens one socket, once.
    pub ticket: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} at {})", self.node_id, self.url)
    }
}

impl Posted {
    pub(super) fn read(body: PostedBody) -> Option<Self> {
        Some(Self {
            message: body.message,
            duplicate: body.duplicate,
            server_time: Timestamp::from_unix_ms(body.server_time),
        })
    }
}

impl Page {
    pub(super) fn read(body: PageBody) -> Option<Self> {
        Some(Self { messages: body.messages, next_offset: offset(body.next_offset)? })
    }
}

impl ChannelPage {
    pub(super) fn read(body: ChannelsBody) -> Option<Self> {
        let channels = body.channels.into_iter().map(ChannelBody::read).collect::<Option<_>>()?;
        Some(Self { channels, next_offset: offset(body.next_offset)? })
    }
}

impl MemberPage {
    pub(super) fn read(body: MembersBody) -> Option<Self> {
        let members = body.members.iter().map(MemberBody::read).collect::<Option<_>>()?;
        Some(Self { members, next_offset: offset(body.next_offset)? })
    }
}

impl Assignment {
    pub(super) fn read(body: ConnectBody) -> Option<Self> {
        let target = AlternateBody { node_id: body.node_id, url: body.url, ticket: body.ticket };
        let alternates = body.alternates.into_iter().map(Target::read).collect::<Option<_>>()?;
        Some(Self {
            target: Target::read(target)?,
            alternates,
            delay: Duration::from_millis(body.delay_ms).min(limits::DELAY_MAX),
            expires_at: Timestamp::from_unix_ms(body.expires_at),
            server_time: Timestamp::from_unix_ms(body.server_time),
        })
    }
}

impl Target {
    fn read(body: AlternateBody) -> Option<Self> {
        Some(Self { node_id: body.node_id.parse().ok()?, url: body.url, ticket: body.ticket })
    }
}

/// `None` for a malformed offset; an absent one is `Some(None)`.
fn offset<T: std::str::FromStr>(text: Option<String>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| text.parse().ok().map(Some))
}
