//! Metrics of functions in CloudWatch's embedded metric format (EMF). A log line names the metrics
//! that it contains, and the platform extracts them. Nothing is called, so nothing waits.
//!
//! The only dimension is the function: no metric names a workspace, a channel or a user.

use model::Timestamp;
use serde::{Serialize, Serializer};

/// The namespace of the metrics of functions and nodes.
pub const NAMESPACE: &str = "Inkwire";

/// One metric of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Metric {
    #[serde(rename = "Name")]
    name: &'static str,
    #[serde(rename = "Unit")]
    unit: &'static str,
    #[serde(skip)]
    value: u64,
}

impl Metric {
    pub(crate) const fn count(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Count", value }
    }

    #[cfg(any(test, feature = "lambda"))]
    pub(crate) const fn milliseconds(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Milliseconds", value }
    }

    #[cfg(feature = "lambda")]
    pub(crate) const fn bytes(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Bytes", value }
    }
}

/// Returns a line with a struct's fields and these metrics; without metrics it is an ordinary line.
/// Each call writes one, so it is serialized directly, without a map in between.
pub(crate) fn document(
    function: &str,
    at: Timestamp,
    metrics: &[Metric],
    fields: &impl Serialize,
) -> String {
    let aws = (!metrics.is_empty()).then(|| About {
        timestamp: at.unix_ms(),
        directives: [Directive { namespace: NAMESPACE, dimensions: [["function"]], metrics }],
    });
    let document = Document { function, aws, fields, values: Values(metrics) };
    // Not with `Display`, which passes each quote and comma through a formatter.
    serde_json::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a, F> {
    function: &'a str,
    #[serde(rename = "_aws", skip_serializing_if = "Option::is_none")]
    aws: Option<About<'a>>,
    #[serde(flatten)]
    fields: &'a F,
    #[serde(flatten)]
    values: Values<'a>,
}

/// What the platform extracts from the line.
#[derive(Serialize)]
struct About<'a> {
    #[serde(rename = "Timestamp")]
    timestamp: u64,
    #[serde(rename = "CloudWatchMetrics")]
    directives: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: &'a [Metric],
}

/// The metrics' values by name.
struct Values<'a>(&'a [Metric]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|metric| (metric.name, metric.value)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Serialize)]
    struct Fields {
        status: u16,
    }

    #[test]
    fn a_document_is_what_the_platform_reads() {
        let fields = Fields { status: 200 };
        let metrics = [Metric::count("stored", 1), Metric::milliseconds("relay_lag_ms", 7)];
        let line = document("inkwire-send", Timestamp::from_unix_ms(9), &metrics, &fields);
        assert!(!line.contains('\n'));
        let read: Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 9,
                "CloudWatchMetrics": [{
                    "Namespace": "Inkwire",
                    "Dimensions": [["function"]],
                    "Metrics": [
                        { "Name": "stored", "Unit": "Count" },
                        { "Name": "relay_lag_ms", "Unit": "Milliseconds" },
                    ],
                }],
            },
            "function": "inkwire-send", "status": 200, "stored": 1, "relay_lag_ms": 7,
        });
        assert_eq!(read, expected);
        let plain = document("inkwire-send", Timestamp::from_unix_ms(9), &[], &fields);
        assert_eq!(plain, r#"{"function":"inkwire-send","status":200}"#);
    }
}
