//! Bodies of responses. Clients ignore fields that they do not know.

use model::{
    Channel, ChannelId, Emoji, ErrorCode, LogId, Member, Message, Profile, ReadMark, UnreadCount,
    UserId, Visibility,
};
use serde::{Deserialize, Serialize};

/// The response to `POST /messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedBody {
    /// The stored message.
    #[serde(flatten)]
    pub message: Message,
    /// Whether it was stored before.
    pub duplicate: bool,
    /// Unix milliseconds.
    pub server_time: u64,
}

/// The response to an edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedBody {
    /// The message as it is stored.
    #[serde(flatten)]
    pub message: Message,
    /// Whether this edit had happened before.
    pub duplicate: bool,
    /// Whether a later edit has won.
    pub superseded: bool,
}

/// The response to `GET …/reactions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionsBody {
    /// In the order of their users.
    pub reactions: Vec<ReactionBody>,
    /// The offset of the next page; `null` if this is the last one.
    pub next_offset: Option<String>,
}

/// One user's reaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionBody {
    /// The emoji.
    pub emoji: String,
    /// Who reacted.
    pub user_id: String,
}

impl ReactionBody {
    /// A reaction as it is listed.
    #[must_use]
    pub fn of(emoji: &Emoji, user: &UserId) -> Self {
        Self { emoji: emoji.to_string(), user_id: user.to_string() }
    }
}

/// The response to `GET /scroll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBody {
    /// In the requested order.
    pub messages: Vec<Message>,
    /// The offset of the next page; `null` if there is nothing further in that direction now.
    pub next_offset: Option<String>,
    /// With `newer`: whether the page has all changes of messages at or before the offset. If not,
    /// the reader's copies of older messages may be outdated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

/// The response to `POST /read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksBody {
    /// One for each mark of the request, in its order.
    pub marks: Vec<MarkBody>,
}

/// What became of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MarkBody {
    /// The mark of the channel, or of the thread, now.
    Marked {
        /// The channel.
        channel_id: String,
        /// The root of the thread, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// The last id that is read.
        up_to: String,
        /// Its epoch.
        epoch: u32,
        /// Whether this call moved it here.
        moved: bool,
    },
    /// The caller has no such channel, or the channel no such thread.
    Refused {
        /// The channel.
        channel_id: String,
        /// The root of the thread, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
        /// `channel_not_found` or `message_not_found`.
        code: String,
    },
}

impl MarkBody {
    /// A mark that is stored.
    #[must_use]
    pub fn marked(log: &LogId, mark: ReadMark, moved: bool) -> Self {
        let UnreadMarkBody { up_to, epoch } = UnreadMarkBody::of(mark);
        let (channel_id, thread) = (log.channel_id.to_string(), log.thread);
        let thread = thread.map(|root| root.to_string());
        Self::Marked { channel_id, thread, up_to, epoch, moved }
    }

    /// A mark where the caller cannot have one.
    #[must_use]
    pub fn refused(log: &LogId, code: ErrorCode) -> Self {
        let (channel_id, thread) = (log.channel_id.to_string(), log.thread);
        let (thread, code) = (thread.map(|root| root.to_string()), code.as_str().to_owned());
        Self::Refused { channel_id, thread, code }
    }
}

/// The response to `POST /channels/{channel_id}/unread`: the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadMarkBody {
    /// The last id that is read.
    pub up_to: String,
    /// Its epoch.
    pub epoch: u32,
}

impl UnreadMarkBody {
    /// Writes a mark.
    #[must_use]
    pub fn of(mark: ReadMark) -> Self {
        Self { up_to: mark.up_to.to_string(), epoch: mark.epoch.number() }
    }
}

/// The response to `PUT` and `DELETE /channels/{channel_id}/threads/{root}/follow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedBody {
    /// The channel.
    pub channel_id: String,
    /// The root of the thread.
    pub thread: String,
    /// Whether the caller follows it now.
    pub followed: bool,
}

