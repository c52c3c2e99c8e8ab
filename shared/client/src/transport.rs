//! The client's port to the outside: calls, byte streams, a clock, randomness. The default uses
//! HTTP over TCP or TLS and the system's clock and randomness; the simulation brings its own.

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
use crate::tls::Trust;

/// A connection to a node, before the upgrade.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}

/// One HTTP call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers to add to those of the HTTP client.
    pub headers: HeaderMap,
    /// Its body, which may be empty.
    pub body: Vec<u8>,
}

/// An unparsed answer, for tests that send requests which a typed call cannot.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// The cause of a [`CallError`].
pub type CallCause = Box<dyn Error + Send + Sync>;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was not sent, so it had no effect.
    #[error("no connection")]
    NotSent(#[source] CallCause),
    /// It was sent, but no complete answer came back: it may have had an effect.
    #[error("no answer")]
    NotAnswered(#[source] CallCause),
    /// The answer is longer than any answer of this protocol.
    #[error("the answer is too long")]
    TooLong {
        /// Its HTTP status.
        status: u16,
    },
}

/// The client's port to the outside.
#[async_trait]
pub trait Transport: Send + Sync + Debug {
    /// Makes one call. It must time out by itself.
    ///
    /// # Errors
    /// [`CallError`]. A refusal is not an error here.
    async fn call(&self, call: Call) -> Result<RawAnswer, CallError>;

    /// Makes a request to another server, which stores a file. Returns its status. It may take as long
    /// as the file takes.
    ///
    /// # Errors
    /// [`CallError`]; always for a transport that reaches no other server.
    async fn upload(
        &self,
        _method: Method,
        _url: &str,
        _headers: HeaderMap,
        _body: Vec<u8>,
    ) -> Result<u16, CallError> {
        Err(CallError::NotSent("this transport uploads nothing".into()))
    }

    /// Opens a byte stream to `host:port`.
    ///
    /// # Errors
    /// Any error of connecting.
    async fn dial(&self, authority: &str) -> io::Result<Box<dyn ByteStream>>;

    /// The certificate authorities to trust on TLS over a dialled stream.
    fn trust(&self) -> Trust {
        Trust::public()
    }

    /// The local clock, which may be wrong.
    fn now(&self) -> Timestamp;

    /// 128 random bits.
    fn random(&self) -> u128;
}

/// The default transport: HTTP over a connection pool, TCP, the system's clock and randomness.
#[derive(Debug)]
pub(crate) struct Web {
    http: reqwest::Client,
    base_url: String,
    trust: Trust,
}

impl Web {
    /// # Errors
    /// [`ApiError::BadAddress`] if `base_url` is not an `http://` or `https://` URL.
    pub(crate) fn new(base_url: &str, trust: Trust) -> Result<Self, ApiError> {
        let is_web =
            reqwest::Url::parse(base_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.config())
            .http1_only()
            // A proxy from the environment would intercept a test's calls to 127.0.0.1.
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

    async fn upload(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<u16, CallError> {
        let request = self.http.request(method, url).timeout(UPLOAD_WAIT_MAX).headers(headers);
        let response = request.body(body).send().await.map_err(unanswered)?;
        Ok(response.status().as_u16())
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

/// Opens a TCP connection without Nagle's algorithm: a frame is one write.
pub(crate) async fn dial_tcp(authority: &str) -> io::Result<Box<dyn ByteStream>> {
    let tcp = TcpStream::connect(authority).await?;
    tcp.set_nodelay(true)?;
    Ok(Box::new(tcp))
}

/// Reads a body up to a limit, so that no server can exhaust this client's memory.
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
/// The server answers a send within its own deadline; the rest is for the network.
const CALL_WAIT_MAX: Duration = limits::SEND_DEADLINE.saturating_add(Duration::from_secs(4));
/// The largest file, at 1 Mbit/s.
const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A full page of the longest texts, at four bytes a character, plus some space for JSON.
const ANSWER_BYTES_MAX: usize =
    limits::PAGE_ROWS_MAX as usize * limits::MESSAGE_CHARS_MAX * 4 + (1 << 20);
