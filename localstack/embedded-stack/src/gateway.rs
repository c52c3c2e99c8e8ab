//! The local gateway: HTTP/1.1 on a loopback port in front of the functions' handlers.

mod body;
mod calls;
mod dev;
mod host;
mod origins;
mod page;
mod stream;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth::tokens::TokenSigner;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use messaging::App;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::files::{self, FileBody, LocalFiles};
use crate::nodes::Fleet;
use crate::stop::Stopped;
use calls::Calls;
use origins::Origins;
use stream::{Peer, Stream};

/// Serves the functions' handlers, the page and the `/dev` routes.
#[derive(Debug)]
pub(crate) struct Gateway {
    app: App,
    fleet: Arc<Fleet>,
    signer: Arc<TokenSigner>,
    files: LocalFiles,
    calls: Calls,
    origins: Origins,
}

impl Gateway {
    pub(crate) fn new(
        app: App,
        fleet: Arc<Fleet>,
        signer: Arc<TokenSigner>,
        files: LocalFiles,
        allowed_origins: Vec<String>,
    ) -> Arc<Self> {
        let (calls, origins) = (Calls::default(), Origins::new(allowed_origins));
        Arc::new(Self { app, fleet, signer, files, calls, origins })
    }

    /// Accepts connections until the stack stops, then finishes the calls in flight.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, mut stopped: Stopped) {
        let mut connections = JoinSet::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stopped.wait() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &slots) => accepted,
            };
            let Some((stream, slot)) = accepted else { continue };
            let (gateway, stopped) = (Arc::clone(&self), stopped.clone());
            connections.spawn(async move {
                gateway.connection(stream, stopped).await;
                drop(slot);
            });
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
            tracing::warn!("connections were still open and were cut off");
        }
        self.calls.finish(STOP_MAX).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, mut stopped: Stopped) {
        // An answer is one small write. It must not wait for the client's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let stream = Stream::new(stream);
        let peer = stream.peer();
        let service = service_fn(|request| {
            let (gateway, peer) = (Arc::clone(&self), peer.clone());
            async move { Ok::<_, Infallible>(gateway.answer(request, peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT_MAX)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .half_close(true);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<FileBody> {
        let origin = self.origins.allowed(request.headers()).cloned();
        let mut response = if !host::is_valid(&request) {
            body::refusal(StatusCode::BAD_REQUEST).map(text)
        } else if let Some(allowed) = self.origins.preflight(&request) {
            allowed.map(text)
        } else if request.uri().path().starts_with(files::PATH) {
            self.files.serve(request).await
        } else {
            self.answer_call(request, peer).await.map(text)
        };
        let nosniff = HeaderValue::from_static("nosniff");
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        if let Some(origin) = origin {
            Origins::let_read(origin, response.headers_mut());
        }
        response
    }

    async fn answer_call(&self, request: Request<Incoming>, peer: Peer) -> Response<Bytes> {
        let host = request.headers().get(HOST).cloned();
        let (request, is_whole) = match body::read(request).await {
            Ok(read) => read,
            Err(late) => return late,
        };
        let mut response = self.respond(request, peer).await;
        self.files.name_as_asked(host.as_ref(), response.headers_mut());
        if !is_whole {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn respond(&self, request: Request<Bytes>, peer: Peer) -> Response<Bytes> {
        if let Some(response) = page::respond(&request) {
            return response;
        }
        if let Some(response) = self.dev(&request).await {
            return response;
        }
        self.calls.respond(&self.app, request, peer).await
    }
}

fn text(body: Bytes) -> FileBody {
    FileBody::Left(Full::new(body))
}

/// Waits for a free slot, then for the next connection.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection was not accepted");
            // Most likely out of file descriptors, which takes a while to pass.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Concurrent connections. Idle ones are kept alive, and all clients of a lost node may connect at
/// once.
const CONNECTIONS_MAX: usize = 8_192;
/// How long a request's head may take, and how long a kept-alive connection may be idle.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(20);
/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// Bytes of a request's head; more is answered 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a connection's read buffer.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a stop waits for connections, and then for calls in flight.
const STOP_MAX: Duration = Duration::from_secs(3);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
