//! Tombstones of revoked users.

use std::collections::HashSet;

use async_trait::async_trait;
use messaging::ports::{ReadError, RevocationStore, WriteError};
use model::{Timestamp, UserId, WorkspaceId};

use crate::attempt::Attempts;
use crate::error::unreadable;
use crate::item;
use crate::keys::{self, Key};
use crate::store::{BATCH_KEYS_MAX, DynamoStore};

#[async_trait]
impl RevocationStore for DynamoStore {
    async fn revoke(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        let mut row = keys::tombstone(workspace, user);
        row.insert(item::REVOKED_AT.to_owned(), item::number(at.unix_ms()));
        self.put_user_row(row).await
    }

    async fn revoked_among(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let users: Vec<_> = users.iter().collect::<HashSet<_>>().into_iter().collect();
        let mut revoked = Vec::new();
        for users in users.chunks(BATCH_KEYS_MAX) {
            let keys = users.iter().map(|user| keys::tombstone(workspace, user)).collect();
            let mut found = self.batch_get(vec![(&self.tables.user_channels, keys)]).await?;
            for row in found.remove(&self.tables.user_channels).unwrap_or_default() {
                revoked.push(item::decode_tombstone(&row).map_err(unreadable)?);
            }
        }
        revoked.sort_unstable();
        Ok(revoked)
    }
}

impl DynamoStore {
    /// Writes a row among a user's channels that is not a channel.
    pub(crate) async fn put_user_row(&self, row: Key) -> Result<(), WriteError> {
        let attempts = Attempts::default();
        self.put(&self.tables.user_channels, row, None, &attempts).await.map(drop)
    }
}
