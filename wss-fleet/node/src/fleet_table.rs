//! Renders the fleet as a table for people: `inkwire-node --fleet`.

use std::time::Duration;

use messaging::fleet::takes_our_tickets;
use messaging::ports::FleetNode;
use model::limits;

/// A line of headings, then one for each node in the directory. `ticket_key` is the id of the
/// secret that this environment signs tickets with.
pub(crate) fn table(fleet: &[FleetNode], ticket_key: Option<&str>) -> String {
    let mut text = String::from(HEADINGS);
    for node in fleet {
        let FleetNode { lease, pending, clock_ahead_ms, .. } = node;
        let (id, state, url) = (lease.node_id.as_str(), state(node, ticket_key), &lease.url);
        let (sockets, reports) = (lease.connections, node.reports.len());
        let age = format!("{:.1} s", node.age.as_secs_f64());
        let ahead = format!("{clock_ahead_ms} ms");
        let counts = format!("{sockets:>7} {pending:>7} {reports:>7}");
        text.push_str(&format!("{id:<28} {state:<12} {counts} {age:>8} {ahead:>11} {url}\n"));
    }
    text
}

/// The reason that a node gets no new clients, or `ok`.
fn state(node: &FleetNode, ticket_key: Option<&str>) -> &'static str {
    let skew = Duration::from_millis(node.clock_ahead_ms.unsigned_abs());
    if node.age >= limits::LEASE_TTL {
        "lost"
    } else if node.lease.draining {
        "draining"
    } else if skew > limits::CLOCK_SKEW_MAX {
        "clock_skew"
    } else if !takes_our_tickets(node, ticket_key) {
        "other_secret"
    } else {
        "ok"
    }
}

const HEADINGS: &str = "\
NODE                         STATE        SOCKETS PENDING REPORTS  RENEWED CLOCK AHEAD URL
";

#[cfg(test)]
mod tests {
    use messaging::ports::Lease;

    use super::*;

    fn node(id: &str, change: impl FnOnce(&mut FleetNode)) -> FleetNode {
        let lease = Lease {
            node_id: id.parse().unwrap(),
            url: "wss://n.example/socket".to_owned(),
            connections: 12,
            handshakes_per_second: 2_000,
            draining: false,
            clock: None,
            ticket_keys: vec!["k1".to_owned()],
        };
        let (age, reports) = (Duration::from_millis(400), Vec::new());
        let mut node = FleetNode { lease, age, pending: 3, clock_ahead_ms: 0, reports };
        change(&mut node);
        node
    }

    #[test]
    fn each_node_is_a_line_that_says_why_it_gets_no_clients() {
        let fleet = [
            node("N1", |_| {}),
            node("N2", |node| node.age = limits::LEASE_TTL),
            node("N3", |node| node.lease.draining = true),
            node("N4", |node| node.clock_ahead_ms = -5_001),
            node("N5", |node| node.lease.ticket_keys = vec!["k2".to_owned()]),
        ];
        let text = table(&fleet, Some("k1"));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<_> = text.lines().map(words).collect();
        let first = ["N1", "ok", "12", "3", "0", "0.4", "s", "0", "ms", "wss://n.example/socket"];
        assert_eq!(lines[1], first);
        let states: Vec<_> = lines[1..].iter().map(|line| line[1].as_str()).collect();
        assert_eq!(states, ["ok", "lost", "draining", "clock_skew", "other_secret"]);
    }
}
