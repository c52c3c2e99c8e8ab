//! The writer's half of the membership cut (G6, ADR 0025).

use std::time::Duration;

use model::{Channel, Member, UserId, backoff, limits};

use crate::app::App;
use crate::error::StoreError;

/// Adds users, or removes them if `as_members` is false, and returns the version of this change.
///
/// 1. Write both rows of each user.
/// 2. Increment the version. No call waits for another: each gets a version of its own.
/// 3. Read the rows again. If they differ, another change of the same user wrote in between. Start
///    over, so that the change with the last version is also the last to write the rows.
///
/// Only then may the change be published: its publication must match the rows after its version.
/// Existing rows are no reason to skip step 2: a call that broke off may have written them.
pub(super) async fn change(
    app: &App,
    channel: &Channel,
    users: &[UserId],
    as_members: bool,
) -> Result<u64, StoreError> {
    let (workspace, id) = (&channel.workspace_id, &channel.id);
    for round in 0..limits::CHANGE_ROUNDS_MAX {
        if as_members {
            let joined_at = app.clock.now();
            let row = |user: &UserId| Member { user_id: user.clone(), joined_at };
            let rows: Vec<Member> = users.iter().map(row).collect();
            app.members.put_members(workspace, id, &rows).await?;
        } else {
            for user in users {
                app.members.delete_member(workspace, id, user).await?;
            }
        }
        let version = app.channels.bump_members_version(id).await?;
        let version =
            version.ok_or_else(|| StoreError::Unavailable("the channel is gone".into()))?;
        if app.members.are_settled(workspace, id, users, as_members).await? {
            return Ok(version);
        }
        tokio::time::sleep(jittered(app, backoff(limits::CHANGE_BACKOFF, round))).await;
    }
    Err(StoreError::Busy("the same users are added and removed at once".into()))
}

/// Adds the users who are not revoked. Returns the version and the added users; `None` if all are
/// revoked.
pub(super) async fn admit(
    app: &App,
    channel: &Channel,
    users: &[UserId],
) -> Result<Option<(u64, Vec<UserId>)>, StoreError> {
    let wanted = without_revoked(app, channel, users).await?;
    if wanted.is_empty() {
        return Ok(None);
    }
    let version = change(app, channel, &wanted, true).await?;
    // A revocation may have begun after the first check and missed these rows.
    let added = without_revoked(app, channel, &wanted).await?;
    let revoked: Vec<UserId> = wanted.into_iter().filter(|user| !added.contains(user)).collect();
    if !revoked.is_empty() {
        change(app, channel, &revoked, false).await?;
    }
    Ok((!added.is_empty()).then_some((version, added)))
}

async fn without_revoked(
    app: &App,
    channel: &Channel,
    users: &[UserId],
) -> Result<Vec<UserId>, StoreError> {
    let revoked = app.revocations.revoked_among(&channel.workspace_id, users).await?;
    Ok(users.iter().filter(|user| !revoked.contains(user)).cloned().collect())
}

/// Equal jitter: 50 to 100 % of the wait.
fn jittered(app: &App, wait: Duration) -> Duration {
    let half = wait / 2;
    let ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(app.randomness.up_to(ms))
}
