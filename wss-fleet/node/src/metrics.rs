//! What a node counts. Labels come from closed lists; no metric names a user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use tokio::time::Instant;

use crate::hub::Hub;
use crate::watch::Counts;

/// The node's counters, in a registry of its own: several nodes may share a process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) sockets: IntGauge,
    pub(crate) workspaces: IntGauge,
    held_bytes: IntGauge,
    pub(crate) handshakes: IntCounter,
    pub(crate) attaches: IntCounter,
    pub(crate) publications: IntCounter,
    pub(crate) refreshes: IntCounter,
    pub(crate) back_fills: IntCounter,
    pub(crate) heartbeats_missed: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) closes: IntCounterVec,
    pub(crate) tls_refusals: IntCounterVec,
    /// Connections that were cut before their head was read: too many were in the middle of it.
    pub(crate) shed: IntCounter,
    /// Only where there is a certificate: without one, nothing is about to end.
    certificate: Option<IntGauge>,
    pub(crate) repairs: Arc<Repairs>,
    fills: IntCounter,
    resyncs: IntCounter,
    shards: Shards,
}

/// How workspaces get whole (G4).
#[derive(Debug)]
pub(crate) struct Repairs {
    stale: IntGauge,
    begun: IntCounter,
    seconds: Histogram,
}

/// What shards count, as it was last written out.
#[derive(Debug)]
struct Shards {
    delivered: (IntCounter, AtomicU64),
    writes: (IntCounter, AtomicU64),
    slow_consumers: (IntCounter, AtomicU64),
    skewed: (IntCounter, AtomicU64),
}

