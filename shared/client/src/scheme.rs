//! Finds out whether a port speaks plain HTTP or TLS, to explain a failed call.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::socket::exchange_for;
use crate::tls::Trust;

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP without TLS.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// Whether a URL's scheme, such as `https://`, asks for this.
    #[must_use]
    pub fn is_of(self, url: &str) -> bool {
        url.starts_with("https://") == (self == Self::Https)
    }

    /// Advice for a URL that asks for the other one: `that port speaks TLS: use https://host`.
    #[must_use]
    pub fn instead(self, url: &str) -> String {
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        match self {
            Self::Http => format!("that port speaks plain HTTP: use http://{host}"),
            Self::Https => format!("that port speaks TLS: use https://{host}"),
        }
    }
}

/// What the port of an `http://` or `https://` URL speaks; `None` if neither. Takes at most 4 s.
pub async fn scheme(url: &str) -> Option<Scheme> {
    // Try TLS first: a TLS port often answers plain HTTP with a refusal in plain HTTP.
    let answer = exchange_for(url, &client_hello()?, PROBE_TIME).await.ok()?;
    if matches!(answer.as_slice(), [ALERT | HANDSHAKE, 3, ..]) {
        return Some(Scheme::Https);
    }
    let request = b"GET /healthz HTTP/1.1\r\nHost: inkwire\r\nConnection: close\r\n\r\n";
    let answer = exchange_for(url, request, PROBE_TIME).await.ok()?;
    answer.starts_with(b"HTTP/").then_some(Scheme::Http)
}

/// A TLS `ClientHello`. The server name does not matter, because any TLS answer will do.
fn client_hello() -> Option<Vec<u8>> {
    let name = ServerName::try_from("localhost").ok()?;
    let config = Arc::new(Trust::public().config());
    let mut hello = Vec::new();
    ClientConnection::new(config, name).ok()?.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// TLS record types (RFC 8446, 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Timeout of one probe: most ports do not answer the protocol that they do not speak.
const PROBE_TIME: Duration = Duration::from_secs(2);
