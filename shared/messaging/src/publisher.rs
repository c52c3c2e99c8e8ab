//! The bus within a send's budget: tried once, never waited for, never the send's failure (G3).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Timestamp, WorkspaceId, limits};
use protocol::publication::Publication;
use tracing::warn;

use crate::ports::{BusError, Clock, EventBus};
use crate::tally::{Fact, Tally};

/// What became of an offer to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The bus took it, now or before.
    Published,
    /// The bus refused, or did not answer in time; it may have taken it.
    Failed,
    /// Not tried: the bus did not answer lately, or publishing is switched off.
    Skipped,
}

/// Publishes within [`limits::PUBLISH_DEADLINE`]; after [`limits::PUBLISH_TIMEOUTS_MAX`] time-outs
/// in a row not at all for [`limits::PUBLISH_PAUSE`].
#[derive(Debug)]
pub struct Publisher {
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    trouble: Mutex<Trouble>,
    is_on: AtomicBool,
    failures: AtomicU64,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Trouble {
    timeouts: u32,
    paused_until: Option<Timestamp>,
}

impl Publisher {
    /// Makes a publisher on a bus, which counts there.
    #[must_use]
    pub fn new(bus: Arc<dyn EventBus>, clock: Arc<dyn Clock>, tally: Arc<Tally>) -> Self {
        let (trouble, is_on) = (Mutex::default(), AtomicBool::new(true));
        Self { bus, clock, trouble, is_on, failures: AtomicU64::new(0), tally }
    }

    /// Switches publishing off or on: what is stored meanwhile is the relay's to publish.
    pub fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Publications that were not known to be taken.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Offers a stored fact to the bus. Cannot fail: whatever happens is logged and counted here.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published.
    pub async fn publish(&self, workspace: &WorkspaceId, publication: &Publication) -> Outcome {
        if !self.is_on.load(Ordering::Relaxed) || self.is_paused() {
            self.tally.count(Fact::PublishSkipped);
            self.failed();
            return Outcome::Skipped;
        }
        let offer = self.bus.publish(workspace, publication);
        match tokio::time::timeout(limits::PUBLISH_DEADLINE, offer).await {
            Ok(Ok(_)) => {
                self.note(false);
                self.tally.count(Fact::Published);
                return Outcome::Published;
            }
            Ok(Err(error)) => {
                self.note(matches!(error, BusError::Unavailable(_)));
                warn!(publication = %publication.id, cause = %chain(&error), "publish failed");
            }
            Err(_) => {
                self.note(true);
                self.tally.count(Fact::PublishTimedOut);
                warn!(publication = %publication.id, "publish timed out");
            }
        }
        self.failed();
        Outcome::Failed
    }

    fn failed(&self) {
        self.tally.count(Fact::PublishFailed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn is_paused(&self) -> bool {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.paused_until.is_some_and(|until| self.clock.now() < until)
    }

    fn note(&self, timed_out: bool) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.timeouts = if timed_out { trouble.timeouts + 1 } else { 0 };
        if trouble.timeouts >= limits::PUBLISH_TIMEOUTS_MAX {
            trouble.timeouts = 0;
            trouble.paused_until = Some(self.clock.now().plus(limits::PUBLISH_PAUSE));
        } else if !timed_out {
            trouble.paused_until = None;
        }
    }
}

/// An error and its causes, for the log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
