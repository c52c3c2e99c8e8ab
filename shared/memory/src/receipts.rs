//! The book of receipts, in process.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use messaging::ports::{BusError, ReceiptBook, ReceiptMarks};
use model::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, limits};
use protocol::receipts::{ReceiptsSignal, UserDevice};
use protocol::signal::Signal;

use crate::bus::MemoryBus;

/// The devices that keep a message.
#[derive(Debug)]
pub(crate) struct Keepers {
    devices: BTreeSet<UserDevice>,
    until: Timestamp,
}

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

    async fn note_keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        keepers: &[(MessageId, UserDevice)],
    ) -> Result<(), BusError> {
        let (now, mut state) = (self.now(), self.state.lock());
        state.keepers.retain(|_, known| now < known.until);
        for (id, device) in keepers {
            let key = (workspace.clone(), channel.clone(), *id);
            let until = now.plus(limits::KEEPERS_TTL);
            let known = state.keepers.entry(key);
            let known = known.or_insert_with(|| Keepers { devices: BTreeSet::new(), until });
            known.devices.insert(device.clone());
        }
        Ok(())
    }

    async fn keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<BTreeSet<UserDevice>, BusError> {
        let (now, state) = (self.now(), self.state.lock());
        let known = state.keepers.get(&(workspace.clone(), channel.clone(), id));
        let known = known.filter(|known| now < known.until);
        Ok(known.map(|known| known.devices.clone()).unwrap_or_default())
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
