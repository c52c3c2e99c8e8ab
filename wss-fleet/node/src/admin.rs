//! `/healthz`, `/readyz` and `/metrics`. Metrics have their own port that only operators can reach.

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
use crate::listener::accept;
use crate::upgrade::refuse;

/// Serves `/metrics`, `/healthz` and `/readyz` for ever.
pub(crate) async fn run(listener: TcpListener, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = accept(&listener, |_| {}).await;
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
                tracing::debug!(cause = %error, "a connection to the admin port broke");
            }
        });
    }
}

fn answer(hub: &Hub, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/healthz" => healthz(hub),
        "/readyz" => readyz(hub),
        "/metrics" => {
            let mut response = Response::new(Full::from(hub.metrics.text(&hub.snapshot())));
            let text = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, text);
            response
        }
        _ => *refuse(StatusCode::NOT_FOUND, "no such path"),
    }
}

/// Liveness: 200 while the node serves, with or without problems. Sockets outlive Redis, the store
/// and the certificate, and a restart would end them. 503 before the node can accept its first
/// client, and once it drains (ADR 0019).
pub(crate) fn healthz(hub: &Hub) -> Response<Full<Bytes>> {
    let (status, is_live, _) = status(hub);
    report(hub, status, is_live)
}

/// Readiness: 200 while nothing is wrong.
pub(crate) fn readyz(hub: &Hub) -> Response<Full<Bytes>> {
    let (status, _, is_ready) = status(hub);
    report(hub, status, is_ready)
}

/// The node's status, whether it is live, and whether it is ready.
fn status(hub: &Hub) -> (&'static str, bool, bool) {
    if hub.is_draining() {
        ("draining", false, false)
    } else if !hub.health.was_well() {
        // It accepts no clients before it was healthy once.
        ("starting", false, false)
    } else if hub.shown.dns.as_ref().is_some_and(|name| !name.is_ready()) {
        ("awaiting_name", false, false)
    } else if hub.is_certificate_over() {
        // It serves its sockets, but no client accepts its certificate any more.
        ("certificate_expired", true, false)
    } else if hub.health.issues().is_empty() {
        ("ok", true, true)
    } else {
        // It serves, but something that it depends on has a problem.
        ("degraded", true, false)
    }
}

fn report(hub: &Hub, status: &str, is_good: bool) -> Response<Full<Bytes>> {
    let problems: Vec<&str> = hub.health.issues().iter().map(|one| one.as_str()).collect();
    let mut body = serde_json::json!({
        "status": status,
        "node_id": hub.node_id.as_str(),
        "connections": hub.socket_count(),
        "problems": problems,
    });
    if let (Some(left), Some(body)) = (hub.certificate_seconds(), body.as_object_mut()) {
        body.insert("certificate_seconds".to_owned(), left.into());
    }
    let mut response = Response::new(Full::from(body.to_string()));
    if !is_good {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
