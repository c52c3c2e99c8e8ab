//! One socket, frame by frame. The client is built on it, and tests use it to break the protocol.

use std::io;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::client_frame::{ClientFrame, Hello};
use protocol::frame::ServerFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::session::ABNORMAL;
use crate::tls::Trust;
use crate::transport::{ByteStream, Transport, dial_tcp};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not a `ws://` or `wss://host[:port]/path` URL, or a malformed header.
    #[error("not a ws:// or wss:// URL, or not a header")]
    BadRequest,
    /// The TCP connection or its TLS handshake failed, for example on an untrusted certificate.
    #[error("the node cannot be reached")]
    Unreachable {
        /// The cause.
        #[from]
        source: io::Error,
    },
    /// No answer in time.
    #[error("the node did not answer in time")]
    TimedOut,
    /// The node refused the upgrade.
    #[error("the upgrade was refused with {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The upgrade failed in another way.
    #[error("the upgrade failed")]
    Handshake {
        /// The cause.
        source: Box<tungstenite::Error>,
    },
}

/// What a socket received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A frame of the protocol, of this version or a later one.
    Frame(ServerFrame),
    /// Text that is not a frame of the protocol.
    Text(String),
    /// A binary message, which no node sends.
    Binary(Vec<u8>),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// A close frame; 1005 if it held no code.
    Closed(u16),
    /// The TCP connection ended without a close frame.
    Broken,
}

/// A socket after its upgrade. Dropping it ends the TCP connection without a close frame.
#[derive(Debug)]
pub struct RawSocket {
    stream: WebSocketStream<Box<dyn ByteStream>>,
    close_reason: String,
}

impl RawSocket {
    /// Connects and upgrades, with additional headers.
    ///
    /// # Errors
    /// [`OpenError`]; a refused upgrade keeps its status.
    pub async fn open(
        url: &str,
        headers: &[(&str, &str)],
        within: Duration,
    ) -> Result<Self, OpenError> {
        Self::open_trusting(url, headers, within, &Trust::public()).await
    }

    /// Like [`RawSocket::open`], with other certificate authorities for `wss://`.
    ///
    /// # Errors
    /// As for [`RawSocket::open`].
    pub async fn open_trusting(
        url: &str,
        headers: &[(&str, &str)],
        within: Duration,
        trust: &Trust,
    ) -> Result<Self, OpenError> {
        Self::connect(None, url, headers, within, trust).await
    }

    /// Connects over a transport, or over TCP, and upgrades.
    pub(crate) async fn connect(
        transport: Option<&dyn Transport>,
        url: &str,
        headers: &[(&str, &str)],
        within: Duration,
        trust: &Trust,
    ) -> Result<Self, OpenError> {
        let upgrade = async {
            let address = Address::of(url)?;
            let mut stream = match transport {
                Some(transport) => transport.dial(&address.authority).await?,
                None => dial_tcp(&address.authority).await?,
            };
            if address.is_secure {
                stream = trust.connect(&address.host, stream).await?;
            }
            Self::handshake(stream, url, headers).await
        };
        timeout(within, upgrade).await.unwrap_or(Err(OpenError::TimedOut))
    }

    /// Upgrades a connection that the caller made. Has no timeout; that is up to the caller.
    ///
    /// # Errors
    /// [`OpenError`], as for [`RawSocket::open`].
    pub async fn over(
        tcp: TcpStream,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, OpenError> {
        Self::handshake(Box::new(tcp), url, headers).await
    }

    async fn handshake(
        stream: Box<dyn ByteStream>,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, OpenError> {
        let mut request = url.into_client_request().or(Err(OpenError::BadRequest))?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).or(Err(OpenError::BadRequest))?;
            let value = HeaderValue::from_str(value).or(Err(OpenError::BadRequest))?;
            request.headers_mut().insert(name, value);
        }
        match client_async_with_config(request, stream, Some(bounds())).await {
            Ok((stream, _)) => Ok(Self { stream, close_reason: String::new() }),
            Err(tungstenite::Error::Http(response)) => {
                Err(OpenError::Refused { status: response.status().as_u16() })
            }
            Err(source) => Err(OpenError::Handshake { source: Box::new(source) }),
        }
    }

