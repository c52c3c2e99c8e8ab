//! Accepting sockets: admission, TLS if there is a certificate, the opening handshake over hyper,
//! then the driver. A socket is TCP, or a byte stream that the caller hands in.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use delivery::SocketId;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::driver::{self, Upgraded};
use crate::early_data::EarlyData;
use crate::hub::Hub;
use crate::shard::Writer;
use crate::tls::{self, TlsSocket};
use crate::upgrade;

/// A socket that was answered 101, and the upgrade that will yield its connection.
type Opened = Mutex<Option<(OnUpgrade, SocketId)>>;

/// A byte stream that something else accepted: a pipe, or TLS that was terminated by a proxy.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The source of sockets.
#[derive(Debug)]
pub(crate) enum Door {
    Tcp(TcpListener, Option<Arc<ServerConfig>>),
    Handed(mpsc::Receiver<Box<dyn Stream>>),
}

/// A byte stream that splits into a reader and a writer with different owners.
trait Parted: Stream + 'static {
    fn parted(self) -> (impl AsyncRead + Send + Unpin, Writer);
}

impl Parted for TcpStream {
    fn parted(self) -> (impl AsyncRead + Send + Unpin, Writer) {
        let (reader, writer) = self.into_split();
        (reader, Writer::Tcp(writer))
    }
}

impl Parted for TlsSocket {
    fn parted(self) -> (impl AsyncRead + Send + Unpin, Writer) {
        let (reader, writer) = tokio::io::split(self);
        (reader, Writer::Boxed(Box::new(writer)))
    }
}

impl Parted for Box<dyn Stream> {
    fn parted(self) -> (impl AsyncRead + Send + Unpin, Writer) {
        let (reader, writer) = tokio::io::split(self);
        (reader, Writer::Boxed(Box::new(writer)))
    }
}

/// Accepts for ever. Dropping the future ends every connection.
pub(crate) async fn run(mut door: Door, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Every ended connection was accepted before, so this cannot starve accepting.
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    hub.metrics.panics.inc();
                    tracing::error!("a connection's task panicked: its socket is closed");
                }
            }
            accepted = accept(&mut door, &hub) => {
                let hub = Arc::clone(&hub);
                match accepted {
                    Accepted::Tcp(stream) => connections.spawn(serve(stream, hub, Counted::Not)),
                    Accepted::Tls(stream, config) => {
                        connections.spawn(serve_tls(stream, config, hub))
                    }
                    Accepted::Handed(stream) => connections.spawn(serve(stream, hub, Counted::Not)),
                };
            }
        }
    }
}

enum Accepted {
    Tcp(TcpStream),
    Tls(TcpStream, Arc<ServerConfig>),
    Handed(Box<dyn Stream>),
}

async fn accept(door: &mut Door, hub: &Hub) -> Accepted {
    let (listener, config) = match door {
        Door::Tcp(listener, config) => (listener, config),
        Door::Handed(streams) => match streams.recv().await {
            Some(stream) => return Accepted::Handed(stream),
            // The sender is gone: no new streams, but the connections that exist stay.
            None => return std::future::pending().await,
        },
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                hub.accepts.succeeded();
                return match config {
                    Some(config) => Accepted::Tls(stream, Arc::clone(config)),
                    None => Accepted::Tcp(stream),
                };
            }
            // Out of descriptors, or the peer left at once: the listener itself still works.
            Err(error) => {
                hub.accepts.failed(|| error.to_string());
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the handshake rate limit was already charged for this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Not,
    BeforeTls,
}

async fn serve_tls(stream: TcpStream, config: Arc<ServerConfig>, hub: Arc<Hub>) {
    // Boxed, so that its buffers are freed before the socket starts, which lives for hours.
    let stream = Box::pin(tls::handshake(stream, config, Arc::clone(&hub))).await;
    if let Some(stream) = stream {
        serve(stream, hub, Counted::BeforeTls).await;
    }
}

/// Serves a connection from the request's head to the socket's end.
fn serve<S: Parted>(stream: S, hub: Arc<Hub>, counted: Counted) -> impl Future<Output = ()> + Send {
    // Boxed for the same reason as in `serve_tls`.
    let upgraded = Box::pin(upgraded(stream, Arc::clone(&hub), counted));
    async move {
        if let Some(upgraded) = upgraded.await {
            driver::run(hub, upgraded).await;
        }
    }
}

/// Performs the opening handshake; returns the socket if it was upgraded.
async fn upgraded<S: Parted>(
    stream: S,
    hub: Arc<Hub>,
    counted: Counted,
) -> Option<Upgraded<impl AsyncRead + Send + Unpin>> {
    // Held until the connection is upgraded or refused; most of that time it reads the head.
    let Ok(permit) = hub.handshakes.try_acquire() else {
        hub.metrics.shed.inc();
        return None;
    };
    let opened: Arc<Opened> = Arc::default();
    let has_more = Arc::<AtomicBool>::default();
    let stream = EarlyData::new(stream, Arc::clone(&has_more));
    let service = service_fn(|request| {
        let is_early = has_more.load(Ordering::Relaxed);
        let response = answer(&hub, counted, is_early, request, &opened);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_WAIT_MAX)
        .max_headers(limits::HEAD_HEADERS_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let served = tokio::time::timeout(HANDSHAKE_MAX, connection).await;
    let (on_upgrade, socket) = opened.lock().take()?;
    drop(permit);
    hub.metrics.handshakes.inc();
    let upgraded = match served {
        Ok(Ok(())) => on_upgrade.await.ok().and_then(|upgraded| upgraded.downcast().ok()),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(parts) = upgraded else {
        hub.closed(socket);
        return None;
    };
    let stream: TokioIo<EarlyData<S>> = parts.io;
    let (reader, writer) = stream.into_inner().into_inner().parted();
    Some(Upgraded { socket, reader, writer, early: parts.read_buf })
}

fn answer(
    hub: &Hub,
    counted: Counted,
    is_early: bool,
    mut request: Request<Incoming>,
    opened: &Opened,
) -> Response<Full<Bytes>> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _body) = request.into_parts();
    match parts.uri.path() {
        "/healthz" => return crate::admin::healthz(hub),
        "/readyz" => return crate::admin::readyz(hub),
        _ => {}
    }
    let accept = match upgrade::examine(&parts, is_early, &hub.allowed_origins) {
        Ok(accept) => accept,
        Err(refused) => return *refused,
    };
    if hub.is_draining() {
        return upgrade::unavailable("this node is shutting down");
    }
    if counted == Counted::Not && !hub.allows_handshake() {
        return upgrade::unavailable("too many handshakes this second");
    }
    match hub.open() {
        Some(socket) => {
            *opened.lock() = Some((on_upgrade, socket));
            upgrade::accepted(&accept)
        }
        None => upgrade::unavailable("this node is full"),
    }
}

/// How long a connection may last before its upgrade, refusals and health checks included.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// The pause after a failed accept: long enough for a descriptor to become free.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
