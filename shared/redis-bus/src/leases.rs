//! The node directory.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{DirectoryError, FleetNode, Lease, NodeDirectory, Report};
use model::{NodeId, Timestamp, UserId, WorkspaceId, limits};
use redis::{Script, Value};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::command::{Commands, Request};
use crate::diagnosis::cause;
use crate::endpoint::{Endpoint, EndpointError};
use crate::reply;

/// The directory on Redis or Valkey. Ages and expiries are measured by the server's clock alone: the
/// clocks of nodes and balancers may differ.
///
/// It does not judge: it reserves any candidate whose lease it remembers, even a dead one. The caller
/// chooses the candidates. Clones share one connection.
#[derive(Debug, Clone)]
pub struct RedisDirectory {
    commands: Commands,
}

/// The fields of a lease besides its node, as JSON in the hash. `leases.lua` reads `connections`.
///
/// Newer fields may be absent and unknown ones are ignored: during a rolling deploy nodes and
/// balancers of two versions share the directory.
#[derive(Debug, Serialize, Deserialize)]
struct Details {
    url: String,
    connections: u32,
    handshakes_per_second: u32,
    draining: bool,
    #[serde(default)]
    clock_ms: Option<u64>,
    #[serde(default)]
    ticket_keys: Vec<String>,
}

impl RedisDirectory {
    /// Makes a directory for a URL, as [`Endpoint::parse`] reads it. Connects to nothing yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn connect(url: &str) -> Result<Self, EndpointError> {
        Ok(Self::over(Commands::new(Endpoint::parse(url)?)))
    }

    pub(crate) const fn over(commands: Commands) -> Self {
        Self { commands }
    }

    async fn call(&self, name: &str, args: &[&str]) -> Result<Value, DirectoryError> {
        let memory = limits::LEASE_MEMORY.as_millis().to_string();
        let report_memory = (limits::REPORT_WINDOW + limits::DEMOTION).as_millis().to_string();
        let all: Vec<&[u8]> =
            [name, &memory, &report_memory].iter().chain(args).map(|arg| arg.as_bytes()).collect();
        let request = Request::of_script(&DIRECTORY, DIRECTORY_TEXT, &KEYS, &all);
        self.commands.query(&request).await.map_err(|err| DirectoryError(cause(err)))
    }
}

#[async_trait]
impl NodeDirectory for RedisDirectory {
    async fn renew(&self, lease: &Lease) -> Result<Timestamp, DirectoryError> {
        let details = Details {
            url: lease.url.clone(),
            connections: lease.connections,
            handshakes_per_second: lease.handshakes_per_second,
            draining: lease.draining,
            clock_ms: lease.clock.map(Timestamp::unix_ms),
            ticket_keys: lease.ticket_keys.clone(),
        };
        let details = serde_json::to_string(&details).map_err(|err| DirectoryError(err.into()))?;
        let answer = self.call("renew", &[lease.node_id.as_str(), &details]).await?;
        let now = reply::unsigned(&answer).map(Timestamp::from_unix_ms);
        now.ok_or_else(|| DirectoryError("not a time".into()))
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), DirectoryError> {
        self.call("withdraw", &[node.as_str()]).await.map(drop)
    }

    async fn fleet(&self) -> Result<Vec<FleetNode>, DirectoryError> {
        let answer = self.call("fleet", &[]).await?;
        fleet_of(answer).ok_or_else(|| DirectoryError("not the shape of a fleet".into()))
    }

    async fn reserve(
        &self,
        candidates: &[NodeId],
        ttl: Duration,
        workspace: &WorkspaceId,
        user: &UserId,
    ) -> Result<Option<NodeId>, DirectoryError> {
        let ttl = ttl.as_millis().max(1).to_string();
        let (memory, most) = given_bounds();
        let head = [ttl.as_str(), workspace.as_str(), user.as_str(), &memory, &most];
        let args: Vec<&str> =
            head.into_iter().chain(candidates.iter().map(NodeId::as_str)).collect();
        let taken = self.call("reserve", &args).await?;
        let taken = reply::text(&taken);
        Ok(candidates.iter().find(|node| taken == Some(node.as_str())).cloned())
    }

    async fn report(
        &self,
        node: &NodeId,
        workspace: &WorkspaceId,
        reporter: &UserId,
    ) -> Result<(), DirectoryError> {
        let (memory, _) = given_bounds();
        let most = limits::REPORTS_MAX.to_string();
        let most_of_one = limits::REPORTS_PER_WORKSPACE_MAX.to_string();
        let who = [node.as_str(), workspace.as_str(), reporter.as_str()];
        let bounds = [memory.as_str(), &most, &most_of_one];
        self.call("report", &[who, bounds].concat()).await.map(drop)
    }
}

/// How long the directory remembers the users that a node was given to, in ms, and how many of them.
fn given_bounds() -> (String, String) {
    (limits::GIVEN_MEMORY.as_millis().to_string(), limits::GIVEN_PER_NODE_MAX.to_string())
}

