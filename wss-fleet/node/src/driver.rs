//! One connection: its byte stream, its state, and its place in the node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{Attach, Renewal, Said, SocketId};
use messaging::ports::Ticket;
use model::{Timestamp, limits};
use protocol::client_frame::{ClientFrame, Hello, RenewFrame};
use protocol::close::CloseCode;
use protocol::frame::Going;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::hub::Hub;
use crate::inbound::{End, Inbound, Incoming};
use crate::shard::{Command, Writer};
use crate::workspace;
use crate::workspaces::{Renew, Request};

/// A socket that was just upgraded.
pub(crate) struct Upgraded<R> {
    pub(crate) socket: SocketId,
    pub(crate) reader: R,
    pub(crate) writer: Writer,
    /// Bytes that came with the upgrade.
    pub(crate) early: Bytes,
}

/// Drives a socket from its upgrade to its end. This future lives as long as the socket, so state
/// that is needed only briefly is boxed and freed (ADR 0020).
pub(crate) fn run<R>(hub: Arc<Hub>, upgraded: Upgraded<R>) -> impl Future<Output = ()> + Send
where
    R: AsyncRead + Send + Unpin,
{
    let Upgraded { socket, reader, writer, early } = upgraded;
    let mut inbound = Inbound::new(reader, early, hub.now());
    let ended = Arc::new(Notify::new());
    let open = Box::pin(open(Arc::clone(&hub), socket, writer, Arc::clone(&ended)));
    // Dropping this makes the node forget the socket, whatever happens to this task.
    let mut presence = Presence { hub, socket, workspace: None };
    async move {
        open.await;
        let end = tokio::select! {
            biased;
            // The shard closed the socket already (slow consumer, revoked, drained). That is final:
            // reading could go on for as long as the peer sends.
            () = ended.notified() => None,
            end = read(&mut inbound, &mut presence) => Some(end),
        };
        Box::pin(close(&presence, end, inbound.reader_mut())).await;
    }
}

async fn open(hub: Arc<Hub>, socket: SocketId, writer: Writer, ended: Arc<Notify>) {
    hub.shards.send(socket.shard, Command::Open { socket, writer, ended }).await;
    // A drain that started before the shard knew this socket has closed all others.
    if hub.is_draining() {
        hub.shards.close(socket, CloseCode::Restart, None).await;
    }
}

async fn close<R: AsyncRead + Unpin>(presence: &Presence, end: Option<End>, reader: &mut R) {
    let (hub, socket) = (&presence.hub, presence.socket);
    match end {
        Some(End::Peer) => hub.shards.send(socket.shard, Command::Finish { socket }).await,
        Some(End::Close(code)) => {
            hub.close(socket, code, None).await;
            linger(reader).await;
        }
        None => linger(reader).await,
    }
}

async fn read<R: AsyncRead + Unpin>(inbound: &mut Inbound<R>, presence: &mut Presence) -> End {
    loop {
        let hub = &presence.hub;
        let left = inbound.deadline().since(hub.now());
        let (shards, socket) = (&hub.shards, presence.socket);
        // A pong is dropped if the shard's mailbox is full: the peer pings again.
        let mut answers = |frame| {
            let _full = shards.try_send(socket.shard, Command::Control { socket, frame });
        };
        let incoming = tokio::select! {
            biased;
            // Deadlines first: a peer that sends without pause must not outlive its token.
            () = workspace_ended(presence.workspace.as_ref()) => {
                return End::Close(CloseCode::Internal);
            }
            () = tokio::time::sleep(left.min(CHECK_EVERY)) => Incoming::Time,
            incoming = inbound.next(&mut answers) => incoming,
        };
        match inbound.react(incoming, presence.hub.now()) {
            Ok(None) => {}
            Err(end) => return end,
            Ok(Some(Said::Hello(hello))) => {
                if let Err(code) = Box::pin(attach(hello, inbound, presence)).await {
                    return End::Close(code);
                }
            }
            Ok(Some(Said::Frame(frame))) => {
                presence.hub.metrics.client_frames.with_label_values(&[frame.kind()]).inc();
                if let ClientFrame::Renew(renew) = frame {
                    if let Some(ends_at) = Box::pin(presence.renew(renew)).await {
                        inbound.renewed(ends_at);
                    }
                    continue;
                }
                if let Err(code) = Box::pin(presence.pass_on(frame)).await {
                    return End::Close(code);
                }
            }
            Ok(Some(Said::Malformed(why))) => {
                presence.hub.metrics.client_frames.with_label_values(&["malformed"]).inc();
                tracing::debug!(socket = presence.socket.serial, %why, "a frame is passed over");
            }
        }
    }
}

