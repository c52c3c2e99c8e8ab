//! The sockets of a client: one, and a second one while it moves to another node.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::client_frame::ClientFrame;
use protocol::frame::{Going, Ready, ServerFrame};
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::debug;

use super::Status;
use super::task::DIAL_WAIT_MAX;
use crate::rest::Api;
use crate::session::Disconnect;
use crate::socket::{RawSocket, Received};

/// The socket that is used, the one before it while that is still open, and the one to come.
pub(super) struct Sockets {
    current: RawSocket,
    old: Option<RawSocket>,
    opening: Option<Opening>,
}

type Opening = Pin<Box<dyn Future<Output = Option<(RawSocket, Ready)>> + Send>>;

/// What a client hears.
pub(super) enum Heard {
    /// A frame.
    Frame(ServerFrame),
    /// A frame on the socket before this one.
    Old(ServerFrame),
    /// The socket before this one has ended.
    OldEnded,
    /// The next socket is ready, and used from now on.
    Moved(Ready),
    /// The socket has ended.
    Ended(Disconnect),
    /// Nothing of the protocol.
    Nothing,
}

/// Whether something proves that the path to the node is alive: only a frame of the protocol on the
/// socket that is used does.
pub(super) enum Proof {
    Alive,
    Nothing,
}

impl Sockets {
    pub(super) const fn new(current: RawSocket) -> Self {
        Self { current, old: None, opening: None }
    }

    /// Says `hello`, and which frames are handled beyond what every client has to.
    pub(super) async fn hello(
        &mut self,
        ticket: &str,
        cursor: Option<&str>,
    ) -> Result<(), tungstenite::Error> {
        self.current.hello_accepting(ticket, cursor, &ACCEPTS).await
    }

    pub(super) async fn say(&mut self, frame: &ClientFrame) -> Result<(), tungstenite::Error> {
        self.current.say(frame).await
    }

    /// Begins to open the socket that a draining node offers. If that fails, this socket is used until
    /// its node closes it.
    pub(super) fn open_next(&mut self, api: &Api, status: &Arc<Mutex<Status>>, going: Going) {
        self.opening = Some(Box::pin(open(api.clone(), Arc::clone(status), going)));
    }

    pub(super) const fn has_old(&self) -> bool {
        self.old.is_some()
    }

    /// Closes the socket before this one.
    pub(super) async fn close_old(&mut self) {
        if let Some(mut old) = self.old.take() {
            // It is of no more use, whether or not its node hears of it.
            old.send(Message::Close(None)).await.unwrap_or_default();
            old.finish().await;
        }
    }

    /// Answers the close frame of the socket.
    pub(super) async fn finish(&mut self) {
        self.current.finish().await;
    }

    /// Waits for what comes next on any socket.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Heard {
        tokio::select! {
            biased;
            opened = opened(&mut self.opening) => {
                self.opening = None;
                let Some((next, ready)) = opened else { return Heard::Nothing };
                self.old = Some(std::mem::replace(&mut self.current, next));
                Heard::Moved(ready)
            }
            received = of(&mut self.old) => match received {
                Received::Frame(frame) => Heard::Old(frame),
                Received::Closed(_) | Received::Broken => {
                    self.old = None;
                    Heard::OldEnded
                }
                Received::Text(_) | Received::Binary(_) | Received::Pong(_) => Heard::Nothing,
            },
            received = self.current.receive() => match received {
                Received::Frame(frame) => Heard::Frame(frame),
                Received::Closed(code) => {
                    let reason = self.current.close_reason().to_owned();
                    Heard::Ended(Disconnect { code, reason })
                }
                Received::Broken => Heard::Ended(Disconnect::abnormal()),
                Received::Text(_) | Received::Binary(_) | Received::Pong(_) => Heard::Nothing,
            },
        }
    }
}

async fn opened(opening: &mut Option<Opening>) -> Option<(RawSocket, Ready)> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn of(socket: &mut Option<RawSocket>) -> Received {
    match socket {
        Some(socket) => socket.receive().await,
        None => std::future::pending().await,
    }
}

/// Opens a socket that resumes where the program is, and waits for its `ready`.
async fn open(api: Api, status: Arc<Mutex<Status>>, going: Going) -> Option<(RawSocket, Ready)> {
    let (transport, trust) = (Some(api.transport()), api.trust());
    let dialled = RawSocket::connect(transport, &going.url, &[], DIAL_WAIT_MAX, &trust).await;
    let mut socket = match dialled {
        Ok(socket) => socket,
        Err(error) => {
            debug!(node = %going.node_id, %error, "no socket to move to");
            return None;
        }
    };
    let cursor = status.lock().cursor.clone();
    socket.hello_accepting(&going.ticket, cursor.as_deref(), &ACCEPTS).await.ok()?;
    loop {
        match socket.receive().await {
            Received::Frame(ServerFrame::Ready(ready)) => return Some((socket, ready)),
            Received::Frame(_) | Received::Text(_) | Received::Binary(_) | Received::Pong(_) => {}
            Received::Closed(_) | Received::Broken => return None,
        }
    }
}

/// What this client handles beyond what every client has to.
const ACCEPTS: [&str; 1] = [Going::KIND];
