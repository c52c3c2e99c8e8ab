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
    /// Delivered first, stored afterwards; acknowledged when published (ADR 0044).
    DeliverFirst,
    /// The same, but stored only if some device lacks it after a minute (ADR 0046).
    DeliverUntilAcked,
    /// Never stored: only who has joined hears it; acknowledged when pushed (ADR 0043).
    Ephemeral,
}

impl Contract {
    const ALL: [Self; 4] =
        [Self::PersistFirst, Self::DeliverFirst, Self::DeliverUntilAcked, Self::Ephemeral];

    /// Its name in tables and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PersistFirst => "persist_first",
            Self::DeliverFirst => "deliver_first",
            Self::DeliverUntilAcked => "deliver_until_acked",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// Reads its name in tables and files.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contract| contract.as_str() == text)
    }

    /// `contract` and `keep` on the wire. The latter says which messages are kept that were delivered first.
    #[must_use]
    pub const fn on_wire(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::PersistFirst => ("persist_first", None),
            Self::DeliverFirst => ("deliver_first", Some("archive")),
            Self::DeliverUntilAcked => ("deliver_first", Some("acked")),
            Self::Ephemeral => ("ephemeral", None),
        }
    }

    /// Reads `contract` on the wire, with the default of `keep`.
    #[must_use]
    pub fn of_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contract| contract.on_wire().0 == text)
    }

    /// The same contract with another `keep`; `None` if it has no such thing.
    #[must_use]
    pub fn keeping(self, keep: &str) -> Option<Self> {
        let (contract, _) = self.on_wire();
        Self::ALL.into_iter().find(|other| other.on_wire() == (contract, Some(keep)))
    }

    /// Whether messages are delivered before they are stored.
    #[must_use]
    pub const fn delivers_first(self) -> bool {
        matches!(self, Self::DeliverFirst | Self::DeliverUntilAcked)
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

/// Who may find and join a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Nobody: members add others.
    #[default]
    Private,
    /// Every user of the workspace. Only groups can be public.
    Public,
}

impl Visibility {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Private, Self::Public].into_iter().find(|visibility| visibility.as_str() == text)
    }
}

/// What members may change of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDetails {
    /// 1-80 characters for a group, none for a DM.
    pub name: Option<String>,
    /// Up to 250 characters; may be empty.
    pub topic: String,
    /// Whether the channel takes neither messages nor edits any more.
    pub archived: bool,
    /// The number of changes of these details, starting at 1. Of two copies, the one with the
    /// greater version is newer.
    pub version: u64,
}

impl ChannelDetails {
    /// The details of a new channel.
    #[must_use]
    pub const fn new(name: Option<String>) -> Self {
        Self { name, topic: String::new(), archived: false, version: 1 }
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
    /// Who may find and join it.
    pub visibility: Visibility,
    /// Its name, topic, and whether it is archived.
    pub details: ChannelDetails,
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

impl Channel {
    /// Whether a meeting is over: somebody ended it, which archives it, or its day is over. Then it is
    /// there for nobody.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let is_old = || now >= self.created_at.plus(limits::MEETING_LIFE);
        self.contract == Contract::Ephemeral && (self.details.archived || is_old())
    }
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
    /// The channel has another name.
    Renamed,
    /// The channel has another topic.
    Topic,
    /// The channel takes no messages any more.
    Archived,
    /// The channel takes messages again.
    Unarchived,
}

impl ChannelChange {
    const ALL: [Self; 8] = [
        Self::Created,
        Self::MemberAdded,
        Self::MembersAdded,
        Self::MemberRemoved,
        Self::Renamed,
        Self::Topic,
        Self::Archived,
        Self::Unarchived,
    ];

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
            Self::Renamed => "renamed",
            Self::Topic => "topic",
            Self::Archived => "archived",
            Self::Unarchived => "unarchived",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_on_the_wire_is_read_again() {
        for change in ChannelChange::ALL {
            assert_eq!(ChannelChange::parse(change.as_str()), Some(change));
        }
        for visibility in [Visibility::Private, Visibility::Public] {
            assert_eq!(Visibility::parse(visibility.as_str()), Some(visibility));
        }
        assert_eq!(Visibility::parse("PUBLIC"), None);
    }
}
