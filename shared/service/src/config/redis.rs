//! Where Redis is: a URL, or a replication group that is looked up.

use std::fmt;

use redis_bus::{Endpoint, EndpointError};

/// Where Redis is. `Debug` and `Display` hide its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    url: String,
    /// PEM certificates to trust for TLS, instead of the public authorities.
    authorities: Option<String>,
}

impl RedisUrl {
    /// Parses `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS.
    ///
    /// # Errors
    /// A sentence that does not contain the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match Endpoint::parse(text) {
            Ok(_) => Ok(Self { url: text.to_owned(), authorities: None }),
            Err(_) => Err("is not a usable redis:// or rediss:// URL"),
        }
    }

    /// Trusts only these PEM certificates for TLS.
    ///
    /// # Errors
    /// A sentence that does not contain the text.
    pub fn trusting(self, authorities: &str) -> Result<Self, &'static str> {
        let trusted = Self { authorities: Some(authorities.to_owned()), ..self };
        match trusted.endpoint() {
            Ok(_) => Ok(trusted),
            Err(_) => Err("is not a PEM certificate"),
        }
    }

    /// Returns the endpoint to connect to.
    ///
    /// # Errors
    /// [`EndpointError`]; never for a URL from [`RedisUrl::parse`].
    pub fn endpoint(&self) -> Result<Endpoint, EndpointError> {
        let endpoint = Endpoint::parse(&self.url)?;
        match &self.authorities {
            Some(authorities) => endpoint.trusting(authorities),
            None => Ok(endpoint),
        }
    }

    /// Whether its scheme asks for TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.url.starts_with("rediss://") || self.url.starts_with("valkeys://")
    }
}

impl fmt::Display for RedisUrl {
    /// The URL without its user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("redis", ""));
        let authority = rest.rsplit_once('@').map_or(rest, |(_, authority)| authority);
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// A replication group of ElastiCache and its credentials. `Debug` hides its token.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisGroup {
    /// The group's id.
    pub id: String,
    /// Its AUTH token, if it requires one.
    pub token: Option<String>,
    /// PEM certificates to trust for TLS, instead of the public authorities.
    pub authorities: Option<String>,
    /// Where the ElastiCache API listens, if it is not the region's own.
    pub api: Option<String>,
}

impl fmt::Debug for RedisGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisGroup({})", self.id)
    }
}

/// Either a URL or a replication group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    /// An address.
    Url(RedisUrl),
    /// A group, looked up through the ElastiCache API.
    Group(RedisGroup),
}