/// Checks the ticket and asks the workspace's task to attach.
async fn attach<R: AsyncRead + Unpin>(
    hello: Hello,
    inbound: &mut Inbound<R>,
    presence: &mut Presence,
) -> Result<(), CloseCode> {
    let hub = &presence.hub;
    let Ticket { principal, is_invisible, device, .. } = hub.admit(&hello.ticket)?;
    inbound.attached(principal.expires_at, hub.now());
    let attach = Attach {
        socket: presence.socket,
        connection_id: hub.connection_id(),
        user: principal.user_id,
        takes_going: hello.takes(Going::KIND),
        cursor: hello.cursor,
        ends_at: principal.expires_at,
        is_invisible,
        device,
    };
    tracing::debug!(
        connection_id = %attach.connection_id,
        socket = presence.socket.serial,
        workspace_id = %principal.workspace_id,
        user_id = %attach.user,
        resumes = attach.cursor.is_some(),
        "a socket attaches"
    );
    let workspace = presence.workspace.insert(workspace::queue(hub, &principal.workspace_id));
    workspace.send(Request::Attach(Box::new(attach))).await.map_err(|_gone| CloseCode::Internal)
}

async fn workspace_ended(workspace: Option<&mpsc::Sender<Request>>) {
    match workspace {
        Some(workspace) => workspace.closed().await,
        None => std::future::pending().await,
    }
}

/// Keeps reading for a moment after our close frame: closing with unread bytes would reset the
/// connection, and the peer would never see the close code.
async fn linger<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut swallowed = [0; 512];
    let swallow = async { while matches!(reader.read(&mut swallowed).await, Ok(1..)) {} };
    let _timed_out = tokio::time::timeout(limits::CLOSE_LINGER, swallow).await.is_err();
}

/// The node's record of a socket, removed when the connection ends, even by a panic.
struct Presence {
    hub: Arc<Hub>,
    socket: SocketId,
    workspace: Option<mpsc::Sender<Request>>,
}

impl Presence {
    /// Passes a frame on to the workspace's task. While that is busy, nothing more is read from the
    /// client.
    async fn pass_on(&self, frame: ClientFrame) -> Result<(), CloseCode> {
        let Some(workspace) = &self.workspace else { return Err(CloseCode::BadFrame) };
        let said = Request::Said(Box::new((self.socket, frame)));
        workspace.send(said).await.map_err(|_gone| CloseCode::Internal)
    }

    /// Checks the ticket of a `renew` and has the workspace's task answer it. Returns when the socket's
    /// token expires now; `None` if the socket has ended, or is not attached, and so will be closed.
    async fn renew(&self, renew: RenewFrame) -> Option<Timestamp> {
        let ticket = self.hub.admit(&renew.ticket).ok().map(|ticket| Renewal {
            workspace: ticket.principal.workspace_id,
            user: ticket.principal.user_id,
            ends_at: ticket.principal.expires_at,
            is_invisible: ticket.is_invisible,
        });
        let (answer, answered) = oneshot::channel();
        let (socket, reference) = (self.socket, renew.reference);
        let renew = Request::Renew(Box::new(Renew { socket, reference, ticket, answer }));
        self.workspace.as_ref()?.send(renew).await.ok()?;
        answered.await.ok()?
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.hub.closed(self.socket);
        let socket = self.socket;
        // The number identifies the log line of its attach; ids are not kept for this line.
        tracing::debug!(socket = socket.serial, "a socket ended");
        // A panic costs only this socket, and the close code tells its client to reconnect.
        let last = if std::thread::panicking() {
            let code = CloseCode::Internal;
            self.hub.metrics.closes.with_label_values(&[code.as_str()]).inc();
            Command::Close { socket, code, delay: None }
        } else {
            Command::Finish { socket }
        };
        let _full_or_gone = self.hub.shards.try_send(socket.shard, last);
        let Some(workspace) = self.workspace.take() else { return };
        let detach = Request::Detach(self.socket);
        if let Err(mpsc::error::TrySendError::Full(detach)) = workspace.try_send(detach)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { workspace.send(detach).await.is_ok() });
        }
    }
}

/// Deadlines are checked at least this often, because the wall clock may be set.
const CHECK_EVERY: Duration = Duration::from_secs(30);

#[cfg(test)]
pub(crate) mod tests;
