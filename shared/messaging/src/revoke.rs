//! `DELETE /users/{user_id}`: removes a user from the whole workspace, at once (G8).

use model::{ChannelType, ErrorCode, PublicationId, UserId, limits};
use protocol::publication::Publication;

use crate::access::is_revoked;
use crate::app::App;
use crate::counters::Counter;
use crate::error::{Refusal, StoreError};
use crate::members;
use crate::ports::Principal;
use crate::publisher::Outcome;

/// Why a user was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The caller revokes somebody else and is no admin.
    #[error("the caller may not revoke others")]
    Forbidden,
    /// The store did not acknowledge. The same call completes what is half done.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Everything is written, but the bus did not get it. The same call informs the nodes.
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

/// Revokes a user: writes the tombstone first, so that nothing can be added meanwhile, removes
/// every membership, and publishes, so that nodes close the user's sockets. Idempotent and
/// resumable. Unlike a send, it fails if the bus does: a user with an open socket is not revoked.
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
    app.counters().count(Counter::Revoked);
    // Again, in case the bus did not answer before; otherwise its guard makes this a no-op.
    let late = app.publisher().publish(workspace, &publication).await;
    let is_told = [early, late].contains(&Outcome::Published);
    if is_told { Ok(()) } else { Err(RevokeError::NodesNotTold) }
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
                // A DM's version never changes, and a missing channel has none.
                None => app.members.delete_member(workspace, id, user).await?,
            }
        }
        if !page.more {
            return Ok(());
        }
        after = page.rows.last().cloned();
    }
}
