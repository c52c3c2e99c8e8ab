//! Where Redis is, and how connections to it are made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::limits;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, PushInfo, TlsCertificates,
};

/// The address of a Redis or Valkey server, and the credentials for it.
///
/// Its name is resolved for every connection anew: after a failover it leads to another server.
/// `Debug` and `Display` show host and port alone.
#[derive(Clone)]
pub struct Endpoint {
    client: Client,
    /// PEM certificates that are trusted instead of the public ones.
    authorities: Option<Arc<[u8]>>,
}

/// Why a URL is no endpoint. Never carries the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It has another scheme, or none.
    #[error("not a redis:// or rediss:// URL")]
    Scheme,
    /// Its host, port, user or database cannot be read.
    #[error("not a usable redis:// URL")]
    Malformed(#[source] redis::RedisError),
    /// What is to be trusted is no certificate.
    #[error("not a PEM certificate")]
    Authority,
}

/// A server that does not answer. Fits one line, cause included, for a start-up log.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach Redis at {address}: {cause}")]
pub struct Unreachable {
    /// Host and port.
    pub address: String,
    cause: String,
}

impl Endpoint {
    /// Reads `redis://[user:password@]host[:port][/database]` (or `valkey://`), or `rediss://` (or
    /// `valkeys://`) for TLS: the server's certificate must be for the host, from an authority that
    /// browsers trust.
    ///
    /// # Errors
    /// [`EndpointError`] if it is something else.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "valkey") => {}
            // Anything after the `#` would switch the verification of certificates off.
            Some("rediss" | "valkeys") if !url.contains('#') => {}
            _ => return Err(EndpointError::Scheme),
        }
        let target = url.into_connection_info().map_err(EndpointError::Malformed)?;
        // Without these a small write waits for the acknowledgement of the one before (Nagle), and
        // unacknowledged bytes keep a dead connection for a quarter of an hour.
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
        let client =
            Client::open(target.set_tcp_settings(tcp)).map_err(EndpointError::Malformed)?;
        Ok(Self { client, authorities: None })
    }

    /// Trusts these PEM certificates over TLS, and no others.
    ///
    /// # Errors
    /// [`EndpointError::Authority`] if they are none.
    pub fn trusting(self, authorities: &str) -> Result<Self, EndpointError> {
        let authorities: Arc<[u8]> = authorities.as_bytes().into();
        let info = self.client.get_connection_info().clone();
        // A text without any is an empty list to the parser, and would trust nobody.
        let has_one = authorities.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE);
        let client = open(info, Some(&authorities)).ok().filter(|_| has_one);
        let client = client.ok_or(EndpointError::Authority)?;
        Ok(Self { client, authorities: Some(authorities) })
    }

    /// Opens a connection for commands.
    pub(crate) async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&bounded()).await
    }

    /// Opens a connection for subscriptions. `on_push` is called by the task that reads the socket,
    /// so it must not wait.
    ///
    /// RESP3, because only there the client hands over unsubscriptions that nobody asked for.
    pub(crate) async fn connect_pushed(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let target = self.client.get_connection_info().clone();
        let settings = target.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = open(target.set_redis_settings(settings), self.authorities.as_deref())?;
        let taken = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            on_push(push);
            Ok(())
        };
        let config = bounded().set_push_sender(taken);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    pub(crate) fn unreachable(&self, cause: &dyn fmt::Display) -> Unreachable {
        Unreachable { address: self.to_string(), cause: cause.to_string() }
    }
}

fn open(target: ConnectionInfo, authorities: Option<&[u8]>) -> redis::RedisResult<Client> {
    match authorities {
        Some(pem) => {
            let trusted = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(target, trusted)
        }
        None => Client::open(target),
    }
}

/// The crate's own defaults (1 s, 500 ms) are neither the bus's nor stable between its releases.
fn bounded() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::BUS_CONNECT_MAX))
        .set_response_timeout(Some(limits::BUS_RESPONSE_MAX))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.client.get_connection_info().addr();
        // Host and port, whatever the way there.
        match addr {
            ConnectionAddr::TcpTls { host, port, .. } => write!(f, "{host}:{port}"),
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) | _ => addr.fmt(f),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// What a PEM certificate begins with (RFC 7468, 5.1).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let endpoint = Endpoint::parse("redis://me:hunter2@example.com:7000/1").unwrap();
        assert_eq!(endpoint.to_string(), "example.com:7000");
        assert_eq!(format!("{endpoint:?}"), "Endpoint(example.com:7000)");
        let line = endpoint.unreachable(&"no route to host").to_string();
        assert_eq!(line, "cannot reach Redis at example.com:7000: no route to host");
    }

    #[test]
    fn other_urls_are_refused_without_repeating_them() {
        for url in [
            "",
            "http://h",
            "localhost:6379",
            "redis://",
            "redis://h:hunter2",
            "redis://h/x",
            "unix:///hunter2",
            "redis://:hunter2@h:99999",
        ] {
            let text = format!("{:?}", Endpoint::parse(url).expect_err(url));
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_the_scheme_and_never_without_verification() {
        for url in ["rediss://h:1", "valkeys://me:hunter2@h:1/2"] {
            assert_eq!(Endpoint::parse(url).unwrap().to_string(), "h:1");
        }
        assert!(matches!(Endpoint::parse("rediss://h:1/#insecure"), Err(EndpointError::Scheme)));
        let wrong = Endpoint::parse("rediss://h:1").unwrap().trusting("not a certificate");
        assert!(matches!(wrong, Err(EndpointError::Authority)), "{wrong:?}");
    }
}
