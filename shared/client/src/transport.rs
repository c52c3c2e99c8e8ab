//! What a client needs of the world: calls, byte streams, a clock, chance. The default is HTTP over
//! TCP or TLS and the system's own; a simulation brings others.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use model::{Timestamp, limits};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, redirect};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::ApiError;
use crate::trust::Trust;

/// A connection to a node before anything was said on it.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}

/// One HTTP call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers that are the call's own.
    pub headers: HeaderMap,
    /// Its body, perhaps empty.
    pub body: Vec<u8>,
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

/// What lies underneath a call without an answer.
pub type CallCause = Box<dyn Error + Send + Sync>;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It never left: nothing happened.
    #[error("no connection")]
    NotSent(#[source] CallCause),
    /// It left, and nothing came back, or half of it: it may have happened.
    #[error("no answer")]
    NotAnswered(#[source] CallCause),
    /// It was answered at a length that no answer of this protocol has.
    #[error("the answer is too long")]
    TooLong {
        /// Its HTTP status.
        status: u16,
    },
}

/// The world as a client sees it.
#[async_trait]
pub trait Transport: Send + Sync + Debug {
    /// Makes one call, and gives up by itself.
    ///
    /// # Errors
    /// [`CallError`]; a refusal is an answer here.
    async fn call(&self, call: Call) -> Result<RawAnswer, CallError>;

    /// Opens a byte stream to `host:port`.
    ///
    /// # Errors
    /// Whatever the other end, or the way to it, says.
    async fn dial(&self, authority: &str) -> io::Result<Box<dyn ByteStream>>;

    /// Whom it believes over TLS, on what it dialled.
    fn trust(&self) -> Trust {
        Trust::public()
    }

    /// The local clock, right or wrong.
    fn now(&self) -> Timestamp;

    /// 128 random bits.
    fn random(&self) -> u128;
}

/// HTTP by a pool of connections, TCP, the system's clock and randomness.
#[derive(Debug)]
pub(crate) struct Web {
    http: reqwest::Client,
    base_url: String,
    trust: Trust,
}

impl Web {
    /// # Errors
    /// [`ApiError::BadAddress`] if that is no `http://` or `https://` URL.
    pub(crate) fn new(base_url: &str, trust: Trust) -> Result<Self, ApiError> {
        let is_web =
            reqwest::Url::parse(base_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.config())
            .http1_only()
            // A proxy from the environment would stand between a test and 127.0.0.1.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_WAIT_MAX)
            .timeout(CALL_WAIT_MAX)
            .tcp_nodelay(true)
            .build();
        match http {
            Ok(http) if is_web => Ok(Self { http, base_url: base_url.to_owned(), trust }),
            Ok(_) | Err(_) => Err(ApiError::BadAddress),
        }
    }
}

#[async_trait]
impl Transport for Web {
    async fn call(&self, call: Call) -> Result<RawAnswer, CallError> {
        let Call { method, path, headers, body } = call;
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        let mut response = request.headers(headers).body(body).send().await.map_err(unanswered)?;
        let body = read(&mut response).await?;
        let status = response.status().as_u16();
        Ok(RawAnswer { status, headers: response.headers().clone(), body })
    }

    async fn dial(&self, authority: &str) -> io::Result<Box<dyn ByteStream>> {
        dial_tcp(authority).await
    }

    fn trust(&self) -> Trust {
        self.trust.clone()
    }

    fn now(&self) -> Timestamp {
        local_now()
    }

    fn random(&self) -> u128 {
        rand::random()
    }
}

/// TCP that sends at once: a frame is one write, and nothing follows it soon.
pub(crate) async fn dial_tcp(authority: &str) -> io::Result<Box<dyn ByteStream>> {
    let tcp = TcpStream::connect(authority).await?;
    tcp.set_nodelay(true)?;
    Ok(Box::new(tcp))
}

/// Reads a body up to its bound: whatever answers, this client's memory is its own.
async fn read(response: &mut Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::TooLong { status: response.status().as_u16() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unanswered(error: reqwest::Error) -> CallError {
    let is_unsent = error.is_connect();
    let cause = error.without_url().into();
    if is_unsent { CallError::NotSent(cause) } else { CallError::NotAnswered(cause) }
}

#[expect(clippy::disallowed_methods, reason = "a client program has no clock port; only here")]
fn local_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);
/// A send must be answered within its own deadline; the rest is the way there and back.
const CALL_WAIT_MAX: Duration = limits::SEND_DEADLINE.saturating_add(Duration::from_secs(4));
/// A full page of the longest texts, at four bytes a character and some for JSON.
const ANSWER_BYTES_MAX: usize =
    limits::PAGE_ROWS_MAX as usize * limits::MESSAGE_CHARS_MAX * 4 + (1 << 20);
