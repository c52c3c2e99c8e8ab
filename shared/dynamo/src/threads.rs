//! The threads that users follow or have read, in the user_channels table beside a user's channels.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use messaging::ports::{
    Acted, Follow, NamePage, ReadError, ThreadMarked, ThreadStore, UserThread, WriteError,
};
use model::limits::PAGE_ROWS_MAX;
use model::{MessageId, ThreadId, Timestamp, UserId, WorkspaceId};

use crate::call::{COST, Written};
use crate::capacity::Operation;
use crate::error::unreadable;
use crate::item::{ACT, EXPIRES_AT, FOLLOWED, READ_MARK, decode_user_thread, number};
use crate::keys;
use crate::members::name_page;
use crate::store::DynamoStore;
use crate::update::Update;

#[async_trait]
impl ThreadStore for DynamoStore {
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError> {
        let mut update = Update::default();
        update.set(ACT, keys::string(follow.act.to_string()));
        update.set(FOLLOWED, AttributeValue::Bool(follow.is_followed));
        update.set_if_absent(READ_MARK, keys::string(follow.up_to.to_string()));
        update.set(EXPIRES_AT, expiry(follow.expires_at));
        update.condition(&[ACT], "(attribute_not_exists(#c) OR #c < :c)");
        let update = update
            .into_update(self.client.update_item().table_name(&self.tables.user_channels))
            .set_key(Some(keys::user_thread(workspace, user, thread)));
        Ok(match self.update(update).await? {
            Written::Done(_) => Acted::Stored,
            Written::Refused(_) => Acted::Superseded,
        })
    }

    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError> {
        let mut update = Update::default();
        update.set(READ_MARK, keys::string(up_to.to_string()));
        update.set(EXPIRES_AT, expiry(expires_at));
        update.condition(&[READ_MARK], "(attribute_not_exists(#rd) OR #rd < :rd)");
        let update = update
            .into_update(self.client.update_item().table_name(&self.tables.user_channels))
            .set_key(Some(keys::user_thread(workspace, user, thread)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.update(update).await? {
            Written::Done(_) => Ok(ThreadMarked::Moved),
            Written::Refused(row) => {
                let row = row.as_ref().map(decode_user_thread).transpose();
                let row = row.map_err(|malformed| WriteError::NotStored(malformed.into()))?;
                // Whatever is there is at least as far.
                Ok(ThreadMarked::Kept(row.map_or(up_to, |row| row.up_to)))
            }
        }
    }

    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.tables.user_channels)
            .set_key(Some(keys::user_thread(workspace, user, thread)))
            .return_consumed_capacity(COST)
            .send();
        let answer = self.read(Operation::Get, get).await?;
        answer.item().map(decode_user_thread).transpose().map_err(unreadable)
    }

    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError> {
        let (lowest, highest) = keys::threads();
        let query = self
            .client
            .query()
            .table_name(&self.tables.user_channels)
            .key_condition_expression("workspace_user = :p AND channel_id BETWEEN :l AND :h")
            .expression_attribute_values(":p", keys::string(keys::workspace_user(workspace, user)))
            .expression_attribute_values(":l", keys::string(lowest))
            .expression_attribute_values(":h", keys::string(highest))
            .scan_index_forward(false)
            .consistent_read(true)
            .set_exclusive_start_key(below.map(|below| keys::user_thread(workspace, user, below)));
        let answer = self.query(query, limit.clamp(1, PAGE_ROWS_MAX)).await?;
        name_page(&answer, decode_user_thread)
    }
}

/// Epoch seconds, rounded up, so that the store never deletes the row early.
fn expiry(at: Timestamp) -> AttributeValue {
    number(at.unix_ms().div_ceil(1_000))
}
