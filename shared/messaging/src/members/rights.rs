//! Who may change a group's members, or archive it (ADR 0026, ADR 0037).

use model::{Channel, ChannelId, ChannelType, Timestamp, UserId, Visibility, limits};

use super::ChangeMembersError;
use crate::access::{is_revoked, within};
use crate::app::App;
use crate::error::StoreError;
use crate::ports::Principal;

/// Returns the channel if the caller may add this user. A member may add anybody. Everybody may join
/// a public channel. An admin may join any group, so that a group that all members have left is not
/// lost.
pub(super) async fn joinable_channel(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
    user: &UserId,
) -> Result<Channel, ChangeMembersError> {
    let standing = app.channels.standing(id, &caller.user_id).await.map_err(StoreError::from)?;
    let (channel, is_member) =
        within(app, caller, standing).ok_or(ChangeMembersError::ChannelNotFound)?;
    let is_open = channel.visibility == Visibility::Public
        || (caller.is_admin && channel.channel_type == ChannelType::Group);
    let may_join = is_open && *user == caller.user_id;
    if is_member || (may_join && !is_revoked(app, caller).await?) {
        Ok(channel)
    } else {
        Err(ChangeMembersError::ChannelNotFound)
    }
}

/// Whether a member may remove other members and archive the channel: the creator may, or while the
/// creator is not a member, the one who has been a member for longest. This is computed, never
/// stored.
pub(crate) async fn has_creators_right(
    app: &App,
    caller: &Principal,
    channel: &Channel,
) -> Result<bool, StoreError> {
    if channel.created_by == caller.user_id {
        return Ok(true);
    }
    let creator = app.channels.standing(&channel.id, &channel.created_by).await?;
    if creator.is_member {
        return Ok(false);
    }
    Ok(longest_member(app, &channel.id).await?.as_ref() == Some(&caller.user_id))
}

/// The member with the lowest (`joined_at`, `user_id`); `None` if the channel has more than
/// [`limits::OWNER_PAGES_MAX`] pages of members.
async fn longest_member(app: &App, id: &ChannelId) -> Result<Option<UserId>, StoreError> {
    let mut longest: Option<(Timestamp, UserId)> = None;
    let mut after = None;
    for _ in 0..limits::OWNER_PAGES_MAX {
        let limit = limits::MEMBERS_READ_MAX;
        let page = app.members.members(id, after.as_ref(), limit).await?;
        after = page.rows.last().map(|member| member.user_id.clone());
        for member in page.rows {
            let joined = (member.joined_at, member.user_id);
            if longest.as_ref().is_none_or(|longest| joined < *longest) {
                longest = Some(joined);
            }
        }
        if !page.more {
            return Ok(longest.map(|(_, user)| user));
        }
    }
    Ok(None)
}
