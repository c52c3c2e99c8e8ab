//! Bugs 4 and 5: the order of versions and rows, broken on the reading or on the writing side.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{
    ChannelStore, Creation, Joined, Marking, MemberStore, NamePage, ReadError, Standing, WriteError,
};
use model::{
    Channel, ChannelId, ChannelUpdate, LateArrivals, Member, Timestamp, UserId, WorkspaceId,
};
use tokio::time::{Instant, sleep};

use super::Versions;

/// Bug 4: a send reads the version that the channel had two seconds ago.
#[derive(Debug)]
pub(super) struct StaleVersion {
    pub(super) channels: Arc<dyn ChannelStore>,
    pub(super) versions: Versions,
}

/// Bug 5: a removed member's rows are deleted a while after the call has returned.
#[derive(Debug)]
pub(super) struct RowsAfterVersion {
    pub(super) members: Arc<dyn MemberStore>,
}

#[async_trait]
impl ChannelStore for StaleVersion {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.channels.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.channels.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        let mut standing = self.channels.standing(channel, user).await?;
        let versions = self.versions.lock();
        let versions = versions.get(channel).map_or(&[][..], Vec::as_slice);
        let recent = versions.iter().find(|(since, _)| since.elapsed() < STALE_FOR);
        if let (Some(read), Some((_, version))) = (&mut standing.channel, recent) {
            read.members_version = version.saturating_sub(1);
        }
        Ok(standing)
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        let bump = self.channels.bump_members_version(channel).await;
        if let Ok(Some(version)) = &bump {
            let mut versions = self.versions.lock();
            versions.entry(channel.clone()).or_default().push((Instant::now(), *version));
        }
        bump
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.channels.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.channels.mark_late(channel, late).await
    }
}

#[async_trait]
impl MemberStore for RowsAfterVersion {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        self.members.put_members(workspace, channel, members).await
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        let members = Arc::clone(&self.members);
        let (workspace, channel, user) = (workspace.clone(), channel.clone(), user.clone());
        tokio::spawn(async move {
            sleep(ROWS_LATER).await;
            members.delete_member(&workspace, &channel, &user).await.is_ok()
        });
        Ok(())
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.members.mark_leaving(workspace, channel, user, at).await
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        self.members.was_leaving(workspace, channel, user).await
    }

    async fn are_settled(
        &self,
        _workspace: &WorkspaceId,
        _channel: &ChannelId,
        _users: &[UserId],
        _as_members: bool,
    ) -> Result<bool, ReadError> {
        Ok(true)
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        self.members.members(channel, after, limit).await
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.members.members_among(channel, users).await
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.members.channels_of(workspace, user, after, limit).await
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        self.members.joined_by(workspace, user, after, limit).await
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        self.members.list_publicly(workspace, channel).await
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.members.public_channels(workspace, after, limit).await
    }
}

const STALE_FOR: Duration = Duration::from_secs(2);
const ROWS_LATER: Duration = Duration::from_millis(400);
