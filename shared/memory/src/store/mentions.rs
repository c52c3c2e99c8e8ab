//! Mentions in sets.

use std::ops::Bound::{Excluded, Unbounded};

use async_trait::async_trait;
use messaging::ports::{Mention, MentionStore, NamePage, ReadError, WriteError};
use model::limits::MENTION_ROWS_MAX;
use model::{Timestamp, UserId, WorkspaceId};

use super::{MemoryStore, rows_of};

#[async_trait]
impl MentionStore for MemoryStore {
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        _expires_at: Timestamp,
    ) -> Result<(), WriteError> {
        let key = (workspace.clone(), user.clone());
        self.call("put_mention").mentions.entry(key).or_default().insert(mention.clone());
        Ok(())
    }

    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError> {
        let tables = self.call("mentions_of");
        let of_user = tables.mentions.get(&(workspace.clone(), user.clone())).into_iter();
        let bounds = (Unbounded, below.map_or(Unbounded, Excluded));
        let rows = of_user.flat_map(|rows| rows.range::<Mention, _>(bounds).rev());
        let limit = rows_of(limit, MENTION_ROWS_MAX);
        let rows = rows.take_while(|row| row.id.time() >= since).take(limit).cloned();
        let rows: Vec<_> = rows.collect();
        let more = rows.len() == limit;
        Ok(NamePage { rows, more })
    }
}
