//! Membership: who is in a channel, and the cut after which a removed member gets nothing (G6).

use std::time::Duration;

use model::{Channel, ChannelChange, ChannelId, ChannelType, ErrorCode, Member, UserId};

use crate::access::{AccessError, member_channel, within};
use crate::app::App;
use crate::channels::{self, ReadChannelError};
use crate::error::{Refusal, StoreError};
use crate::ports::{Bump, Principal};

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeMembersError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// Neither oneself, nor the creator, nor an admin.
    #[error("the caller may not remove others")]
    Forbidden,
    /// The user to be added is revoked.
    #[error("the user is revoked")]
    UserNotFound,
    /// The channel is a DM.
    #[error("the members of a DM never change")]
    DmImmutable,
    /// The store did not acknowledge: the change may be half done, and the same call completes it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ChangeMembersError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::UserNotFound => ErrorCode::UserNotFound,
            Self::DmImmutable => ErrorCode::DmImmutable,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for ChangeMembersError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Reads a channel's members by user id: rows first, the caller's own row last.
///
/// # Errors
/// [`ReadChannelError`].
pub async fn list_members(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    after: Option<&UserId>,
    limit: u32,
) -> Result<(Vec<Member>, Option<UserId>), ReadChannelError> {
    let page = app.members.members(id, after, limit).await.map_err(StoreError::from)?;
    member_channel(app, caller, id).await?;
    let next = page.rows.last().filter(|_| page.more).map(|member| member.user_id.clone());
    Ok((page.rows, next))
}

/// Makes a user a member. Idempotent.
///
/// # Errors
/// [`ChangeMembersError`].
pub async fn add_member(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    user: &UserId,
) -> Result<(), ChangeMembersError> {
    let channel = member_channel(app, caller, id).await?;
    if channel.channel_type == ChannelType::Dm {
        return Err(ChangeMembersError::DmImmutable);
    }
    if is_revoked(app, caller, user).await? {
        return Err(ChangeMembersError::UserNotFound);
    }
    let version = change(app, &channel, user, ChannelChange::MemberAdded).await?;
    // A revocation between the look and the rows has not seen them: look again, and undo.
    if is_revoked(app, caller, user).await? {
        change(app, &channel, user, ChannelChange::MemberRemoved).await?;
        return Err(ChangeMembersError::UserNotFound);
    }
    channels::publish(app, &channel, ChannelChange::MemberAdded, user, version, Vec::new()).await;
    Ok(())
}

/// Makes a user no member any more. Idempotent. What is posted after this returned never reaches
/// them, unless they are added again (G6).
///
/// # Errors
/// [`ChangeMembersError`].
pub async fn remove_member(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    user: &UserId,
) -> Result<(), ChangeMembersError> {
    let me = &caller.user_id;
    let standing = app.channels.standing(id, me).await.map_err(StoreError::from)?;
    let (channel, is_member) =
        within(caller, standing).ok_or(ChangeMembersError::ChannelNotFound)?;
    let is_dm = channel.channel_type == ChannelType::Dm;
    if !is_member {
        let leaves_again = user == me && !is_dm && was_leaving(app, caller, id).await?;
        if !(leaves_again || caller.is_admin) || is_revoked(app, caller, me).await? {
            return Err(ChangeMembersError::ChannelNotFound);
        }
    }
    if is_dm {
        return Err(ChangeMembersError::DmImmutable);
    }
    if !(user == me || channel.created_by == *me || caller.is_admin) {
        return Err(ChangeMembersError::Forbidden);
    }
    if user == me && is_member {
        // Noted first: once the row is gone, nothing else tells a retry from a stranger's call.
        let noted = app.members.mark_leaving(&caller.workspace_id, id, me, app.clock.now()).await;
        noted.map_err(StoreError::from)?;
    }
    remove(app, &channel, user).await?;
    Ok(())
}

/// Whether the caller's leaving may be half done: the second call finishes what a crash left.
async fn was_leaving(app: &App, caller: &Principal, id: &ChannelId) -> Result<bool, StoreError> {
    Ok(app.members.was_leaving(&caller.workspace_id, id, &caller.user_id).await?)
}

/// Removes a member whoever asks, and tells so.
pub(crate) async fn remove(app: &App, channel: &Channel, user: &UserId) -> Result<(), StoreError> {
    let version = change(app, channel, user, ChannelChange::MemberRemoved).await?;
    channels::publish(app, channel, ChannelChange::MemberRemoved, user, version, Vec::new()).await;
    Ok(())
}

/// The writer's half of the cut: both rows, then the version if it is still the one read before
/// the rows, else all again. An unchanged row bumps too: it may finish a crashed attempt.
async fn change(
    app: &App,
    channel: &Channel,
    user: &UserId,
    change: ChannelChange,
) -> Result<u64, StoreError> {
    let (workspace, id) = (&channel.workspace_id, &channel.id);
    let mut version = channel.members_version;
    for attempt in 0..BUMP_ATTEMPTS_MAX {
        if change == ChannelChange::MemberRemoved {
            app.members.delete_member(workspace, id, user).await?;
        } else {
            let row = Member { user_id: user.clone(), joined_at: app.clock.now() };
            app.members.put_members(workspace, id, &[row]).await?;
        }
        if let Bump::Bumped(version) = app.channels.bump_members_version(id, version).await? {
            return Ok(version);
        }
        let jitter = app.randomness.up_to(u64::from(attempt.min(10)) * 2);
        tokio::time::sleep(Duration::from_millis(jitter)).await;
        let read = app.channels.channels(std::slice::from_ref(id)).await?;
        let read =
            read.first().ok_or_else(|| StoreError::Unavailable("the channel is gone".into()))?;
        version = read.members_version;
    }
    Err(StoreError::Busy("the channel's members change too often".into()))
}

async fn is_revoked(app: &App, caller: &Principal, user: &UserId) -> Result<bool, StoreError> {
    let users = std::slice::from_ref(user);
    Ok(!app.revocations.revoked_among(&caller.workspace_id, users).await?.is_empty())
}

/// Of all writers that race, one wins each round: this many may race before one gives up.
const BUMP_ATTEMPTS_MAX: u32 = 100;
