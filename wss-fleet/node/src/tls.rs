//! TLS before the opening handshake: who may start it, and how long it may take (ADR 0017).
//!
//! The expensive part is the signature that answers the client's first message, its TLS
//! `ClientHello`. So the rate limit is checked between the two, and a connection above it is cut: a
//! 503 is impossible before TLS, and to a client both mean that the node accepted no socket.

use std::io;
use std::sync::Arc;

use model::limits;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::hub::Hub;
use crate::metrics::TlsRefusal;

/// A TLS connection. Boxed: it is large, and moves between tasks.
pub(crate) type TlsSocket = Box<TlsStream<TcpStream>>;

/// Performs the TLS handshake; `None` if it did not complete.
pub(crate) async fn handshake(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    hub: Arc<Hub>,
) -> Option<TlsSocket> {
    let Ok(_permit) = hub.tls_handshakes.try_acquire() else {
        return refused(&hub, TlsRefusal::Shed);
    };
    match tokio::time::timeout(limits::TLS_HANDSHAKE_MAX, talk(tcp, config, &hub)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(refusal)) => refused(&hub, refusal),
        Err(_) => refused(&hub, TlsRefusal::Slow),
    }
}

fn refused(hub: &Hub, refusal: TlsRefusal) -> Option<TlsSocket> {
    hub.metrics.tls_refusals.with_label_values(&[refusal.label()]).inc();
    None
}

async fn talk(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    hub: &Hub,
) -> Result<TlsStream<TcpStream>, TlsRefusal> {
    let mut first = [0];
    let count = tcp.peek(&mut first).await.map_err(failed)?;
    if count > 0 && first != [HANDSHAKE_RECORD] {
        explain(tcp, first).await;
        return Err(TlsRefusal::Plain);
    }
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(failed)?;
    if !hub.allows_handshake() {
        return Err(TlsRefusal::Shed);
    }
    let bounded = |session: &mut rustls::ServerConnection| {
        session.set_buffer_limit(Some(limits::TLS_BUFFER_BYTES_MAX));
    };
    hello.into_stream_with(config, bounded).await.map_err(failed)
}

fn failed(error: io::Error) -> TlsRefusal {
    tracing::debug!(cause = %error, "TLS handshake failed");
    TlsRefusal::Failed
}

/// Answers a client that speaks HTTP with a hint that this port speaks TLS. Anything else is cut.
async fn explain(mut tcp: TcpStream, first: [u8; 1]) {
    if !first.iter().all(u8::is_ascii_uppercase) {
        return;
    }
    let talk = async {
        tcp.write_all(PLAIN_ANSWER).await?;
        tcp.shutdown().await?;
        // Closing with unread bytes would reset the connection and lose the answer.
        let mut swallowed = [0; 512];
        while tcp.read(&mut swallowed).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _broken_or_late = tokio::time::timeout(limits::CLOSE_LINGER, talk).await.is_err();
}

/// The type of the first record of a TLS connection.
const HANDSHAKE_RECORD: u8 = 22;
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 40\r\n\r\nthis port speaks TLS: https:// or wss://";
