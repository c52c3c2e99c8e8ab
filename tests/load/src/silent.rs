//! A store in memory that leaves reads unanswered on command, like a remote store in a brownout.

use std::io::{self, BufRead as _};
use std::time::Duration;

use async_trait::async_trait;
use memory::MemoryStore;
use messaging::ports::{
    Acted, Appended, ChangePage, ChannelMark, ChannelStore, Creation, DeviceStore, Follow, Joined,
    LogEntry, LogPage, LoggedChange, MarkChange, Marked, Marking, MemberStore, Mention,
    MentionStore, MessageStore, NamePage, PageQuery, PinPage, PinStore, ProfileStore, ProfileWrite,
    ReactionPage, ReadError, ReadMarkStore, Redirect, Revised, Revision, RevocationStore, Standing,
    StoredMessage, StoredPin, StoredReaction, ThreadMarked, ThreadStore, UserThread, WriteError,
};
use model::{
    Channel, ChannelId, ChannelUpdate, DeviceId, Emoji, LateArrivals, LogId, Member, MessageId,
    MessageRef, Profile, Rev, ThreadId, Timestamp, UserId, WorkspaceId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::record::say;

mod attachments;

/// A command to a node under test.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreCommand {
    /// Whether the store is silent: reads are not answered.
    Silent(bool),
}

/// A store in memory that answers reads or not.
#[derive(Debug)]
pub(crate) struct MaybeSilent {
    inner: MemoryStore,
    is_silent: watch::Receiver<bool>,
}

impl MaybeSilent {
    /// Answers until a command on standard input makes it silent. Each command is answered with a
    /// line.
    pub(crate) fn on_command(inner: MemoryStore) -> Self {
        let (switch, is_silent) = watch::channel(false);
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                let Ok(StoreCommand::Silent(silent)) = serde_json::from_str(&line) else {
                    continue;
                };
                switch.send_replace(silent);
                say("{}");
            }
        });
        Self { inner, is_silent }
    }

    /// Waits until the store answers. Fails when the adapter would give up.
    async fn answers(&self) -> Result<(), ReadError> {
        let mut is_silent = self.is_silent.clone();
        let answers = is_silent.wait_for(|is| !is);
        match timeout(ADAPTER_PATIENCE, answers).await {
            Ok(_) => Ok(()),
            Err(elapsed) => Err(ReadError::Unavailable(elapsed.into())),
        }
    }
}

#[async_trait]
impl MessageStore for MaybeSilent {
    async fn append(&self, stored: &StoredMessage) -> Result<Appended, WriteError> {
        self.inner.append(stored).await
    }

    async fn append_redirected(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
    ) -> Result<Appended, WriteError> {
        self.inner.append_redirected(redirect, stored).await
    }

    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError> {
        self.answers().await?;
        self.inner.entry(log, id).await
    }

    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError> {
        self.answers().await?;
        self.inner.entries(log, ids).await
    }

    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError> {
        self.answers().await?;
        self.inner.page(query).await
    }

    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError> {
        self.inner.log_change(change).await
    }

    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError> {
        self.answers().await?;
        self.inner.changes(query).await
    }

    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError> {
        self.inner.revise(log, id, revision).await
    }

    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError> {
        self.inner.react(log, id, reaction).await
    }

    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError> {
        self.answers().await?;
        self.inner.reactions(log, id, after, limit).await
    }

    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError> {
        self.answers().await?;
        self.inner.reacted_among(log, user, reactions).await
    }
}

#[async_trait]
impl ChannelStore for MaybeSilent {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.inner.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.answers().await?;
        self.inner.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.answers().await?;
        self.inner.standing(channel, user).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.inner.bump_members_version(channel).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.inner.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.inner.mark_late(channel, late).await
    }
}

#[async_trait]
impl MemberStore for MaybeSilent {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        self.inner.put_members(workspace, channel, members).await
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        self.inner.delete_member(workspace, channel, user).await
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.inner.mark_leaving(workspace, channel, user, at).await
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        self.answers().await?;
        self.inner.was_leaving(workspace, channel, user).await
    }

    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError> {
        self.answers().await?;
        self.inner.are_settled(workspace, channel, users, as_members).await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        self.answers().await?;
        self.inner.members(channel, after, limit).await
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.answers().await?;
        self.inner.members_among(channel, users).await
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.answers().await?;
        self.inner.channels_of(workspace, user, after, limit).await
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        self.answers().await?;
        self.inner.joined_by(workspace, user, after, limit).await
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        self.inner.list_publicly(workspace, channel).await
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.answers().await?;
        self.inner.public_channels(workspace, after, limit).await
    }
}

#[async_trait]
impl ProfileStore for MaybeSilent {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        self.inner.list_user(workspace, user).await
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        self.inner.put_profile(workspace, profile, expected).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        self.answers().await?;
        self.inner.profiles(workspace, users).await
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        self.answers().await?;
        self.inner.users(workspace, after, limit).await
    }
}

#[async_trait]
impl MentionStore for MaybeSilent {
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        expires_at: Timestamp,
    ) -> Result<(), WriteError> {
        self.inner.put_mention(workspace, user, mention, expires_at).await
    }

    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError> {
        self.answers().await?;
        self.inner.mentions_of(workspace, user, since, below, limit).await
    }
}

#[async_trait]
impl PinStore for MaybeSilent {
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError> {
        self.inner.pin(channel, pin).await
    }

    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError> {
        self.answers().await?;
        self.inner.pins(channel, from, limit).await
    }
}

#[async_trait]
impl ThreadStore for MaybeSilent {
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError> {
        self.inner.follow(workspace, user, thread, follow).await
    }

    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError> {
        self.inner.mark_thread(workspace, user, thread, up_to, expires_at).await
    }

    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError> {
        self.answers().await?;
        self.inner.user_thread(workspace, user, thread).await
    }

    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError> {
        self.answers().await?;
        self.inner.user_threads(workspace, user, below, limit).await
    }
}

#[async_trait]
impl ReadMarkStore for MaybeSilent {
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        change: MarkChange,
    ) -> Result<Marked, WriteError> {
        self.inner.change_mark(workspace, user, channel, change).await
    }

    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError> {
        self.answers().await?;
        self.inner.marks_of(workspace, user, after, limit).await
    }
}

#[async_trait]
impl RevocationStore for MaybeSilent {
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.inner.revoke(workspace, user, at).await
    }

    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.answers().await?;
        self.inner.revoked_among(workspace, users).await
    }
}

#[async_trait]
impl DeviceStore for MaybeSilent {
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        self.inner.register(workspace, user, device, now).await
    }

    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError> {
        self.answers().await?;
        self.inner.devices(workspace, users, now).await
    }
}

/// How long the adapter of a remote store spends on all attempts of one call.
const ADAPTER_PATIENCE: Duration = Duration::from_secs(5);
