//! Hands the clients of a draining node over: each is given another node and a ticket for it before
//! its socket is closed, so that it opens the next socket first (ADR 0045).

use std::collections::HashMap;
use std::time::Duration;

use delivery::{Movable, SocketId};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use messaging::connect::{Client, hand_over};
use messaging::fleet::FleetView;
use messaging::ports::{FleetNode, Principal};
use model::{WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::close::CloseCode;
use protocol::frame::{Going, ServerFrame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::frames;
use crate::hub::Hub;
use crate::metrics::Move;
use crate::shard::Command;
use crate::workspaces::Request;

/// The clients that can be handed over, and the fleet.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    clients: HashMap<SocketId, (Principal, Movable)>,
    fleet: FleetView,
}

impl HandOver {
    /// Asks the workspaces which clients can be handed over. Those of one that does not answer soon
    /// are closed as others are.
    pub(crate) async fn of(hub: &Hub) -> Self {
        let clients = Mutex::new(HashMap::new());
        let asked = stream::iter(hub.workspaces.queues()).for_each_concurrent(
            ASKED_AT_ONCE,
            async |(workspace, queue)| {
                let movable = movable(queue).await;
                let of_client = |one: Movable| (one.socket, (principal(&workspace, &one), one));
                clients.lock().extend(movable.into_iter().map(of_client));
            },
        );
        if timeout(ASKED_WITHIN, asked).await.is_err() {
            tracing::warn!("some workspaces did not say which clients can be handed over");
        }
        Self { clients: clients.into_inner(), fleet: FleetView::default() }
    }

    /// Lets some sockets go: hands over whom it can, closes the others at once, and closes those that
    /// are still open after [`limits::GOING_WAIT`].
    pub(crate) async fn let_go(&self, hub: &Hub, sockets: &[SocketId]) {
        let fleet = self.fleet(hub).await;
        let going = sockets.iter().map(async |socket| {
            let outcome = match self.clients.get(socket) {
                None => Err(Move::NotTaken),
                Some(client) => self.offer(hub, &fleet, *socket, client).await,
            };
            if let Err(outcome) = outcome {
                close(hub, *socket, outcome).await;
            }
            outcome.is_ok().then_some(*socket)
        });
        let going: Vec<SocketId> = join_all(going).await.into_iter().flatten().collect();
        if going.is_empty() {
            return;
        }
        let by = Instant::now() + limits::GOING_WAIT;
        while Instant::now() < by && going.iter().any(|socket| hub.is_open(*socket)) {
            tokio::time::sleep(CHECK_EVERY).await;
        }
        for socket in going {
            if hub.is_open(socket) {
                close(hub, socket, Move::Late).await;
            } else {
                hub.metrics.moved(Move::Moved);
            }
        }
    }

    /// The other nodes, as of half a second ago; none if the directory does not answer.
    async fn fleet(&self, hub: &Hub) -> Vec<FleetNode> {
        let read = self.fleet.read(hub.ports.nodes.as_ref(), hub.now(), false);
        match timeout(DIRECTORY_WAIT_MAX, read).await {
            Ok(Ok(fleet)) => fleet,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    async fn offer(
        &self,
        hub: &Hub,
        fleet: &[FleetNode],
        socket: SocketId,
        (caller, of): &(Principal, Movable),
    ) -> Result<(), Move> {
        let (is_invisible, device) = (of.is_invisible, of.device.as_ref());
        let client = Client { caller, is_invisible, device };
        let placed = hand_over(&hub.ports, fleet, &hub.node_id, client);
        let placed = timeout(DIRECTORY_WAIT_MAX, placed).await.unwrap_or_default();
        let next = placed.ok_or(Move::NoNode)?;
        let (node_id, url, ticket) = (next.node_id, next.url, next.ticket);
        let going = ServerFrame::Going(Going { node_id, url, ticket, by: limits::GOING_WAIT });
        let frame = frames::text(going.encode());
        hub.shards.send(socket.shard, Command::Control { socket, frame }).await;
        Ok(())
    }
}

/// Closes a socket as a restart does.
async fn close(hub: &Hub, socket: SocketId, outcome: Move) {
    hub.metrics.moved(outcome);
    hub.shards.close(socket, CloseCode::Restart, None).await;
}

async fn movable(queue: mpsc::Sender<Request>) -> Vec<Movable> {
    let (answer, answered) = oneshot::channel();
    if queue.send(Request::Movable(answer)).await.is_err() {
        return Vec::new();
    }
    answered.await.unwrap_or_default()
}

/// A node does not know who is an admin, and no node asks.
fn principal(workspace: &WorkspaceId, of: &Movable) -> Principal {
    let (workspace_id, user_id) = (workspace.clone(), of.user.clone());
    Principal { workspace_id, user_id, is_admin: false, expires_at: of.ends_at }
}

/// How often to look whether all clients have moved.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Workspaces that are asked at the same time.
const ASKED_AT_ONCE: usize = 64;
/// How long all workspaces together may take to answer.
const ASKED_WITHIN: Duration = Duration::from_secs(1);
/// How long the directory may take: the drain must end in time without it, too.
const DIRECTORY_WAIT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
