//! Read marks, on the rows of a user's channels.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use messaging::ports::{
    ChannelMark, MarkChange, Marked, NamePage, ReadError, ReadMarkStore, WriteError,
};
use model::{ChannelId, Epoch, UserId, WorkspaceId};

use crate::call::Written;
use crate::item::{self, decode_channel_mark};
use crate::keys;
use crate::members::name_page;
use crate::store::DynamoStore;

#[async_trait]
impl ReadMarkStore for DynamoStore {
    async fn change_mark(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: &ChannelId,
        MarkChange { within, mark }: MarkChange,
    ) -> Result<Marked, WriteError> {
        // A row without a mark has the one of a new member, which `joined_at` says. AND binds
        // tighter than OR, and the store refuses parentheses that are not needed.
        let without_mark = match (within, mark.epoch) {
            (Epoch::FIRST, Epoch::FIRST) => " OR attribute_not_exists(#rd) AND #j <= :at",
            (Epoch::FIRST, _) => " OR attribute_not_exists(#rd)",
            _ => "",
        };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.tables.user_channels)
            .set_key(Some(keys::user_channel(workspace, user, channel)))
            .update_expression("SET #rd = :mark")
            .condition_expression(format!(
                "attribute_exists(#j) AND (begins_with(#rd, :epoch) AND #rd < :mark{without_mark})"
            ))
            .expression_attribute_names("#rd", item::READ_MARK)
            .expression_attribute_names("#j", item::JOINED_AT)
            .expression_attribute_values(":mark", keys::string(mark.to_string()))
            .expression_attribute_values(":epoch", keys::string(format!("{within}#")))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // The store refuses values that no expression names.
        if without_mark.contains(":at") {
            let at = item::number(mark.up_to.time().unix_ms());
            update = update.expression_attribute_values(":at", at);
        }
        match self.update(update).await? {
            Written::Done(_) => Ok(Marked::Moved(mark)),
            Written::Refused(None) => Ok(Marked::NoRow),
            Written::Refused(Some(row)) => match decode_channel_mark(&row) {
                Ok(present) => Ok(Marked::Kept(present.mark)),
                Err(malformed) => Err(WriteError::NotStored(malformed.into())),
            },
        }
    }

    async fn marks_of(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: u32,
    ) -> Result<NamePage<ChannelMark>, ReadError> {
        let answer = self.user_channels_after(workspace, user, after, limit).await?;
        name_page(&answer, decode_channel_mark)
    }
}
