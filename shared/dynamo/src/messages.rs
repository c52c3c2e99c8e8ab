//! The messages table: an append-only log for each channel and thread.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use messaging::ports::{
    Acted, Appended, ChangePage, LogEntry, LogPage, LoggedChange, MessageStore, PageQuery,
    ReactionPage, ReadError, Redirect, Revised, Revision, StoredMessage, StoredReaction,
    WriteError,
};
use model::limits::{PAGE_ROWS_MAX, REACTION_ROWS_READ_MAX};
use model::{Emoji, LogId, MessageId, UserId};

use crate::attempt::Attempts;
use crate::call::{COST, Written};
use crate::capacity::Operation;
use crate::client::OPERATION_MAX;
use crate::error::{CallError, is_throttling, unreadable};
use crate::item::{
    self, Item, MalformedRow, billed_bytes, decode_change, decode_log_entry, decode_reaction,
};
use crate::keys;
use crate::revise::{reaction_update, revision_update};
use crate::store::DynamoStore;

#[async_trait]
impl MessageStore for DynamoStore {
    async fn append(&self, stored: &StoredMessage) -> Result<Appended, WriteError> {
        let attempts = Attempts::default();
        let row = item::encode_message(stored);
        match self.put(&self.tables.messages, row, Some(ABSENT), &attempts).await? {
            Written::Done(()) => Ok(Appended::Stored),
            Written::Refused(row) => {
                let message = &stored.message;
                self.occupied(&message.log(), message.id, row.as_ref(), &attempts).await
            }
        }
    }

    async fn append_redirected(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
    ) -> Result<Appended, WriteError> {
        let attempts = Attempts::default();
        // All rounds together take at most one call's time.
        let rounds = self.transact_redirect(redirect, stored, &attempts);
        match tokio::time::timeout(OPERATION_MAX, rounds).await {
            Ok(appended) => appended,
            Err(elapsed) => Err(attempts.refused(Box::new(elapsed))),
        }
    }

    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.tables.messages)
            .set_key(Some(keys::message(log, id)))
            .consistent_read(true)
            .return_consumed_capacity(COST)
            .send();
        let answer = self.read(Operation::Get, get).await?;
        answer.item().map(decode_log_entry).transpose().map_err(unreadable)
    }

    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let ids: BTreeSet<_> = ids.iter().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids.into_iter().map(|id| keys::message(log, *id)).collect();
        let mut found = self.batch_get(vec![(&self.tables.messages, keys)]).await?;
        let rows = found.remove(&self.tables.messages).unwrap_or_default();
        rows.iter().map(decode_log_entry).collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError> {
        let (lowest, highest) = (query.lowest.to_string(), query.highest.to_string());
        let (rows, more) = self.rows(Rows::of(query, lowest, highest)).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            entries.push(decode_log_entry(row).map_err(unreadable)?);
        }
        Ok(LogPage { entries, more })
    }

    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError> {
        let (row, attempts) = (item::encode_change(change), Attempts::default());
        self.put(&self.tables.messages, row, None, &attempts).await.map(drop)
    }

    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError> {
        let [lowest, highest] = [query.lowest, query.highest].map(keys::change_sort_key);
        let (rows, more) = self.rows(Rows::of(query, lowest, highest)).await?;
        let changes = rows.iter().map(decode_change).collect::<Result<_, _>>();
        Ok(ChangePage { changes: changes.map_err(unreadable)?, more })
    }

    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError> {
        let update = revision_update(revision)
            .into_update(self.client.update_item().table_name(&self.tables.messages))
            .set_key(Some(keys::message(log, id)))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let unknown = |cause: MalformedRow| WriteError::OutcomeUnknown(cause.into());
        match self.update(update).await? {
            Written::Refused(row) => {
                let entry = row.as_ref().map(decode_log_entry).transpose().map_err(unknown)?;
                Ok(Revised::Refused(entry.map(Box::new)))
            }
            Written::Done(answer) => {
                let row = answer.attributes().ok_or("the update returned no row");
                let row = row.map_err(|cause| WriteError::OutcomeUnknown(cause.into()))?;
                match decode_log_entry(row).map_err(unknown)? {
                    LogEntry::Message(stored) => Ok(Revised::Done(stored)),
                    LogEntry::Redirect(_) | LogEntry::Unknown { .. } => {
                        Err(WriteError::OutcomeUnknown("the updated row is no message".into()))
                    }
                }
            }
        }
    }

    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError> {
        let key = keys::reaction(log, id, &reaction.user_id, &reaction.emoji);
        let update = reaction_update(reaction)
            .into_update(self.client.update_item().table_name(&self.tables.messages))
            .set_key(Some(key));
        Ok(match self.update(update).await? {
            Written::Done(_) => Acted::Stored,
            Written::Refused(_) => Acted::Superseded,
        })
    }

    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError> {
        let prefix = keys::reactions_prefix(id);
        let lowest = match after {
            // The string that follows next.
            Some((user, emoji)) => format!("{}\0", keys::reaction_sort_key(id, user, emoji)),
            None => prefix.clone(),
        };
        let rows = Rows {
            partition: log.to_string(),
            lowest,
            highest: format!("{prefix}{}", char::MAX),
            newest_first: false,
            limit: limit.clamp(1, REACTION_ROWS_READ_MAX),
            strong: true,
        };
        let (rows, more) = self.rows(rows).await?;
        let rows = rows.iter().map(|row| decode_reaction(row).map(|(_, row)| row));
        Ok(ReactionPage { rows: rows.collect::<Result<_, _>>().map_err(unreadable)?, more })
    }

    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError> {
        let reactions: BTreeSet<_> = reactions.iter().collect();
        if reactions.is_empty() {
            return Ok(Vec::new());
        }
        let key = |(id, emoji): &(MessageId, Emoji)| keys::reaction(log, *id, user, emoji);
        let keys = reactions.into_iter().map(key).collect();
        let mut found = self.batch_get(vec![(&self.tables.messages, keys)]).await?;
        let rows = found.remove(&self.tables.messages).unwrap_or_default();
        let rows = rows.iter().map(decode_reaction).collect::<Result<Vec<_>, _>>();
        let standing = rows.map_err(unreadable)?.into_iter();
        let standing = standing.filter(|(_, row)| row.withdrawn.is_none());
        Ok(standing.map(|(id, row)| (id, row.emoji)).collect())
    }
}

