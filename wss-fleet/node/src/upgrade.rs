//! The opening handshake (RFC 6455 4.2): every answer before a socket exists.

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body_util::Full;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The path of the socket.
pub(crate) const PATH: &str = "/socket";

/// An answer before the upgrade.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Examines an upgrade request; returns the value of `Sec-WebSocket-Accept`.
///
/// A bad ticket is not refused here: browsers cannot see an upgrade's status, so it gets a close
/// code after the 101. `is_early`: bytes arrived after the head before it was answered.
pub(crate) fn examine(
    request: &Parts,
    is_early: bool,
    allowed_origins: &[String],
) -> Result<String, Box<Answer>> {
    let headers = &request.headers;
    if request.uri.path() != PATH {
        return Err(refuse(StatusCode::NOT_FOUND, "no such path"));
    }
    if request.method != Method::GET {
        let refused = refuse(StatusCode::METHOD_NOT_ALLOWED, "open a WebSocket with GET");
        return Err(with(refused, ALLOW, "GET"));
    }
    if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
        let refused =
            refuse(StatusCode::UPGRADE_REQUIRED, "this path takes WebSocket upgrades only");
        return Err(with(refused, UPGRADE, "websocket"));
    }
    if one(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        let refused =
            refuse(StatusCode::UPGRADE_REQUIRED, "only WebSocket version 13 is supported");
        let refused = with(refused, UPGRADE, "websocket");
        return Err(with(refused, SEC_WEBSOCKET_VERSION, "13"));
    }
    if request.version < Version::HTTP_11 {
        return Err(refuse(StatusCode::BAD_REQUEST, "open a WebSocket with HTTP/1.1"));
    }
    if one(headers, &HOST).is_none() {
        return Err(refuse(StatusCode::BAD_REQUEST, "Host is missing"));
    }
    let key = one(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or malformed"));
    };
    // A client must wait for the answer (RFC 6455 4.1). One that does not may be a page that was
    // tricked into sending frames to a server that takes them for another request.
    if is_early || announces_body(headers) {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "send nothing after the request until it is answered",
        ));
    }
    if headers.contains_key(ORIGIN) {
        let origin = one(headers, &ORIGIN).unwrap_or_default();
        if !allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Err(refuse(StatusCode::FORBIDDEN, "this origin is not allowed"));
        }
    }
    Ok(derive_accept_key(key.as_bytes()))
}

/// The 101.
pub(crate) fn accepted(accept: &str) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The 503 of a node that is full or draining.
pub(crate) fn unavailable(why: &'static str) -> Answer {
    *with(refuse(StatusCode::SERVICE_UNAVAILABLE, why), RETRY_AFTER, "1")
}

/// A refusal in plain words; the connection closes after it.
pub(crate) fn refuse(status: StatusCode, why: &'static str) -> Box<Answer> {
    let mut response = Response::new(Full::from(why));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Box::new(response)
}

fn with(mut answer: Box<Answer>, name: HeaderName, value: &'static str) -> Box<Answer> {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}

/// The value of a header that occurs exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

fn announces_body(headers: &HeaderMap) -> bool {
    let is_empty = |value: &HeaderValue| value.as_bytes() == b"0";
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get_all(CONTENT_LENGTH).iter().any(|length| !is_empty(length))
}

/// Base 64 of 16 bytes: 22 characters and `==`.
fn is_key(key: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.strip_suffix("==").is_some_and(|key| key.len() == 22 && key.bytes().all(alphabet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl Fn(&mut http::request::Builder)) -> Parts {
        let mut builder = http::Request::builder()
            .uri(PATH)
            .header("host", "127.0.0.1:1")
            .header("upgrade", "WebSocket")
            .header("connection", "keep-alive, Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        change(&mut builder);
        builder.body(()).unwrap().into_parts().0
    }

    fn status(parts: &Parts) -> u16 {
        let origins = ["http://localhost:8080".to_owned()];
        examine(parts, false, &origins).map_or_else(|answer| answer.status().as_u16(), |_| 101)
    }

    fn without(name: &str) -> Parts {
        let mut parts = request(|_| {});
        parts.headers.remove(name);
        parts
    }

    fn set(name: &'static str, value: &str) -> Parts {
        let mut parts = request(|_| {});
        parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
        parts
    }

    #[test]
    fn a_good_handshake_is_accepted() {
        let accept = examine(&request(|_| {}), false, &[]).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn bad_handshakes_are_told_apart() {
        let mut elsewhere = request(|_| {});
        elsewhere.uri = "/other".parse().unwrap();
        let old = request(|builder| {
            *builder = std::mem::take(builder).version(Version::HTTP_10);
        });
        let mut post = request(|_| {});
        post.method = Method::POST;
        for (parts, expected) in [
            (elsewhere, 404),
            (post, 405),
            (old, 400),
            (without("upgrade"), 426),
            (without("connection"), 426),
            (set("upgrade", "h2c"), 426),
            (without("sec-websocket-version"), 426),
            (set("sec-websocket-version", "8"), 426),
            (without("host"), 400),
            (without("sec-websocket-key"), 400),
            (set("sec-websocket-key", "short"), 400),
            (set("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"), 400),
            (set("content-length", "3"), 400),
            (set("content-length", "0"), 101),
            (set("transfer-encoding", "chunked"), 400),
            (set("origin", "http://evil.example"), 403),
            (set("origin", "null"), 403),
            (set("origin", "http://LOCALHOST:8080"), 101),
        ] {
            assert_eq!(status(&parts), expected, "{parts:?}");
        }
    }
}
