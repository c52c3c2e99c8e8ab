//! Publishes within a send's time budget: tried once, and never the reason that a send fails (G3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{Timestamp, WorkspaceId, chain, limits};
use parking_lot::Mutex;
use protocol::publication::Publication;
use protocol::signal::Signal;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::counters::{Counter, Counters};
use crate::outage::Outage;
use crate::ports::{BusError, Clock, EventBus};

/// The result of an offer to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The bus has it, from this offer or an earlier one.
    Published,
    /// The bus refused, or did not answer in time. It may have published all the same.
    Failed,
    /// Not tried: the last calls timed out, or publishing is switched off.
    Skipped,
}

/// Publishes within [`limits::PUBLISH_DEADLINE`]. After [`limits::PUBLISH_TIMEOUTS_MAX`] timeouts
/// in a row it pauses for [`limits::PUBLISH_PAUSE`].
#[derive(Debug)]
pub struct Publisher {
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    trouble: Mutex<Trouble>,
    is_on: AtomicBool,
    counters: Arc<Counters>,
    /// Outages in which the bus refuses or cannot be reached.
    failures: Outage,
    /// Outages in which the bus does not answer in time.
    silence: Outage,
}

#[derive(Debug, Default)]
struct Trouble {
    timeouts: u32,
    paused_until: Option<Timestamp>,
}

impl Publisher {
    /// Creates a publisher that counts in `counters`.
    #[must_use]
    pub fn new(bus: Arc<dyn EventBus>, clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Self {
        let (trouble, is_on) = (Mutex::default(), AtomicBool::new(true));
        let (failures, silence) = (Outage::default(), Outage::default());
        Self { bus, clock, trouble, is_on, counters, failures, silence }
    }

    /// Switches publishing off or on. While it is off, only the relay publishes.
    pub fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Offers a publication to the bus. Never fails: errors are logged and counted here.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have published.
    pub async fn publish(&self, workspace: &WorkspaceId, publication: &Publication) -> Outcome {
        if !self.is_on.load(Ordering::Relaxed) || self.is_paused() {
            self.counters.count(Counter::PublishSkipped);
            self.counters.count(Counter::PublishFailed);
            return Outcome::Skipped;
        }
        let offer = self.bus.publish(workspace, publication);
        match tokio::time::timeout(limits::PUBLISH_DEADLINE, offer).await {
            Ok(Ok(_)) => {
                self.note(false);
                self.log_recovery();
                self.counters.count(Counter::Published);
                return Outcome::Published;
            }
            Ok(Err(error)) => {
                self.note(matches!(error, BusError::Unavailable(_)));
                self.log_failure(publication, &error);
            }
            Err(_) => {
                self.note(true);
                self.counters.count(Counter::PublishTimedOut);
                self.log_silence(publication);
            }
        }
        self.counters.count(Counter::PublishFailed);
        Outcome::Failed
    }

    /// Offers a signal to the bus, once, as [`Publisher::attempt`] does.
    pub async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) {
        self.attempt(self.bus.signal(workspace, signal)).await;
    }

    /// Makes a call to the bus, once. A later call heals its loss, so a failure is neither logged nor
    /// counted; a time-out counts towards the next pause, as for a publication.
    pub async fn attempt(&self, call: impl Future<Output = Result<(), BusError>>) {
        if !self.is_on.load(Ordering::Relaxed) || self.is_paused() {
            return;
        }
        let timed_out = match tokio::time::timeout(limits::PUBLISH_DEADLINE, call).await {
            Ok(answer) => matches!(answer, Err(BusError::Unavailable(_))),
            Err(_) => true,
        };
        self.note(timed_out);
    }

    fn log_failure(&self, publication: &Publication, error: &BusError) {
        if let Some(failing) = self.failures.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            let (publication, cause) = (publication.id, chain(error));
            warn!(%publication, failures, lasting_ms, cause, "publish failed");
        }
    }

    fn log_silence(&self, publication: &Publication) {
        if let Some(failing) = self.silence.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            warn!(publication = %publication.id, failures, lasting_ms, "publish timed out");
        }
    }

    fn log_recovery(&self) {
        let now = Instant::now();
        for over in [&self.failures, &self.silence].into_iter().filter_map(|one| one.succeeded(now))
        {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            info!(failures, lasted_ms, "publishing works again");
        }
    }

    fn is_paused(&self) -> bool {
        let trouble = self.trouble.lock();
        trouble.paused_until.is_some_and(|until| self.clock.now() < until)
    }

    fn note(&self, timed_out: bool) {
        let mut trouble = self.trouble.lock();
        trouble.timeouts = if timed_out { trouble.timeouts + 1 } else { 0 };
        if trouble.timeouts >= limits::PUBLISH_TIMEOUTS_MAX {
            trouble.timeouts = 0;
            trouble.paused_until = Some(self.clock.now().plus(limits::PUBLISH_PAUSE));
        } else if !timed_out {
            trouble.paused_until = None;
        }
    }
}
