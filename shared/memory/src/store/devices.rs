//! The devices of users.

use async_trait::async_trait;
use messaging::ports::{DeviceStore, ReadError, WriteError};
use model::{DeviceId, Timestamp, UserId, WorkspaceId};

use super::MemoryStore;

#[async_trait]
impl DeviceStore for MemoryStore {
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut tables = self.call("register");
        let devices = tables.devices.entry((workspace.clone(), user.clone())).or_default();
        if !devices.is_recent(device, now) {
            *devices = std::mem::take(devices).with(device, now);
        }
        Ok(())
    }

    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError> {
        let tables = self.call("devices");
        let of_user = |user: &UserId| {
            let devices = tables.devices.get(&(workspace.clone(), user.clone()))?;
            Some(devices.owed(now).map(|id| (user.clone(), id.clone())).collect::<Vec<_>>())
        };
        Ok(users.iter().filter_map(of_user).flatten().collect())
    }
}
