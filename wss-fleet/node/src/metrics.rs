//! A node's metrics. Label values come from closed lists; no metric names a user.

use std::sync::Arc;

use messaging::ports::Clock;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use protocol::client_frame::ACCEPTED;
use protocol::close::CloseCode;
use tokio::time::Instant;

use crate::delivery_stats::DeliveryStats;

/// The node's metrics, in their own registry, because several nodes may share a process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    sockets: IntGauge,
    workspaces: IntGauge,
    held_bytes: IntGauge,
    pub(crate) handshakes: IntCounter,
    pub(crate) attaches: IntCounter,
    pub(crate) publications: IntCounter,
    pub(crate) refreshes: IntCounter,
    pub(crate) backfills: IntCounter,
    pub(crate) foreign_pushes: IntCounter,
    /// By type, or `malformed`.
    pub(crate) client_frames: IntCounterVec,
    /// By outcome.
    pub(crate) signals: IntCounterVec,
    /// Messages of channels that deliver first, by outcome.
    pub(crate) sends: IntCounterVec,
    pub(crate) presence: IntCounterVec,
    /// By [`Move`].
    moves: IntCounterVec,
    pub(crate) heartbeats_missed: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) closes: IntCounterVec,
    pub(crate) tls_refusals: IntCounterVec,
    /// Connections cut before their request was read, because too many were waiting.
    pub(crate) shed: IntCounter,
    /// Only if the node has a certificate, since otherwise none expires.
    certificate: Option<IntGauge>,
    pub(crate) repairs: Arc<Repairs>,
    fills: IntCounter,
    resyncs: IntCounter,
    pub(crate) delivery: Arc<DeliveryStats>,
}

/// The node's state at a scrape.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) sockets: usize,
    pub(crate) workspaces: usize,
    pub(crate) held_bytes: usize,
    pub(crate) certificate_seconds: Option<i64>,
}

/// What became of a socket when its node drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// Its client was handed over, and closed it in time.
    Moved,
    /// Its client was handed over, and the node had to close it.
    Late,
    /// No other node was known that takes clients.
    NoNode,
    /// Its client does not handle `going`, or was not attached.
    NotTaken,
}

impl Move {
    /// All of them.
    const ALL: [Self; 4] = [Self::Moved, Self::Late, Self::NoNode, Self::NotTaken];

    const fn label(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Late => "late",
            Self::NoNode => "no_node",
            Self::NotTaken => "not_taken",
        }
    }
}

/// Why a TLS handshake did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsRefusal {
    /// More handshakes than the rate limit or the node's limit allows.
    Shed,
    /// Not completed in time.
    Slow,
    /// The client does not speak TLS.
    Plain,
    /// The connection broke or the handshake failed, for example by a distrusted certificate.
    Failed,
}

impl TlsRefusal {
    /// All of them.
    const ALL: [Self; 4] = [Self::Shed, Self::Slow, Self::Plain, Self::Failed];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Slow => "slow",
            Self::Plain => "plain",
            Self::Failed => "failed",
        }
    }
}

/// Repairs of workspaces (G4).
#[derive(Debug)]
pub(crate) struct Repairs {
    stale: IntGauge,
    begun: IntCounter,
    seconds: Histogram,
}

