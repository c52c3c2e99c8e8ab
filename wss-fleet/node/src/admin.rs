//! `/healthz` and `/metrics`. Metrics are on a port of their own that only operators reach.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::limits;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::hub::Hub;
use crate::upgrade::refuse;

/// Answers `/metrics` and `/healthz` for ever.
pub(crate) async fn run(listener: TcpListener, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let hub = Arc::clone(&hub);
        connections.spawn(async move {
            let service = service_fn(|request| {
                std::future::ready(Ok::<_, Infallible>(answer(&hub, &request)))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::HEAD_WAIT_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(cause = %error, "an operator's connection broke");
            }
        });
    }
}

fn answer(hub: &Hub, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/healthz" => healthz(hub),
        "/metrics" => {
            let mut response = Response::new(Full::from(hub.metrics.text(hub)));
            let text = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        }
        _ => *refuse(StatusCode::NOT_FOUND, "no such path"),
    }
}

/// 200 while the node serves; 503 before clients can find its name, and once it leaves.
///
/// An expired certificate is told, and is no 503: it keeps new clients out, which the directory
/// does too, and whoever ended the node for it would end the sockets that are open.
pub(crate) fn healthz(hub: &Hub) -> Response<Full<Bytes>> {
    let (status, word) = standing(hub);
    let (node, sockets) = (&hub.node_id, hub.socket_count());
    let certificate = hub.certificate_seconds();
    let certificate = certificate.map(|left| format!(r#","certificate_seconds":{left}"#));
    let certificate = certificate.unwrap_or_default();
    let body =
        format!(r#"{{"status":"{word}","node_id":"{node}","connections":{sockets}{certificate}}}"#);
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn standing(hub: &Hub) -> (StatusCode, &'static str) {
    let name = hub.shown.own_name.as_ref().filter(|name| !name.is_found());
    if hub.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if name.is_some() {
        (StatusCode::SERVICE_UNAVAILABLE, "awaiting_name")
    } else if hub.is_certificate_over() {
        (StatusCode::OK, "certificate_expired")
    } else {
        (StatusCode::OK, "ok")
    }
}
