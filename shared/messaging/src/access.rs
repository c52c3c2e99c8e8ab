//! Access to channels: members only. Nobody else can tell whether a channel exists.

use model::{Channel, ChannelId, Visibility};

use crate::app::App;
use crate::error::StoreError;
use crate::ports::{Principal, Standing};

/// Why a caller gets no access to a channel.
#[derive(Debug)]
pub(crate) enum AccessError {
    /// The channel does not exist, belongs to another workspace, or the caller is not a member. One
    /// answer for all three, so that it does not reveal which channels exist.
    NotFound,
    /// The store did not answer.
    Store(StoreError),
}

/// Returns the channel if the caller is a member, by a strong read.
pub(crate) async fn member_channel(
    app: &App,
    caller: &Principal,
    channel_id: &ChannelId,
) -> Result<Channel, AccessError> {
    let standing = app.channels.standing(channel_id, &caller.user_id).await;
    match within(app, caller, standing.map_err(|error| AccessError::Store(error.into()))?) {
        Some((channel, true)) => Ok(channel),
        Some((_, false)) | None => Err(AccessError::NotFound),
    }
}

/// Returns the channel if the caller is a member or, for a public channel, any user of the workspace
/// who is not revoked.
pub(crate) async fn visible_channel(
    app: &App,
    caller: &Principal,
    channel_id: &ChannelId,
) -> Result<Channel, AccessError> {
    let standing = app.channels.standing(channel_id, &caller.user_id).await;
    let found = within(app, caller, standing.map_err(|error| AccessError::Store(error.into()))?);
    let (channel, is_member) = found.ok_or(AccessError::NotFound)?;
    let is_public = channel.visibility == Visibility::Public;
    if is_member || (is_public && !is_revoked(app, caller).await.map_err(AccessError::Store)?) {
        Ok(channel)
    } else {
        Err(AccessError::NotFound)
    }
}

/// Whether the caller is revoked. Members need not be asked: a revocation removes their rows.
pub(crate) async fn is_revoked(app: &App, caller: &Principal) -> Result<bool, StoreError> {
    let users = std::slice::from_ref(&caller.user_id);
    Ok(!app.revocations.revoked_among(&caller.workspace_id, users).await?.is_empty())
}

/// Returns a standing's channel, and whether the caller is a member, if the channel belongs to the
/// caller's workspace and is not over. This comparison and the keys keep tenants apart.
pub(crate) fn within(app: &App, caller: &Principal, standing: Standing) -> Option<(Channel, bool)> {
    let channel = standing.channel.filter(|channel| channel.workspace_id == caller.workspace_id)?;
    if channel.is_over(app.clock.now()) {
        return None;
    }
    Some((channel, standing.is_member))
}
