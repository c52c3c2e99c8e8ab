//! REST: one typed call per route.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{ErrorCode, Timestamp};
use protocol::http::client::ProblemBody;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::ServerClock;
use crate::error::ApiError;
use crate::tls::Trust;
use crate::token::{Token, TokenSource};
use crate::transport::{Call, CallError, RawAnswer, Transport, Web};

mod answers;
mod calls;
mod connect;
mod files;

pub use answers::{
    Assignment, FollowedThread, Marked, MemberPage, Page, ProfilePage, Target, Unread,
};
pub use connect::SocketKind;

/// One user's access to the REST API. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    base_url: String,
    source: TokenSource,
    token: Mutex<Option<Token>>,
    clock: Arc<ServerClock>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base_url", &self.0.base_url).finish_non_exhaustive()
    }
}

/// An answer whose body is JSON, or `null` if it is not.
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl RawAnswer {
    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Api {
    /// A user's access to the environment at `base_url`, such as `http://127.0.0.1:8080`. TLS
    /// (`https://`, `wss://`) trusts the public certificate authorities.
    ///
    /// # Errors
    /// [`ApiError::BadAddress`] if `base_url` is not an `http://` or `https://` URL.
    pub fn new(base_url: &str, source: TokenSource) -> Result<Self, ApiError> {
        Self::trusting(base_url, source, Trust::public())
    }

    /// Like [`Api::new`], with other certificate authorities.
    ///
    /// # Errors
    /// As for [`Api::new`].
    pub fn trusting(base_url: &str, source: TokenSource, trust: Trust) -> Result<Self, ApiError> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let web = Web::new(&base_url, trust)?;
        Ok(Self::over(Arc::new(web), &base_url, source))
    }

    /// A user's access over another transport. Errors show `base_url`.
    #[must_use]
    pub fn over(transport: Arc<dyn Transport>, base_url: &str, source: TokenSource) -> Self {
        let (token, clock) = (Mutex::default(), Arc::default());
        Self(Arc::new(Inner { transport, base_url: base_url.to_owned(), source, token, clock }))
    }

    /// Another user's access to the same environment, over the same connection pool.
    #[must_use]
    pub fn with_source(&self, source: TokenSource) -> Self {
        Self(Arc::new(Inner {
            transport: Arc::clone(&self.0.transport),
            base_url: self.0.base_url.clone(),
            source,
            token: Mutex::default(),
            clock: Arc::clone(&self.0.clock),
        }))
    }

    /// The certificate authorities that its calls and sockets trust.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.0.transport.trust()
    }

    /// The server's time, estimated from its answers and its frames.
    #[must_use]
    pub fn server_now(&self) -> Timestamp {
        self.0.clock.now(|| self.0.transport.now())
    }

    /// A frame says the server's time.
    pub(crate) fn learn_frame_time(&self, server_time: Timestamp) {
        self.0.clock.is_at_least(server_time);
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        self.0.transport.as_ref()
    }

    /// The current token; the first call fetches it.
    ///
    /// # Errors
    /// The token source's error.
    pub async fn token(&self) -> Result<Token, ApiError> {
        let mut held = self.0.token.lock().await;
        if let Some(token) = held.as_ref() {
            return Ok(token.clone());
        }
        let token = self.fetched_token().await?;
        Ok(held.insert(token).clone())
    }

    async fn fetched_token(&self) -> Result<Token, ApiError> {
        match &self.0.source {
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::Dev(user) => self.dev_token(user).await,
            TokenSource::Login(login) => login().await,
        }
    }

    /// Fetches another token, and keeps the current one until it is there.
    pub(crate) async fn newer_token(&self) -> Result<(), ApiError> {
        let token = self.fetched_token().await?;
        *self.0.token.lock().await = Some(token);
        Ok(())
    }

    /// When the current token expires, if another one can be fetched and this one says it.
    pub(crate) async fn token_ends_at(&self) -> Option<Timestamp> {
        let is_fixed = matches!(self.0.source, TokenSource::Fixed(_));
        let held = self.0.token.lock().await;
        held.as_ref().filter(|_| !is_fixed)?.expires_at()
    }

    /// Forgets the current token and fetches another one, as close code 4401 requires.
    ///
    /// # Errors
    /// The token source's error.
    pub async fn fresh_token(&self) -> Result<Token, ApiError> {
        *self.0.token.lock().await = None;
        self.token().await
    }

    /// Sends exactly the given request, without adding a token.
    ///
    /// # Errors
    /// [`ApiError`], but never a refusal: that is an answer here.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Vec<u8>>,
    ) -> Result<RawAnswer, ApiError> {
        let (path, body) = (path.to_owned(), body.into());
        let answer = self.0.transport.call(Call { method, path, headers, body }).await;
        answer.map_err(|error| match error {
            CallError::TooLong { status } => ApiError::BadAnswer { status, retry_after: None },
            source @ (CallError::NotSent(_) | CallError::NotAnswered(_)) => {
                ApiError::Unreachable { base_url: self.0.base_url.clone(), source }
            }
        })
    }

    /// Makes a call with the user's token. If it has expired, repeats the call once with a new one.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        Self::read(self.answered(method, path, body).await?)
    }

    /// The same, for an answer that is not read as JSON.
    async fn answered(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answered, ApiError> {
        let token = self.token().await?;
        let first = self.attempt(method.clone(), path, Some(&token), body).await?;
        let renewable = !matches!(self.0.source, TokenSource::Fixed(_));
        let code = first.body.get("code").and_then(Value::as_str);
        if renewable && code == Some(ErrorCode::TokenExpired.as_str()) {
            let token = self.fresh_token().await?;
            return self.attempt(method, path, Some(&token), body).await;
        }
        Ok(first)
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        token: Option<&Token>,
        body: Option<&Value>,
    ) -> Result<Answered, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            // No issuer makes a token that a header cannot hold, so send the call without it.
            let bearer = HeaderValue::from_str(&format!("Bearer {}", token.as_str()));
            headers.extend(bearer.ok().map(|bearer| (AUTHORIZATION, bearer)));
        }
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let started_at = Instant::now();
        let RawAnswer { status, headers, body } = self.raw(method, path, headers, body).await?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(server_time) = body.get("server_time").and_then(Value::as_u64) {
            let server_time = Timestamp::from_unix_ms(server_time);
            self.0.clock.learn(server_time, started_at.elapsed());
        }
        Ok(Answered { status, headers, body })
    }

    fn read<T: DeserializeOwned>(answer: Answered) -> Result<T, ApiError> {
        if !(200..300).contains(&answer.status) {
            return Err(Self::refusal(answer));
        }
        let bad = ApiError::BadAnswer { status: answer.status, retry_after: None };
        serde_json::from_value(answer.body).or(Err(bad))
    }

    /// The error of an answer that is not the one that its call asks for.
    fn refusal(answer: Answered) -> ApiError {
        // In seconds, the only form that this protocol sends.
        let wait = answer.headers.get(RETRY_AFTER);
        let seconds = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        let (status, retry_after) = (answer.status, seconds.map(Duration::from_secs));
        let Ok(mut problem) = serde_json::from_value::<Box<ProblemBody>>(answer.body) else {
            return ApiError::BadAnswer { status, retry_after };
        };
        let from_header = retry_after.and_then(|wait| u64::try_from(wait.as_millis()).ok());
        problem.retry_after_ms = problem.retry_after_ms.or(from_header);
        ApiError::Refused { status, problem }
    }
}

#[cfg(test)]
mod tests;
