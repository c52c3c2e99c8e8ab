//! What shards report: how much they wrote, and how late. Updated per turn and publication, not per
//! socket.

use std::sync::Arc;

use delivery::SocketId;
use messaging::ports::Clock;
use prometheus::{Histogram, IntCounter};
use protocol::publication::Publication;

/// Totals of all shards of a node.
#[derive(Debug)]
pub(crate) struct DeliveryStats {
    /// Frames that the kernel accepted.
    pub(crate) delivered: IntCounter,
    /// Calls that wrote at least a byte.
    pub(crate) writes: IntCounter,
    /// Sockets closed as slow consumers.
    pub(crate) slow_consumers: IntCounter,
    /// Messages that were written before they were received, according to the hosts' clocks.
    pub(crate) skewed: IntCounter,
    /// Seconds from the receipt of a message's POST to the last write for it: one observation per
    /// shard with a recipient.
    pub(crate) latency: Histogram,
    pub(crate) clock: Arc<dyn Clock>,
}

impl DeliveryStats {
    /// Adds what a shard wrote.
    pub(crate) fn add(&self, written: Written) {
        self.writes.inc_by(written.calls);
        self.delivered.inc_by(written.frames);
        self.slow_consumers.inc_by(written.slow_consumers);
    }

    /// Records that every recipient of these publications has been attempted; frames stuck behind a
    /// full kernel buffer are not waited for.
    pub(crate) fn written(&self, publications: &[Arc<Publication>], to: &[SocketId]) {
        if publications.is_empty() {
            return;
        }
        let now = self.clock.now();
        for publication in publications {
            let origin = publication.origin();
            let after = now.since(origin.received_at);
            // Only messages have a subject.
            if publication.subject.is_some() {
                if origin.received_at > now {
                    self.skewed.inc();
                }
                self.latency.observe(after.as_secs_f64());
            }
            tracing::debug!(
                message_id = %publication.id,
                trace_id = %origin.trace,
                sockets = to.len(),
                after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                "written"
            );
            let serials = || to.iter().map(|socket| socket.serial).collect::<Vec<_>>();
            tracing::trace!(message_id = %publication.id, sockets = ?serials(), "written to");
        }
    }
}

/// What a shard wrote since it last reported.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    /// Calls that wrote at least a byte.
    pub(crate) calls: u64,
    /// Frames that were written completely.
    pub(crate) frames: u64,
    /// Sockets closed as slow consumers.
    pub(crate) slow_consumers: u64,
}
