//! What a node counts. Labels come from closed lists; no metric names a user.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::hub::Hub;

/// The node's counters, in a registry of its own: several nodes may share a process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) sockets: IntGauge,
    pub(crate) workspaces: IntGauge,
    pub(crate) handshakes: IntCounter,
    pub(crate) attaches: IntCounter,
    pub(crate) publications: IntCounter,
    pub(crate) refreshes: IntCounter,
    pub(crate) back_fills: IntCounter,
    pub(crate) heartbeats_missed: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) closes: IntCounterVec,
    pub(crate) tls_refusals: IntCounterVec,
    /// Only where there is a certificate: without one, nothing is about to end.
    certificate: Option<IntGauge>,
    fills: IntCounter,
    resyncs: IntCounter,
    delivered: IntCounter,
    writes: IntCounter,
    slow_consumers: IntCounter,
    /// What the shards' counts were when they were last written out.
    seen: [AtomicU64; 3],
}

impl Metrics {
    pub(crate) fn new(has_certificate: bool) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            registered(&registry, IntCounter::new(name, help).ok(), || {
                IntCounter::new("x", "x").ok()
            })
        };
        let gauge = |name: &str, help: &str| {
            registered(&registry, IntGauge::new(name, help).ok(), || IntGauge::new("x", "x").ok())
        };
        let closes = || {
            IntCounterVec::new(
                Opts::new("inkwire_closes_total", "Sockets that the node closed."),
                &["code"],
            )
            .ok()
        };
        let tls_refusals = || {
            let help = "Connections that came to no TLS.";
            IntCounterVec::new(Opts::new("inkwire_tls_refusals_total", help), &["reason"]).ok()
        };
        let certificate = has_certificate
            .then(|| gauge("inkwire_certificate_seconds", "What is left of the certificate."));
        Self {
            sockets: gauge("inkwire_sockets", "Open sockets."),
            workspaces: gauge("inkwire_workspaces", "Workspaces that this node follows."),
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
            closes: registered(&registry, closes(), closes),
            tls_refusals: registered(&registry, tls_refusals(), tls_refusals),
            certificate,
            fills: counter("inkwire_fills_total", "Reads of the stream to repair the chain (G4)."),
            resyncs: counter("inkwire_resyncs_total", "Sockets that were told to read again (G4)."),
            delivered: counter("inkwire_frames_delivered_total", "Frames that the kernel took."),
            writes: counter("inkwire_writes_total", "Write calls."),
            slow_consumers: counter(
                "inkwire_slow_consumers_total",
                "Sockets closed with 4508 (G5).",
            ),
            seen: Default::default(),
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
        let counts = hub.shards.counts();
        let [delivered, writes, slow_consumers] = &self.seen;
        catch_up(&self.delivered, delivered, &counts.delivered);
        catch_up(&self.writes, writes, &counts.writes);
        catch_up(&self.slow_consumers, slow_consumers, &counts.slow_consumers);
        if let (Some(gauge), Some(seconds)) = (&self.certificate, hub.certificate_seconds()) {
            gauge.set(seconds);
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(cause = %error, "metrics could not be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

fn catch_up(counter: &IntCounter, seen: &AtomicU64, count: &AtomicU64) {
    let now = count.load(Ordering::Relaxed);
    counter.inc_by(now.saturating_sub(seen.swap(now, Ordering::Relaxed)));
}

/// Registers a collector. Names are constants of this file and distinct: a failure here is a defect
/// that the test below shows, and costs a metric, not the node.
#[expect(clippy::expect_used, reason = "a constant name that is valid")]
fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: Option<C>,
    spare: impl Fn() -> Option<C>,
) -> C {
    let collector = collector.or_else(spare).expect("constant metric names are valid");
    if let Err(error) = registry.register(Box::new(collector.clone())) {
        tracing::error!(cause = %error, "a metric was not registered");
    }
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_once() {
        for (has_certificate, expected) in [(false, 16), (true, 17)] {
            let metrics = Metrics::new(has_certificate);
            metrics.closes.with_label_values(&["restart"]).inc();
            metrics.tls_refusals.with_label_values(&["shed"]).inc();
            assert_eq!(metrics.registry.gather().len(), expected);
        }
    }
}
