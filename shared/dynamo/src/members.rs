//! Memberships, in both directions.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use messaging::ports::{Joined, MemberStore, NamePage, ReadError, WriteError};
use model::limits::MEMBERS_READ_MAX;
use model::{ChannelId, Member, Timestamp, UserId, WorkspaceId};

use crate::error::unreadable;
use crate::item::{self, Item, MalformedRow};
use crate::keys::{self, Key};
use crate::store::{BATCH_KEYS_MAX, DynamoStore};

#[async_trait]
impl MemberStore for DynamoStore {
    async fn put_members(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        members: &[Member],
    ) -> Result<(), WriteError> {
        let mut writes = Vec::with_capacity(members.len() * 2);
        for member in members {
            let (user, joined_at) = (&member.user_id, member.joined_at);
            let key = keys::membership(channel, user);
            writes.push(self.put_joined(&self.tables.memberships, key, joined_at));
            let key = keys::user_channel(workspace, user, channel);
            writes.push(self.put_joined(&self.tables.user_channels, key, joined_at));
        }
        stream::iter(writes).buffer_unordered(CONCURRENT_WRITES_MAX).try_collect().await
    }

    async fn delete_member(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<(), WriteError> {
        let membership = keys::membership(channel, user);
        let user_channel = keys::user_channel(workspace, user, channel);
        let (membership, user_channel) = future::join(
            self.delete(&self.tables.memberships, membership),
            self.delete(&self.tables.user_channels, user_channel),
        )
        .await;
        membership.and(user_channel)
    }

    async fn mark_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
        at: Timestamp,
    ) -> Result<(), WriteError> {
        let mut row = keys::leaving(workspace, user, channel);
        row.insert(item::LEAVING_AT.to_owned(), item::number(at.unix_ms()));
        self.put_user_row(row).await
    }

    async fn was_leaving(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        user: &UserId,
    ) -> Result<bool, ReadError> {
        let table = &self.tables.user_channels;
        let keys = vec![keys::leaving(workspace, user, channel)];
        let found = self.batch_get(vec![(table, keys)]).await?;
        Ok(found.values().any(|rows| !rows.is_empty()))
    }

    async fn are_settled(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        users: &[UserId],
        as_members: bool,
    ) -> Result<bool, ReadError> {
        let (by_channel, by_user) = (&self.tables.memberships, &self.tables.user_channels);
        // The store refuses a whole batch if a key appears twice.
        let users: Vec<&UserId> = users.iter().collect::<BTreeSet<_>>().into_iter().collect();
        for users in users.chunks(BATCH_KEYS_MAX / 2) {
            let memberships = users.iter().map(|user| keys::membership(channel, user)).collect();
            let user_channels =
                users.iter().map(|user| keys::user_channel(workspace, user, channel)).collect();
            let keys: Vec<(&str, Vec<Key>)> =
                vec![(by_channel, memberships), (by_user, user_channels)];
            let found = self.batch_get(keys).await?;
            let expected = if as_members { users.len() } else { 0 };
            let rows_of = |table: &String| found.get(table).map_or(0, Vec::len);
            if rows_of(by_channel) != expected || rows_of(by_user) != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<Member>, ReadError> {
        // A sort key has at least one character, and none sorts below a space.
        let after = after.map_or(BELOW_ALL_NAMES, UserId::as_str);
        let condition = "channel_id = :p AND user_id > :after";
        let table = &self.tables.memberships;
        let query = self.query_after(table, condition, channel.as_str(), after);
        let answer = self.query(query.consistent_read(true), rows_of(limit)).await?;
        name_page(&answer, item::decode_member)
    }

    async fn members_among(
        &self,
        channel: &ChannelId,
        users: &[UserId],
    ) -> Result<Vec<UserId>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let users: BTreeSet<_> = users.iter().collect();
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = users.iter().map(|user| keys::membership(channel, user)).collect();
        let mut members = Vec::with_capacity(keys.len());
        for keys in keys.chunks(BATCH_KEYS_MAX) {
            let found = self.batch_get(vec![(&self.tables.memberships, keys.to_vec())]).await?;
            for row in found.values().flatten() {
                members.push(item::decode_member(row).map_err(unreadable)?.user_id);
            }
        }
        Ok(members)
    }

    async fn channels_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        let answer = self.user_channels_after(workspace, user, after, limit).await?;
        name_page(&answer, item::decode_user_channel)
    }

