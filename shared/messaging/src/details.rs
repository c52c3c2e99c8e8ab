//! `PATCH /channels/{channel_id}`: name, topic, and whether a channel is archived. `DELETE`: a meeting's end.
//!
//! One update writes all fields and the next version of the details. Then each field is published,
//! with the details as they are after the update: clients keep the greatest version. A call that
//! changes nothing publishes all the same, because an earlier attempt may have died before it could.

use model::{Channel, ChannelId, ChannelType, ChannelUpdate, Contract, ErrorCode, PublicationId};
use protocol::publication::Publication;
use protocol::signal::Signal;

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::contract::{self, WrongContract};
use crate::error::{Refusal, StoreError};
use crate::members::rights::has_creators_right;
use crate::ports::Principal;

/// Why a channel was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeChannelError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The caller archives or unarchives, and is neither the owner nor an admin.
    #[error("the caller may not archive this channel")]
    Forbidden,
    /// The channel is a DM.
    #[error("a DM never changes")]
    DmImmutable,
    /// The channel is no meeting, which alone ends; or it is one, which is ended and not archived.
    #[error(transparent)]
    Contract(#[from] WrongContract),
    /// The store did not acknowledge. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ChangeChannelError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::DmImmutable => ErrorCode::DmImmutable,
            Self::Contract(WrongContract) => ErrorCode::WrongContract,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for ChangeChannelError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Changes a group's details, and returns the channel after it. Idempotent. Any member renames it
/// and sets its topic. Only the owner and admins archive it, or unarchive it.
///
/// # Errors
/// [`ChangeChannelError`].
///
/// # Cancel safety
/// A dropped call may or may not have changed or published it.
pub async fn change_channel(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    update: &ChannelUpdate,
) -> Result<Channel, ChangeChannelError> {
    let channel = member_channel(app, caller, id).await?;
    if channel.channel_type == ChannelType::Dm {
        return Err(ChangeChannelError::DmImmutable);
    }
    if update.archived.is_some() {
        contract::check_kept(channel.contract)?;
    }
    if update.archived.is_some()
        && !caller.is_admin
        && !has_creators_right(app, caller, &channel).await?
    {
        return Err(ChangeChannelError::Forbidden);
    }
    let changes = update.changes();
    if changes.is_empty() {
        return Ok(channel);
    }
    let changed = app.channels.change_details(id, update).await.map_err(StoreError::from)?;
    let changed = changed.ok_or_else(|| StoreError::Unavailable("the channel is gone".into()))?;
    for change in changes {
        let id = PublicationId::mint(app.clock.now(), app.randomness.bits());
        let publication = Publication::of_details(id, &changed, change, &caller.user_id);
        app.publisher().publish(&changed.workspace_id, &publication).await;
    }
    Ok(changed)
}

/// Ends a meeting: from then on it is there for nobody. Only the owner and admins may.
///
/// # Errors
/// [`ChangeChannelError`].
///
/// # Cancel safety
/// A dropped call may or may not have ended it. If it has, the nodes know within
/// [`model::limits::VIEW_LEASE`], though its frame is lost.
pub async fn end_meeting(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
) -> Result<(), ChangeChannelError> {
    let channel = member_channel(app, caller, id).await?;
    if channel.contract != Contract::Ephemeral {
        return Err(WrongContract.into());
    }
    if !caller.is_admin && !has_creators_right(app, caller, &channel).await? {
        return Err(ChangeChannelError::Forbidden);
    }
    let ends = ChannelUpdate { archived: Some(true), ..ChannelUpdate::default() };
    app.channels.change_details(id, &ends).await.map_err(StoreError::from)?;
    let (workspace, version) = (&channel.workspace_id, channel.members_version);
    // Nodes first: nothing is said after the frame.
    app.publisher().signal(workspace, &Signal::Ended { channel_id: id.clone() }).await;
    let publication = PublicationId::mint(app.clock.now(), app.randomness.bits());
    let publication = Publication::of_end(publication, id, version);
    app.publisher().publish(workspace, &publication).await;
    Ok(())
}