fn fleet_of(answer: Value) -> Option<Vec<FleetNode>> {
    let mut answer = reply::array(answer)?.into_iter();
    let (nodes, noted) = (reply::array(answer.next()?)?, reply::array(answer.next()?)?);
    let mut reports: HashMap<NodeId, Vec<Report>> = HashMap::new();
    for (node, report) in noted.into_iter().filter_map(report_of) {
        reports.entry(node).or_default().push(report);
    }
    let found = nodes.len();
    let mut fleet: Vec<FleetNode> = nodes.into_iter().filter_map(node_of).collect();
    if fleet.len() < found {
        warn!(unreadable = found - fleet.len(), "skipping leases that cannot be read");
    }
    for node in &mut fleet {
        node.reports = reports.remove(&node.lease.node_id).unwrap_or_default();
    }
    fleet.sort_by(|one, other| one.lease.node_id.cmp(&other.lease.node_id));
    Some(fleet)
}

fn node_of(row: Value) -> Option<FleetNode> {
    let row = reply::array(row)?;
    let [node, age, details, pending, renewed_at] = row.as_slice() else { return None };
    let details: Details = serde_json::from_slice(reply::bytes(details)?).ok()?;
    Some(FleetNode {
        lease: Lease {
            node_id: NodeId::parse(reply::text(node)?).ok()?,
            url: details.url,
            connections: details.connections,
            handshakes_per_second: details.handshakes_per_second,
            draining: details.draining,
            clock: details.clock_ms.map(Timestamp::from_unix_ms),
            ticket_keys: details.ticket_keys,
        },
        clock_ahead_ms: ahead_ms(details.clock_ms, reply::unsigned(renewed_at)),
        age: age_of(age),
        pending: reply::unsigned(pending).and_then(|count| u32::try_from(count).ok())?,
        reports: Vec::new(),
    })
}

fn report_of(row: Value) -> Option<(NodeId, Report)> {
    let row = reply::array(row)?;
    let [member, age] = row.as_slice() else { return None };
    let (node, rest) = reply::text(member)?.split_once(' ')?;
    let (workspace, user) = rest.split_once(' ')?;
    let report = Report {
        workspace_id: WorkspaceId::parse(workspace).ok()?,
        user_id: UserId::parse(user).ok()?,
        age: age_of(age),
    };
    Some((NodeId::parse(node).ok()?, report))
}

/// How far a node's clock was ahead of the server's; zero if either is unknown.
fn ahead_ms(node_ms: Option<u64>, server_ms: Option<u64>) -> i64 {
    let (Some(node), Some(server)) = (node_ms, server_ms) else { return 0 };
    Timestamp::from_unix_ms(node).ms_after(Timestamp::from_unix_ms(server))
}

/// Zero if it is negative: a promoted server's clock may be behind the old primary's.
fn age_of(age_ms: &Value) -> Duration {
    Duration::from_millis(reply::unsigned(age_ms).unwrap_or(0))
}

static DIRECTORY: LazyLock<Script> = LazyLock::new(|| Script::new(DIRECTORY_TEXT));
const DIRECTORY_TEXT: &str = include_str!("leases.lua");
const KEYS: [&str; 5] = [
    "{ink:fleet}:leases",
    "{ink:fleet}:details",
    "{ink:fleet}:reports",
    "{ink:fleet}:pending",
    "{ink:fleet}:given",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_answer_is_no_panic() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        for answer in [Value::Nil, Value::Int(1), Value::Array(vec![]), text("x")] {
            assert_eq!(fleet_of(answer), None);
        }
        let rows = Value::Array(vec![
            Value::Nil,
            Value::Array(vec![text("N1"), Value::Int(-5), text("{"), Value::Int(0), Value::Nil]),
            Value::Array(vec![text("N 2"), Value::Int(5), text("{}"), Value::Int(0), Value::Nil]),
        ]);
        let reports = Value::Array(vec![Value::Array(vec![text("nospace"), Value::Int(1)])]);
        assert_eq!(fleet_of(Value::Array(vec![rows, reports])), Some(Vec::new()));
    }

    #[test]
    fn leases_of_other_versions_are_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let row = |details: &str| {
            let (age, pending, renewed_at) = (Value::Int(1), Value::Int(0), Value::Int(9_000));
            node_of(Value::Array(vec![text("N1"), age, text(details), pending, renewed_at]))
        };
        let old = r#"{"url":"ws://n","connections":1,"handshakes_per_second":2,"draining":false"#;
        let read = row(&format!("{old}}}")).unwrap();
        assert_eq!((read.lease.clock, read.clock_ahead_ms), (None, 0));
        assert!(read.lease.ticket_keys.is_empty());
        let new = r#","clock_ms":3000,"ticket_keys":["k"],"of_a_later_version":{"x":[1]}}"#;
        let read = row(&format!("{old}{new}")).unwrap();
        assert_eq!((read.lease.ticket_keys, read.clock_ahead_ms), (vec!["k".to_owned()], -6_000));
    }
}
