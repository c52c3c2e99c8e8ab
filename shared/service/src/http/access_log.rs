//! One log line per call: who called what, the result, and how long it took. It never contains a
//! text, a token, or anything else that a caller chose freely.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use messaging::App;
use messaging::ports::Principal;
use model::{ChannelId, ErrorCode, MessageId, Timestamp, TraceId, UserId, WorkspaceId};
use parking_lot::Mutex;
use protocol::http::trace;
use protocol::publication::Origin;
use serde::Serialize;

use super::RequestId;
use crate::metrics::{Metric, document};

/// What a handler learns about a call, for the call's line. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LogFields(Arc<Mutex<Fields>>);

#[derive(Debug, Clone, Default)]
struct Fields {
    route: Option<&'static str>,
    workspace: Option<WorkspaceId>,
    user: Option<UserId>,
    channel: Option<ChannelId>,
    message: Option<MessageId>,
    duplicate: Option<bool>,
}

impl LogFields {
    /// Returns the notes of a request. They are lost unless it comes from [`super::serve`].
    #[must_use]
    pub fn of(request: &Request<Bytes>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Records the channel.
    pub fn channel(&self, channel: &ChannelId) {
        self.0.lock().channel = Some(channel.clone());
    }

    /// Records the message, and whether it was a duplicate.
    pub fn message(&self, message: MessageId, duplicate: bool) {
        let mut noted = self.0.lock();
        (noted.message, noted.duplicate) = (Some(message), Some(duplicate));
    }

    pub(super) fn route(&self, route: &'static str) {
        self.0.lock().route = Some(route);
    }

    pub(super) fn caller(&self, caller: &Principal) {
        let mut noted = self.0.lock();
        noted.workspace = Some(caller.workspace_id.clone());
        noted.user = Some(caller.user_id.clone());
    }
}

/// Where a call began: as [`super::serve`] recorded it, else now, with the call's own trace.
#[must_use]
pub fn origin(app: &App, request: &Request<Bytes>) -> Origin {
    request.extensions().get().copied().unwrap_or_else(|| begin(app, request))
}

/// Begins a call now, in the caller's or the platform's trace, else in one made from the call's id.
pub(super) fn begin(app: &App, request: &Request<Bytes>) -> Origin {
    let of_id = || {
        let bits = RequestId::of(app, request).bits();
        TraceId::of_bits(bits.unwrap_or_else(|| app.randomness.bits()))
    };
    let trace = trace(request.headers()).unwrap_or_else(of_id);
    Origin { received_at: app.clock.now(), trace }
}

/// Why a call was refused. It travels with the response to the call's line.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    pub(super) cause: Option<Box<str>>,
}

/// A call that was answered.
#[derive(Debug)]
pub struct Call {
    id: RequestId,
    origin: Origin,
    method: &'static str,
    status: u16,
    refused: Option<Refused>,
    took: Duration,
    noted: Fields,
}

impl Call {
    pub(super) fn new(
        (id, origin, method): (RequestId, Origin, &'static str),
        notes: &LogFields,
        response: &mut Response<Bytes>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            origin,
            method,
            status: response.status().as_u16(),
            refused: response.extensions_mut().remove(),
            took: now.since(origin.received_at),
            noted: notes.0.lock().clone(),
        }
    }

    /// Logs the call's line. Our own failures are errors; throttling and missing capacity are
    /// warnings. Refusals are normal answers.
    pub fn log(&self) {
        // The macro needs a level that is known at compile time.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.id.as_str(),
                    trace_id = %self.origin.trace,
                    method = self.method,
                    route = self.noted.route,
                    status = self.status,
                    code = self.code(),
                    cause = self.cause(),
                    duration_ms = self.duration_ms(),
                    workspace_id = self.noted.workspace.as_ref().map(display),
                    user_id = self.noted.user.as_ref().map(display),
                    channel_id = self.noted.channel.as_ref().map(display),
                    message_id = self.noted.message.map(display),
                    duplicate = self.noted.duplicate,
                    "call"
                )
            };
        }
        match self.level() {
            "ERROR" => line!(error),
            "WARN" => line!(warn),
            _ => line!(info),
        }
    }

    /// Returns the call's line with metrics in it (EMF), for a function of this name: what the
    /// environment counted since the last line, and how the call ended.
    #[must_use]
    pub fn document(&self, app: &App, function: &str) -> String {
        let counts = app.counters().take().into_iter();
        let mut metrics: Vec<Metric> =
            counts.map(|(counter, count)| Metric::count(counter.as_str(), count)).collect();
        let ending = match (self.status, self.code()) {
            (503, Some("no_capacity")) => Some("no_capacity"),
            (500.., _) => Some("failures"),
            (429, _) => Some("put_off"),
            (_, _) => None,
        };
        metrics.extend(ending.map(|name| Metric::count(name, 1)));
        document(function, self.origin.received_at, &metrics, &self.line())
    }

    fn line(&self) -> Line<'_> {
        let noted = &self.noted;
        Line {
            timestamp: self.origin.received_at.rfc3339(),
            level: self.level(),
            message: "call",
            request_id: self.id.as_str(),
            trace_id: self.origin.trace.to_string(),
            method: self.method,
            route: noted.route,
            status: self.status,
            code: self.code(),
            cause: self.cause(),
            duration_ms: self.duration_ms(),
            workspace_id: noted.workspace.as_ref().map(WorkspaceId::as_str),
            user_id: noted.user.as_ref().map(UserId::as_str),
            channel_id: noted.channel.as_ref().map(ChannelId::as_str),
            message_id: noted.message.map(|id| id.to_string()),
            duplicate: noted.duplicate,
        }
    }

    fn level(&self) -> &'static str {
        match (self.status, self.code()) {
            (503, Some("no_capacity")) | (429, _) => "WARN",
            (500.., _) => "ERROR",
            (_, _) => "INFO",
        }
    }

    fn code(&self) -> Option<&'static str> {
        self.refused.as_ref().map(|refused| refused.code.as_str())
    }

    /// `None` for a refusal, whose code says everything.
    fn cause(&self) -> Option<&str> {
        let refused = self.refused.as_ref().filter(|_| self.status >= 429)?;
        refused.cause.as_deref()
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A call's line, for machines. Absent values are left out.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    request_id: &'a str,
    trace_id: String,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'static str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

/// Any other method is a text that the caller chose.
pub(super) fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
