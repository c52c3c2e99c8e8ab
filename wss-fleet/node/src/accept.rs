//! Accepting sockets: admission, TLS if there is a certificate, the opening handshake over hyper,
//! then the driver. A socket is TCP, or a byte stream that the caller hands in.

use std::convert::Infallible;
use std::io;
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
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::driver::{self, Upgraded};
use crate::early_data::EarlyData;
use crate::hub::Hub;
use crate::listener;
use crate::shard::Writer;
use crate::tls;
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

/// Splits a byte stream into a reader and a writer with different owners.
fn split<S: Stream + 'static>(stream: S) -> (ReadHalf<S>, Writer) {
    let (reader, writer) = tokio::io::split(stream);
    (reader, Writer::Boxed(Box::new(writer)))
}

fn split_tcp(stream: TcpStream) -> (OwnedReadHalf, Writer) {
    let (reader, writer) = stream.into_split();
    (reader, Writer::Tcp(writer))
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
                    Accepted::Tcp(stream, None) => {
                        connections.spawn(serve(stream, split_tcp, hub, Counted::Not))
                    }
                    Accepted::Tcp(stream, Some(config)) => {
                        connections.spawn(serve_tls(stream, config, hub))
                    }
                    Accepted::Handed(stream) => {
                        connections.spawn(serve(stream, split, hub, Counted::Not))
                    }
                };
            }
        }
    }
}

enum Accepted {
    Tcp(TcpStream, Option<Arc<ServerConfig>>),
    Handed(Box<dyn Stream>),
}

async fn accept(door: &mut Door, hub: &Hub) -> Accepted {
    match door {
        Door::Tcp(listener, config) => {
            let report = |error: &io::Error| hub.accepts.failed(|| error.to_string());
            let stream = listener::accept(listener, report).await;
            hub.accepts.succeeded();
            Accepted::Tcp(stream, config.clone())
        }
        Door::Handed(streams) => match streams.recv().await {
            Some(stream) => Accepted::Handed(stream),
            // The sender is gone: no new streams, but the connections that exist stay.
            None => std::future::pending().await,
        },
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
        serve(stream, split, hub, Counted::BeforeTls).await;
    }
}

/// Serves a connection from the request's head to the socket's end.
fn serve<S: Stream + 'static, R: AsyncRead + Send + Unpin>(
    stream: S,
    split: fn(S) -> (R, Writer),
    hub: Arc<Hub>,
    counted: Counted,
) -> impl Future<Output = ()> + Send {
    // Boxed for the same reason as in `serve_tls`.
    let upgraded = Box::pin(upgraded(stream, split, Arc::clone(&hub), counted));
    async move {
        if let Some(upgraded) = upgraded.await {
            driver::run(hub, upgraded).await;
        }
    }
}

/// Performs the opening handshake; returns the socket if it was upgraded.
async fn upgraded<S: Stream + 'static, R>(
    stream: S,
    split: fn(S) -> (R, Writer),
    hub: Arc<Hub>,
    counted: Counted,
) -> Option<Upgraded<R>> {
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
    let (reader, writer) = split(stream.into_inner().into_inner());
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