    async fn joined_by(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<Joined>, ReadError> {
        let answer = self.user_channels_after(workspace, user, after, limit).await?;
        name_page(&answer, item::decode_joined)
    }

    async fn list_publicly(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<(), WriteError> {
        self.put_user_row(keys::public_channel(workspace, channel)).await
    }

    async fn public_channels(
        &self,
        workspace: &WorkspaceId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelId>, ReadError> {
        let (list, after) = (keys::public_channels(workspace), after.map(ChannelId::as_str));
        self.listed(&list, after, limit, item::decode_user_channel).await
    }
}

impl DynamoStore {
    /// Writes a row; an existing one keeps its time.
    async fn put_joined(
        &self,
        table: &str,
        key: Key,
        joined_at: Timestamp,
    ) -> Result<(), WriteError> {
        let update = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression("SET #j = if_not_exists(#j, :j)")
            .expression_attribute_names("#j", item::JOINED_AT)
            .expression_attribute_values(":j", item::number(joined_at.unix_ms()));
        self.update(update).await.map(drop)
    }

    /// Reads the rows of a user's channels in order, strongly, with one query.
    pub(crate) async fn user_channels_after(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<QueryOutput, ReadError> {
        // The user's other rows sort below or above all channels.
        let (lowest, highest) = keys::CHANNELS;
        let lowest = after.map_or(lowest.to_owned(), |after| format!("{after}\0"));
        let condition = "workspace_user = :p AND channel_id BETWEEN :after AND :highest";
        let partition = keys::workspace_user(workspace, user);
        let table = &self.tables.user_channels;
        let query = self
            .query_after(table, condition, &partition, &lowest)
            .expression_attribute_values(":highest", keys::string(highest))
            .consistent_read(true);
        self.query(query, rows_of(limit)).await
    }

    /// Reads a list of a workspace in order, from after a sort key, with one query.
    pub(crate) async fn listed<T>(
        &self,
        list: &str,
        after: Option<&str>,
        limit: u32,
        decode: impl Fn(&Item) -> Result<T, MalformedRow>,
    ) -> Result<NamePage<T>, ReadError> {
        let after = after.unwrap_or(BELOW_ALL_NAMES);
        let condition = "workspace_user = :p AND channel_id > :after";
        let query = self.query_after(&self.tables.user_channels, condition, list, after);
        name_page(&self.query(query, rows_of(limit)).await?, decode)
    }

    /// A query of a partition in order, from after a sort key.
    fn query_after(
        &self,
        table: &str,
        condition: &str,
        partition: &str,
        after: &str,
    ) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(table)
            .key_condition_expression(condition)
            .expression_attribute_values(":p", keys::string(partition))
            .expression_attribute_values(":after", keys::string(after))
    }
}

fn rows_of(limit: u32) -> u32 {
    limit.clamp(1, MEMBERS_READ_MAX)
}

pub(crate) fn name_page<T>(
    answer: &QueryOutput,
    decode: impl Fn(&Item) -> Result<T, MalformedRow>,
) -> Result<NamePage<T>, ReadError> {
    let rows = answer.items().iter().map(decode).collect::<Result<_, _>>().map_err(unreadable)?;
    Ok(NamePage { rows, more: answer.last_evaluated_key().is_some() })
}

/// Sorts below every user id and every channel id.
const BELOW_ALL_NAMES: &str = " ";
/// Rows written in parallel: 202 rows take a dozen rounds, and creating one channel does not use up
/// all connections.
const CONCURRENT_WRITES_MAX: usize = 16;
