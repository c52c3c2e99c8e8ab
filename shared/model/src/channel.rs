//! Channels, their members, and how they change.

use crate::ids::{ChannelId, MessageId, UserId, WorkspaceId};
use crate::limits;
use crate::time::Timestamp;

/// A kind of channel. A DM is a channel with exactly two members, who never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelType {
    /// Exactly two members, who never change.
    Dm,
    /// Any number of members, who come and go.
    Group,
}

impl ChannelType {
    /// The name on the wire: `DM` or `GROUP_CHANNEL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dm => "DM",
            Self::Group => "GROUP_CHANNEL",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Dm, Self::Group].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// When a message counts as sent, and whether it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Contract {
    /// Stored before it is delivered; acknowledged when stored.
    #[default]
    PersistFirst,
    /// Delivered first, archived afterwards; acknowledged when published. Named, not yet served.
    DeliverFirst,
    /// Never stored. Named, not yet served.
    Ephemeral,
}

impl Contract {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PersistFirst => "persist_first",
            Self::DeliverFirst => "deliver_first",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::PersistFirst, Self::DeliverFirst, Self::Ephemeral]
            .into_iter()
            .find(|contract| contract.as_str() == text)
    }
}

/// Messages that were published too late for clients to find them by themselves (G3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateArrivals {
    /// The lowest of these messages: a client that was away must read again from just before it.
    pub reread_from: MessageId,
    /// The end of the time in which they may be published; it may be some minutes ahead.
    pub until: Timestamp,
}

impl LateArrivals {
    /// Whether a client that reads again because of this mark also finds the messages of the other.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.reread_from <= other.reread_from && self.until >= other.until.minus(limits::OVERLAP)
    }
}

/// A channel, as in the channels table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its globally unique id.
    pub id: ChannelId,
    /// The tenant it belongs to.
    pub workspace_id: WorkspaceId,
    /// DM or group.
    pub channel_type: ChannelType,
    /// 1-80 characters for a group, none for a DM.
    pub name: Option<String>,
    /// Its delivery contract.
    pub contract: Contract,
    /// When it was created.
    pub created_at: Timestamp,
    /// The user who created it.
    pub created_by: UserId,
    /// The number of membership changes, starting at 1 (G6); 0 means "no view".
    pub members_version: u64,
    /// The last incident of a late relay, if there was one.
    pub late: Option<LateArrivals>,
}

/// One row of a channel's membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user_id: UserId,
    /// When they became a member.
    pub joined_at: Timestamp,
}

/// The change that a `channel` frame reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelChange {
    /// The channel was created.
    Created,
    /// A user became a member.
    MemberAdded,
    /// Several users became members in one change.
    MembersAdded,
    /// A user is not a member any more.
    MemberRemoved,
}

impl ChannelChange {
    /// Whether users became members of a channel that was there.
    #[must_use]
    pub const fn is_addition(self) -> bool {
        matches!(self, Self::MemberAdded | Self::MembersAdded)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::MemberAdded => "member_added",
            Self::MembersAdded => "members_added",
            Self::MemberRemoved => "member_removed",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Created, Self::MemberAdded, Self::MembersAdded, Self::MemberRemoved]
            .into_iter()
            .find(|change| change.as_str() == text)
    }
}
