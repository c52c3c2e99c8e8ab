//! Who may see a channel: its members, and nobody learns more than that.

use model::{Channel, ChannelId};

use crate::app::App;
use crate::error::StoreError;
use crate::ports::{Principal, Standing};

/// Why a caller does not get at a channel.
#[derive(Debug)]
pub(crate) enum AccessError {
    /// Absent, of another workspace, or the caller is no member: one answer, no oracle.
    NotFound,
    /// The store did not tell.
    Store(StoreError),
}

/// The channel, if the caller is a member of it; read strongly.
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

/// The channel of a standing and whether the caller is a member, if it is of the caller's
/// workspace: tenants are apart by this comparison and by key.
pub(crate) fn within(caller: &Principal, standing: Standing) -> Option<(Channel, bool)> {
    let channel = standing.channel.filter(|channel| channel.workspace_id == caller.workspace_id)?;
    Some((channel, standing.is_member))
}
