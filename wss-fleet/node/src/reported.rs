//! Something that fails again and again, in few lines of the log.

use messaging::outage::Outage;
use tokio::time::Instant;

/// One line when it begins to fail, one a minute while it does, one when it works again.
#[derive(Debug)]
pub(crate) struct Reported {
    outage: Outage,
    fails: &'static str,
    works: &'static str,
}

impl Reported {
    /// What its lines say.
    pub(crate) fn new(fails: &'static str, works: &'static str) -> Self {
        Self { outage: Outage::default(), fails, works }
    }

    pub(crate) fn failed(&self, cause: impl FnOnce() -> String) {
        if let Some(failing) = self.outage.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            tracing::warn!(failures, lasting_ms, cause = cause(), "{}", self.fails);
        }
    }

    pub(crate) fn succeeded(&self) {
        if let Some(over) = self.outage.succeeded(Instant::now()) {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            tracing::info!(failures, lasted_ms, "{}", self.works);
        }
    }
}
