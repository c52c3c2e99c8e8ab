//! One connection: any byte stream on one side, its session state on the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use model::limits;
use protocol::close::CloseCode;
use protocol::frame::Hello;
use session::{Attach, Connection, Reaction, SocketId};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as FrameError, Message, error::ProtocolError};

use crate::fanout::Order;
use crate::hub::{Hub, Request};
use crate::shard::Writer;
use crate::wire::Wire;

/// How a connection ended.
enum End {
    /// The peer is gone, or said goodbye.
    Peer,
    /// We say goodbye.
    Close(CloseCode),
    /// The shard already did: slow consumer, revoked, drained.
    Shard,
}

/// Drives a socket from its upgrade to its end. `early` are bytes that came with the upgrade.
pub(crate) async fn run<R>(hub: Arc<Hub>, socket: SocketId, reader: R, writer: Writer, early: Bytes)
where
    R: AsyncRead + Send + Unpin,
{
    // Whatever happens to this task, the node forgets the socket.
    let mut presence = Presence { hub: Arc::clone(&hub), socket, workspace: None };
    let ended = Arc::new(Notify::new());
    let open = Order::Open { socket, writer, ended: Arc::clone(&ended) };
    hub.shards.order(socket.shard, open).await;
    // A drain that began before the shard knew the socket has closed everything but this one.
    if hub.is_draining() {
        hub.shards.close(socket, CloseCode::Restart).await;
    }
    let wire = Wire::new(reader, socket, hub.shards.clone());
    let mut frames =
        WebSocketStream::from_partially_read(wire, early.to_vec(), Role::Server, Some(config()))
            .await;
    let mut connection = Connection::new(hub.now());
    let end = tokio::select! {
        biased;
        // The shard's word is final, and reading can go on for as long as the peer sends.
        () = ended.notified() => End::Shard,
        end = read(&hub, &mut frames, &mut connection, &mut presence) => end,
    };
    match end {
        End::Peer => hub.shards.order(socket.shard, Order::Finish { socket }).await,
        End::Close(code) => {
            hub.metrics.closes.with_label_values(&[code.as_str()]).inc();
            hub.shards.close(socket, code).await;
            linger(frames.get_mut().reader_mut()).await;
        }
        End::Shard => linger(frames.get_mut().reader_mut()).await,
    }
}

/// Every limit is set, none is left to the library's default.
fn config() -> WebSocketConfig {
    let mut config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .accept_unmasked_frames(false);
    config.max_message_size = Some(limits::CLIENT_FRAME_BYTES_MAX);
    config.max_frame_size = Some(limits::CLIENT_FRAME_BYTES_MAX);
    config
}

async fn read<R: AsyncRead + Unpin>(
    hub: &Arc<Hub>,
    frames: &mut WebSocketStream<Wire<R>>,
    connection: &mut Connection,
    presence: &mut Presence,
) -> End {
    loop {
        let left = connection.deadline().since(hub.now());
        let workspace_ended = workspace_ended(presence.workspace.clone());
        let incoming = tokio::select! {
            biased;
            // Deadlines first: a peer that never stops sending must not outlive its token.
            () = workspace_ended => return End::Close(CloseCode::Internal),
            () = tokio::time::sleep(left.min(LOOK_AGAIN)) => Incoming::Time,
            incoming = next(frames) => incoming,
        };
        let now = hub.now();
        let (read, begun) = frames.get_mut().take_read();
        let metered =
            if read > 0 { connection.on_bytes(read, begun, now) } else { Reaction::Nothing };
        let reaction = match (metered, incoming) {
            (Reaction::Close(code), _) => Reaction::Close(code),
            (_, Incoming::Frame(text)) => connection.on_frame(text.as_deref()),
            (_, Incoming::Bytes | Incoming::Time) => connection.on_time(now),
            (_, Incoming::End(end)) => return end,
        };
        match reaction {
            Reaction::Nothing => {}
            Reaction::Close(code) => return End::Close(code),
            Reaction::Hello(hello) => {
                if let Err(code) = attach(hub, hello, connection, presence).await {
                    return End::Close(code);
                }
            }
        }
    }
}

/// What came from the peer.
enum Incoming {
    /// A whole frame; its text, if it was one.
    Frame(Option<String>),
    /// Bytes of a frame that is not whole yet.
    Bytes,
    /// Nothing, for a while.
    Time,
    /// No more.
    End(End),
}

/// The next frame, or the fact that bytes came in without completing one.
async fn next<R: AsyncRead + Unpin>(frames: &mut WebSocketStream<Wire<R>>) -> Incoming {
    let message = std::future::poll_fn(|context| {
        let polled = frames.poll_next_unpin(context);
        if polled.is_pending() && frames.get_ref().has_read() {
            return std::task::Poll::Ready(None);
        }
        polled.map(Some)
    });
    match message.await {
        None => Incoming::Bytes,
        Some(Some(Ok(Message::Text(text)))) => Incoming::Frame(Some(text.as_str().to_owned())),
        Some(Some(Ok(Message::Binary(_)))) => Incoming::End(End::Close(CloseCode::Unsupported)),
        Some(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {
            Incoming::Frame(None)
        }
        // The library answers the close; the next poll sends that answer and ends the stream.
        Some(Some(Ok(Message::Close(_)))) => Incoming::Frame(None),
        Some(Some(Err(error))) => Incoming::End(end_of(&error)),
        Some(None) => Incoming::End(End::Peer),
    }
}

fn end_of(error: &FrameError) -> End {
    match error {
        FrameError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Peer,
        FrameError::Protocol(_) => End::Close(CloseCode::Protocol),
        FrameError::Utf8(_) => End::Close(CloseCode::InvalidPayload),
        FrameError::Capacity(_) => End::Close(CloseCode::TooBig),
        FrameError::ConnectionClosed
        | FrameError::AlreadyClosed
        | FrameError::Io(_)
        | FrameError::Tls(_)
        | FrameError::WriteBufferFull(_)
        | FrameError::AttackAttempt
        | FrameError::Url(_)
        | FrameError::Http(_)
        | FrameError::HttpFormat(_) => End::Peer,
    }
}

/// Checks the ticket and asks the workspace's task to attach.
async fn attach(
    hub: &Arc<Hub>,
    hello: Hello,
    connection: &mut Connection,
    presence: &mut Presence,
) -> Result<(), CloseCode> {
    let principal = hub.admit(&hello.ticket)?.principal;
    connection.attached(principal.expires_at);
    let attach = Attach {
        socket: presence.socket,
        connection_id: hub.connection_id(),
        user: principal.user_id,
        cursor: hello.cursor,
    };
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
    workspace: Option<mpsc::Sender<Request>>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.hub.closed(self.socket);
        let finish = Order::Finish { socket: self.socket };
        let _full_or_gone = self.hub.shards.try_order(self.socket.shard, finish);
        let Some(workspace) = self.workspace.take() else { return };
        let detach = Request::Detach(self.socket);
        if let Err(mpsc::error::TrySendError::Full(detach)) = workspace.try_send(detach)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { workspace.send(detach).await.is_ok() });
        }
    }
}

/// The parser's buffer of an idle socket; it grows for a frame that needs more.
const READ_BUFFER_BYTES: usize = 1024;
/// What the parser may hold back of its own answers; they go out at once.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// The wall clock may be set: deadlines are looked at this often at least.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
