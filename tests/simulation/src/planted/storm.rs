//! Bug 10: every slow read of channels sends every client a resync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{ChannelStore, Creation, Marking, ReadError, Standing, WriteError};
use model::{Channel, ChannelId, ChannelUpdate, LateArrivals, UserId};
use tokio::time::Instant;

/// A channel store that counts slow reads.
#[derive(Debug)]
pub(super) struct Stormy {
    pub(super) channels: Arc<dyn ChannelStore>,
    pub(super) storms: Arc<AtomicU64>,
}

/// A read in progress. It ends when it is dropped, so also when its caller gives up.
struct Read<'a> {
    began: Instant,
    storms: &'a AtomicU64,
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if self.began.elapsed() >= LONG {
            self.storms.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl ChannelStore for Stormy {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.channels.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        let _read = Read { began: Instant::now(), storms: &self.storms };
        self.channels.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.channels.standing(channel, user).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.channels.bump_members_version(channel).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.channels.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.channels.mark_late(channel, late).await
    }
}

/// A read that takes this long is slow.
const LONG: Duration = Duration::from_millis(500);
