//! The devices of users: who must have a message before nobody keeps it (ADR 0046).

use std::fmt::Debug;

use async_trait::async_trait;
use model::{DeviceId, Timestamp, UserId, WorkspaceId};

use super::{ReadError, WriteError};

/// Registered devices.
#[async_trait]
pub trait DeviceStore: Send + Sync + Debug {
    /// Registers a device, or notes that it was seen. At most [`model::limits::DEVICES_MAX`] of a user are
    /// kept: the one that was seen longest ago goes.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError>;

    /// Returns the devices of these users that were seen within [`model::limits::DEVICE_TTL`], read strongly.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError>;
}
