//! The registry of workspaces: how a connection reaches the task of its workspace.

use std::collections::BTreeMap;

use delivery::{Attach, Movable, Renewal, SocketId};
use model::{ChannelId, Timestamp, WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::client_frame::ClientFrame;
use tokio::sync::{mpsc, oneshot};

/// A connection's request to a workspace's task.
#[derive(Debug)]
pub(crate) enum Request {
    /// Boxed: queues allocate many slots at once, and most workspaces are small.
    Attach(Box<Attach>),
    Detach(SocketId),
    /// A client said something.
    Said(Box<(SocketId, ClientFrame)>),
    /// A client presented a ticket that was made with a newer token.
    Renew(Box<Renew>),
    /// The node drains: which clients can be handed over?
    Movable(oneshot::Sender<Vec<Movable>>),
    /// Which version of this channel's membership came with the stream?
    Heard(Box<ChannelId>, oneshot::Sender<u64>),
}

/// What a client presented to outlive its token.
#[derive(Debug)]
pub(crate) struct Renew {
    pub(crate) socket: SocketId,
    /// The client's number for it.
    pub(crate) reference: Option<u64>,
    /// What its ticket says; `None` if it is not valid here.
    pub(crate) ticket: Option<Renewal>,
    /// Is told when the socket's token expires now; `None` if the socket is not attached.
    pub(crate) answer: oneshot::Sender<Option<Timestamp>>,
}

/// The queues of the workspaces' tasks. It does not know what a task does.
#[derive(Debug, Default)]
pub(crate) struct Workspaces(Mutex<BTreeMap<WorkspaceId, mpsc::Sender<Request>>>);

impl Workspaces {
    /// The queue of a workspace's task; `start` starts one if there is none.
    pub(crate) fn get_or_start(
        &self,
        id: &WorkspaceId,
        start: impl FnOnce(mpsc::Receiver<Request>),
    ) -> mpsc::Sender<Request> {
        let mut workspaces = self.0.lock();
        if let Some(tx) = workspaces.get(id).filter(|tx| !tx.is_closed()) {
            return tx.clone();
        }
        let (tx, rx) = mpsc::channel(limits::WORKSPACE_REQUESTS_MAX);
        workspaces.insert(id.clone(), tx.clone());
        start(rx);
        tx
    }

    /// Removes an idle workspace so that its task may end; false if a request is on its way.
    pub(crate) fn retire(&self, id: &WorkspaceId, rx: &mpsc::Receiver<Request>) -> bool {
        let mut workspaces = self.0.lock();
        // While this lock is held nobody gets a sender; one that is still out makes the count two.
        let is_unused = rx.is_empty() && rx.sender_strong_count() <= 1;
        if is_unused {
            workspaces.remove(id);
        }
        is_unused
    }

    /// The queue of a workspace's task, if there is one.
    pub(crate) fn queue(&self, id: &WorkspaceId) -> Option<mpsc::Sender<Request>> {
        self.0.lock().get(id).cloned()
    }

    /// The queues of all workspaces' tasks.
    pub(crate) fn queues(&self) -> Vec<(WorkspaceId, mpsc::Sender<Request>)> {
        self.0.lock().iter().map(|(id, tx)| (id.clone(), tx.clone())).collect()
    }

    pub(crate) fn ids(&self) -> Vec<WorkspaceId> {
        self.0.lock().keys().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }
}
