//! The answers of typed calls.

use std::fmt;
use std::time::Duration;

use model::{
    ChannelId, LogId, Member, Message, MessageId, NodeId, Profile, ReadMark, UnreadCount, UserId,
    limits,
};
use protocol::http::{
    AlternateBody, ConnectBody, MarkBody, MemberBody, MembersBody, PageBody, ProfileBody,
    ProfilesBody, ThreadBody, UnreadChannelBody, UnreadMarkBody,
};

/// The answer of `GET /scroll`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages, in the requested direction.
    pub messages: Vec<Message>,
    /// Offset of the next page; `None` if there are no more messages in this direction now.
    pub next_offset: Option<MessageId>,
    /// Whether all changes of messages at or before the offset are on this page and those after it.
    pub complete: bool,
}

/// The answer of `GET /channels/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage {
    /// The channel's members.
    pub members: Vec<Member>,
    /// Offset of the next page; `None` after the last one.
    pub next_offset: Option<UserId>,
}

/// The answer of `GET /users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfilePage {
    /// In order of user id.
    pub profiles: Vec<Profile>,
    /// Offset of the next page; `None` after the last one.
    pub next_offset: Option<UserId>,
}

/// What became of one mark of `POST /read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The log: a channel's main log, or a thread.
    pub log: LogId,
    /// The user's mark in it now; `None` if they are not a member, or there is no such thread.
    pub mark: Option<ReadMark>,
    /// Whether the call moved it.
    pub moved: bool,
}

/// A thread that the user follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedThread {
    /// Its root.
    pub root: Message,
    /// How far the user has read it.
    pub up_to: MessageId,
    /// Whether somebody else wrote after that.
    pub is_unread: bool,
}

/// A user's mark in a channel, and what is unread after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The channel.
    pub channel_id: ChannelId,
    /// The mark.
    pub mark: ReadMark,
    /// Unread messages.
    pub count: UnreadCount,
    /// Those among them that mention the user.
    pub mentions: UnreadCount,
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

impl Page {
    pub(super) fn read(body: PageBody) -> Option<Self> {
        // Servers without changes say nothing: there, none can be missing.
        let complete = body.complete.unwrap_or(true);
        Some(Self { messages: body.messages, next_offset: offset(body.next_offset)?, complete })
    }
}

impl MemberPage {
    pub(super) fn read(body: MembersBody) -> Option<Self> {
        let members = body.members.iter().map(MemberBody::read).collect::<Option<_>>()?;
        Some(Self { members, next_offset: offset(body.next_offset)? })
    }
}

impl ProfilePage {
    pub(super) fn read(body: ProfilesBody) -> Option<Self> {
        let profiles = body.users.into_iter().map(ProfileBody::read).collect::<Option<_>>()?;
        Some(Self { profiles, next_offset: offset(body.next_offset)? })
    }
}

impl Marked {
    pub(super) fn read(body: MarkBody) -> Option<Self> {
        Some(match body {
            MarkBody::Marked { channel_id, thread, up_to, epoch, moved } => {
                let mark = Some(UnreadMarkBody { up_to, epoch }.read()?);
                Self { log: log(&channel_id, thread)?, mark, moved }
            }
            MarkBody::Refused { channel_id, thread, .. } => {
                Self { log: log(&channel_id, thread)?, mark: None, moved: false }
            }
        })
    }
}

fn log(channel_id: &str, thread: Option<String>) -> Option<LogId> {
    Some(LogId::new(channel_id.parse().ok()?, offset(thread)?))
}

impl FollowedThread {
    pub(super) fn read(body: ThreadBody) -> Option<Self> {
        let ThreadBody { channel_id: _, root, up_to, unread } = body;
        Some(Self { root, up_to: up_to.parse().ok()?, is_unread: unread })
    }
}

impl Unread {
    pub(super) fn read(body: UnreadChannelBody) -> Option<Self> {
        let UnreadChannelBody { channel_id, up_to, epoch, unread, mentions } = body;
        Some(Self {
            channel_id: channel_id.parse().ok()?,
            mark: UnreadMarkBody { up_to, epoch }.read()?,
            count: unread.read(),
            mentions: mentions.read(),
        })
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
        })
    }
}

impl Target {
    fn read(body: AlternateBody) -> Option<Self> {
        Some(Self { node_id: body.node_id.parse().ok()?, url: body.url, ticket: body.ticket })
    }
}

/// `None` for a malformed offset; an absent one is `Some(None)`.
pub(super) fn offset<T: std::str::FromStr>(text: Option<String>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| text.parse().ok().map(Some))
}
