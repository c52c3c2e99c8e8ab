//! Where Redis is, and how connections to it are made.

use std::fmt;
use std::time::Duration;

use model::limits;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, PushInfo};

/// The address of a Redis or Valkey server, and the credentials for it.
///
/// Its name is resolved for every connection anew: after a failover it leads to another server.
/// `Debug` and `Display` show host and port alone.
#[derive(Clone)]
pub struct Endpoint(Client);

/// Why a URL is no endpoint. Never carries the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It asks for TLS.
    #[error("rediss:// is not supported yet: this build has no TLS to Redis; use redis://")]
    Tls,
    /// It has another scheme, or none.
    #[error("not a redis:// URL")]
    Scheme,
    /// Its host, port, user or database cannot be read.
    #[error("not a usable redis:// URL")]
    Malformed(#[source] redis::RedisError),
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
    /// Reads `redis://[user:password@]host[:port][/database]` (or `valkey://`).
    ///
    /// # Errors
    /// [`EndpointError`] if it is something else, `rediss://` included.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "valkey") => {}
            Some("rediss" | "valkeys") => return Err(EndpointError::Tls),
            _ => return Err(EndpointError::Scheme),
        }
        let target = url.into_connection_info().map_err(EndpointError::Malformed)?;
        // Without these a small write waits for the acknowledgement of the one before (Nagle), and
        // unacknowledged bytes keep a dead connection for a quarter of an hour.
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
        Client::open(target.set_tcp_settings(tcp)).map(Self).map_err(EndpointError::Malformed)
    }

    /// Opens a connection for commands.
    pub(crate) async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        self.0.get_multiplexed_async_connection_with_config(&bounded()).await
    }

    /// Opens a connection for subscriptions. `on_push` is called by the task that reads the socket,
    /// so it must not wait.
    ///
    /// RESP3, because only there the client hands over unsubscriptions that nobody asked for.
    pub(crate) async fn connect_pushed(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let target = self.0.get_connection_info().clone();
        let settings = target.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(target.set_redis_settings(settings))?;
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

/// The crate's own defaults (1 s, 500 ms) are neither the bus's nor stable between its releases.
fn bounded() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::BUS_CONNECT_MAX))
        .set_response_timeout(Some(limits::BUS_RESPONSE_MAX))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get_connection_info().addr().fmt(f)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

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
        assert!(matches!(Endpoint::parse("rediss://h:1"), Err(EndpointError::Tls)));
    }
}