/// Rows of one partition with sort keys between two, inclusive.
pub(crate) struct Rows {
    pub(crate) partition: String,
    pub(crate) lowest: String,
    pub(crate) highest: String,
    pub(crate) newest_first: bool,
    pub(crate) limit: u32,
    pub(crate) strong: bool,
}

impl Rows {
    fn of(query: &PageQuery, lowest: String, highest: String) -> Self {
        let PageQuery { log, newest_first, strong, .. } = query;
        let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
        Self {
            partition: log.to_string(),
            lowest,
            highest,
            newest_first: *newest_first,
            limit,
            strong: *strong,
        }
    }
}

/// The result of one round of the transaction.
enum Round {
    Done(Appended),
    Contended,
}

impl DynamoStore {
    pub(crate) async fn rows(&self, rows: Rows) -> Result<(Vec<Item>, bool), ReadError> {
        let Rows { partition, lowest, highest, newest_first, limit, strong } = rows;
        if lowest > highest {
            // The store refuses such bounds; here they are an empty page.
            return Ok((Vec::new(), false));
        }
        let rows = self
            .client
            .query()
            .table_name(&self.tables.messages)
            .key_condition_expression("channel_id = :c AND created_at BETWEEN :l AND :h")
            .expression_attribute_values(":c", keys::string(partition))
            .expression_attribute_values(":l", keys::string(lowest))
            .expression_attribute_values(":h", keys::string(highest))
            .scan_index_forward(!newest_first)
            .consistent_read(strong);
        let answer = self.query(rows, limit).await?;
        let more = answer.last_evaluated_key().is_some();
        Ok((answer.items.unwrap_or_default(), more))
    }

