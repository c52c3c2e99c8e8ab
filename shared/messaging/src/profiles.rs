//! Profiles: how users present themselves. Messages carry ids only.
//!
//! A user is put on the workspace's list before their first profile is written, so whoever has a
//! profile is on the list. A row of the list without a profile, from a call that broke off, is passed
//! over, and the user's next call writes it again.

use model::{ErrorCode, Profile, ProfileUpdate, Rev, UserId, backoff, limits};

use crate::access::is_revoked;
use crate::app::App;
use crate::error::{Refusal, StoreError};
use crate::ports::{NamePage, Principal, ProfileWrite};
use crate::rev::rev_above;

/// Why a profile was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The caller is revoked, or changes somebody else's profile.
    #[error("the caller may not do this")]
    Forbidden,
    /// The workspace has no profile of this user.
    #[error("the user has no profile")]
    UserNotFound,
    /// The store did not acknowledge. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ProfileError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden => ErrorCode::Forbidden,
            Self::UserNotFound => ErrorCode::UserNotFound,
            Self::Store(error) => error.code(),
        }
    }
}

/// Changes the caller's own profile: writes the given fields and keeps the others. Of concurrent
/// changes of one field the last one wins, and none of another field is lost: a profile is written
/// only over the one that was read.
///
/// # Errors
/// [`ProfileError`].
pub async fn change_profile(
    app: &App,
    caller: &Principal,
    user: &UserId,
    update: &ProfileUpdate,
) -> Result<Profile, ProfileError> {
    if *user != caller.user_id || is_revoked(app, caller).await? {
        return Err(ProfileError::Forbidden);
    }
    let workspace = &caller.workspace_id;
    let mut present = profiles(app, caller, std::slice::from_ref(user)).await?.pop();
    if present.is_none() {
        app.profiles.list_user(workspace, user).await.map_err(StoreError::from)?;
    }
    for round in 0..limits::PROFILE_ROUNDS_MAX {
        let expected = present.as_ref().map(|present| &present.rev);
        let rev = rev_above(&*app.randomness, expected.and_then(Rev::id), app.clock.now());
        let changed = update.applied_to(present.as_ref(), user, rev);
        let written = app.profiles.put_profile(workspace, &changed, expected).await;
        let found = match written.map_err(StoreError::from)? {
            ProfileWrite::Done => return Ok(changed),
            ProfileWrite::Refused(found) => found.map(|found| *found),
        };
        // The first attempt of this write was answered too late, or not at all.
        if found.as_ref().is_some_and(|found| found.rev == changed.rev) {
            return Ok(changed);
        }
        present = found;
        tokio::time::sleep(backoff(limits::CHANGE_BACKOFF, round)).await;
    }
    Err(StoreError::Busy("the profile changes too often".into()).into())
}

/// Reads one profile.
///
/// # Errors
/// [`ProfileError`].
pub async fn read_profile(
    app: &App,
    caller: &Principal,
    user: &UserId,
) -> Result<Profile, ProfileError> {
    let found = profiles_of(app, caller, std::slice::from_ref(user)).await?.pop();
    found.ok_or(ProfileError::UserNotFound)
}

/// Reads the profiles of these users, at most [`limits::PROFILES_MAX`], in order of user id. Leaves
/// out users without a profile.
///
/// # Errors
/// [`ProfileError`], but never `UserNotFound`.
pub async fn profiles_of(
    app: &App,
    caller: &Principal,
    users: &[UserId],
) -> Result<Vec<Profile>, ProfileError> {
    if is_revoked(app, caller).await? {
        return Err(ProfileError::Forbidden);
    }
    Ok(profiles(app, caller, users).await?)
}

/// Reads the profiles of the workspace's users in order of user id. The list may lack a user whose
/// first profile was written within the last second.
///
/// # Errors
/// [`ProfileError`], but never `UserNotFound`.
pub async fn list_profiles(
    app: &App,
    caller: &Principal,
    after: Option<&UserId>,
    limit: u32,
) -> Result<(Vec<Profile>, Option<UserId>), ProfileError> {
    if is_revoked(app, caller).await? {
        return Err(ProfileError::Forbidden);
    }
    let page = app.profiles.users(&caller.workspace_id, after, limit).await;
    let NamePage { rows, more } = page.map_err(StoreError::from)?;
    let next = rows.last().filter(|_| more).cloned();
    Ok((profiles(app, caller, &rows).await?, next))
}

async fn profiles(
    app: &App,
    caller: &Principal,
    users: &[UserId],
) -> Result<Vec<Profile>, StoreError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = app.profiles.profiles(&caller.workspace_id, users).await?;
    found.sort_by(|one, other| one.user_id.cmp(&other.user_id));
    Ok(found)
}
