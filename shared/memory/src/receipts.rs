//! The book of receipts, in process.

use std::collections::BTreeMap;

use async_trait::async_trait;
use messaging::ports::{BusError, ReceiptBook, ReceiptMarks};
use model::{ChannelId, MessageId, UserId, WorkspaceId};
use protocol::receipts::ReceiptsSignal;
use protocol::signal::Signal;

use crate::bus::MemoryBus;

/// The marks of a channel.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    delivered: BTreeMap<UserId, MessageId>,
    read: BTreeMap<UserId, MessageId>,
}

#[async_trait]
impl ReceiptBook for MemoryBus {
    async fn raise(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        ReceiptMarks { delivered, read }: &ReceiptMarks,
    ) -> Result<(), BusError> {
        self.publish_by(|state| {
            let known = state.receipts.entry((workspace.clone(), channel.clone())).or_default();
            raise(&mut known.delivered, delivered);
            raise(&mut known.read, read);
            let (delivered, read, channel_id) = (delivered.clone(), read.clone(), channel.clone());
            let receipts = ReceiptsSignal { channel_id, delivered, read, archived: Vec::new() };
            state.signal(workspace, &Signal::Receipts(receipts));
        })
        .await
    }

    async fn receipts(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<ReceiptMarks, BusError> {
        let state = self.state.lock();
        let known = state.receipts.get(&(workspace.clone(), channel.clone()));
        let list = |marks: &BTreeMap<UserId, MessageId>| {
            marks.iter().map(|(user, id)| (user.clone(), *id)).collect()
        };
        Ok(known.map_or_else(ReceiptMarks::default, |Marks { delivered, read }| ReceiptMarks {
            delivered: list(delivered),
            read: list(read),
        }))
    }
}

fn raise(known: &mut BTreeMap<UserId, MessageId>, marks: &[(UserId, MessageId)]) {
    for (user, id) in marks {
        let mark = known.entry(user.clone()).or_insert(*id);
        *mark = (*mark).max(*id);
    }
}
