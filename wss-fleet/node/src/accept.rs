//! Accepting sockets: admission, the opening handshake over hyper, then the driver.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits;
use session::SocketId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::head::Watched;
use crate::hub::{Hub, lock};
use crate::{driver, upgrade};

/// A socket that was answered 101 and waits for the connection to be handed over.
type Opened = Mutex<Option<(OnUpgrade, SocketId)>>;

/// Accepts for ever. Dropping the future ends every connection.
pub(crate) async fn run(listener: TcpListener, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&hub)));
                }
                // Out of descriptors, or a peer that was gone at once: neither is the listener's end.
                Err(error) => {
                    tracing::warn!(cause = %error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    hub.metrics.panics.inc();
                    tracing::error!("a connection's task panicked; its socket is closed");
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, hub: Arc<Hub>) {
    // A frame is one write: waiting for more would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(cause = %error, "no TCP_NODELAY");
    }
    let opened: Arc<Opened> = Arc::default();
    let has_more = Arc::<AtomicBool>::default();
    let stream = Watched::new(stream, Arc::clone(&has_more));
    let permit = hub.handshakes.try_acquire().ok();
    let service = service_fn(|request| {
        let is_early = has_more.load(Ordering::Relaxed);
        let response = answer(&hub, permit.is_some(), is_early, request, &opened);
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
    let Some((on_upgrade, socket)) = lock(&opened).take() else { return };
    drop(permit);
    hub.metrics.handshakes.inc();
    let upgraded = match served {
        Ok(Ok(())) => on_upgrade.await.ok().and_then(|upgraded| upgraded.downcast().ok()),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(parts) = upgraded else { return hub.closed(socket) };
    let stream: TokioIo<Watched<TcpStream>> = parts.io;
    let (reader, writer) = stream.into_inner().into_inner().into_split();
    driver::run(hub, socket, reader, Box::new(writer), parts.read_buf).await;
}

fn answer(
    hub: &Hub,
    has_room: bool,
    is_early: bool,
    mut request: Request<Incoming>,
    opened: &Opened,
) -> Response<Full<Bytes>> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _body) = request.into_parts();
    if parts.uri.path() == "/healthz" {
        return crate::admin::healthz(hub);
    }
    let accept = match upgrade::examine(&parts, is_early, &hub.allowed_origins) {
        Ok(accept) => accept,
        Err(refused) => return *refused,
    };
    if hub.is_draining() {
        return upgrade::unavailable("this node is leaving");
    }
    match has_room.then(|| hub.open()).flatten() {
        Some(socket) => {
            *lock(opened) = Some((on_upgrade, socket));
            upgrade::accepted(&accept)
        }
        None => upgrade::unavailable("this node is full"),
    }
}

/// How long a connection may stay before its upgrade, refusals and health checks included.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);
/// How long the node waits when it cannot accept: long enough for a descriptor to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
