//! Problem details (RFC 9457): the form of every refusal.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use model::{ErrorCode, Message, Retry, Timestamp};
use serde_json::{Map, Value};

use crate::token::TokenError;

/// A refusal, before it is written. Contains nothing that the caller may not see: neither their
/// input nor an internal cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: ErrorCode,
    /// A sentence on this occurrence, in our own words only.
    pub detail: Option<&'static str>,
    /// Why a token is refused. It says the detail, too.
    pub token: Option<TokenError>,
    /// The name of the wrong field in this protocol.
    pub field: Option<Cow<'static, str>>,
    /// How long to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The server's clock, if the caller's seems wrong.
    pub server_time: Option<Timestamp>,
    /// The methods that the route accepts.
    pub allow: Option<&'static str>,
    /// The message as it is, if the caller expected another revision.
    pub current: Option<Box<Message>>,
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        let retry_after = (code.retry() == Retry::AfterBackoff).then_some(Duration::from_secs(1));
        Self {
            code,
            detail: None,
            token: None,
            field: None,
            retry_after,
            server_time: None,
            allow: None,
            current: None,
        }
    }
}

impl Problem {
    /// A field that is missing, unknown, or has the wrong type or form.
    #[must_use]
    pub fn invalid_field(field: impl Into<Cow<'static, str>>, detail: &'static str) -> Self {
        let field = Some(field.into());
        Self { field, detail: Some(detail), ..ErrorCode::InvalidField.into() }
    }

    /// Adds a sentence on this occurrence.
    #[must_use]
    pub fn because(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Adds the field that it is about.
    #[must_use]
    pub fn of_field(self, field: &'static str) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// Writes the response. `request_id` leads to the cause in the log.
    #[must_use]
    pub fn into_response(self, request_id: &str) -> Response<Bytes> {
        let body = Bytes::from(Value::Object(self.members(request_id)).to_string());
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(whole));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.code.status() == 401 {
            headers.insert(WWW_AUTHENTICATE, self.challenge());
        }
        response
    }

    /// `WWW-Authenticate` (RFC 6750, 3). It names an error if there was a token, and none if there was not.
    fn challenge(&self) -> HeaderValue {
        let refused = self.token.map(TokenError::description).and_then(|why| {
            let text = format!(r#"Bearer error="invalid_token", error_description="{why}""#);
            HeaderValue::from_str(&text).ok()
        });
        refused.unwrap_or(HeaderValue::from_static("Bearer"))
    }

    fn members(&self, request_id: &str) -> Map<String, Value> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
        put("type", format!("urn:inkwire:error:{}", self.code.as_str()).into());
        put("title", self.code.title().into());
        put("status", self.code.status().into());
        let of_token = self.token.map(TokenError::description);
        put("detail", self.detail.or(of_token).unwrap_or(self.code.title()).into());
        put("code", self.code.as_str().into());
        put("request_id", request_id.into());
        put("retryable", (self.code.retry() == Retry::AfterBackoff).into());
        if let Some(wait) = self.retry_after {
            put("retry_after_ms", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).into());
        }
        if let Some(token) = self.token {
            put("reason", token.reason().into());
        }
        if let Some(field) = &self.field {
            put("field", field.as_ref().into());
        }
        if let Some(time) = self.server_time {
            put("server_time", time.unix_ms().into());
        }
        if let Some(current) = &self.current {
            put("current", serde_json::to_value(current).unwrap_or_default());
        }
        members
    }
}

/// A successful response: JSON that no cache may keep.
#[must_use]
pub fn answer(status: StatusCode, body: &impl serde::Serialize) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_every_member_and_header() {
        let problem = Problem {
            server_time: Some(Timestamp::from_unix_ms(9)),
            ..ErrorCode::NoCapacity.into()
        };
        let response = problem.of_field("failed").into_response("R1");
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:inkwire:error:no_capacity", "title": ErrorCode::NoCapacity.title(),
                "status": 503, "detail": ErrorCode::NoCapacity.title(), "code": "no_capacity",
                "request_id": "R1", "retryable": true, "retry_after_ms": 1000, "field": "failed",
                "server_time": 9
            })
        );
    }
}
