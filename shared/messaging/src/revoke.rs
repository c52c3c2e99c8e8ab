//! `DELETE /users/{user_id}`: out of the workspace, everywhere, at once (G8).

use model::{ChannelType, ErrorCode, PublicationId, UserId, limits};
use protocol::publication::Publication;

use crate::app::App;
use crate::error::{Refusal, StoreError};
use crate::members;
use crate::ports::Principal;
use crate::publisher::Outcome;
use crate::tally::Fact;

/// Why a user was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Neither an admin nor oneself.
    #[error("the caller may not revoke others")]
    Forbidden,
    /// The store did not acknowledge: the same call completes what is half done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Everything is written, and the bus took none of it: the same call tells the nodes.
    #[error("the user is revoked, and the nodes could not be told")]
    NodesNotTold,
}

impl Refusal for RevokeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden => ErrorCode::Forbidden,
            Self::Store(error) => error.code(),
            Self::NodesNotTold => ErrorCode::Unavailable,
        }
    }
}

/// Revokes a user: the tombstone first, so that nothing can be added behind this call's back;
/// then every membership; sockets close through the bus. Idempotent and resumable. A message is in
/// ink without the bus; a socket that stays open is not revoked, so that is no success.
///
/// # Errors
/// [`RevokeError`].
pub async fn revoke_user(app: &App, caller: &Principal, user: &UserId) -> Result<(), RevokeError> {
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    if user != me && (!caller.is_admin || is_revoked(app, caller).await?) {
        return Err(RevokeError::Forbidden);
    }
    let now = app.clock.now();
    app.revocations.revoke(workspace, user, now).await.map_err(StoreError::from)?;
    let id = PublicationId::mint(now, app.randomness.bits());
    let publication = Publication::of_revocation(id, user.clone());
    let early = app.publisher().publish(workspace, &publication).await;
    remove_everywhere(app, caller, user).await?;
    app.tally().count(Fact::Revoked);
    // Once more for a bus that did not answer before; its guard makes it a no-op otherwise.
    let late = app.publisher().publish(workspace, &publication).await;
    let is_told = [early, late].contains(&Outcome::Published);
    if is_told { Ok(()) } else { Err(RevokeError::NodesNotTold) }
}

async fn is_revoked(app: &App, caller: &Principal) -> Result<bool, StoreError> {
    let users = std::slice::from_ref(&caller.user_id);
    Ok(!app.revocations.revoked_among(&caller.workspace_id, users).await?.is_empty())
}

async fn remove_everywhere(app: &App, caller: &Principal, user: &UserId) -> Result<(), StoreError> {
    let workspace = &caller.workspace_id;
    let mut after = None;
    loop {
        let limit = limits::PAGE_ROWS_MAX;
        let page = app.members.channels_of(workspace, user, after.as_ref(), limit).await?;
        if page.rows.is_empty() {
            return Ok(());
        }
        let channels = app.channels.channels(&page.rows).await?;
        for id in &page.rows {
            let found = channels.iter().find(|channel| channel.id == *id);
            match found.filter(|channel| channel.channel_type == ChannelType::Group) {
                Some(channel) => members::remove(app, channel, user).await?,
                // A DM's version is constant; a channel that is not there has none.
                None => app.members.delete_member(workspace, id, user).await?,
            }
        }
        if !page.more {
            return Ok(());
        }
        after = page.rows.last().cloned();
    }
}
