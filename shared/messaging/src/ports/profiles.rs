//! The store of profiles, and the list of the users who have one.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{Profile, Rev, UserId, WorkspaceId};

use super::{NamePage, ReadError, WriteError};

/// The result of writing a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileWrite {
    /// It was written.
    Done,
    /// The stored profile is not the expected one; nothing was written. The one that is there.
    Refused(Option<Box<Profile>>),
}

/// Profiles of users.
#[async_trait]
pub trait ProfileStore: Send + Sync + Debug {
    /// Adds a user to the list of the workspace's users. Idempotent.
    ///
    /// # Errors
    /// [`WriteError`].
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError>;

    /// Writes a profile if the stored one has the revision `expected`; `None`: if there is none.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating the same call after `OutcomeUnknown` is refused if it was written:
    /// the profile that is there then has its revision.
    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError>;

    /// Reads the profiles of these users, strongly, at most 100. Leaves out absent ones; the order
    /// is not kept.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError>;

    /// Reads the list of a workspace's users in order of id, from after `after` (exclusive). It may
    /// lack what was added within the last second.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError>;
}
