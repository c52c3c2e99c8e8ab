//! REST: one typed call per route.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{ErrorCode, Timestamp, limits};
use protocol::http::call::ProblemBody;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::ServerClock;
use crate::error::ApiError;
use crate::token::{Token, TokenSource};

mod answers;
mod calls;

pub use answers::{Assignment, ChannelPage, MemberPage, Page, Posted, Target};

/// The REST side of one user. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
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

/// An answer as it came: for tests that send what a typed call cannot.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Api {
    /// A user's access to the environment at `base_url`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ApiError::BadAddress`] if that is no `http://` URL: TLS is the application's business.
    pub fn new(base_url: &str, source: TokenSource) -> Result<Self, ApiError> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        let plain = reqwest::Url::parse(&base_url).is_ok_and(|url| url.scheme() == "http");
        let http = reqwest::Client::builder()
            .http1_only()
            // A proxy from the environment would stand between a test and 127.0.0.1.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT_MAX)
            .timeout(CALL_WAIT_MAX)
            .tcp_nodelay(true)
            .build();
        match http {
            Ok(http) if plain => {
                let (token, clock) = (Mutex::default(), Arc::default());
                Ok(Self(Arc::new(Inner { http, base_url, source, token, clock })))
            }
            Ok(_) | Err(_) => Err(ApiError::BadAddress),
        }
    }

    /// Another user's access to the same environment, over the same pool of connections.
    #[must_use]
    pub fn with_source(&self, source: TokenSource) -> Self {
        Self(Arc::new(Inner {
            http: self.0.http.clone(),
            base_url: self.0.base_url.clone(),
            source,
            token: Mutex::default(),
            clock: Arc::clone(&self.0.clock),
        }))
    }

    /// Where the calls go.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    /// The server's time, as the last answers told it.
    #[must_use]
    pub fn server_now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The current token; the first call fetches it.
    ///
    /// # Errors
    /// What the token source fails with.
    pub async fn token(&self) -> Result<Token, ApiError> {
        let mut held = self.0.token.lock().await;
        if let Some(token) = held.as_ref() {
            return Ok(token.clone());
        }
        let token = self.fetch_token().await?;
        *held = Some(token.clone());
        Ok(token)
    }

    /// Forgets the current token and fetches another one: what close code 4401 asks for.
    ///
    /// # Errors
    /// What the token source fails with.
    pub async fn fresh_token(&self) -> Result<Token, ApiError> {
        *self.0.token.lock().await = None;
        self.token().await
    }

    async fn fetch_token(&self) -> Result<Token, ApiError> {
        match &self.0.source {
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::Dev(user) => self.dev_token(user).await,
            TokenSource::Login(login) => login().await,
        }
    }

    /// Sends exactly what it is given, without a token of its own.
    ///
    /// # Errors
    /// [`ApiError::Unreachable`]; a refusal is an answer here.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Vec<u8>>,
    ) -> Result<RawAnswer, ApiError> {
        let request = self.0.http.request(method, format!("{}{path}", self.0.base_url));
        let sent = request.headers(headers).body(body.into()).send().await;
        let mut response = sent.map_err(|source| self.unreachable(source))?;
        let body = self.read(&mut response).await?;
        let status = response.status().as_u16();
        Ok(RawAnswer { status, headers: response.headers().clone(), body })
    }

    /// A call with the user's token; once more with a fresh one if that has expired.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let token = self.token().await?;
        let first = self.attempt(method.clone(), path, Some(&token), body).await;
        let renewable = !matches!(self.0.source, TokenSource::Fixed(_));
        match first {
            Err(error) if renewable && error.code() == Some(ErrorCode::TokenExpired) => {
                let token = self.fresh_token().await?;
                self.attempt(method, path, Some(&token), body).await
            }
            other => other,
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: Option<&Token>,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let mut request = self.0.http.request(method, format!("{}{path}", self.0.base_url));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let started_at = Instant::now();
        let sent = request.send().await;
        let mut response = sent.map_err(|source| self.unreachable(source))?;
        let bytes = self.read(&mut response).await?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        if status.is_success() {
            let bad = ApiError::BadAnswer { status: status.as_u16(), retry_after };
            let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            self.learn_time(&body, started_at);
            return serde_json::from_value(body).or(Err(bad));
        }
        Err(self.refusal(status, retry_after, &bytes, started_at))
    }

    fn learn_time(&self, body: &Value, started_at: Instant) {
        if let Some(server_time) = body.get("server_time").and_then(Value::as_u64) {
            self.0.clock.learn(Timestamp::from_unix_ms(server_time), started_at.elapsed());
        }
    }

    fn refusal(
        &self,
        status: StatusCode,
        retry_after: Option<Duration>,
        bytes: &[u8],
        started_at: Instant,
    ) -> ApiError {
        let status = status.as_u16();
        let Ok(mut problem) = serde_json::from_slice::<ProblemBody>(bytes) else {
            return ApiError::BadAnswer { status, retry_after };
        };
        if let Some(server_time) = problem.server_time {
            self.0.clock.learn(Timestamp::from_unix_ms(server_time), started_at.elapsed());
        }
        let from_header = retry_after.and_then(|wait| u64::try_from(wait.as_millis()).ok());
        problem.retry_after_ms = problem.retry_after_ms.or(from_header);
        ApiError::Refused { status, problem: Box::new(problem) }
    }

    /// Reads a body up to its bound: whatever answers, this client's memory is its own.
    async fn read(&self, response: &mut Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_BYTES_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => return Ok(body),
                Ok(Some(_)) => {
                    let status = response.status().as_u16();
                    return Err(ApiError::BadAnswer { status, retry_after: None });
                }
                Err(source) => return Err(self.unreachable(source)),
            }
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ApiError {
        ApiError::Unreachable { base_url: self.0.base_url.clone(), source: source.without_url() }
    }
}

/// `Retry-After` in its form of seconds, the only one that this protocol sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
/// A send must be answered within its own deadline; the rest is the way there and back.
const CALL_WAIT_MAX: Duration = limits::SEND_DEADLINE.saturating_add(Duration::from_secs(4));
/// A full page of the longest texts, at four bytes a character and some for JSON.
const ANSWER_BYTES_MAX: usize =
    limits::PAGE_ROWS_MAX as usize * limits::MESSAGE_CHARS_MAX * 4 + (1 << 20);

#[cfg(test)]
mod tests;
