//! One address with its credentials, and how connections to it are made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::limits;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo, TlsCertificates,
};

use crate::endpoint::EndpointError;

/// An address. Its name is resolved for every connection anew.
#[derive(Clone)]
pub(crate) struct Target {
    client: Client,
    /// PEM certificates that are trusted instead of the public ones.
    authorities: Option<Arc<[u8]>>,
}

impl Target {
    /// Reads a URL. See [`crate::Endpoint::parse`].
    pub(crate) fn parse(url: &str) -> Result<Self, EndpointError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "valkey") => {}
            // Anything after the `#` would switch the verification of certificates off.
            Some("rediss" | "valkeys") if !url.contains('#') => {}
            _ => return Err(EndpointError::Scheme),
        }
        let info = url.into_connection_info().map_err(EndpointError::Malformed)?;
        Self::of(info)
    }

    /// Takes an address that was found, which no URL needs to be made of: a token may hold what a
    /// URL would have to escape.
    pub(crate) fn found(
        (host, port): (&str, u16),
        tls: bool,
        token: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let host = host.to_owned();
        let addr = if tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let settings = RedisConnectionInfo::default();
        let settings = match token {
            Some(token) => settings.set_password(token),
            None => settings,
        };
        let info = addr.into_connection_info().map_err(EndpointError::Malformed)?;
        Self::of(info.set_redis_settings(settings))
    }

    fn of(info: ConnectionInfo) -> Result<Self, EndpointError> {
        // Without these a small write waits for the acknowledgement of the one before (Nagle), and
        // unacknowledged bytes keep a dead connection for a quarter of an hour.
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(EndpointError::Malformed)?;
        Ok(Self { client, authorities: None })
    }

    /// Trusts these PEM certificates over TLS, and no others.
    pub(crate) fn trusting(self, authorities: &str) -> Result<Self, EndpointError> {
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

    /// Opens a connection for subscriptions. See [`crate::Endpoint`].
    pub(crate) async fn connect_pushed(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let info = self.client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = open(info.set_redis_settings(settings), self.authorities.as_deref())?;
        let taken = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            on_push(push);
            Ok(())
        };
        let config = bounded().set_push_sender(taken);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Whether it is reached over TLS.
    pub(crate) fn has_tls(&self) -> bool {
        matches!(self.client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Whether it comes with a password.
    #[cfg(test)]
    pub(crate) fn has_password(&self) -> bool {
        self.client.get_connection_info().redis_settings().password().is_some()
    }

    /// Host and port, if it has such.
    pub(crate) fn host_and_port(&self) -> Option<(&str, u16)> {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host, *port))
            }
            ConnectionAddr::Unix(_) | _ => None,
        }
    }
}

fn open(info: ConnectionInfo, authorities: Option<&[u8]>) -> redis::RedisResult<Client> {
    match authorities {
        Some(pem) => {
            let trusted = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(info, trusted)
        }
        None => Client::open(info),
    }
}

/// The crate's own defaults (1 s, 500 ms) are neither the bus's nor stable between its releases.
fn bounded() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::BUS_CONNECT_MAX))
        .set_response_timeout(Some(limits::BUS_RESPONSE_MAX))
}

impl fmt::Display for Target {
    /// Host and port, whatever the way there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_and_port() {
            Some((host, port)) => write!(f, "{host}:{port}"),
            None => self.client.get_connection_info().addr().fmt(f),
        }
    }
}

/// What a PEM certificate begins with (RFC 7468, 5.1).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
