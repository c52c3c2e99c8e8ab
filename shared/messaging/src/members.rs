//! Membership: who is in a channel, and the cut after which a removed member gets nothing (G6).

mod announce;
mod change;
pub(crate) mod rights;

use model::{Channel, ChannelChange, ChannelId, ChannelType, ErrorCode, Member, UserId};

use crate::access::{AccessError, is_revoked, member_channel, within};
use crate::app::App;
use crate::channels::{self, ReadChannelError};
use crate::error::{Refusal, StoreError};
use crate::ports::Principal;

pub use announce::announce;
use change::{admit, change};
use rights::{has_creators_right, joinable_channel};

/// Why a membership was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeMembersError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The caller removes somebody else and is neither the owner nor an admin.
    #[error("the caller may not remove others")]
    Forbidden,
    /// The user to be added is revoked.
    #[error("the user is revoked")]
    UserNotFound,
    /// The channel is a DM.
    #[error("the members of a DM never change")]
    DmImmutable,
    /// The store did not acknowledge. The change may be half done; the same call completes it.
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

/// Reads a channel's members in order of user id: their rows first, the caller's own row last.
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

/// Makes a user a member. Idempotent. The caller must be a member, or join: a public channel, or
/// as an admin.
///
/// # Errors
/// [`ChangeMembersError`].
pub async fn add_member(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    user: &UserId,
) -> Result<(), ChangeMembersError> {
    let channel = joinable_channel(app, caller, id, user).await?;
    if channel.channel_type == ChannelType::Dm {
        return Err(ChangeMembersError::DmImmutable);
    }
    match admit(app, &channel, std::slice::from_ref(user)).await? {
        Some((version, _)) => {
            let (change, user) = (ChannelChange::MemberAdded, std::slice::from_ref(user));
            channels::publish(app, &channel, change, version, user, user).await;
            Ok(())
        }
        None => Err(ChangeMembersError::UserNotFound),
    }
}

/// The result of adding several members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedMembers {
    /// Users who are members now; some may have been before.
    pub added: Vec<UserId>,
    /// Users who were not added, and why.
    pub refused: Vec<(UserId, ErrorCode)>,
}

/// Makes up to [`model::limits::ADD_MEMBERS_MAX`] users members in one change: one version, one
/// publication. Idempotent.
///
/// # Errors
/// [`ChangeMembersError`], but never `UserNotFound`: the answer lists revoked users.
pub async fn add_members(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    users: &[UserId],
) -> Result<AddedMembers, ChangeMembersError> {
    let channel = member_channel(app, caller, id).await?;
    if channel.channel_type == ChannelType::Dm {
        return Err(ChangeMembersError::DmImmutable);
    }
    let admitted = admit(app, &channel, users).await?;
    if let Some((version, added)) = admitted.as_ref().filter(|(_, added)| !added.is_empty()) {
        let change = ChannelChange::MembersAdded;
        channels::publish(app, &channel, change, *version, added, added).await;
    }
    let added = admitted.map(|(_, added)| added).unwrap_or_default();
    let is_refused = |user: &&UserId| !added.contains(user);
    let refused = users.iter().filter(is_refused);
    let refused = refused.map(|user| (user.clone(), ErrorCode::UserNotFound)).collect();
    Ok(AddedMembers { added, refused })
}

/// Removes a member. Idempotent. Nothing posted after this returns ever reaches them, unless they
/// are added again (G6).
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
        within(app, caller, standing).ok_or(ChangeMembersError::ChannelNotFound)?;
    let is_dm = channel.channel_type == ChannelType::Dm;
    if !is_member {
        let leaves_again = user == me && !is_dm && was_leaving(app, caller, id).await?;
        if !(leaves_again || caller.is_admin) || is_revoked(app, caller).await? {
            return Err(ChangeMembersError::ChannelNotFound);
        }
    }
    if is_dm {
        return Err(ChangeMembersError::DmImmutable);
    }
    if user != me && !caller.is_admin && !has_creators_right(app, caller, &channel).await? {
        return Err(ChangeMembersError::Forbidden);
    }
    if user == me && is_member {
        // Recorded first: without the row, only this tells a retry from a stranger's call.
        let noted = app.members.mark_leaving(&caller.workspace_id, id, me, app.clock.now()).await;
        noted.map_err(StoreError::from)?;
    }
    remove(app, &channel, user).await?;
    Ok(())
}

/// Whether the caller began to leave before: then this call finishes what a crash interrupted.
async fn was_leaving(app: &App, caller: &Principal, id: &ChannelId) -> Result<bool, StoreError> {
    Ok(app.members.was_leaving(&caller.workspace_id, id, &caller.user_id).await?)
}

/// Removes a member without checking who asks, and publishes the change.
pub(crate) async fn remove(app: &App, channel: &Channel, user: &UserId) -> Result<(), StoreError> {
    let user = std::slice::from_ref(user);
    let version = change(app, channel, user, false).await?;
    channels::publish(app, channel, ChannelChange::MemberRemoved, version, user, user).await;
    Ok(())
}