impl Metrics {
    /// Metrics of a node whose shards count there.
    pub(crate) fn new(counts: &Counts, has_certificate: bool) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| counter(&registry, name, help);
        let gauge = |name: &str, help: &str| gauge(&registry, name, help);
        let closes = || {
            let opts = Opts::new("inkwire_closes_total", "Sockets that the node closed.");
            IntCounterVec::new(opts, &["code"]).ok()
        };
        let tls_refusals = || {
            let help = "Connections that came to no TLS.";
            IntCounterVec::new(Opts::new("inkwire_tls_refusals_total", help), &["reason"]).ok()
        };
        let certificate = has_certificate
            .then(|| gauge("inkwire_certificate_seconds", "What is left of the certificate."));
        if let Some(latency) = &counts.latency {
            register(&registry, latency.clone());
        }
        Self {
            sockets: gauge("inkwire_sockets", "Open sockets."),
            workspaces: gauge("inkwire_workspaces", "Workspaces that this node follows."),
            held_bytes: gauge(
                "inkwire_held_bytes",
                "Publications that wait for the store, in bytes (G6).",
            ),
            handshakes: counter("inkwire_handshakes_total", "Upgrades answered with 101."),
            attaches: counter("inkwire_attaches_total", "Sockets that got ready."),
            publications: counter("inkwire_publications_total", "Entries taken from the bus."),
            refreshes: counter("inkwire_view_refreshes_total", "Channels whose members were read."),
            back_fills: counter(
                "inkwire_back_fills_total",
                "Channels that were read from the store where the stream had lost them (G4).",
            ),
            heartbeats_missed: counter("inkwire_heartbeats_missed_total", "Leases not renewed."),
            panics: counter("inkwire_panics_total", "Tasks that panicked."),
            closes: registered(&registry, closes),
            tls_refusals: registered(&registry, tls_refusals),
            shed: counter("inkwire_connections_shed_total", "Connections cut before their head."),
            certificate,
            repairs: Arc::new(Repairs::new(&registry)),
            fills: counter("inkwire_fills_total", "Reads of the stream to repair the chain (G4)."),
            resyncs: counter("inkwire_resyncs_total", "Sockets that were told to read again (G4)."),
            shards: Shards::new(&registry),
            registry,
        }
    }

    /// Counts what a workspace repaired since it last told.
    pub(crate) fn repaired(&self, before: (u64, u64), now: (u64, u64)) {
        self.fills.inc_by(now.0.saturating_sub(before.0));
        self.resyncs.inc_by(now.1.saturating_sub(before.1));
    }

    /// The Prometheus text format.
    pub(crate) fn text(&self, hub: &Hub) -> String {
        if let (Some(gauge), Some(seconds)) = (&self.certificate, hub.certificate_seconds()) {
            gauge.set(seconds);
        }
        self.held_bytes.set(i64::try_from(hub.held.bytes()).unwrap_or(i64::MAX));
        self.shards.catch_up(hub.shards.counts());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(cause = %error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Repairs {
    fn new(registry: &Registry) -> Self {
        let seconds = || {
            let help = "How long the path behind a workspace was not whole (G4).";
            let opts = HistogramOpts::new("inkwire_repair_seconds", help);
            Histogram::with_opts(opts.buckets(REPAIR_BUCKETS.to_vec())).ok()
        };
        let help = "Workspaces whose path is not whole now: their sockets hear fresh:false (G4).";
        Self {
            stale: gauge(registry, "inkwire_workspaces_stale", help),
            begun: counter(
                registry,
                "inkwire_repairs_total",
                "Times that the path behind a workspace was found not to be whole (G4).",
            ),
            seconds: registered(registry, seconds),
        }
    }
}

/// A workspace whose path is not whole, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Stale {
    repairs: Arc<Repairs>,
    since: Instant,
    /// A workspace that begins has nothing to repair.
    is_start: bool,
}

impl Stale {
    pub(crate) fn new(repairs: &Arc<Repairs>, is_start: bool) -> Self {
        repairs.stale.inc();
        repairs.begun.inc_by(u64::from(!is_start));
        Self { repairs: Arc::clone(repairs), since: Instant::now(), is_start }
    }

    /// It is whole again.
    pub(crate) fn repaired(self) {
        if !self.is_start {
            self.repairs.seconds.observe(self.since.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Stale {
    fn drop(&mut self) {
        self.repairs.stale.dec();
    }
}

impl Shards {
    fn new(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| (counter(registry, name, help), AtomicU64::new(0));
        Self {
            delivered: counter("inkwire_frames_delivered_total", "Frames that the kernel took."),
            writes: counter("inkwire_writes_total", "Write calls."),
            slow_consumers: counter(
                "inkwire_slow_consumers_total",
                "Sockets closed with 4508 (G5).",
            ),
            skewed: counter(
                "inkwire_clock_skew_total",
                "Messages that were written before their POST was received, by the clocks.",
            ),
        }
    }

    fn catch_up(&self, counts: &Counts) {
        for ((counter, seen), count) in [
            (&self.delivered, &counts.delivered),
            (&self.writes, &counts.writes),
            (&self.slow_consumers, &counts.slow_consumers),
            (&self.skewed, &counts.skewed),
        ] {
            let now = count.load(Ordering::Relaxed);
            counter.inc_by(now.saturating_sub(seen.swap(now, Ordering::Relaxed)));
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, || IntCounter::new(name, help).ok())
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, || IntGauge::new(name, help).ok())
}

/// Makes and registers a collector.
#[expect(clippy::expect_used, reason = "names are constants of this file and valid")]
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    make: impl Fn() -> Option<C>,
) -> C {
    let collector = make().expect("constant metric names are valid");
    register(registry, collector.clone());
    collector
}

/// Names are distinct: a failure here is a defect that the test below shows, and costs a metric, not
/// the node.
fn register(registry: &Registry, collector: impl Collector + 'static) {
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::error!(cause = %error, "a metric was not registered");
    }
}

/// From a page of the stream to an outage of Redis.
const REPAIR_BUCKETS: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

#[cfg(test)]
mod tests {
    use memory::ManualClock;
    use model::Timestamp;

    use super::*;

    fn metrics(has_certificate: bool) -> Metrics {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(0)));
        Metrics::new(&Counts::new(clock), has_certificate)
    }

    #[test]
    fn every_metric_is_registered_once_and_on_the_page_on_operations() {
        let metrics = metrics(true);
        metrics.closes.with_label_values(&["restart"]).inc();
        metrics.tls_refusals.with_label_values(&["shed"]).inc();
        let gathered = metrics.registry.gather();
        assert_eq!(gathered.len(), 24);
        let page = include_str!("../../../docs/operations.md");
        for family in gathered {
            assert!(page.contains(&format!("`{}", family.name())), "{}", family.name());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repair_is_counted_when_it_begins_and_timed_when_it_ends() {
        let repairs = metrics(false).repairs;
        let (start, repair) = (Stale::new(&repairs, true), Stale::new(&repairs, false));
        assert_eq!((repairs.stale.get(), repairs.begun.get()), (2, 1));
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        start.repaired();
        repair.repaired();
        assert_eq!(repairs.stale.get(), 0);
        let seconds = &repairs.seconds;
        assert_eq!((seconds.get_sample_count(), seconds.get_sample_sum()), (1, 3.0));
        drop(Stale::new(&repairs, false));
        assert_eq!((repairs.stale.get(), seconds.get_sample_count()), (0, 1), "never repaired");
    }
}
