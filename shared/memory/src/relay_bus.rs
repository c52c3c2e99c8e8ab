//! The relay's port to the in-process bus. Its replicas are only counts.

use async_trait::async_trait;
use messaging::ports::{BatchResult, BusError, Offered, Published, RelayBus, Replication, Routed};

use crate::bus::{MemoryBus, State, unavailable};

/// The replicas of an in-process bus. By default there are none, and none is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replicas {
    /// How many are configured.
    pub configured: u32,
    /// How many are attached.
    pub attached: u32,
    /// Whether the attached ones acknowledge nothing.
    pub lag: bool,
}

/// The relay's faults and replicas.
#[derive(Debug, Default)]
pub(crate) struct RelayState {
    replicas: Replicas,
    breaks: Option<(usize, u64)>,
    refusals: Option<(usize, u64)>,
    runs: u64,
}

impl State {
    /// What a sender is told: whether a replica has it.
    pub(crate) fn accepted(&self) -> Offered {
        let Replicas { attached, lag, .. } = self.relay_bus.replicas;
        Offered::Accepted { replicated: attached > 0 && !lag }
    }
}

impl MemoryBus {
    /// Sets the replicas from now on.
    pub fn set_replicas(&self, replicas: Replicas) {
        self.state.lock().relay_bus.replicas = replicas;
    }

    /// Breaks the connection in the next `count` runs of a batch, after `after` publications were
    /// published.
    pub fn break_replays(&self, after: usize, count: u64) {
        self.state.lock().relay_bus.breaks = (count > 0).then_some((after, count));
    }

    /// Refuses the publication at index `at` in the next `count` runs of a batch.
    pub fn refuse_replays(&self, at: usize, count: u64) {
        self.state.lock().relay_bus.refusals = (count > 0).then_some((at, count));
    }

    /// Returns how often a batch was run.
    #[must_use]
    pub fn replays(&self) -> u64 {
        self.state.lock().relay_bus.runs
    }
}

#[async_trait]
impl RelayBus for MemoryBus {
    async fn publish_batch(&self, batch: &[Routed]) -> Result<BatchResult, BusError> {
        let now = self.now();
        let mut state = self.state.lock();
        state.relay_bus.runs += 1;
        let breaks_at = take(&mut state.relay_bus.breaks);
        let refused_at = take(&mut state.relay_bus.refusals);
        let (mut taken, mut appended) = (0, 0);
        for (workspace, publication) in batch {
            if breaks_at == Some(taken) {
                return Err(unavailable());
            }
            if refused_at == Some(taken) {
                break;
            }
            let published = state.publish(workspace, publication, now);
            appended += usize::from(matches!(published, Published::Appended(_)));
            taken += 1;
        }
        if breaks_at.is_some() {
            return Err(unavailable());
        }
        let refusal = (taken < batch.len()).then(|| BusError::Refused("scripted".into()));
        let Replicas { configured, attached, lag } = state.relay_bus.replicas;
        let replication = match (configured, attached) {
            (0, 0) => Replication::Single,
            (_, 0) => Replication::Absent,
            _ if lag => Replication::Lagging,
            _ => Replication::Acknowledged,
        };
        Ok(BatchResult { taken, appended, refusal, replication })
    }
}

fn take(fault: &mut Option<(usize, u64)>) -> Option<usize> {
    let (at, left) = (*fault)?;
    *fault = (left > 1).then_some((at, left - 1));
    Some(at)
}
