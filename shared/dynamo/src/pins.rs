//! Pins, in the messages table beside the messages.

use async_trait::async_trait;
use messaging::ports::{Acted, PinPage, PinStore, ReadError, StoredPin, WriteError};
use model::limits::PAGE_ROWS_MAX;
use model::{ChannelId, MessageId, MessageRef};

use crate::call::Written;
use crate::error::unreadable;
use crate::item::decode_pin;
use crate::keys;
use crate::messages::Rows;
use crate::revise::pin_update;
use crate::store::DynamoStore;

#[async_trait]
impl PinStore for DynamoStore {
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError> {
        let update = pin_update(pin)
            .into_update(self.client.update_item().table_name(&self.tables.messages))
            .set_key(Some(keys::pin(channel, pin.of)));
        Ok(match self.update(update).await? {
            Written::Done(_) => Acted::Stored,
            Written::Refused(_) => Acted::Superseded,
        })
    }

    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError> {
        let first = MessageRef { id: MessageId::MIN, thread: None };
        let last = MessageRef { id: MessageId::MAX, thread: Some(MessageId::MAX) };
        let rows = Rows {
            partition: channel.to_string(),
            lowest: keys::pin_sort_key(first),
            highest: keys::pin_sort_key(from.unwrap_or(last)),
            newest_first: true,
            limit: limit.clamp(1, PAGE_ROWS_MAX),
            strong: true,
        };
        let (rows, more) = self.rows(rows).await?;
        let rows = rows.iter().map(decode_pin).collect::<Result<_, _>>().map_err(unreadable)?;
        Ok(PinPage { rows, more })
    }
}
