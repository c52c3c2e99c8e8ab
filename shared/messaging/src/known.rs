//! What an environment remembers about channels: their workspace, without expiry, and their late mark.

use std::collections::HashMap;

use model::{Channel, ChannelId, LateArrivals, WorkspaceId, limits};
use parking_lot::Mutex;

/// Channels by id. When there are too many, all are forgotten, and read again when needed.
#[derive(Debug, Default)]
pub(crate) struct KnownChannels(Mutex<HashMap<ChannelId, Known>>);

#[derive(Debug)]
struct Known {
    workspace: WorkspaceId,
    late: Option<LateArrivals>,
}

impl KnownChannels {
    pub(crate) fn workspace_of(&self, channel: &ChannelId) -> Option<WorkspaceId> {
        self.0.lock().get(channel).map(|known| known.workspace.clone())
    }

    pub(crate) fn learn(&self, channel: &Channel) {
        let mut known = self.0.lock();
        if known.len() >= limits::RELAY_CHANNELS_MAX {
            known.clear();
        }
        let Channel { id, workspace_id, late, .. } = channel;
        known.insert(id.clone(), Known { workspace: workspace_id.clone(), late: *late });
    }

    /// Whether the store's mark is known to cover this one, by the rule of
    /// [`mark_late`](crate::ports::ChannelStore::mark_late).
    pub(crate) fn is_marked(&self, channel: &ChannelId, late: LateArrivals) -> bool {
        let known = self.0.lock().get(channel).and_then(|known| known.late);
        known.is_some_and(|known| known.covers(late))
    }

    /// Records the mark that the store has now.
    pub(crate) fn mark(&self, channel: &ChannelId, late: LateArrivals) {
        if let Some(known) = self.0.lock().get_mut(channel) {
            known.late = Some(late);
        }
    }

    /// Forgets a channel whose mark another environment wrote; the next read brings it.
    pub(crate) fn forget(&self, channel: &ChannelId) {
        self.0.lock().remove(channel);
    }
}
