//! What the node read lately of channels that clients asked about: their contract, whether they take
//! messages, and the version of their membership.

use std::collections::HashMap;

use model::{Channel, ChannelId, ErrorCode, WorkspaceId, limits};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::hub::Hub;

/// Channels, each for [`limits::VIEW_LEASE`].
#[derive(Debug, Default)]
pub(crate) struct KnownChannels(Mutex<HashMap<ChannelId, (Instant, Channel)>>);

impl KnownChannels {
    fn get(&self, id: &ChannelId) -> Option<Channel> {
        let known = self.0.lock();
        let fresh = known.get(id).filter(|(at, _)| at.elapsed() < limits::VIEW_LEASE);
        fresh.map(|(_, channel)| channel.clone())
    }

    fn put(&self, channel: Channel) {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (at, _)| at.elapsed() < limits::VIEW_LEASE);
        }
        if known.len() < KNOWN_MAX {
            known.insert(channel.id.clone(), (Instant::now(), channel));
        }
    }

    /// Forgets a channel, because it has ended.
    pub(crate) fn forget(&self, id: &ChannelId) {
        self.0.lock().remove(id);
    }
}

/// The workspace's channel of this id, as it was at most [`limits::VIEW_LEASE`] ago.
pub(crate) async fn channel(
    hub: &Hub,
    workspace: &WorkspaceId,
    id: &ChannelId,
) -> Result<Channel, ErrorCode> {
    if let Some(known) = hub.channels.get(id) {
        return if known.workspace_id == *workspace {
            Ok(known)
        } else {
            Err(ErrorCode::ChannelNotFound)
        };
    }
    let read = hub.ports.channels.channels(std::slice::from_ref(id));
    let permit = hub.store.admit().await;
    let read = tokio::time::timeout(limits::PUBLISH_DEADLINE, read).await;
    drop(permit);
    let Ok(Ok(found)) = read else { return Err(ErrorCode::Unavailable) };
    let is_ours = |found: &Channel| found.workspace_id == *workspace;
    let found = found.into_iter().find(is_ours).ok_or(ErrorCode::ChannelNotFound)?;
    hub.channels.put(found.clone());
    Ok(found)
}

/// Channels that are known at the same time.
const KNOWN_MAX: usize = 10_000;
