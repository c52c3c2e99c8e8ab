//! The node directory.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{DirectoryError, FleetNode, Lease, NodeDirectory};
use model::{NodeId, UserId, limits};
use redis::{Script, Value};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::command::{Commands, Request};
use crate::cure::cause;
use crate::endpoint::{Endpoint, EndpointError};
use crate::reply;

/// The directory on Redis or Valkey. Ages and expiries are by the server's clock alone: those of
/// nodes and balancers may differ.
///
/// It judges nothing: a dead lease that is still remembered can be reserved; who asks names the
/// candidates. Clones share one connection.
#[derive(Debug, Clone)]
pub struct RedisDirectory {
    commands: Commands,
}

/// What a lease says beside its node, as the hash holds it. `leases.lua` reads `connections`.
#[derive(Debug, Serialize, Deserialize)]
struct Details {
    url: String,
    connections: u32,
    handshakes_per_second: u32,
    draining: bool,
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
    async fn renew(&self, lease: &Lease) -> Result<(), DirectoryError> {
        let details = Details {
            url: lease.url.clone(),
            connections: lease.connections,
            handshakes_per_second: lease.handshakes_per_second,
            draining: lease.draining,
        };
        let details = serde_json::to_string(&details).map_err(|err| DirectoryError(err.into()))?;
        self.call("renew", &[lease.node_id.as_str(), &details]).await.map(drop)
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
    ) -> Result<Option<NodeId>, DirectoryError> {
        let ttl = ttl.as_millis().max(1).to_string();
        let args: Vec<&str> =
            std::iter::once(ttl.as_str()).chain(candidates.iter().map(NodeId::as_str)).collect();
        let taken = self.call("reserve", &args).await?;
        let taken = reply::text(&taken);
        Ok(candidates.iter().find(|node| taken == Some(node.as_str())).cloned())
    }

    async fn report(&self, node: &NodeId, reporter: &UserId) -> Result<(), DirectoryError> {
        let most = limits::REPORTS_MAX.to_string();
        self.call("report", &[node.as_str(), reporter.as_str(), &most]).await.map(drop)
    }
}

fn fleet_of(answer: Value) -> Option<Vec<FleetNode>> {
    let mut answer = reply::array(answer)?.into_iter();
    let (nodes, noted) = (reply::array(answer.next()?)?, reply::array(answer.next()?)?);
    let mut reports: HashMap<NodeId, Vec<(UserId, Duration)>> = HashMap::new();
    for (node, reporter, age) in noted.into_iter().filter_map(report_of) {
        reports.entry(node).or_default().push((reporter, age));
    }
    let found = nodes.len();
    let mut fleet: Vec<FleetNode> = nodes.into_iter().filter_map(node_of).collect();
    if fleet.len() < found {
        warn!(unreadable = found - fleet.len(), "leases that cannot be read are passed over");
    }
    for node in &mut fleet {
        node.reports = reports.remove(&node.lease.node_id).unwrap_or_default();
    }
    fleet.sort_by(|one, other| one.lease.node_id.cmp(&other.lease.node_id));
    Some(fleet)
}

fn node_of(row: Value) -> Option<FleetNode> {
    let row = reply::array(row)?;
    let [node, age, details, pending] = row.as_slice() else { return None };
    let details: Details = serde_json::from_slice(reply::bytes(details)?).ok()?;
    Some(FleetNode {
        lease: Lease {
            node_id: NodeId::parse(reply::text(node)?).ok()?,
            url: details.url,
            connections: details.connections,
            handshakes_per_second: details.handshakes_per_second,
            draining: details.draining,
        },
        age: age_of(age),
        pending: reply::unsigned(pending).and_then(|count| u32::try_from(count).ok())?,
        reports: Vec::new(),
    })
}

fn report_of(row: Value) -> Option<(NodeId, UserId, Duration)> {
    let row = reply::array(row)?;
    let [member, age] = row.as_slice() else { return None };
    let (node, user) = reply::text(member)?.split_once(' ')?;
    Some((NodeId::parse(node).ok()?, UserId::parse(user).ok()?, age_of(age)))
}

/// Zero where it is negative: a promoted server's clock may be behind the last one's.
fn age_of(age_ms: &Value) -> Duration {
    Duration::from_millis(reply::unsigned(age_ms).unwrap_or(0))
}

static DIRECTORY: LazyLock<Script> = LazyLock::new(|| Script::new(DIRECTORY_TEXT));
const DIRECTORY_TEXT: &str = include_str!("leases.lua");
const KEYS: [&str; 4] =
    ["{ink:fleet}:leases", "{ink:fleet}:details", "{ink:fleet}:reports", "{ink:fleet}:pending"];

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
            Value::Array(vec![text("N1"), Value::Int(-5), text("{"), Value::Int(0)]),
            Value::Array(vec![text("N 2"), Value::Int(5), text("{}"), Value::Int(0)]),
        ]);
        let reports = Value::Array(vec![Value::Array(vec![text("nospace"), Value::Int(1)])]);
        assert_eq!(fleet_of(Value::Array(vec![rows, reports])), Some(Vec::new()));
    }
}
