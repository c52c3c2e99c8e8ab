//! Where Redis is: a URL, or a replication group that is looked up.

use std::fmt;

use redis_bus::{Endpoint, EndpointError};

/// Where Redis is. Its password does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    url: String,
    /// PEM certificates that are trusted over TLS, instead of the public ones.
    authorities: Option<String>,
}

impl RedisUrl {
    /// Takes `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS.
    ///
    /// # Errors
    /// A sentence without the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match Endpoint::parse(text) {
            Ok(_) => Ok(Self { url: text.to_owned(), authorities: None }),
            Err(_) => Err("is not a usable redis:// or rediss:// URL"),
        }
    }

    /// Trusts these PEM certificates over TLS, and no others.
    ///
    /// # Errors
    /// A sentence without the text.
    pub fn trusting(self, authorities: &str) -> Result<Self, &'static str> {
        let trusted = Self { authorities: Some(authorities.to_owned()), ..self };
        match trusted.endpoint() {
            Ok(_) => Ok(trusted),
            Err(_) => Err("is not a PEM certificate"),
        }
    }

    /// The endpoint that connections are made to.
    ///
    /// # Errors
    /// [`EndpointError`]; not for one that [`RedisUrl::parse`] took.
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

/// A replication group of ElastiCache, and what it is entered with. Its token does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisGroup {
    /// The group's id.
    pub id: String,
    /// Its AUTH token, if it wants one.
    pub token: Option<String>,
    /// PEM certificates that are trusted over TLS, instead of the public ones.
    pub authorities: Option<String>,
    /// Where the ElastiCache API listens, if it is not the region's own.
    pub api: Option<String>,
}

impl fmt::Debug for RedisGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisGroup({})", self.id)
    }
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    /// An address.
    Url(RedisUrl),
    /// A group, looked up by the ElastiCache API.
    Group(RedisGroup),
}
