//! What a workspace's task pushes beside the stream, for sockets of all nodes.

use std::sync::Arc;

use model::{WorkspaceId, limits};
use protocol::signal::Signal;
use tokio::task::JoinSet;

use crate::hub::Hub;

/// The pushes under way. Signals may be lost, so nothing waits for them.
#[derive(Debug, Default)]
pub(crate) struct Signals(JoinSet<()>);

impl Signals {
    /// Pushes a signal to the workspace's nodes, or drops it if too many are on their way.
    pub(crate) fn offer(&mut self, hub: &Arc<Hub>, workspace: &WorkspaceId, signal: Signal) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() >= limits::SIGNALS_AT_ONCE_MAX {
            return hub.metrics.signals.with_label_values(&["dropped"]).inc();
        }
        let (hub, workspace) = (Arc::clone(hub), workspace.clone());
        self.0.spawn(async move { push(&hub, &workspace, &signal).await });
    }
}

/// Pushes a signal once.
pub(crate) async fn push(hub: &Hub, workspace: &WorkspaceId, signal: &Signal) {
    let push = hub.ports.bus.signal(workspace, signal);
    let pushed = tokio::time::timeout(limits::PUBLISH_DEADLINE, push).await;
    let outcome = if matches!(pushed, Ok(Ok(()))) { "pushed" } else { "failed" };
    hub.metrics.signals.with_label_values(&[outcome]).inc();
}
