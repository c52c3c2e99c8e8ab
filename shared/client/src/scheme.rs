//! Finds out whether a port speaks plain HTTP or TLS, to explain a failed call.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::socket::exchange_for;
use crate::tls::Trust;

/// What to do if the port of an `http://` URL speaks TLS, or the port of an `https://` URL plain
/// HTTP: `that port speaks TLS: use https://host`. Otherwise `None`. Takes at most 4 s.
pub async fn wrong_scheme(url: &str) -> Option<String> {
    let (_, host) = url.split_once("://")?;
    // Try TLS first: a TLS port often answers plain HTTP with a refusal in plain HTTP.
    let answer = exchange_for(url, &client_hello()?, PROBE_TIME).await.ok()?;
    let is_tls = matches!(answer.as_slice(), [ALERT | HANDSHAKE, 3, ..]);
    match (url.starts_with("https://"), is_tls) {
        (false, true) => Some(format!("that port speaks TLS: use https://{host}")),
        (true, false) => {
            let request = b"GET /healthz HTTP/1.1\r\nHost: inkwire\r\nConnection: close\r\n\r\n";
            let answer = exchange_for(url, request, PROBE_TIME).await.ok()?;
            let is_http = answer.starts_with(b"HTTP/");
            is_http.then(|| format!("that port speaks plain HTTP: use http://{host}"))
        }
        (true, true) | (false, false) => None,
    }
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
