//! Wraps the store's ports in one circuit breaker, and the node directory in another: after several
//! failures in a row, calls are refused without being tried.
//! A throttled call counts as answered, so one hot key does not shut out other channels. Only while
//! most calls are throttled are some refused. An unreadable row counts as an answer, too.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{
    Channel, ChannelId, ChannelUpdate, Emoji, LateArrivals, LogId, Member, MessageId, MessageRef,
    NodeId, Profile, Rev, ThreadId, Timestamp, UserId, WorkspaceId,
};

mod attachments;
mod devices;

use crate::circuit::Circuit;
use crate::ports::{
    Acted, Appended, ChangePage, ChannelMark, ChannelStore, Creation, DirectoryError, FleetNode,
    Follow, Joined, Lease, LogEntry, LogPage, LoggedChange, MarkChange, Marked, Marking,
    MemberStore, Mention, MentionStore, MessageStore, NamePage, NodeDirectory, PageQuery, PinPage,
    PinStore, ProfileStore, ProfileWrite, ReactionPage, ReadError, ReadMarkStore, Redirect,
    Revised, Revision, RevocationStore, Standing, StoredMessage, StoredPin, StoredReaction,
    ThreadMarked, ThreadStore, UserThread, WriteError,
};

/// A port and its circuit. All ports that fail together share one circuit.
#[derive(Debug)]
pub(crate) struct Guarded<P: ?Sized> {
    pub(crate) port: Arc<P>,
    pub(crate) circuit: Arc<Circuit>,
}

impl<P: ?Sized> Guarded<P> {
    pub(crate) fn new(port: Arc<P>, circuit: &Arc<Circuit>) -> Arc<Self> {
        Arc::new(Self { port, circuit: Arc::clone(circuit) })
    }

    async fn read<T>(
        &self,
        call: impl Future<Output = Result<T, ReadError>> + Send,
    ) -> Result<T, ReadError> {
        let permit = self.circuit.admit().map_err(|open| ReadError::Unavailable(open.into()))?;
        let answer = call.await;
        match &answer {
            Err(ReadError::Unavailable(_)) => permit.fail(),
            Err(ReadError::Throttled(_)) => permit.throttled(),
            Ok(_) | Err(ReadError::Unreadable(_)) => permit.succeed(),
        }
        answer
    }

    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, DirectoryError>> + Send,
    ) -> Result<T, DirectoryError> {
        let permit = self.circuit.admit().map_err(|open| DirectoryError(open.into()))?;
        let answer = call.await;
        if answer.is_ok() {
            permit.succeed()
        } else {
            permit.fail()
        }
        answer
    }

    async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, WriteError>> + Send,
    ) -> Result<T, WriteError> {
        let permit = self.circuit.admit().map_err(|open| WriteError::NotStored(open.into()))?;
        let answer = call.await;
        match &answer {
            Err(WriteError::NotStored(_) | WriteError::OutcomeUnknown(_)) => permit.fail(),
            Err(WriteError::Throttled(_)) => permit.throttled(),
            Ok(_) => permit.succeed(),
        }
        answer
    }
}

#[async_trait]
impl MessageStore for Guarded<dyn MessageStore> {
    async fn append(&self, message: &StoredMessage) -> Result<Appended, WriteError> {
        self.write(self.port.append(message)).await
    }

    async fn append_redirected(
        &self,
        redirect: &Redirect,
        message: &StoredMessage,
    ) -> Result<Appended, WriteError> {
        self.write(self.port.append_redirected(redirect, message)).await
    }

    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError> {
        self.read(self.port.entry(log, id)).await
    }

    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError> {
        self.read(self.port.entries(log, ids)).await
    }

    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError> {
        self.read(self.port.page(query)).await
    }

    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError> {
        self.write(self.port.log_change(change)).await
    }

    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError> {
        self.read(self.port.changes(query)).await
    }

    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError> {
        self.write(self.port.revise(log, id, revision)).await
    }

    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError> {
        self.write(self.port.react(log, id, reaction)).await
    }

    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError> {
        self.read(self.port.reactions(log, id, after, limit)).await
    }

    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError> {
        self.read(self.port.reacted_among(log, user, reactions)).await
    }
}

#[async_trait]
impl ChannelStore for Guarded<dyn ChannelStore> {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.write(self.port.create(channel)).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.read(self.port.channels(ids)).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.read(self.port.standing(channel, user)).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.write(self.port.bump_members_version(channel)).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.write(self.port.change_details(channel, update)).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.write(self.port.mark_late(channel, late)).await
    }
}

#[async_trait]
impl MemberStore for Guarded<dyn MemberStore> {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        self.write(self.port.put_members(workspace, channel, members)).await
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        self.write(self.port.delete_member(workspace, channel, user)).await
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.port.mark_leaving(workspace, channel, user, at)).await
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        self.read(self.port.was_leaving(workspace, channel, user)).await
    }

    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError> {
        self.read(self.port.are_settled(workspace, channel, users, as_members)).await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        self.read(self.port.members(channel, after, limit)).await
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.read(self.port.members_among(channel, users)).await
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.read(self.port.channels_of(workspace, user, after, limit)).await
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        self.read(self.port.joined_by(workspace, user, after, limit)).await
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        self.write(self.port.list_publicly(workspace, channel)).await
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        self.read(self.port.public_channels(workspace, after, limit)).await
    }
}

#[async_trait]
impl ProfileStore for Guarded<dyn ProfileStore> {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        self.write(self.port.list_user(workspace, user)).await
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        self.write(self.port.put_profile(workspace, profile, expected)).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        self.read(self.port.profiles(workspace, users)).await
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        self.read(self.port.users(workspace, after, limit)).await
    }
}

#[async_trait]
impl MentionStore for Guarded<dyn MentionStore> {
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        expires_at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.port.put_mention(workspace, user, mention, expires_at)).await
    }

    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError> {
        self.read(self.port.mentions_of(workspace, user, since, below, limit)).await
    }
}

#[async_trait]
impl PinStore for Guarded<dyn PinStore> {
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError> {
        self.write(self.port.pin(channel, pin)).await
    }

    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError> {
        self.read(self.port.pins(channel, from, limit)).await
    }
}

#[async_trait]
impl ThreadStore for Guarded<dyn ThreadStore> {
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError> {
        self.write(self.port.follow(workspace, user, thread, follow)).await
    }

    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError> {
        self.write(self.port.mark_thread(workspace, user, thread, up_to, expires_at)).await
    }

    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError> {
        self.read(self.port.user_thread(workspace, user, thread)).await
    }

    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError> {
        self.read(self.port.user_threads(workspace, user, below, limit)).await
    }
}

#[async_trait]
impl ReadMarkStore for Guarded<dyn ReadMarkStore> {
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        change: MarkChange,
    ) -> Result<Marked, WriteError> {
        self.write(self.port.change_mark(workspace, user, channel, change)).await
    }

    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError> {
        self.read(self.port.marks_of(workspace, user, after, limit)).await
    }
}

#[async_trait]
impl RevocationStore for Guarded<dyn RevocationStore> {
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.port.revoke(workspace, user, at)).await
    }

    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        self.read(self.port.revoked_among(workspace, users)).await
    }
}

#[async_trait]
impl NodeDirectory for Guarded<dyn NodeDirectory> {
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError> {
        self.ask(self.port.renew(lease)).await
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError> {
        self.ask(self.port.withdraw(node)).await
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        self.ask(self.port.fleet()).await
    }

    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        self.ask(self.port.reserve(candidates, ttl, workspace, user)).await
    }

    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError> {
        self.ask(self.port.report(node, workspace, reporter)).await
    }
}
