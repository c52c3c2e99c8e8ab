//! Channels, their members, and what happens to them.

use crate::ids::{ChannelId, MessageId, UserId, WorkspaceId};
use crate::limits;
use crate::time::Timestamp;

/// What kind of channel it is. A DM is a channel with exactly two members, for ever.
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
    /// Delivered first, archived after; acknowledged when published. Named, not yet served.
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

/// Messages were published later than clients read back by themselves (G3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateArrivals {
    /// The lowest of these messages: a client that was away has to read again from just before it.
    pub reread_from: MessageId,
    /// Until when such messages may be published; it may lie some minutes ahead.
    pub until: Timestamp,
}

impl LateArrivals {
    /// Whether clients that read again for this one find the messages of the other, too.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.reread_from <= other.reread_from && self.until >= other.until.minus(limits::OVERLAP)
    }
}

/// A channel as the channels table holds it.
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
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: UserId,
    /// Counts its membership changes, from 1 (G6); 0 is "no view".
    pub members_version: u64,
    /// The last incident of a late relay, if there was one.
    pub late: Option<LateArrivals>,
}

/// One row of a channel's membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user_id: UserId,
    /// Since when.
    pub joined_at: Timestamp,
}

/// What a `channel` frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelChange {
    /// The channel came to be.
    Created,
    /// A user became a member.
    MemberAdded,
    /// Several users became members in one change.
    MembersAdded,
    /// A user is no member any more.
    MemberRemoved,
}

impl ChannelChange {
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