    /// Sends `hello`, as a client that handles only what every client has to.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn hello(
        &mut self,
        ticket: &str,
        cursor: Option<&str>,
    ) -> Result<(), tungstenite::Error> {
        self.hello_accepting(ticket, cursor, &[]).await
    }

    /// Sends `hello`, with the frame types that the client handles beyond that.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn hello_accepting(
        &mut self,
        ticket: &str,
        cursor: Option<&str>,
        accepts: &[&str],
    ) -> Result<(), tungstenite::Error> {
        let accepts = accepts.iter().map(|kind| (*kind).to_owned()).collect();
        let (ticket, cursor) = (ticket.to_owned(), cursor.map(str::to_owned));
        self.send(Message::text(Hello { ticket, cursor, accepts }.encode())).await
    }

    /// Sends a frame of the protocol.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn say(&mut self, frame: &ClientFrame) -> Result<(), tungstenite::Error> {
        self.send(Message::text(frame.encode())).await
    }

    /// Sends any WebSocket message.
    ///
    /// # Errors
    /// If the socket has ended.
    pub async fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.stream.send(message).await
    }

    /// Writes bytes to the connection, bypassing the WebSocket layer.
    ///
    /// # Errors
    /// If the connection is broken.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Waits for the next message. Pings are answered and not reported.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Received {
        loop {
            return match self.stream.next().await {
                Some(Ok(Message::Text(text))) => match ServerFrame::decode(&text) {
                    Some(frame) => Received::Frame(frame),
                    None => Received::Text(text.to_string()),
                },
                Some(Ok(Message::Binary(bytes))) => Received::Binary(bytes.to_vec()),
                Some(Ok(Message::Pong(bytes))) => Received::Pong(bytes.to_vec()),
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    let Some(frame) = frame else { return Received::Closed(NO_CODE) };
                    self.close_reason = frame.reason.to_string();
                    Received::Closed(frame.code.into())
                }
                Some(Err(_)) | None => Received::Broken,
            };
        }
    }

    /// Waits for the next message; `None` on timeout.
    pub async fn receive_within(&mut self, within: Duration) -> Option<Received> {
        timeout(within, self.receive()).await.ok()
    }

    /// Waits for the first frame that matches `wanted` and skips the others; `None` if the socket
    /// ends first, or on timeout.
    pub async fn frame_within(
        &mut self,
        within: Duration,
        wanted: impl Fn(&ServerFrame) -> bool,
    ) -> Option<ServerFrame> {
        let pick = |received: Received| match received {
            Received::Frame(frame) => wanted(&frame).then_some(Some(frame)),
            Received::Closed(_) | Received::Broken => Some(None),
            Received::Text(_) | Received::Binary(_) | Received::Pong(_) => None,
        };
        self.receive_until(within, pick).await.flatten()
    }

    /// Waits for the next frame and returns its text; `None` if the socket ends first, or on
    /// timeout.
    pub async fn text_within(&mut self, within: Duration) -> Option<String> {
        let deadline = Instant::now() + within;
        loop {
            match timeout_at(deadline, self.stream.next()).await.ok()?? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Skips frames until the socket ends and returns its close code, or 1006 if the connection
    /// broke; `None` on timeout.
    pub async fn close_within(&mut self, within: Duration) -> Option<u16> {
        let pick = |received| match received {
            Received::Closed(code) => Some(code),
            Received::Broken => Some(ABNORMAL),
            Received::Frame(_) | Received::Text(_) | Received::Binary(_) | Received::Pong(_) => {
                None
            }
        };
        let code = self.receive_until(within, pick).await?;
        self.finish().await;
        Some(code)
    }

    async fn receive_until<T>(
        &mut self,
        within: Duration,
        pick: impl Fn(Received) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + within;
        loop {
            let picked = pick(timeout_at(deadline, self.receive()).await.ok()?);
            if picked.is_some() {
                return picked;
            }
        }
    }

    /// The reason of the received close frame; empty if there was none.
    #[must_use]
    pub fn close_reason(&self) -> &str {
        &self.close_reason
    }

    /// Answers a close frame, so that the node need not wait for the answer.
    pub async fn finish(&mut self) {
        // The socket has ended, whether or not the answer is sent.
        timeout(FINISH_WAIT_MAX, self.stream.flush()).await.ok();
    }
}

/// Sends raw bytes to the host of a URL, never over TLS, and reads until the other side closes: for
/// requests that no library would write.
///
/// # Errors
/// If the connection fails, or is still open at the deadline. A connection that breaks counts as
/// closed.
pub async fn exchange(url: &str, bytes: &[u8], within: Duration) -> Result<Vec<u8>, OpenError> {
    let (answer, has_ended) = talk(url, bytes, within).await?;
    if has_ended { Ok(answer) } else { Err(OpenError::TimedOut) }
}

/// Like [`exchange`], but the connection may stay open: returns the bytes received within `time`.
///
/// # Errors
/// If the connection fails.
pub async fn exchange_for(url: &str, bytes: &[u8], time: Duration) -> Result<Vec<u8>, OpenError> {
    Ok(talk(url, bytes, time).await?.0)
}

/// The bytes that came back, and whether the other side closed the connection.
async fn talk(url: &str, bytes: &[u8], within: Duration) -> Result<(Vec<u8>, bool), OpenError> {
    let address = Address::of(url)?;
    let deadline = Instant::now() + within;
    let connected = timeout_at(deadline, TcpStream::connect(address.authority)).await;
    let mut tcp = connected.or(Err(OpenError::TimedOut))??;
    let mut answer = Vec::new();
    let talk = async {
        tcp.write_all(bytes).await?;
        (&mut tcp).take(EXCHANGE_BYTES_MAX).read_to_end(&mut answer).await
    };
    // Closed or reset: the bytes received until then are the answer.
    let has_ended = timeout_at(deadline, talk).await.is_ok();
    Ok((answer, has_ended))
}

/// The address that a URL names, and whether to use TLS.
struct Address {
    host: String,
    authority: String,
    is_secure: bool,
}

impl Address {
    fn of(url: &str) -> Result<Self, OpenError> {
        let uri: Uri = url.parse().or(Err(OpenError::BadRequest))?;
        let (is_secure, default_port) = match uri.scheme_str() {
            Some("ws" | "http") => (false, 80),
            Some("wss" | "https") => (true, 443),
            Some(_) | None => return Err(OpenError::BadRequest),
        };
        let host = uri.host().ok_or(OpenError::BadRequest)?.to_owned();
        let port = uri.port_u16().unwrap_or(default_port);
        Ok(Self { authority: format!("{host}:{port}"), host, is_secure })
    }
}

/// The socket's limits. The longest text has 40,000 characters; a server that escapes them all
/// needs 12 bytes each. Writes are not buffered: the client sends one small frame, at once. The
/// write limit is large so that tests can send frames that a node must refuse.
fn bounds() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}

const READ_BUFFER_BYTES: usize = 8 * 1024;
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const EXCHANGE_BYTES_MAX: u64 = 1024 * 1024;
const FINISH_WAIT_MAX: Duration = Duration::from_millis(200);
const NO_CODE: u16 = 1005;

#[cfg(test)]
mod tests;
