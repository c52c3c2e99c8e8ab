//! Where Redis is: an address that was given, or a group whose address is looked up.

use std::fmt;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, RedisResult};

use crate::discovery::{FindError, FindGroup, Found, GroupAccess};
use crate::target::Target;

/// The way to a Redis or Valkey server, and the credentials for it.
///
/// Its name is resolved for every connection anew: after a failover it leads to another server.
/// `Debug` and `Display` show host and port alone.
#[derive(Clone)]
pub struct Endpoint(Place);

#[derive(Clone)]
enum Place {
    Given(Arc<Target>),
    Found(Arc<Found>),
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
        Target::parse(url).map(|target| Self(Place::Given(Arc::new(target))))
    }

    /// A replication group, whose primary is looked up when a connection is first needed, and again
    /// once connecting or writing has failed for some seconds.
    #[must_use]
    pub fn of_group(finder: Arc<dyn FindGroup>, access: GroupAccess) -> Self {
        Self(Place::Found(Arc::new(Found::new(finder, access))))
    }

    /// Trusts these PEM certificates over TLS, and no others. For a group, [`GroupAccess`] says it.
    ///
    /// # Errors
    /// [`EndpointError::Authority`] if they are none.
    pub fn trusting(self, authorities: &str) -> Result<Self, EndpointError> {
        match self.0 {
            Place::Given(target) => {
                let target = Arc::unwrap_or_clone(target).trusting(authorities)?;
                Ok(Self(Place::Given(Arc::new(target))))
            }
            Place::Found(found) => Ok(Self(Place::Found(found))),
        }
    }

    /// Opens a connection for commands.
    pub(crate) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let opened = self.target().await.map_err(std::io::Error::other)?.connect().await;
        if opened.is_err() {
            self.failed();
        }
        opened
    }

    /// Opens a connection for subscriptions. `on_push` is called by the task that reads the socket,
    /// so it must not wait.
    ///
    /// RESP3, because only there the client hands over unsubscriptions that nobody asked for.
    pub(crate) async fn connect_pushed(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let target = self.target().await.map_err(std::io::Error::other)?;
        target.connect_pushed(on_push).await
    }

    /// The address, looked up if need be.
    pub(crate) async fn target(&self) -> Result<Arc<Target>, FindError> {
        match &self.0 {
            Place::Given(target) => Ok(Arc::clone(target)),
            Place::Found(found) => found.target().await.map(Arc::new),
        }
    }

    /// Notes that there was no connection, or one that leads to a server that takes no writes.
    pub(crate) fn failed(&self) {
        if let Some(found) = self.group() {
            found.failed();
        }
    }

    /// Notes that the server took a write: it is the right one.
    pub(crate) fn took_a_write(&self) {
        if let Some(found) = self.group() {
            found.took_a_write();
        }
    }

    pub(crate) fn unreachable(&self, cause: &dyn fmt::Display) -> Unreachable {
        Unreachable { address: self.to_string(), cause: cause.to_string() }
    }

    /// The group, if it is one.
    pub(crate) fn group(&self) -> Option<&Found> {
        match &self.0 {
            Place::Given(_) => None,
            Place::Found(found) => Some(found),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Given(target) => target.fmt(f),
            Place::Found(found) => found.fmt(f),
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