/// The response to `GET /threads`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadsBody {
    /// The one with the newest root first.
    pub threads: Vec<ThreadBody>,
    /// The offset of the next page, if there is one.
    pub next_offset: Option<String>,
}

/// A thread that the caller follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadBody {
    /// The channel.
    pub channel_id: String,
    /// The root.
    pub root: Message,
    /// The last id that is read.
    pub up_to: String,
    /// Whether somebody else wrote after that.
    pub unread: bool,
}

/// The response to `GET /unread`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadBody {
    /// Sorted by id.
    pub channels: Vec<UnreadChannelBody>,
    /// The offset of the next page, if there is one.
    pub next_offset: Option<String>,
}

/// A channel's mark, and what is unread in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadChannelBody {
    /// The channel.
    pub channel_id: String,
    /// The last id that is read.
    pub up_to: String,
    /// Its epoch.
    pub epoch: u32,
    /// Unread messages.
    pub unread: CountBody,
    /// Those among them that mention the user: always 0 in this version.
    pub mentions: CountBody,
}

/// A count: 0 to 99, or `"99+"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CountBody {
    /// Exactly this many.
    Exact(u32),
    /// More than can be told.
    Over(String),
}

impl CountBody {
    /// Writes a count.
    #[must_use]
    pub fn of(count: UnreadCount) -> Self {
        match count {
            UnreadCount::Exact(count) => Self::Exact(count),
            UnreadCount::Over => Self::Over("99+".to_owned()),
        }
    }
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelBody {
    /// Its id.
    pub channel_id: String,
    /// Its tenant.
    pub workspace_id: String,
    /// `DM` or `GROUP_CHANNEL`.
    #[serde(rename = "type")]
    pub channel_type: String,
    /// `null` for a DM.
    pub name: Option<String>,
    /// `private` or `public`; absent from servers that know no public channels.
    #[serde(default = "private")]
    pub visibility: String,
    /// May be empty.
    #[serde(default)]
    pub topic: String,
    /// Whether it takes neither messages nor edits.
    #[serde(default)]
    pub archived: bool,
    /// The number of changes of name, topic and `archived`.
    #[serde(default)]
    pub details_version: u64,
    /// `persist_first`, `deliver_first` or `ephemeral`.
    pub contract: String,
    /// How long messages are kept that were delivered first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// The user who created it.
    pub created_by: String,
    /// The number of membership changes.
    pub members_version: u64,
    /// Messages that were published too late for clients to find them by themselves.
    pub late: Option<LateArrivalsBody>,
}

/// Messages that were published too late for clients to find them by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateArrivalsBody {
    /// The lowest of them.
    pub reread_from: String,
    /// Until when they may be published, RFC 3339.
    pub until: String,
}

impl ChannelBody {
    /// Writes a channel.
    #[must_use]
    pub fn of(channel: &Channel) -> Self {
        Self {
            channel_id: channel.id.to_string(),
            workspace_id: channel.workspace_id.to_string(),
            channel_type: channel.channel_type.as_str().to_owned(),
            name: channel.details.name.clone(),
            visibility: channel.visibility.as_str().to_owned(),
            topic: channel.details.topic.clone(),
            archived: channel.details.archived,
            details_version: channel.details.version,
            contract: channel.contract.on_wire().0.to_owned(),
            keep: channel.contract.on_wire().1.map(str::to_owned),
            created_at: channel.created_at.rfc3339(),
            created_by: channel.created_by.to_string(),
            members_version: channel.members_version,
            late: channel.late.map(|late| LateArrivalsBody {
                reread_from: late.reread_from.to_string(),
                until: late.until.rfc3339(),
            }),
        }
    }
}

fn private() -> String {
    Visibility::Private.as_str().to_owned()
}

/// A user's profile. Texts that the user never set are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileBody {
    /// The user.
    pub user_id: String,
    /// The name.
    pub name: String,
    /// An `https` URL.
    pub avatar: String,
    /// What the user is doing.
    pub status: String,
    /// An emoji for it.
    pub status_emoji: String,
    /// A time zone.
    pub tz: String,
    /// The revision: of two copies, the one with the greater revision is newer.
    pub rev: String,
}

