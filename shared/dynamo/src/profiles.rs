//! Profiles, and the list of the users who have one.

use std::collections::HashSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use messaging::ports::{NamePage, ProfileStore, ProfileWrite, ReadError, WriteError};
use model::{Profile, Rev, UserId, WorkspaceId};

use crate::call::Written;
use crate::error::unreadable;
use crate::item;
use crate::keys;
use crate::store::{BATCH_KEYS_MAX, DynamoStore};
use crate::update::Update;

#[async_trait]
impl ProfileStore for DynamoStore {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        self.put_user_row(keys::listed_user(workspace, user)).await
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        let key = keys::profile(workspace, &profile.user_id);
        let update = profile_update(profile, expected)
            .into_update(self.client.update_item().table_name(&self.tables.user_channels))
            .set_key(Some(key))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.update(update).await? {
            Written::Done(_) => Ok(ProfileWrite::Done),
            Written::Refused(row) => {
                let found = row.as_ref().map(item::decode_profile).transpose();
                let found = found.map_err(|cause| WriteError::NotStored(cause.into()))?;
                Ok(ProfileWrite::Refused(found.map(Box::new)))
            }
        }
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let users: Vec<_> = users.iter().collect::<HashSet<_>>().into_iter().collect();
        let table = &self.tables.user_channels;
        let mut profiles = Vec::with_capacity(users.len());
        for users in users.chunks(BATCH_KEYS_MAX) {
            let keys = users.iter().map(|user| keys::profile(workspace, user)).collect();
            let mut found = self.batch_get(vec![(table, keys)]).await?;
            for row in found.remove(table).unwrap_or_default() {
                profiles.push(item::decode_profile(&row).map_err(unreadable)?);
            }
        }
        Ok(profiles)
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        let (list, after) = (keys::users(workspace), after.map(UserId::as_str));
        self.listed(&list, after, limit, item::decode_listed_user).await
    }
}

/// Sets all texts of a profile; an empty one is absent from the row.
fn profile_update(profile: &Profile, expected: Option<&Rev>) -> Update {
    let Profile { user_id: _, name, avatar, status, status_emoji, tz, rev } = profile;
    let mut update = Update::default();
    match expected {
        None => update.condition(&[item::PROFILE_REV], "attribute_not_exists(#e)"),
        Some(expected) => {
            update.value("expected", keys::string(expected.to_string()));
            update.condition(&[item::PROFILE_REV], "#e = :expected");
        }
    }
    update.set(item::PROFILE_REV, keys::string(rev.to_string()));
    for (attribute, text) in [
        (item::PROFILE_NAME, name),
        (item::AVATAR, avatar),
        (item::STATUS, status),
        (item::STATUS_EMOJI, status_emoji),
        (item::TIME_ZONE, tz),
    ] {
        if text.is_empty() {
            update.remove(attribute);
        } else {
            update.set(attribute, keys::string(text));
        }
    }
    update
}
