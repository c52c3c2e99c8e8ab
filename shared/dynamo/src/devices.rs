//! The devices of users: one row of each user, beside their channels.

use std::collections::HashSet;

use async_trait::async_trait;
use messaging::ports::{DeviceStore, ReadError, WriteError};
use model::{DeviceId, SeenDevices, Timestamp, UserId, WorkspaceId, limits};

use crate::call::Written;
use crate::error::unreadable;
use crate::item::{DEVICES, EXPIRES_AT, decode_devices, number};
use crate::keys;
use crate::store::{BATCH_KEYS_MAX, DynamoStore};
use crate::update::Update;

#[async_trait]
impl DeviceStore for DynamoStore {
    async fn register(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        for _ in 0..ATTEMPTS {
            let known = self.devices_seen(workspace, std::slice::from_ref(user)).await;
            let known = known.map_err(|error| WriteError::NotStored(error.into()))?;
            let known = known.into_iter().next().map(|(_, devices)| devices);
            if known.as_ref().is_some_and(|known| known.is_recent(device, now)) {
                return Ok(());
            }
            let mut update = Update::default();
            match &known {
                None => update.condition(&[DEVICES], "attribute_not_exists(#ds)"),
                Some(known) => {
                    update.value("known", keys::string(known.to_string()));
                    update.condition(&[DEVICES], "#ds = :known");
                }
            }
            let devices = known.unwrap_or_default().with(device, now);
            update.set(DEVICES, keys::string(devices.to_string()));
            let expires_at = now.plus(limits::DEVICE_TTL).unix_ms().div_ceil(1_000);
            update.set(EXPIRES_AT, number(expires_at));
            let update = update
                .into_update(self.client.update_item().table_name(&self.tables.user_channels))
                .set_key(Some(keys::devices(workspace, user)));
            if let Written::Done(_) = self.update(update).await? {
                return Ok(());
            }
            // Another device of the user registered meanwhile.
        }
        Err(WriteError::NotStored("other devices of the user registered at the same time".into()))
    }

    async fn devices(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
        now: Timestamp,
    ) -> Result<Vec<(UserId, DeviceId)>, ReadError> {
        let mut found = Vec::new();
        for (user, devices) in self.devices_seen(workspace, users).await? {
            found.extend(devices.owed(now).map(|device| (user.clone(), device.clone())));
        }
        Ok(found)
    }
}

impl DynamoStore {
    async fn devices_seen(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<(UserId, SeenDevices)>, ReadError> {
        // The store refuses a whole batch if a key appears twice.
        let users: Vec<_> = users.iter().collect::<HashSet<_>>().into_iter().collect();
        let table = &self.tables.user_channels;
        let mut seen = Vec::with_capacity(users.len());
        for users in users.chunks(BATCH_KEYS_MAX) {
            let keys = users.iter().map(|user| keys::devices(workspace, user)).collect();
            let mut found = self.batch_get(vec![(table, keys)]).await?;
            for row in found.remove(table).unwrap_or_default() {
                seen.push(decode_devices(&row).map_err(unreadable)?);
            }
        }
        Ok(seen)
    }
}

/// How often a registration is tried while other devices of the user register.
const ATTEMPTS: usize = 4;