impl Metrics {
    /// Creates the metrics of a node. Every series with a closed list of labels exists from the
    /// start, so that a rate sees its first event.
    pub(crate) fn new(has_certificate: bool, clock: Arc<dyn Clock>) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| counter(&registry, name, help);
        let gauge = |name: &str, help: &str| gauge(&registry, name, help);
        register(&registry, ProcessCollector::for_self());
        build_info(&registry);
        let closes = CloseCode::ALL.iter().map(|code| code.as_str());
        let refusals = TlsRefusal::ALL.iter().map(|refusal| refusal.label());
        Self {
            sockets: gauge("inkwire_sockets", "Open WebSocket connections."),
            workspaces: gauge("inkwire_workspaces", "Workspaces that this node follows."),
            held_bytes: gauge("inkwire_held_bytes", HELD_BYTES),
            handshakes: counter("inkwire_handshakes_total", "WebSocket upgrades answered 101."),
            attaches: counter("inkwire_attaches_total", "Sockets that were sent ready."),
            publications: counter("inkwire_publications_total", "Publications read from Redis."),
            refreshes: counter("inkwire_view_refreshes_total", VIEW_REFRESHES),
            backfills: counter("inkwire_backfills_total", BACKFILLS),
            foreign_pushes: counter("inkwire_foreign_pushes_total", FOREIGN_PUSHES),
            client_frames: labelled(
                &registry,
                ("inkwire_client_frames_total", CLIENT_FRAMES),
                "type",
                ACCEPTED.into_iter().chain(["malformed"]),
            ),
            signals: labelled(
                &registry,
                ("inkwire_signals_total", SIGNALS),
                "outcome",
                ["pushed", "failed", "dropped"].into_iter(),
            ),
            sends: labelled(
                &registry,
                ("inkwire_sends_total", SENDS),
                "outcome",
                ["accepted", "refused", "unavailable"].into_iter(),
            ),
            presence: labelled(
                &registry,
                ("inkwire_presence_calls_total", PRESENCE_CALLS),
                "outcome",
                ["written", "lacking", "failed", "read"].into_iter(),
            ),
            moves: labelled(
                &registry,
                ("inkwire_moves_total", MOVES),
                "outcome",
                Move::ALL.iter().map(|outcome| outcome.label()),
            ),
            heartbeats_missed: counter("inkwire_heartbeats_missed_total", HEARTBEATS_MISSED),
            panics: counter("inkwire_panics_total", "Tasks that panicked; each is a defect."),
            closes: labelled(&registry, ("inkwire_closes_total", CLOSES), "code", closes),
            tls_refusals: labelled(
                &registry,
                ("inkwire_tls_refusals_total", TLS_REFUSALS),
                "reason",
                refusals,
            ),
            shed: counter("inkwire_connections_shed_total", CONNECTIONS_SHED),
            certificate: has_certificate.then(|| gauge("inkwire_certificate_seconds", CERTIFICATE)),
            repairs: Arc::new(Repairs::new(&registry)),
            fills: counter("inkwire_fills_total", FILLS),
            resyncs: counter("inkwire_resyncs_total", RESYNCS),
            delivery: Arc::new(delivery_stats(&registry, clock)),
            registry,
        }
    }

    /// Counts a socket of a draining node.
    pub(crate) fn moved(&self, outcome: Move) {
        self.moves.with_label_values(&[outcome.label()]).inc();
    }

    /// How many sockets of a draining node had this outcome.
    #[cfg(test)]
    pub(crate) fn moves(&self, outcome: Move) -> u64 {
        self.moves.with_label_values(&[outcome.label()]).get()
    }

    /// Counts a workspace's repairs since its last report: fills and resyncs.
    pub(crate) fn repaired(&self, before: (u64, u64), now: (u64, u64)) {
        self.fills.inc_by(now.0.saturating_sub(before.0));
        self.resyncs.inc_by(now.1.saturating_sub(before.1));
    }

    /// Renders the metrics in the Prometheus text format.
    pub(crate) fn text(&self, now: &Snapshot) -> String {
        if let (Some(gauge), Some(seconds)) = (&self.certificate, now.certificate_seconds) {
            gauge.set(seconds);
        }
        self.sockets.set(now.sockets as i64);
        self.workspaces.set(now.workspaces as i64);
        self.held_bytes.set(now.held_bytes as i64);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(cause = %error, "cannot write metrics");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

impl Repairs {
    fn new(registry: &Registry) -> Self {
        Self {
            stale: gauge(registry, "inkwire_workspaces_stale", WORKSPACES_STALE),
            begun: counter(registry, "inkwire_repairs_total", REPAIRS),
            seconds: histogram(registry, "inkwire_repair_seconds", REPAIR_SECONDS, &REPAIR_BUCKETS),
        }
    }
}

/// Marks a workspace as stale (publications may be missing) for as long as this lives.
#[derive(Debug)]
pub(crate) struct Stale {
    repairs: Arc<Repairs>,
    since: Instant,
    /// A workspace that starts has nothing to repair.
    is_start: bool,
}

impl Stale {
    pub(crate) fn new(repairs: &Arc<Repairs>, is_start: bool) -> Self {
        repairs.stale.inc();
        repairs.begun.inc_by(u64::from(!is_start));
        Self { repairs: Arc::clone(repairs), since: Instant::now(), is_start }
    }

    /// Records that the workspace is whole again.
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

fn delivery_stats(registry: &Registry, clock: Arc<dyn Clock>) -> DeliveryStats {
    DeliveryStats {
        delivered: counter(
            registry,
            "inkwire_frames_delivered_total",
            "Frames written to sockets.",
        ),
        writes: counter(registry, "inkwire_writes_total", "Calls that wrote to a socket."),
        slow_consumers: counter(registry, "inkwire_slow_consumers_total", SLOW_CONSUMERS),
        skewed: counter(registry, "inkwire_clock_skew_total", CLOCK_SKEW),
        latency: histogram(registry, "inkwire_delivery_seconds", LATENCY, &LATENCY_BUCKETS),
        clock,
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, || IntCounter::new(name, help).ok())
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, || IntGauge::new(name, help).ok())
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let opts = || HistogramOpts::new(name, help).buckets(buckets.to_vec());
    registered(registry, || Histogram::with_opts(opts()).ok())
}

/// A counter with one label, whose series all exist from the start.
fn labelled<'a>(
    registry: &Registry,
    (name, help): (&str, &str),
    label: &str,
    values: impl Iterator<Item = &'a str>,
) -> IntCounterVec {
    let counters =
        registered(registry, || IntCounterVec::new(Opts::new(name, help), &[label]).ok());
    for value in values {
        counters.with_label_values(&[value]).inc_by(0);
    }
    counters
}

