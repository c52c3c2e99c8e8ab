//! What the node read lately of channels that clients asked about: their contract, whether they take
//! messages, and the version of their membership.

use std::collections::HashMap;

use messaging::ports::ReadError;
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
    let found = read(hub, hub.ports.channels.channels(std::slice::from_ref(id))).await?;
    let is_ours = |found: &Channel| found.workspace_id == *workspace;
    let found = found.into_iter().find(is_ours).ok_or(ErrorCode::ChannelNotFound)?;
    hub.channels.put(found.clone());
    Ok(found)
}

/// Reads the store for a client that waits for the answer.
pub(crate) async fn read<T>(
    hub: &Hub,
    call: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ErrorCode> {
    let _permit = hub.store.admit().await;
    let answer = tokio::time::timeout(limits::PUBLISH_DEADLINE, call).await;
    // Not counted as a failure of the store: the reads of workspaces wait longer than a client does.
    answer.ok().and_then(Result::ok).ok_or(ErrorCode::Unavailable)
}

/// Channels that are known at the same time.
const KNOWN_MAX: usize = 10_000;
