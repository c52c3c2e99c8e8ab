//! Where Redis is: at a given address, or in a replication group whose address is looked up.

use std::fmt;
use std::sync::Arc;

use redis::RedisResult;

use crate::address::Address;
use crate::connection::{Connection, Connector, Network, OnPush};
use crate::discovery::{FindError, FindGroup, GroupAccess, GroupLookup};

/// A Redis or Valkey server, the credentials for it, and the way to connect.
///
/// Its name is resolved anew for every connection: after a failover it leads to another server.
/// `Debug` and `Display` show only host and port.
#[derive(Clone)]
pub struct Endpoint {
    source: Source,
    connector: Arc<dyn Connector>,
}

/// Where the address comes from.
#[derive(Clone)]
enum Source {
    Given(Arc<Address>),
    Group(Arc<GroupLookup>),
}

/// Why a text is no endpoint. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL has another scheme, or none.
    #[error("not a redis:// or rediss:// URL")]
    Scheme,
    /// The URL's host, port, user or database cannot be read.
    #[error("not a usable redis:// URL")]
    Malformed(#[source] redis::RedisError),
    /// The text of the trusted authorities holds no certificate.
    #[error("not a PEM certificate")]
    Authority,
}

/// A server that does not answer. Fits one line with its cause, for a start-up log.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach Redis at {address}: {cause}")]
pub struct Unreachable {
    /// Host and port.
    pub address: String,
    cause: String,
}

impl Endpoint {
    /// Reads `redis://[user:password@]host[:port][/database]` (or `valkey://`), or `rediss://` (or
    /// `valkeys://`) for TLS. Over TLS the server's certificate must name the host and come from an
    /// authority that browsers trust.
    ///
    /// # Errors
    /// [`EndpointError`] if the text is no such URL.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        Address::parse(url).map(|address| Self::at(Source::Given(Arc::new(address))))
    }

    /// A replication group. Its primary is looked up when a connection is first needed, and again
    /// after connecting or writing has failed for some seconds.
    #[must_use]
    pub fn of_group(finder: Arc<dyn FindGroup>, access: GroupAccess) -> Self {
        Self::at(Source::Group(Arc::new(GroupLookup::new(finder, access))))
    }

    fn at(source: Source) -> Self {
        Self { source, connector: Arc::new(Network) }
    }

    /// Opens connections by `connector` instead of over the network.
    #[must_use]
    pub fn through(self, connector: Arc<dyn Connector>) -> Self {
        Self { connector, ..self }
    }

    /// Trusts these PEM certificates over TLS, and no others. Changes nothing for a group, whose
    /// [`GroupAccess`] names them.
    ///
    /// # Errors
    /// [`EndpointError::Authority`] if the text holds no certificate.
    pub fn trusting(self, authorities: &str) -> Result<Self, EndpointError> {
        let source = match self.source {
            Source::Given(address) => {
                Source::Given(Arc::new(Arc::unwrap_or_clone(address).trusting(authorities)?))
            }
            group @ Source::Group(_) => group,
        };
        Ok(Self { source, ..self })
    }

    /// Opens a connection for commands.
    pub(crate) async fn connect(&self) -> RedisResult<Arc<dyn Connection>> {
        let address = self.address().await.map_err(std::io::Error::other)?;
        let opened = self.connector.connect(address.client(), None).await;
        if opened.is_err() {
            self.record_failure();
        }
        opened
    }

    /// Opens a connection for subscriptions.
    pub(crate) async fn connect_for_pushes(
        &self,
        on_push: OnPush,
    ) -> RedisResult<Arc<dyn Connection>> {
        let address = self.address().await.map_err(std::io::Error::other)?;
        self.connector.connect(&address.client_for_pushes()?, Some(on_push)).await
    }

    /// The address, looked up if need be.
    pub(crate) async fn address(&self) -> Result<Arc<Address>, FindError> {
        match &self.source {
            Source::Given(address) => Ok(Arc::clone(address)),
            Source::Group(group) => group.address().await.map(Arc::new),
        }
    }

    /// Records that no connection was made, or that it led to a server that takes no writes.
    pub(crate) fn record_failure(&self) {
        if let Some(group) = self.group() {
            group.record_failure();
        }
    }

    /// Records that the server took a write, so the address is right.
    pub(crate) fn record_write(&self) {
        if let Some(group) = self.group() {
            group.record_write();
        }
    }

    pub(crate) fn unreachable(&self, cause: &dyn fmt::Display) -> Unreachable {
        Unreachable { address: self.to_string(), cause: cause.to_string() }
    }

    /// The replication group, if the endpoint is one.
    pub(crate) fn group(&self) -> Option<&GroupLookup> {
        match &self.source {
            Source::Given(_) => None,
            Source::Group(group) => Some(group),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Given(address) => address.fmt(f),
            Source::Group(group) => group.fmt(f),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

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
