//! Memberships, and tombstones of revoked users.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{ChannelId, Member, Timestamp, UserId, WorkspaceId};

use super::{ReadError, WriteError};

/// A page of rows in order of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePage<T> {
    /// Ascending.
    pub rows: Vec<T>,
    /// Whether more may follow the last row.
    pub more: bool,
}

/// A channel of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The channel.
    pub channel_id: ChannelId,
    /// When the user became a member, the last time.
    pub joined_at: Timestamp,
}

/// Memberships, in both directions.
#[async_trait]
pub trait MemberStore: Send + Sync + Debug {
    /// Writes both rows of each member (at most 101). An existing row keeps its `joined_at`. Not
    /// atomic: after an error some may be written, and repeating the call completes them.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError>;

    /// Deletes both rows of a member. Absent rows are no error.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError>;

    /// Records that a user is leaving a channel, which distinguishes their retry from a stranger's
    /// call. The record is never removed; leaving again writes it again.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError>;

    /// Whether a user ever began to leave a channel, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError>;

    /// Reads both rows of each of these users (at most 101), strongly. Returns whether all of these
    /// rows exist, or with `as_members` false whether none does.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError>;

    /// Reads a channel's members in order of user id, strongly, from after `after` (exclusive); at
    /// most [`model::limits::MEMBERS_READ_MAX`].
    ///
    /// # Errors
    /// [`ReadError`].
    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError>;

    /// Returns which of these users (at most 101) are members, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError>;

    /// Reads a user's channels in order of id, strongly, from after `after` (exclusive). Leaves out
    /// the user's other rows: a tombstone, a profile, mentions.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError>;

    /// As [`MemberStore::channels_of`], with the times at which the user joined.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError>;

    /// Adds a channel to the list of a workspace's public channels. Idempotent.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError>;

    /// Reads the list of a workspace's public channels in order of id, from after `after`
    /// (exclusive). It may lack what was added within the last second.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError>;
}

/// Tombstones of revoked users.
#[async_trait]
pub trait RevocationStore: Send + Sync + Debug {
    /// Writes a user's tombstone. Idempotent.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError>;

    /// Returns which of these users (at most 101) have a tombstone, read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError>;
}