/// Sets the labels for version and revision.
fn build_info(registry: &Registry) {
    let opts = || Opts::new("inkwire_build_info", "Which build this is, in labels; always 1.");
    registered(registry, || IntGaugeVec::new(opts(), &["version", "revision"]).ok())
        .with_label_values(&[model::VERSION, model::REVISION.unwrap_or_default()])
        .set(1);
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

/// Names are distinct. A failure is a defect that the test below finds; it costs one metric only.
fn register(registry: &Registry, collector: impl Collector + 'static) {
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::error!(cause = %error, "cannot register a metric");
    }
}

const HELD_BYTES: &str = "Bytes of publications held back until the store says who may see them.";
const VIEW_REFRESHES: &str = "Reads of a channel's members from the store.";
const FOREIGN_PUSHES: &str =
    "Pushes on a workspace's topics that this version does not know; they are ignored.";
const CLIENT_FRAMES: &str =
    "Frames from clients after their hello; malformed ones are passed over.";
const SIGNALS: &str = "Signals of this node's clients for all nodes; they may fail, or be dropped if too many are under way.";
const SENDS: &str = "Messages sent on sockets to be delivered first. unavailable: Redis or the store did not take them.";
const PRESENCE_CALLS: &str =
    "Calls of Redis about presence, by outcome. lacking: Redis had lost the write before.";
const MOVES: &str =
    "Sockets of a draining node, by what became of them: handed over to another node, or closed.";
const BACKFILLS: &str = "Channels read from the store because Redis had lost part of the stream.";
const HEARTBEATS_MISSED: &str =
    "Lease renewals that failed; after three in a row the node gets no new clients.";
const CLOSES: &str = "Sockets closed by the node, by close reason.";
const TLS_REFUSALS: &str = "TLS handshakes that failed or were shed, by reason.";
const CONNECTIONS_SHED: &str =
    "Connections cut before their request was read, because too many were waiting.";
const CERTIFICATE: &str = "Seconds until the TLS certificate expires; negative once it has.";
const FILLS: &str = "Reads of the stream in Redis to start or repair a workspace.";
const RESYNCS: &str = "Sockets that were told to read messages from the store again.";
const REPAIR_SECONDS: &str =
    "Seconds until a workspace that had lost publications was whole again.";
