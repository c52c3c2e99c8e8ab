//! The devices of users.

use async_trait::async_trait;
use messaging::ports::{DeviceStore, ReadError, WriteError};
use model::{DeviceId, Timestamp, UserId, WorkspaceId};

use super::SimStore;

#[async_trait]
impl DeviceStore for SimStore {
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        self.write(self.inner.register(workspace, user, device, now)).await
    }

    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError> {
        self.read(self.inner.devices(workspace, users, now)).await
    }
}
