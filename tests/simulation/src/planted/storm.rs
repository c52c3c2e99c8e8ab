//! Bug 10: each read of a channel's members that takes long tells everybody to read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{ChannelStore, Creation, Marking, ReadError, Standing, WriteError};
use model::{Channel, ChannelId, LateArrivals, UserId};
use tokio::time::Instant;

/// The tables of channels: reads that take long are counted.
#[derive(Debug)]
pub(super) struct Stormy {
    pub(super) channels: Arc<dyn ChannelStore>,
    pub(super) storms: Arc<AtomicU64>,
}

/// A read that is on its way, whether or not its caller waits for the end.
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

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.channels.mark_late(channel, late).await
    }
}

/// From here on a read takes long.
const LONG: Duration = Duration::from_millis(500);