const WORKSPACES_STALE: &str =
    "Workspaces that may be missing publications now; their sockets are sent fresh:false.";
const REPAIRS: &str = "Times a workspace lost publications or its connection to Redis.";
const SLOW_CONSUMERS: &str = "Sockets closed with 4508 because they read too slowly.";
const CLOCK_SKEW: &str = "Messages written before they were received, by the clocks of the hosts.";
const LATENCY: &str =
    "Seconds from the POST of a message to its last write, per message and writing thread.";
/// From the latency of a quiet node to that of a repair or the relay.
const LATENCY_BUCKETS: [f64; 13] =
    [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];
/// From one page of the stream to an outage of Redis.
const REPAIR_BUCKETS: [f64; 10] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

#[cfg(test)]
mod tests {
    use memory::ManualClock;
    use model::Timestamp;
    use prometheus::proto::{LabelPair, MetricFamily, MetricType};

    use super::*;

    fn metrics(has_certificate: bool) -> Metrics {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(0)));
        Metrics::new(has_certificate, clock)
    }

    /// Each metric's row of docs/metrics.md, without its stability.
    fn rows() -> Vec<String> {
        let families = metrics(true).registry.gather();
        let row = |family: &MetricFamily| {
            let (name, help) = (family.name(), family.help());
            let metric_type = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                other @ (MetricType::SUMMARY | MetricType::UNTYPED) => panic!("{other:?}"),
            };
            let stem = name.trim_end_matches("_total");
            let unit = ["seconds", "bytes"].into_iter().find(|unit| stem.ends_with(unit));
            let labels = family.get_metric()[0].get_label().iter().map(LabelPair::name);
            let labels = labels.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let unit = unit.unwrap_or("count");
            let row = format!("| `{name}` | {metric_type} | {unit} | {labels} | {help} |");
            row.replace("  |", " |")
        };
        families.iter().map(row).collect()
    }

    #[test]
    fn the_page_on_metrics_lists_exactly_what_a_node_has() {
        let page = include_str!("../../../docs/metrics.md");
        let is_row =
            |line: &&str| line.starts_with("| `inkwire_") || line.starts_with("| `process_");
        let listed: Vec<&str> = page.lines().filter(is_row).collect();
        let rows = rows();
        for row in &rows {
            let is_it = |line: &&&str| {
                let stability = line.strip_prefix(row.as_str());
                stability.is_some_and(|rest| matches!(rest, " stable |" | " may change |"))
            };
            let listed = listed.iter().filter(is_it).count();
            assert_eq!(listed, 1, "{row} is not listed; the rows are:\n{}", rows.join("\n"));
        }
        assert_eq!(listed.len(), rows.len(), "a row is of no metric");
    }

    #[test]
    fn a_rate_sees_the_first_event_of_each_label() {
        let metrics = metrics(false);
        for family in metrics.registry.gather() {
            assert!(!family.get_metric().is_empty(), "{}", family.name());
        }
        assert_eq!(metrics.closes.collect()[0].get_metric().len(), CloseCode::ALL.len());
        assert_eq!(metrics.tls_refusals.collect()[0].get_metric().len(), TlsRefusal::ALL.len());
    }

    #[test]
    fn the_dashboard_and_the_alerts_name_metrics_that_there_are() {
        let families = metrics(true).registry.gather();
        let known: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        let (alerts, dashboard) = (
            include_str!("../../../infra/monitoring/alerts.yml"),
            include_str!("../../../infra/monitoring/dashboard.json"),
        );
        let parsed: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 10));
        for text in [alerts, dashboard] {
            let named: Vec<&str> = text
                .split(|char: char| !char.is_ascii_lowercase() && char != '_')
                .filter(|word| word.starts_with("inkwire_") || word.starts_with("process_"))
                .collect();
            assert!(named.len() > 8, "{named:?}");
            for name in named {
                let family =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(known.contains(&family.unwrap_or(name)), "there is no metric {name}");
            }
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
