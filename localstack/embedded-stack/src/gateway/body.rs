//! Reads request bodies within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use model::limits;

/// Reads a request's body, and returns whether all of it was read. Keeps at most one byte over the
/// limit: then the handler refuses the body in its order of checks. The rest is dropped, up to a
/// bound, since a client that is still writing does not read the answer.
///
/// A body that times out or breaks off is answered here.
pub(super) async fn read(
    request: Request<Incoming>,
) -> Result<(Request<Bytes>, bool), Response<Bytes>> {
    let (head, mut body) = request.into_parts();
    let announced = body.size_hint().lower();
    if announced > limits::BODY_BYTES_MAX as u64 {
        // The body is too large, and the handler will refuse it in its order of checks. Drop what
        // arrives, so that the client finishes writing and reads the answer.
        let is_whole = announced <= DRAIN_BYTES_MAX && drain(&mut body).await;
        return Ok((Request::from_parts(head, Bytes::from(vec![0; KEPT_BYTES_MAX])), is_whole));
    }
    let most = DRAIN_BYTES_MAX;
    match tokio::time::timeout(BODY_WAIT_MAX, collect(&mut body, most)).await {
        Ok(Ok((bytes, is_whole))) => Ok((Request::from_parts(head, bytes), is_whole)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a body broke off");
            Err(refusal(StatusCode::BAD_REQUEST))
        }
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Reads a body and drops it; `false` if it stalls or breaks off.
async fn drain(body: &mut Incoming) -> bool {
    loop {
        match tokio::time::timeout(DRAIN_STALL_MAX, body.frame()).await {
            Ok(Some(Ok(_))) => {}
            Ok(None) => return true,
            Ok(Some(Err(_))) | Err(_) => return false,
        }
    }
}

async fn collect(body: &mut Incoming, most: u64) -> Result<(Bytes, bool), hyper::Error> {
    let mut kept = BytesMut::new();
    let mut seen: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        seen = seen.saturating_add(data.len() as u64);
        let room = KEPT_BYTES_MAX.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or_default());
        if seen >= most && !body.is_end_stream() {
            return Ok((kept.freeze(), false));
        }
    }
    Ok((kept.freeze(), true))
}

/// An answer without a body of the protocol, because there was no valid request.
pub(super) fn refusal(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// How long a body that is too large may pause before it is answered.
const DRAIN_STALL_MAX: Duration = Duration::from_millis(500);
/// One byte over the limit shows that a body is too large.
const KEPT_BYTES_MAX: usize = limits::BODY_BYTES_MAX + 1;
/// Bytes that are read at most. A client that writes more may miss its answer.
const DRAIN_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long a body may take.
const BODY_WAIT_MAX: Duration = Duration::from_secs(20);
