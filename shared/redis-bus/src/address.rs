//! The address of one server, with the credentials for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
};

use crate::endpoint::EndpointError;

/// An address. Its name is resolved anew for every connection.
#[derive(Clone)]
pub(crate) struct Address {
    client: Client,
    /// PEM certificates to trust instead of the public authorities.
    authorities: Option<Arc<[u8]>>,
}

impl Address {
    /// Reads a URL. See [`crate::Endpoint::parse`].
    pub(crate) fn parse(url: &str) -> Result<Self, EndpointError> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("redis" | "valkey") => {}
            // A fragment could switch off the verification of certificates.
            Some("rediss" | "valkeys") if !url.contains('#') => {}
            _ => return Err(EndpointError::Scheme),
        }
        let info = url.into_connection_info().map_err(EndpointError::Malformed)?;
        Self::of(info)
    }

    /// Makes an address from its parts. No URL is built: a token may hold characters that a URL
    /// would have to escape.
    pub(crate) fn from_parts(
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
        // Without `nodelay` a small write waits until the one before is acknowledged (Nagle); without
        // the time-out the kernel retransmits on a dead connection for a quarter of an hour.
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_MAX);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(EndpointError::Malformed)?;
        Ok(Self { client, authorities: None })
    }

    /// Trusts these PEM certificates over TLS, and no others.
    pub(crate) fn trusting(self, authorities: &str) -> Result<Self, EndpointError> {
        let authorities: Arc<[u8]> = authorities.as_bytes().into();
        let info = self.client.get_connection_info().clone();
        // The parser reads a text without certificates as an empty list, which trusts nobody.
        let has_one = authorities.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE);
        let client = open(info, Some(&authorities)).ok().filter(|_| has_one);
        let client = client.ok_or(EndpointError::Authority)?;
        Ok(Self { client, authorities: Some(authorities) })
    }

    /// The client for commands.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// The client for subscriptions, which speaks RESP3.
    pub(crate) fn client_for_pushes(&self) -> redis::RedisResult<Client> {
        let info = self.client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        open(info.set_redis_settings(settings), self.authorities.as_deref())
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

    /// Host and port; none for a Unix socket.
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

impl fmt::Display for Address {
    /// Shows host and port, never credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_and_port() {
            Some((host, port)) => write!(f, "{host}:{port}"),
            None => self.client.get_connection_info().addr().fmt(f),
        }
    }
}

/// The first line of a PEM certificate (RFC 7468, 5.1).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long sent bytes may stay unacknowledged before the kernel closes the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);
