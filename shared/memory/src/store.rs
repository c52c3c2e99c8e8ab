//! The store's ports on maps: the tables' behaviour without their cost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Unbounded};
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{
    ChannelMark, ChannelStore, Creation, Joined, LogEntry, MarkChange, Marked, Marking,
    MemberStore, Mention, NamePage, ProfileStore, ProfileWrite, ReadError, ReadMarkStore,
    RevocationStore, Standing, StoredAttachment, StoredPin, StoredReaction, WriteError,
};
use model::limits::MEMBERS_READ_MAX;
use model::{
    Channel, ChannelId, ChannelUpdate, Emoji, FileId, LateArrivals, LogId, Member, MessageId,
    MessageRef, Profile, ReadMark, Rev, SeenDevices, ThreadId, Timestamp, UserId, WorkspaceId,
};
use parking_lot::{Mutex, MutexGuard};

mod attachments;
mod devices;
mod mentions;
mod messages;
mod pins;
mod threads;

/// A store in memory with the tables' semantics. Clones share its rows.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<Tables>>);

/// How often each method of a port was called, by its name.
pub type Calls = BTreeMap<&'static str, u64>;

#[derive(Debug, Default)]
struct Tables {
    messages: BTreeMap<(LogId, MessageId), LogEntry>,
    /// Messages by the positions of their changes.
    changes: BTreeMap<(LogId, MessageId), MessageId>,
    reactions: BTreeMap<(LogId, MessageId), BTreeMap<(UserId, Emoji), StoredReaction>>,
    mentions: BTreeMap<(WorkspaceId, UserId), BTreeSet<Mention>>,
    pins: BTreeMap<(ChannelId, MessageRef), StoredPin>,
    threads: BTreeMap<(WorkspaceId, UserId), BTreeMap<ThreadId, threads::Row>>,
    attachments: BTreeMap<(ChannelId, FileId), StoredAttachment>,
    channels: BTreeMap<ChannelId, Channel>,
    memberships: BTreeMap<ChannelId, BTreeMap<UserId, Member>>,
    user_channels: BTreeMap<(WorkspaceId, UserId), BTreeMap<ChannelId, ReadMark>>,
    tombstones: BTreeMap<(WorkspaceId, UserId), Timestamp>,
    leaving: BTreeSet<(WorkspaceId, UserId, ChannelId)>,
    public: BTreeMap<WorkspaceId, BTreeSet<ChannelId>>,
    profiles: BTreeMap<(WorkspaceId, UserId), Profile>,
    devices: BTreeMap<(WorkspaceId, UserId), SeenDevices>,
    users: BTreeMap<WorkspaceId, BTreeSet<UserId>>,
    calls: Calls,
}

/// Why this store refuses a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the target of the redirect is occupied")]
    TargetOccupied,
    #[error("a redirect cannot lie at its own target")]
    OneRowTwice,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often each method was called so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.0.lock().calls.clone()
    }

    fn call(&self, method: &'static str) -> MutexGuard<'_, Tables> {
        let mut tables = self.0.lock();
        *tables.calls.entry(method).or_default() += 1;
        tables
    }
}

#[async_trait]
impl ChannelStore for MemoryStore {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        let mut tables = self.call("create");
        if tables.channels.contains_key(&channel.id) {
            return Ok(Creation::Existed);
        }
        tables.channels.insert(channel.id.clone(), channel.clone());
        Ok(Creation::Created)
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        let tables = self.call("channels");
        let ids: BTreeSet<_> = ids.iter().collect();
        Ok(ids.into_iter().filter_map(|id| tables.channels.get(id).cloned()).collect())
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        let tables = self.call("standing");
        let members = tables.memberships.get(channel);
        Ok(Standing {
            channel: tables.channels.get(channel).cloned(),
            is_member: members.is_some_and(|members| members.contains_key(user)),
        })
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        let mut tables = self.call("bump_members_version");
        Ok(tables.channels.get_mut(channel).map(|channel| {
            channel.members_version = channel.members_version.saturating_add(1);
            channel.members_version
        }))
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        let mut tables = self.call("change_details");
        Ok(tables.channels.get_mut(channel).map(|channel| {
            channel.details = update.applied_to(&channel.details);
            channel.clone()
        }))
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        let mut tables = self.call("mark_late");
        let Some(channel) = tables.channels.get_mut(channel) else { return Ok(Marking::Covered) };
        if channel.late.is_some_and(|known| known.covers(late)) {
            return Ok(Marking::Covered);
        }
        channel.late = Some(late);
        Ok(Marking::Marked)
    }
}

