//! Devices, guarded.

use async_trait::async_trait;
use model::{DeviceId, Timestamp, UserId, WorkspaceId};

use super::Guarded;
use crate::ports::{DeviceStore, ReadError, WriteError};

#[async_trait]
impl DeviceStore for Guarded<dyn DeviceStore> {
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.port.register(workspace, user, device, now)).await
    }

    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError> {
        self.read(self.port.devices(workspace, users, now)).await
    }
}
