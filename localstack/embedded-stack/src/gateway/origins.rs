//! Pages of other origins, such as a front-end's development server: what browsers ask before they call,
//! and what they want to read in an answer (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, ORIGIN, VARY,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};

/// The origins whose pages may use the gateway, besides its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    pub(super) const fn new(allowed: Vec<String>) -> Self {
        Self(allowed)
    }

    /// The origin of a request, if its pages may use the gateway.
    pub(super) fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        let text = origin.to_str().ok()?;
        self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)).then_some(origin)
    }

    /// The answer to a browser that asks whether a page may make a call.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let asks = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() != Method::OPTIONS || !asks {
            return None;
        }
        self.allowed(request.headers())?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, ASKED_AGAIN_AFTER_S),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }

    /// Lets a page of this origin read an answer.
    pub(super) fn let_read(origin: HeaderValue, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        // Files may be read by all.
        headers.entry(ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_HEADERS));
    }
}

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const REQUEST_HEADERS: &str = "authorization, content-type";
const ANSWER_HEADERS: &str = "retry-after, www-authenticate, x-request-id";
/// Seconds: the longest time that all browsers respect.
const ASKED_AGAIN_AFTER_S: &str = "600";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn only_pages_of_allowed_origins_are_answered() {
        let origins = Origins::new(vec!["http://localhost:5173".to_owned()]);
        let method = ("access-control-request-method", "POST");
        for (origin, is_allowed) in [
            ("http://localhost:5173", true),
            ("HTTP://LOCALHOST:5173", true),
            ("http://localhost:5174", false),
            ("https://localhost:5173", false),
            ("http://localhost:5173.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let preflight = asked(Method::OPTIONS, &[("origin", origin), method]);
            let answer = origins.preflight(&preflight);
            assert_eq!(answer.is_some(), is_allowed, "{origin}");
            assert!(answer.is_none_or(|answer| answer.status() == StatusCode::NO_CONTENT));
            let call = asked(Method::POST, &[("origin", origin)]);
            assert_eq!(origins.allowed(call.headers()).is_some(), is_allowed, "{origin}");
        }
        let own = ("origin", "http://localhost:5173");
        assert!(origins.allowed(asked(Method::POST, &[own, own]).headers()).is_none());
        assert!(origins.preflight(&asked(Method::OPTIONS, &[own])).is_none(), "it asks nothing");
        assert!(origins.preflight(&asked(Method::POST, &[own, method])).is_none());
    }
}
