//! The channels table, and a user's standing in a channel.

use std::collections::HashSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use messaging::ports::{ChannelStore, Creation, Marking, ReadError, Standing, WriteError};
use model::limits::OVERLAP;
use model::{Channel, ChannelId, LateArrivals, UserId};

use crate::attempt::Attempts;
use crate::capacity::Operation;
use crate::error::unreadable;
use crate::item::{self, billed_bytes, decode_channel};
use crate::keys;
use crate::store::{BATCH_KEYS_MAX, DynamoStore};

#[async_trait]
impl ChannelStore for DynamoStore {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        let row = item::encode_channel(channel);
        let row_bytes = billed_bytes(&row);
        let attempts = Attempts::default();
        self.capacity.count_call(Operation::Put);
        let answer = self
            .client
            .put_item()
            .table_name(&self.tables.channels)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(channel_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        let err = match answer {
            Ok(answer) => {
                self.capacity.count_units(Operation::Put, answer.consumed_capacity());
                return Ok(Creation::Created);
            }
            Err(err) => err,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = err.as_service_error()
        else {
            return Err(attempts.write_error(Operation::Put, err));
        };
        let old_bytes = failed.item().map_or(0, billed_bytes);
        self.capacity.count_refused_write(Operation::Put, row_bytes.max(old_bytes));
        // The existing row may be this call's own, from an attempt whose answer was lost.
        let is_ours = attempts.may_have_written()
            && failed.item().is_some_and(|row| decode_channel(row).as_ref() == Ok(channel));
        Ok(if is_ours { Creation::Created } else { Creation::Existed })
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let ids: Vec<_> = ids.iter().collect::<HashSet<_>>().into_iter().collect();
        let mut channels = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_KEYS_MAX) {
            let keys = ids.iter().map(|id| keys::channel(id)).collect();
            let mut found = self.batch_get(vec![(&self.tables.channels, keys)]).await?;
            for row in found.remove(&self.tables.channels).unwrap_or_default() {
                channels.push(decode_channel(&row).map_err(unreadable)?);
            }
        }
        Ok(channels)
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        let found = self
            .batch_get(vec![
                (&self.tables.channels, vec![keys::channel(channel)]),
                (&self.tables.memberships, vec![keys::membership(channel, user)]),
            ])
            .await?;
        let first = |table| found.get(table).and_then(|rows| rows.first());
        let channel = first(&self.tables.channels).map(decode_channel).transpose();
        Ok(Standing {
            channel: channel.map_err(unreadable)?,
            is_member: first(&self.tables.memberships).is_some(),
        })
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        let attempts = Attempts::default();
        self.capacity.count_call(Operation::Update);
        let answer = self
            .client
            .update_item()
            .table_name(&self.tables.channels)
            .set_key(Some(keys::channel(channel)))
            .update_expression("SET #v = #v + :one")
            .condition_expression("attribute_exists(channel_id)")
            .expression_attribute_names("#v", item::VERSION)
            .expression_attribute_values(":one", item::number(1))
            .return_values(ReturnValue::UpdatedNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.capacity.count_units(Operation::Update, answer.consumed_capacity());
                let row = answer.attributes().ok_or("the update returned no row");
                let version = row.map_err(|cause| WriteError::OutcomeUnknown(cause.into()))?;
                let version = item::decode_version(version);
                version.map(Some).map_err(|cause| WriteError::OutcomeUnknown(cause.into()))
            }
            Err(err) => match err.as_service_error() {
                // Channels are never deleted: it does not exist, so no attempt has written.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    self.capacity.count_refused_write(Operation::Update, 0);
                    Ok(None)
                }
                _ => Err(attempts.write_error(Operation::Update, err)),
            },
        }
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        let attempts = Attempts::default();
        self.capacity.count_call(Operation::Update);
        let answer = self
            .client
            .update_item()
            .table_name(&self.tables.channels)
            .set_key(Some(keys::channel(channel)))
            .update_expression("SET #l = :id, #m = :at")
            .condition_expression(NOT_COVERED)
            .expression_attribute_names("#l", item::LATE_ID)
            .expression_attribute_names("#m", item::LATE_AT)
            .expression_attribute_values(":id", keys::string(late.reread_from.to_string()))
            .expression_attribute_values(":at", item::number(late.until.unix_ms()))
            .expression_attribute_values(
                ":recent",
                item::number(late.until.minus(OVERLAP).unix_ms()),
            )
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.capacity.count_units(Operation::Update, answer.consumed_capacity());
                Ok(Marking::Marked)
            }
            Err(err) => match err.as_service_error() {
                // An equal mark covers this one, whoever wrote it, this call's own retry included.
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    self.capacity.count_refused_write(Operation::Update, 0);
                    Ok(Marking::Covered)
                }
                _ => Err(attempts.write_error(Operation::Update, err)),
            },
        }
    }
}

/// The channel exists, and its mark is absent, higher, or from an earlier incident.
const NOT_COVERED: &str =
    "attribute_exists(channel_id) AND (attribute_not_exists(#l) OR #l > :id OR #m < :recent)";
