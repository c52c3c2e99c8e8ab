//! What the functions share between the request and its response.
//!
//! A failure's public code alone decides its status. Its cause is logged once, with the request's
//! id, in the one line that each call writes ([`Call`]).

mod access_log;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use messaging::amend::AmendError;
use messaging::attachments::AttachmentError;
use messaging::channels::{CreateChannelError, ReadChannelError};
use messaging::connect::ConnectError;
use messaging::details::ChangeChannelError;
use messaging::members::ChangeMembersError;
use messaging::ports::{Principal, TokenError};
use messaging::profiles::ProfileError;
use messaging::read_state::MarkError;
use messaging::receipts::ReceiptsError;
use messaging::revoke::RevokeError;
use messaging::scroll::ScrollError;
use messaging::send::PostMessageError;
use messaging::threads::FollowError;
use messaging::{App, Refusal, StoreError};
use model::{ErrorCode, MessageId, Retry, chain, limits};
use protocol::http::bearer;
use protocol::problem::{self, Problem};
use protocol::routes::{self, Function, Route};
use serde::Serialize;
use tracing::Instrument;

use access_log::{Refused, begin, method_of};

pub use access_log::{Call, LogFields, origin};

/// The id of one call, which is in its answer and on every log line about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// Accepts the platform's id of the call; `None` if it contains other characters than ids do.
    #[must_use]
    pub fn from_platform(text: &str) -> Option<Self> {
        let is_plain = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_plain.then(|| Self(text.to_owned()))
    }

    /// Mints an id.
    #[must_use]
    pub fn mint(app: &App) -> Self {
        Self(MessageId::mint(app.clock.now(), app.randomness.bits()).to_string())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bits of an id that is a ULID or a UUID.
    fn bits(&self) -> Option<u128> {
        let ulid = MessageId::parse(&self.0).ok().map(MessageId::bits);
        let uuid = || u128::from_str_radix(&self.0.replace('-', ""), 16).ok();
        ulid.or_else(uuid).filter(|bits| *bits != 0)
    }

    fn of(app: &App, request: &Request<Bytes>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self::mint(app))
    }
}

/// A failed call: the answer for the caller, and the cause for the log.
#[derive(Debug)]
pub struct Failure {
    problem: Problem,
    cause: Option<Box<str>>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self { problem, cause: None }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Problem::from(code).into()
    }
}

impl Failure {
    fn of(refusal: &impl Refusal) -> Self {
        let mut problem = Problem::from(refusal.code());
        problem.field = refusal.field().map(Into::into);
        problem.current = refusal.current().cloned().map(Box::new);
        Self { problem, cause: Some(chain(refusal).into()) }
    }
}

macro_rules! failures {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(&error)
            }
        })*
    };
}

failures! {
    AmendError, AttachmentError, FollowError, PostMessageError, ScrollError, CreateChannelError, ReadChannelError, ChangeChannelError, ChangeMembersError, ProfileError, RevokeError, ConnectError, StoreError, MarkError, ReceiptsError,
}

/// An answer to a call that succeeded.
#[derive(Debug)]
pub struct Answer(Response<Bytes>);

impl Answer {
    /// The call succeeded.
    #[must_use]
    pub fn ok(body: &impl Serialize) -> Self {
        Self(problem::answer(StatusCode::OK, body))
    }

    /// The call created something.
    #[must_use]
    pub fn created(body: &impl Serialize) -> Self {
        Self(problem::answer(StatusCode::CREATED, body))
    }

    /// What the call asks for is at this URL, for now. Nobody may keep the answer.
    ///
    /// # Errors
    /// `unavailable` if the URL cannot stand in a header.
    pub fn found(url: &str) -> Result<Self, Failure> {
        let location = HeaderValue::from_str(url);
        let location = location.map_err(|_form| Failure::from(ErrorCode::Unavailable))?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(Self(response))
    }
}

/// Returns the route of a request.
///
/// # Errors
/// `not_found` or `method_not_allowed`.
pub fn route(request: &Request<Bytes>) -> Result<Route, Failure> {
    let route = routes::resolve(request.method(), request.uri().path())?;
    LogFields::of(request).route(route.template());
    Ok(route)
}