    async fn transact_redirect(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
        attempts: &Attempts,
    ) -> Result<Appended, WriteError> {
        for wait in CONTENDED_WAITS {
            match self.transact_once(redirect, stored, attempts).await? {
                Round::Done(appended) => return Ok(appended),
                Round::Contended => tokio::time::sleep(wait).await,
            }
        }
        match self.transact_once(redirect, stored, attempts).await? {
            Round::Done(appended) => Ok(appended),
            Round::Contended => {
                let rounds = u32::try_from(CONTENDED_WAITS.len() + 1).unwrap_or(u32::MAX);
                Err(attempts.throttled(CallError::Contended { rounds }))
            }
        }
    }

    async fn transact_once(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
        attempts: &Attempts,
    ) -> Result<Round, WriteError> {
        let rows = [item::encode_redirect(redirect), item::encode_message(stored)];
        let rows_bytes: [usize; 2] = [billed_bytes(&rows[0]), billed_bytes(&rows[1])];
        let mut puts = Vec::with_capacity(rows.len());
        for row in rows {
            puts.push(self.put_if_absent(row).map_err(|err| attempts.refused(Box::new(err)))?);
        }
        let transact = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts))
            .return_consumed_capacity(COST)
            .customize()
            .interceptor(attempts.clone())
            .send();
        let Err(err) = self.counted(Operation::Transact, transact).await else {
            return Ok(Round::Done(Appended::Stored));
        };
        let canceled = match err.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled,
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => {
                return Ok(Round::Contended);
            }
            _ => return Err(attempts.write_error(Operation::Transact, err)),
        };
        // The reasons come in the order of the puts: first the redirect's, then the message's.
        for (bytes, reason) in rows_bytes.into_iter().zip(canceled.cancellation_reasons()) {
            let old_bytes = reason.item().map_or(0, billed_bytes);
            // A transaction prepares, then commits, and both are billed.
            self.capacity.count_refused_write(Operation::Transact, bytes.max(old_bytes));
            self.capacity.count_refused_write(Operation::Transact, bytes.max(old_bytes));
        }
        let [at_redirect, at_message] = canceled.cancellation_reasons() else {
            return Err(attempts.write_error(Operation::Transact, err));
        };
        if code(at_redirect) == CONDITION_FAILED {
            return self
                .occupied(&redirect.log, redirect.id, at_redirect.item(), attempts)
                .await
                .map(Round::Done);
        }
        if code(at_message) == CONDITION_FAILED {
            return Err(attempts.refused(CallError::TargetOccupied));
        }
        if [at_redirect, at_message].into_iter().any(|reason| code(reason) == CONFLICT) {
            return Ok(Round::Contended);
        }
        if [at_redirect, at_message].into_iter().any(|reason| is_throttling(code(reason))) {
            return Err(attempts.throttled(CallError::of(Operation::Transact, err)));
        }
        Err(attempts.write_error(Operation::Transact, err))
    }

    fn put_if_absent(
        &self,
        row: Item,
    ) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let put = Put::builder()
            .table_name(&self.tables.messages)
            .set_item(Some(row))
            .condition_expression(ABSENT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The entry that made a condition fail: from the error itself, or from a read if the store did
    /// not send it.
    async fn occupied(
        &self,
        log: &LogId,
        id: MessageId,
        row: Option<&Item>,
        attempts: &Attempts,
    ) -> Result<Appended, WriteError> {
        let entry = match row {
            Some(row) => Some(decode_log_entry(row).map_err(unreadable)),
            None => self.entry(log, id).await.transpose(),
        };
        match entry {
            Some(Ok(entry)) => Ok(Appended::Occupied(Box::new(entry))),
            Some(Err(err)) => Err(attempts.refused(Box::new(err))),
            None => Err(attempts.refused(CallError::Vanished)),
        }
    }
}

fn code(reason: &CancellationReason) -> &str {
    reason.code().unwrap_or_default()
}

const ABSENT: &str = "attribute_not_exists(created_at)";
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
const CONFLICT: &str = "TransactionConflict";
/// Waits before a transaction that conflicted with another is tried again.
const CONTENDED_WAITS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(180)];
