//! Pins on a map.

use async_trait::async_trait;
use messaging::ports::{Acted, PinPage, PinStore, ReadError, StoredPin, WriteError};
use model::limits::PAGE_ROWS_MAX;
use model::{ChannelId, MessageId, MessageRef};

use super::{MemoryStore, in_whole_seconds, rows_of};

#[async_trait]
impl PinStore for MemoryStore {
    async fn pin(&self, channel: &ChannelId, pin: &StoredPin) -> Result<Acted, WriteError> {
        let mut tables = self.call("pin");
        let key = (channel.clone(), pin.of);
        if tables.pins.get(&key).is_some_and(|known| known.act >= pin.act) {
            return Ok(Acted::Superseded);
        }
        let withdrawn = pin.withdrawn.map(in_whole_seconds);
        tables.pins.insert(key, StoredPin { withdrawn, ..pin.clone() });
        Ok(Acted::Stored)
    }

    async fn pins(
        &self,
        channel: &ChannelId,
        from: Option<MessageRef>,
        limit: u32,
    ) -> Result<PinPage, ReadError> {
        let tables = self.call("pins");
        let first = MessageRef { id: MessageId::MIN, thread: None };
        let last = MessageRef { id: MessageId::MAX, thread: Some(MessageId::MAX) };
        let (lowest, highest) = ((channel.clone(), first), (channel.clone(), from.unwrap_or(last)));
        let limit = rows_of(limit, PAGE_ROWS_MAX);
        let rows = tables.pins.range(lowest..=highest).rev();
        let rows: Vec<_> = rows.map(|(_, pin)| pin.clone()).take(limit).collect();
        let more = rows.len() == limit;
        Ok(PinPage { rows, more })
    }
}
