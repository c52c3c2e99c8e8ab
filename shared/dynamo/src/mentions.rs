//! Mentions, in the user_channels table beside a user's channels.

use async_trait::async_trait;
use messaging::ports::{Mention, MentionStore, NamePage, ReadError, WriteError};
use model::limits::MENTION_ROWS_MAX;
use model::{Timestamp, UserId, WorkspaceId};

use crate::item::{self, decode_mention};
use crate::keys;
use crate::members::name_page;
use crate::store::DynamoStore;

#[async_trait]
impl MentionStore for DynamoStore {
    async fn put_mention(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        mention: &Mention,
        expires_at: Timestamp,
    ) -> Result<(), WriteError> {
        let mut row = keys::mention(workspace, user, mention);
        let expires_s = expires_at.unix_ms().div_ceil(1_000);
        row.insert(item::EXPIRES_AT.to_owned(), item::number(expires_s));
        self.put_user_row(row).await
    }

    async fn mentions_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        since: Timestamp,
        below: Option<&Mention>,
        limit: u32,
    ) -> Result<NamePage<Mention>, ReadError> {
        let (lowest, highest) = keys::mentions_since(since);
        // The store refuses a start outside of the range; here that is an empty page.
        if below.is_some_and(|below| keys::mention_sort_key(below) < lowest) {
            return Ok(NamePage { rows: Vec::new(), more: false });
        }
        let query = self
            .client
            .query()
            .table_name(&self.tables.user_channels)
            .key_condition_expression("workspace_user = :p AND channel_id BETWEEN :l AND :h")
            .expression_attribute_values(":p", keys::string(keys::workspace_user(workspace, user)))
            .expression_attribute_values(":l", keys::string(lowest))
            .expression_attribute_values(":h", keys::string(highest))
            .scan_index_forward(false)
            .set_exclusive_start_key(below.map(|below| keys::mention(workspace, user, below)));
        let answer = self.query(query, limit.clamp(1, MENTION_ROWS_MAX)).await?;
        name_page(&answer, decode_mention)
    }
}
