//! Writes and reads of presence for the workspaces' tasks (G16).

use std::sync::Arc;
use std::time::Duration;

use delivery::{Announced, Fleet, PresenceEffect, PresenceInput};
use futures_util::stream::{self, StreamExt as _};
use messaging::ports::{Announcement, BusError, NodePresence};
use model::{NodeId, Presence, UserId, WorkspaceId, limits};
use protocol::signal::Signal;
use tokio::time::timeout;

use crate::fleet_watch::leases;
use crate::hub::Hub;
use crate::reads::{caught, until_done};
use crate::signals::push;

/// Performs an effect of a workspace. Reads are repeated until they succeed.
pub(crate) async fn perform(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    effect: PresenceEffect,
) -> PresenceInput {
    match effect {
        PresenceEffect::Announce(news) => announce(&hub, &workspace, news).await,
        PresenceEffect::Renew(number) => renew(&hub, &workspace, number).await,
        PresenceEffect::ReadAll(id) => {
            let _permit = hub.presence_reads.acquire().await;
            let read = || read_all(&hub, &workspace);
            let (nodes, fleet) = until_done(&hub, "presence", read).await;
            PresenceInput::ReadAll { id, nodes, fleet }
        }
        PresenceEffect::ReadNode(node) => {
            let _permit = hub.presence_reads.acquire().await;
            let read = || hub.ports.presence.present(&workspace, &node);
            let found = until_done(&hub, "presence", read).await;
            counted(&hub, "read");
            PresenceInput::ReadNode { node, found }
        }
    }
}

async fn announce(hub: &Hub, workspace: &WorkspaceId, news: Announcement) -> PresenceInput {
    let permit = hub.presence_writes.acquire().await;
    let call = hub.ports.presence.announce(workspace, &hub.node_id, &news);
    let outcome = written(hub, call).await;
    drop(permit);
    let Announcement { number, is_whole, users } = news;
    if outcome == Announced::Written {
        // Its number is a hole for the other nodes: they read it.
        let users = if is_whole { Vec::new() } else { users };
        tell(hub, workspace, number, users).await;
    }
    PresenceInput::Announced { number, outcome }
}

async fn renew(hub: &Hub, workspace: &WorkspaceId, number: u64) -> PresenceInput {
    let permit = hub.presence_writes.acquire().await;
    let call = hub.ports.presence.renew(workspace, &hub.node_id, number);
    let outcome = written(hub, call).await;
    drop(permit);
    if outcome == Announced::Written {
        tell(hub, workspace, number, Vec::new()).await;
    }
    PresenceInput::Announced { number, outcome }
}

/// Awaits a write. A panic counts as a failure, since the workspace waits for the outcome.
async fn written(hub: &Hub, write: impl Future<Output = Result<bool, BusError>>) -> Announced {
    let done = caught(hub, timeout(limits::BUS_RESPONSE_MAX, write)).await;
    let (outcome, label) = match done {
        Some(Ok(Ok(true))) => (Announced::Written, "written"),
        Some(Ok(Ok(false))) => (Announced::Lacking, "lacking"),
        Some(Ok(Err(_)) | Err(_)) | None => (Announced::Failed, "failed"),
    };
    counted(hub, label);
    outcome
}

/// Tells the other nodes, once: what is lost shows as a hole.
async fn tell(hub: &Hub, workspace: &WorkspaceId, number: u64, users: Vec<(UserId, Presence)>) {
    let news = Announcement { number, is_whole: false, users };
    let signal = Signal::Presence { node: hub.node_id.clone(), news };
    // The workspace waits for the outcome, whatever becomes of the push.
    caught(hub, push(hub, workspace, &signal)).await.unwrap_or_default();
}

/// Reads the users of all other nodes whose lease has not expired for long.
async fn read_all(
    hub: &Hub,
    workspace: &WorkspaceId,
) -> Result<(Vec<(NodeId, NodePresence)>, Fleet), BusError> {
    let book = &hub.ports.presence;
    let mut nodes = book.nodes(workspace).await?;
    nodes.retain(|node| *node != hub.node_id);
    if nodes.is_empty() {
        return Ok((Vec::new(), Fleet::new()));
    }
    let fleet = hub.ports.nodes.fleet().await;
    let fleet = leases(&fleet.map_err(|error| BusError::Unavailable(error.into()))?);
    let is_over = |node: &NodeId| {
        let expired = fleet.get(node).copied().flatten();
        expired.is_some_and(|ago| ago >= limits::OFFLINE_GRACE)
    };
    nodes.retain(|node| !is_over(node));
    let mut found = Vec::new();
    for node in nodes {
        if let Some(present) = book.present(workspace, &node).await? {
            found.push((node, present));
        }
        counted(hub, "read");
    }
    Ok((found, fleet))
}

fn counted(hub: &Hub, outcome: &str) {
    hub.metrics.presence.with_label_values(&[outcome]).inc();
}

/// Removes this node from the books of all workspaces after it has drained, and tells the others, so
/// that they forget it without waiting for its silence.
pub(crate) async fn withdraw(hub: &Hub) {
    // Greater than every number of this node.
    let number = hub.now().plus(AHEAD).unix_ms();
    let withdrawn = stream::iter(hub.workspaces.ids()).for_each_concurrent(
        limits::PRESENCE_CALLS_MAX,
        async |workspace| {
            let news = Announcement { number, is_whole: true, users: Vec::new() };
            announce(hub, &workspace, news).await;
        },
    );
    if timeout(WITHDRAWN_WITHIN, withdrawn).await.is_err() {
        tracing::warn!("presence was not withdrawn in time");
    }
}

/// How much greater the last number of a node is.
const AHEAD: Duration = Duration::from_secs(24 * 3600);
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(2);