#[async_trait]
impl MemberStore for MemoryStore {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        let mut tables = self.call("put_members");
        for member in members {
            let user = &member.user_id;
            let of_channel = tables.memberships.entry(channel.clone()).or_default();
            of_channel.entry(user.clone()).or_insert_with(|| member.clone());
            let of_user = tables.user_channels.entry((workspace.clone(), user.clone()));
            let joined = || ReadMark::of_joining(member.joined_at);
            of_user.or_default().entry(channel.clone()).or_insert_with(joined);
        }
        Ok(())
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        let mut tables = self.call("delete_member");
        if let Some(of_channel) = tables.memberships.get_mut(channel) {
            of_channel.remove(user);
        }
        if let Some(of_user) = tables.user_channels.get_mut(&(workspace.clone(), user.clone())) {
            of_user.remove(channel);
        }
        Ok(())
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        _at: Timestamp,
    ) -> Result<(), WriteError> {
        let mark = (workspace.clone(), user.clone(), channel.clone());
        self.call("mark_leaving").leaving.insert(mark);
        Ok(())
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        let mark = (workspace.clone(), user.clone(), channel.clone());
        Ok(self.call("was_leaving").leaving.contains(&mark))
    }

    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError> {
        let tables = self.call("are_settled");
        let of_channel = tables.memberships.get(channel);
        Ok(users.iter().all(|user| {
            let of_user = tables.user_channels.get(&(workspace.clone(), user.clone()));
            let is_member = of_channel.is_some_and(|members| members.contains_key(user));
            let has_channel = of_user.is_some_and(|channels| channels.contains_key(channel));
            is_member == as_members && has_channel == as_members
        }))
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        let tables = self.call("members");
        let of_channel = tables.memberships.get(channel).into_iter();
        let rows = of_channel.flat_map(|members| members.range((after_bound(after), Unbounded)));
        Ok(name_page(rows.map(|(_, member)| member.clone()), limit))
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        let tables = self.call("members_among");
        let users: BTreeSet<_> = users.iter().collect();
        let members = tables.memberships.get(channel);
        let is_member = |user: &&UserId| members.is_some_and(|members| members.contains_key(*user));
        Ok(users.into_iter().filter(is_member).cloned().collect())
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        let tables = self.call("channels_of");
        let of_user = tables.user_channels.get(&(workspace.clone(), user.clone())).into_iter();
        let rows = of_user.flat_map(|channels| channels.range((after_bound(after), Unbounded)));
        Ok(name_page(rows.map(|(channel, _)| channel.clone()), limit))
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        let NamePage { rows, more } = self.channels_of(workspace, user, after, limit).await?;
        let tables = self.call("joined_by");
        let joined = |channel_id: ChannelId| {
            let member = tables.memberships.get(&channel_id)?.get(user)?;
            Some(Joined { joined_at: member.joined_at, channel_id })
        };
        Ok(NamePage { rows: rows.into_iter().filter_map(joined).collect(), more })
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        let mut tables = self.call("list_publicly");
        tables.public.entry(workspace.clone()).or_default().insert(channel.clone());
        Ok(())
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        let tables = self.call("public_channels");
        let listed = tables.public.get(workspace).into_iter();
        let rows = listed.flat_map(|channels| channels.range((after_bound(after), Unbounded)));
        Ok(name_page(rows.cloned(), limit))
    }
}

#[async_trait]
impl ReadMarkStore for MemoryStore {
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        change: MarkChange,
    ) -> Result<Marked, WriteError> {
        let mut tables = self.call("change_mark");
        let of_user = tables.user_channels.get_mut(&(workspace.clone(), user.clone()));
        let Some(mark) = of_user.and_then(|channels| channels.get_mut(channel)) else {
            return Ok(Marked::NoRow);
        };
        if !change.applies_to(*mark) {
            return Ok(Marked::Kept(*mark));
        }
        *mark = change.mark;
        Ok(Marked::Moved(*mark))
    }

    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError> {
        let tables = self.call("marks_of");
        let of_user = tables.user_channels.get(&(workspace.clone(), user.clone())).into_iter();
        let rows = of_user.flat_map(|channels| channels.range((after_bound(after), Unbounded)));
        let rows = rows.map(|(id, mark)| ChannelMark { channel_id: id.clone(), mark: *mark });
        Ok(name_page(rows, limit))
    }
}

#[async_trait]
impl ProfileStore for MemoryStore {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        let mut tables = self.call("list_user");
        tables.users.entry(workspace.clone()).or_default().insert(user.clone());
        Ok(())
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        let mut tables = self.call("put_profile");
        let key = (workspace.clone(), profile.user_id.clone());
        let found = tables.profiles.get(&key);
        if found.map(|found| &found.rev) != expected {
            return Ok(ProfileWrite::Refused(found.map(|found| Box::new(found.clone()))));
        }
        tables.profiles.insert(key, profile.clone());
        Ok(ProfileWrite::Done)
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        let tables = self.call("profiles");
        let users: BTreeSet<_> = users.iter().collect();
        let profile = |user: &UserId| tables.profiles.get(&(workspace.clone(), user.clone()));
        Ok(users.into_iter().filter_map(profile).cloned().collect())
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        let tables = self.call("users");
        let listed = tables.users.get(workspace).into_iter();
        let rows = listed.flat_map(|users| users.range((after_bound(after), Unbounded)));
        Ok(name_page(rows.cloned(), limit))
    }
}

#[async_trait]
impl RevocationStore for MemoryStore {
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        self.call("revoke").tombstones.insert((workspace.clone(), user.clone()), at);
        Ok(())
    }

    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        let tables = self.call("revoked_among");
        let users: BTreeSet<_> = users.iter().collect();
        let is_revoked =
            |user: &&UserId| tables.tombstones.contains_key(&(workspace.clone(), (*user).clone()));
        Ok(users.into_iter().filter(is_revoked).cloned().collect())
    }
}

fn name_page<T>(rows: impl Iterator<Item = T>, limit: u32) -> NamePage<T> {
    let limit = rows_of(limit, MEMBERS_READ_MAX);
    let rows: Vec<_> = rows.take(limit).collect();
    let more = rows.len() == limit;
    NamePage { rows, more }
}

/// The tables keep expiries in whole seconds, rounded up.
fn in_whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms().div_ceil(1_000).saturating_mul(1_000))
}

fn after_bound<T>(after: Option<&T>) -> Bound<&T> {
    after.map_or(Unbounded, Excluded)
}

fn rows_of(limit: u32, most: u32) -> usize {
    usize::try_from(limit.clamp(1, most)).unwrap_or(usize::MAX)
}
