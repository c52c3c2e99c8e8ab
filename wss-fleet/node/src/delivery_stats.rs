//! What shards report: how much they wrote, and how late. Updated per turn and publication, not per
//! socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use delivery::SocketId;
use messaging::ports::Clock;
use model::Timestamp;
use prometheus::{Histogram, HistogramOpts};
use protocol::publication::Publication;

/// Totals of all shards of a node.
#[derive(Debug)]
pub(crate) struct DeliveryStats {
    /// Frames that the kernel accepted.
    pub(crate) delivered: AtomicU64,
    /// Calls that wrote at least a byte.
    pub(crate) writes: AtomicU64,
    /// Sockets closed as slow consumers.
    pub(crate) slow_consumers: AtomicU64,
    /// Messages that were written before they were received, according to the hosts' clocks.
    pub(crate) skewed: AtomicU64,
    /// Seconds from the receipt of a message's POST to the last write for it: one observation per
    /// shard with a recipient.
    pub(crate) latency: Option<Histogram>,
    clock: Arc<dyn Clock>,
}

impl DeliveryStats {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let latency = HistogramOpts::new(
            "inkwire_delivery_seconds",
            "Seconds from the POST of a message to its last write, per message and writing thread.",
        );
        let count = || AtomicU64::new(0);
        Self {
            delivered: count(),
            writes: count(),
            slow_consumers: count(),
            skewed: count(),
            latency: Histogram::with_opts(latency.buckets(LATENCY_BUCKETS.to_vec())).ok(),
            clock,
        }
    }

    /// Adds what a shard wrote.
    pub(crate) fn add(&self, written: Written) {
        self.writes.fetch_add(written.calls, Ordering::Relaxed);
        self.delivered.fetch_add(written.frames, Ordering::Relaxed);
        self.slow_consumers.fetch_add(written.slow_consumers, Ordering::Relaxed);
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
            // Only messages have a subject.
            if publication.subject.is_some() {
                self.observe(origin.received_at, now);
            }
            tracing::debug!(
                message_id = %publication.id,
                trace_id = %origin.trace,
                sockets = to.len(),
                after_ms = millis(origin.received_at, now),
                "written"
            );
            tracing::trace!(message_id = %publication.id, sockets = ?serials(to), "written to");
        }
    }

    fn observe(&self, received_at: Timestamp, now: Timestamp) {
        if received_at > now {
            self.skewed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(latency) = &self.latency {
            latency.observe(now.since(received_at).as_secs_f64());
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

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

fn serials(to: &[SocketId]) -> Vec<u64> {
    to.iter().map(|socket| socket.serial).collect()
}

/// From the latency of a quiet node to that of a repair or the relay.
const LATENCY_BUCKETS: [f64; 13] =
    [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];
