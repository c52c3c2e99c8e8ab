//! Metrics of functions: CloudWatch's embedded metric format (EMF). A line of the log names the
//! metrics that it holds, and the platform takes them out of it; nothing is called, nothing waits.
//!
//! One dimension, the function: no metric names a workspace, a channel or a user.

use model::Timestamp;
use serde_json::{Map, Value, json};

/// Where the metrics of functions and nodes are.
pub const NAMESPACE: &str = "Inkwire";

/// One metric of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric {
    name: &'static str,
    unit: &'static str,
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
}

/// A line of these fields with these metrics in it; without any it is a line like others.
pub(crate) fn document(
    function: &str,
    at: Timestamp,
    metrics: &[Metric],
    mut fields: Map<String, Value>,
) -> String {
    fields.insert("function".to_owned(), function.into());
    if !metrics.is_empty() {
        let names: Vec<Value> = metrics
            .iter()
            .map(|metric| json!({ "Name": metric.name, "Unit": metric.unit }))
            .collect();
        let directive =
            json!({ "Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": names });
        let aws = json!({ "Timestamp": at.unix_ms(), "CloudWatchMetrics": [directive] });
        fields.insert("_aws".to_owned(), aws);
        for metric in metrics {
            fields.insert(metric.name.to_owned(), metric.value.into());
        }
    }
    // Not by `Display`, which takes each quote and comma through a formatter.
    serde_json::to_string(&fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_what_the_platform_reads() {
        let fields = Map::from_iter([("status".to_owned(), 200.into())]);
        let metrics = [Metric::count("stored", 1), Metric::milliseconds("relay_lag_ms", 7)];
        let line = document("inkwire-send", Timestamp::from_unix_ms(9), &metrics, fields.clone());
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
        let plain = document("inkwire-send", Timestamp::from_unix_ms(9), &[], fields);
        assert_eq!(plain, r#"{"function":"inkwire-send","status":200}"#);
    }
}