/// Returns the caller, from the bearer token.
///
/// # Errors
/// `unauthenticated`, `invalid_token` or `token_expired`.
pub fn authenticate(app: &App, request: &Request<Bytes>) -> Result<Principal, Failure> {
    let token = bearer(request.headers())?;
    let now = app.clock.now();
    let caller = app.tokens.verify(token, now).map_err(|error| {
        let is_expired = error == TokenError::Expired;
        let code = if is_expired { ErrorCode::TokenExpired } else { ErrorCode::InvalidToken };
        Problem { token: Some(error), server_time: is_expired.then_some(now), ..code.into() }
    })?;
    LogFields::of(request).caller(&caller);
    Ok(caller)
}

/// Builds the response of a call. A failure's cause goes with it, for the call's log line.
#[must_use]
pub fn respond(
    app: &App,
    request: &Request<Bytes>,
    result: Result<Answer, Failure>,
) -> Response<Bytes> {
    let id = RequestId::of(app, request);
    let mut response = match result {
        Ok(Answer(response)) => response,
        Err(failure) => refuse(app, &id, failure),
    };
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn refuse(app: &App, id: &RequestId, failure: Failure) -> Response<Bytes> {
    let Failure { mut problem, cause } = failure;
    let code = problem.code;
    if matches!(problem.code.status(), 422 | 429 | 503) {
        problem.server_time = Some(app.clock.now());
    }
    if problem.code.retry() == Retry::AfterBackoff {
        let is_fleet = code == ErrorCode::NoCapacity;
        let circuit = if is_fleet { app.nodes_circuit() } else { app.store_circuit() };
        problem.retry_after = Some(circuit.retry_after());
    }
    let mut response = problem.into_response(id.as_str());
    response.extensions_mut().insert(Refused { code, cause });
    response
}

/// Runs a handler on a request, and logs the call's line.
pub async fn serve<H, F>(app: App, request: Request<Bytes>, handle: H) -> Response<Bytes>
where
    H: FnOnce(App, Request<Bytes>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let (response, call) = attend(app, request, handle).await;
    call.log();
    response
}

/// Runs a handler on a request, in a span with the request's and the trace's id, and returns the
/// call's log line with the response. A panic costs only this call, and so does a timeout. Both are
/// answered as `unavailable`, since it is unknown what the handler has done by then.
pub async fn attend<H, F>(
    app: App,
    mut request: Request<Bytes>,
    handle: H,
) -> (Response<Bytes>, Call)
where
    H: FnOnce(App, Request<Bytes>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let id = RequestId::of(&app, &request);
    request.extensions_mut().insert(id.clone());
    let mut bare = Request::new(Bytes::new());
    bare.extensions_mut().insert(id.clone());
    let (origin, notes) = (begin(&app, &request), LogFields::default());
    request.extensions_mut().insert(origin);
    request.extensions_mut().insert(notes.clone());
    let method = method_of(request.method());
    let span = tracing::info_span!(
        "call", request_id = id.as_str(), trace_id = %origin.trace, method
    );
    let wall = wall_of(&request);
    let call = AssertUnwindSafe(async { handle(app.clone(), request).await });
    let call = tokio::time::timeout(wall, call.catch_unwind().instrument(span));
    let unavailable = |cause: &str| {
        let (problem, cause) = (ErrorCode::Unavailable.into(), Some(cause.into()));
        respond(&app, &bare, Err(Failure { problem, cause }))
    };
    let mut response = match call.await {
        Ok(Ok(response)) => response,
        // A panic's message may contain what a user wrote: the panic hook logs only its location.
        Ok(Err(_)) => unavailable("the handler panicked"),
        Err(_) => unavailable("the call timed out"),
    };
    let call = Call::new((id, origin, method), &notes, &mut response, app.clock.now());
    (response, call)
}

/// How long a call may take: less than the function's timeout, so that the caller gets an answer.
fn wall_of(request: &Request<Bytes>) -> Duration {
    match routes::resolve(request.method(), request.uri().path()).map(|route| route.function()) {
        Ok(Function::Send | Function::Amend | Function::Files) => limits::SEND_DEADLINE,
        Ok(Function::Membership) => limits::MEMBERSHIP_DEADLINE,
        Ok(Function::Scroll | Function::Connect) | Err(_) => limits::CALL_DEADLINE,
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests;
