//! The channels table, and a user's standing in a channel.

use std::collections::HashSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use messaging::ports::{ChannelStore, Creation, Marking, ReadError, Standing, WriteError};
use model::limits::OVERLAP;
use model::{Channel, ChannelId, ChannelUpdate, LateArrivals, UserId};

use crate::attempt::Attempts;
use crate::call::Written;
use crate::error::unreadable;
use crate::item::{self, decode_channel};
use crate::keys::{self, CHANNEL_ID};
use crate::store::{BATCH_KEYS_MAX, DynamoStore};
use crate::update::Update;

#[async_trait]
impl ChannelStore for DynamoStore {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        let attempts = Attempts::default();
        let row = item::encode_channel(channel);
        let condition = Some("attribute_not_exists(channel_id)");
        let row = match self.put(&self.tables.channels, row, condition, &attempts).await? {
            Written::Done(()) => return Ok(Creation::Created),
            Written::Refused(row) => row,
        };
        // The existing row may be this call's own, from an attempt whose answer was lost.
        let is_ours = attempts.may_have_written()
            && row.is_some_and(|row| decode_channel(&row).as_ref() == Ok(channel));
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
        let update = self
            .client
            .update_item()
            .table_name(&self.tables.channels)
            .set_key(Some(keys::channel(channel)))
            .update_expression("SET #v = #v + :one")
            .condition_expression("attribute_exists(channel_id)")
            .expression_attribute_names("#v", item::VERSION)
            .expression_attribute_values(":one", item::number(1))
            .return_values(ReturnValue::UpdatedNew);
        match self.update(update).await? {
            Written::Done(answer) => {
                let row = answer.attributes().ok_or("the update returned no row");
                let version = row.map_err(|cause| WriteError::OutcomeUnknown(cause.into()))?;
                let version = item::decode_version(version);
                version.map(Some).map_err(|cause| WriteError::OutcomeUnknown(cause.into()))
            }
            // Channels are never deleted: it does not exist, so no attempt has written.
            Written::Refused(_) => Ok(None),
        }
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        let update = details_update(update)
            .into_update(self.client.update_item().table_name(&self.tables.channels))
            .set_key(Some(keys::channel(channel)))
            .return_values(ReturnValue::AllNew);
        match self.update(update).await? {
            Written::Done(answer) => {
                let row = answer.attributes().ok_or("the update returned no row");
                let row = row.map_err(|cause| WriteError::OutcomeUnknown(cause.into()))?;
                let channel = decode_channel(row);
                channel.map(Some).map_err(|cause| WriteError::OutcomeUnknown(cause.into()))
            }
            Written::Refused(_) => Ok(None),
        }
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        let recent = late.until.minus(OVERLAP).unix_ms();
        let update = self
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
            .expression_attribute_values(":recent", item::number(recent));
        Ok(match self.update(update).await? {
            Written::Done(_) => Marking::Marked,
            // An equal mark covers this one, whoever wrote it, this call's own retry included.
            Written::Refused(_) => Marking::Covered,
        })
    }
}

/// What is empty, or false, is absent from the row.
fn details_update(changes: &ChannelUpdate) -> Update {
    let mut update = Update::default();
    update.condition(&[CHANNEL_ID], "attribute_exists(#channel_id)");
    update.increment(item::DETAILS_VERSION, 1);
    if let Some(name) = &changes.name {
        update.set(item::NAME, keys::string(name));
    }
    match changes.topic.as_deref() {
        None => {}
        Some("") => update.remove(item::TOPIC),
        Some(topic) => update.set(item::TOPIC, keys::string(topic)),
    }
    match changes.archived {
        None => {}
        Some(false) => update.remove(item::ARCHIVED),
        Some(true) => update.set(item::ARCHIVED, AttributeValue::Bool(true)),
    }
    update
}

/// The channel exists, and its mark is absent, higher, or from an earlier incident.
const NOT_COVERED: &str =
    "attribute_exists(channel_id) AND (attribute_not_exists(#l) OR #l > :id OR #m < :recent)";