impl ProfileBody {
    /// Writes a profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self {
            user_id: profile.user_id.to_string(),
            name: profile.name.clone(),
            avatar: profile.avatar.clone(),
            status: profile.status.clone(),
            status_emoji: profile.status_emoji.clone(),
            tz: profile.tz.clone(),
            rev: profile.rev.to_string(),
        }
    }
}

/// The response to `GET /users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfilesBody {
    /// Sorted by user id.
    pub users: Vec<ProfileBody>,
    /// The offset of the next page, if there is one.
    pub next_offset: Option<String>,
}

/// The response to `GET /channels`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelsBody {
    /// Sorted by id.
    pub channels: Vec<ChannelBody>,
    /// The offset of the next page, if there is one.
    pub next_offset: Option<String>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberBody {
    /// The user.
    pub user_id: String,
    /// RFC 3339.
    pub joined_at: String,
}

impl MemberBody {
    /// Writes a member.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        Self { user_id: member.user_id.to_string(), joined_at: member.joined_at.rfc3339() }
    }
}

/// The response to `GET /channels/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersBody {
    /// Sorted by user id.
    pub members: Vec<MemberBody>,
    /// The offset of the next page, if there is one.
    pub next_offset: Option<String>,
}

/// The response to `POST /channels/{channel_id}/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedBody {
    /// Users who are members now; some may have been before.
    pub added: Vec<String>,
    /// Users who are not.
    pub refused: Vec<RefusedBody>,
}

/// A user who was not added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedBody {
    /// The user.
    pub user_id: String,
    /// The reason: a code of this protocol.
    pub code: String,
}

impl AddedBody {
    /// The response after adding several users.
    #[must_use]
    pub fn of(added: &[UserId], refused: &[(UserId, ErrorCode)]) -> Self {
        let refused = refused
            .iter()
            .map(|(user, code)| (user.to_string(), code.as_str().to_owned()))
            .map(|(user_id, code)| RefusedBody { user_id, code });
        Self { added: added.iter().map(UserId::to_string).collect(), refused: refused.collect() }
    }
}

/// The response to a membership change: the channel and the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBody {
    /// The channel; absent after a revocation, which applies to all channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// The user.
    pub user_id: String,
}

impl ChangedBody {
    /// The response after a member was added or removed.
    #[must_use]
    pub fn of_member(channel: &ChannelId, user: &UserId) -> Self {
        Self { channel_id: Some(channel.to_string()), user_id: user.to_string() }
    }

    /// The response after a user was revoked.
    #[must_use]
    pub fn of_user(user: &UserId) -> Self {
        Self { channel_id: None, user_id: user.to_string() }
    }
}

/// The response to a meeting's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedBody {
    /// The channel.
    pub channel_id: String,
}

/// The response to `GET /connect`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectBody {
    /// The node.
    pub node_id: String,
    /// Its URL.
    pub url: String,
    /// The secret that opens one socket there.
    pub ticket: String,
    /// Unix milliseconds.
    pub expires_at: u64,
    /// How long to wait before connecting.
    pub delay_ms: u64,
    /// Unix milliseconds.
    pub server_time: u64,
    /// Other nodes, if this one cannot be reached.
    pub alternates: Vec<AlternateBody>,
}

impl std::fmt::Debug for ConnectBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (node, delay) = (&self.node_id, self.delay_ms);
        write!(f, "ConnectBody {{ node_id: {node}, delay_ms: {delay}, .. }}")
    }
}

/// An alternative node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlternateBody {
    /// The node.
    pub node_id: String,
    /// Its URL.
    pub url: String,
    /// The secret that opens one socket there.
    pub ticket: String,
}

impl std::fmt::Debug for AlternateBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlternateBody {{ node_id: {}, .. }}", self.node_id)
    }
}
