//! Access to channels: members only. Nobody else can tell whether a channel exists.

use model::{Channel, ChannelId};

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
    match within(caller, standing.map_err(|error| AccessError::Store(error.into()))?) {
        Some((channel, true)) => Ok(channel),
        Some((_, false)) | None => Err(AccessError::NotFound),
    }
}

/// Returns a standing's channel, and whether the caller is a member, if the channel belongs to the
/// caller's workspace. This comparison and the keys keep tenants apart.
pub(crate) fn within(caller: &Principal, standing: Standing) -> Option<(Channel, bool)> {
    let channel = standing.channel.filter(|channel| channel.workspace_id == caller.workspace_id)?;
    Some((channel, standing.is_member))
}
