//! One connection: any byte stream on one side, its session state on the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{ConnectionId, limits};
use protocol::close::CloseCode;
use protocol::frame::Hello;
use session::{Attach, SocketId};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};

use crate::fanout::Order;
use crate::hub::{Hub, Request};
use crate::inbound::{Answers, End, Inbound, Incoming, Step};
use crate::shard::Writer;

/// Drives a socket from its upgrade to its end. `early` are bytes that came with the upgrade.
pub(crate) async fn run<R>(hub: Arc<Hub>, socket: SocketId, reader: R, writer: Writer, early: Bytes)
where
    R: AsyncRead + Send + Unpin,
{
    // Whatever happens to this task, the node forgets the socket.
    let mut presence =
        Presence { hub: Arc::clone(&hub), socket, connection: None, workspace: None };
    let ended = Arc::new(Notify::new());
    let open = Order::Open { socket, writer, ended: Arc::clone(&ended) };
    hub.shards.order(socket.shard, open).await;
    // A drain that began before the shard knew the socket has closed everything but this one.
    if hub.is_draining() {
        hub.shards.close(socket, CloseCode::Restart).await;
    }
    let mut inbound = Inbound::new(reader, early, answers(&hub, socket), hub.now()).await;
    let end = tokio::select! {
        biased;
        // The shard said goodbye already (slow consumer, revoked, drained). Its word is final, and
        // reading can go on for as long as the peer sends.
        () = ended.notified() => None,
        end = read(&hub, &mut inbound, &mut presence) => Some(end),
    };
    match end {
        Some(End::Peer) => hub.shards.order(socket.shard, Order::Finish { socket }).await,
        Some(End::Close(code)) => {
            hub.metrics.closes.with_label_values(&[code.as_str()]).inc();
            tracing::debug!(socket = socket.serial, code = code.as_str(), "a socket is closed");
            hub.shards.close(socket, code).await;
            linger(inbound.reader_mut()).await;
        }
        None => linger(inbound.reader_mut()).await,
    }
}

/// A pong that finds the shard's mailbox full is dropped: the peer pings again.
fn answers(hub: &Hub, socket: SocketId) -> Answers {
    let shards = hub.shards.clone();
    Box::new(move |frame| {
        let _full = shards.try_order(socket.shard, Order::Control { socket, frame });
    })
}

async fn read<R: AsyncRead + Unpin>(
    hub: &Arc<Hub>,
    inbound: &mut Inbound<R>,
    presence: &mut Presence,
) -> End {
    loop {
        let left = inbound.deadline().since(hub.now());
        let workspace_ended = workspace_ended(presence.workspace.clone());
        let incoming = tokio::select! {
            biased;
            // Deadlines first: a peer that never stops sending must not outlive its token.
            () = workspace_ended => return End::Close(CloseCode::Internal),
            () = tokio::time::sleep(left.min(LOOK_AGAIN)) => Incoming::Time,
            incoming = inbound.next() => incoming,
        };
        match inbound.react(incoming, hub.now()) {
            Step::Nothing => {}
            Step::End(end) => return end,
            Step::Hello(hello) => {
                if let Err(code) = attach(hub, hello, inbound, presence).await {
                    return End::Close(code);
                }
            }
        }
    }
}

/// Checks the ticket and asks the workspace's task to attach.
async fn attach<R: AsyncRead + Unpin>(
    hub: &Arc<Hub>,
    hello: Hello,
    inbound: &mut Inbound<R>,
    presence: &mut Presence,
) -> Result<(), CloseCode> {
    let principal = hub.admit(&hello.ticket)?.principal;
    inbound.attached(principal.expires_at);
    let attach = Attach {
        socket: presence.socket,
        connection_id: hub.connection_id(),
        user: principal.user_id,
        cursor: hello.cursor,
    };
    tracing::debug!(
        connection_id = %attach.connection_id,
        socket = presence.socket.serial,
        workspace_id = %principal.workspace_id,
        user_id = %attach.user,
        resumes = attach.cursor.is_some(),
        "a socket attaches"
    );
    // Kept for its last line only where that is written: an idle socket is a budget.
    presence.connection =
        tracing::enabled!(tracing::Level::DEBUG).then(|| attach.connection_id.clone());
    let workspace = hub.workspace(&principal.workspace_id);
    let sent = workspace.send(Request::Attach(attach)).await;
    presence.workspace = Some(workspace);
    sent.map_err(|_gone| CloseCode::Internal)
}

async fn workspace_ended(workspace: Option<mpsc::Sender<Request>>) {
    match workspace {
        Some(workspace) => workspace.closed().await,
        None => std::future::pending().await,
    }
}

/// Reads on for a moment after our close frame: closing over unread bytes would reset the
/// connection, and the peer would never see why.
async fn linger<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut swallowed = [0; 512];
    let swallow = async { while matches!(reader.read(&mut swallowed).await, Ok(1..)) {} };
    let _timed_out = tokio::time::timeout(limits::CLOSE_LINGER, swallow).await.is_err();
}

/// The node's knowledge of a socket, undone when the connection ends, panics included.
struct Presence {
    hub: Arc<Hub>,
    socket: SocketId,
    connection: Option<ConnectionId>,
    workspace: Option<mpsc::Sender<Request>>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.hub.closed(self.socket);
        let socket = self.socket;
        if let Some(connection) = &self.connection {
            tracing::debug!(connection_id = %connection, socket = socket.serial, "a socket ended");
        }
        // A defect of ours costs this socket only, and its client is told to come back.
        let last = if std::thread::panicking() {
            let code = CloseCode::Internal;
            self.hub.metrics.closes.with_label_values(&[code.as_str()]).inc();
            Order::Close { socket, code }
        } else {
            Order::Finish { socket }
        };
        let _full_or_gone = self.hub.shards.try_order(socket.shard, last);
        let Some(workspace) = self.workspace.take() else { return };
        let detach = Request::Detach(self.socket);
        if let Err(mpsc::error::TrySendError::Full(detach)) = workspace.try_send(detach)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { workspace.send(detach).await.is_ok() });
        }
    }
}

/// The wall clock may be set: deadlines are looked at this often at least.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
