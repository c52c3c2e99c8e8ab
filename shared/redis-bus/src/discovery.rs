//! Looks up the primary of a replication group: one lookup at a time, with growing waits between.
//!
//! A failover needs no lookup: the primary's endpoint is a name that follows it, and connections go
//! through that name. Only a group that was replaced has other names.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::Issue;
use model::backoff;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::address::Address;

/// Looks a replication group up.
#[async_trait]
pub trait FindGroup: fmt::Debug + Send + Sync {
    /// The group's name, for logs.
    fn name(&self) -> &str;

    /// Looks the group up now, within seconds.
    ///
    /// # Errors
    /// [`FindError`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    async fn find(&self) -> Result<Group, FindError>;
}

/// What this crate needs to know of a replication group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `available`, `modifying`, `creating` and so on.
    pub status: String,
    /// `redis` or `valkey`, where the service says it.
    pub engine: Option<String>,
    /// How many members it has, the primary included.
    pub members: usize,
    /// Whether it has, or may get, several shards.
    pub is_sharded: bool,
    /// Host and port that lead to the primary.
    pub primary: Option<HostPort>,
    /// Host and port that lead to a replica.
    pub reader: Option<HostPort>,
    /// Whether it takes TLS.
    pub tls: bool,
    /// Whether it requires an AUTH token.
    pub wants_token: bool,
    /// Whether it may accept a token that it does not require: it has users (RBAC), or a token is
    /// being set.
    pub may_take_token: bool,
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Credentials of a group.
#[derive(Clone, Default)]
pub struct GroupAccess {
    /// The AUTH token. `Debug` does not show it.
    pub token: Option<String>,
    /// PEM certificates to trust over TLS instead of the public authorities.
    pub authorities: Option<String>,
}

impl fmt::Debug for GroupAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupAccess(..)")
    }
}

/// Why a group has no usable address. Each text is one line with the fix, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No group has this name.
    #[error(
        "there is no replication group {group}; fix: correct INKWIRE_REDIS_GROUP or AWS_REGION"
    )]
    Missing {
        /// The group's name.
        group: String,
    },
    /// The role may not look the group up, or has no valid credentials.
    #[error(
        "ElastiCache answered {code} to the lookup of {group}; fix: give the role \
         elasticache:DescribeReplicationGroups on this group"
    )]
    Denied {
        /// The group's name.
        group: String,
        /// The service's error code.
        code: String,
    },
    /// The group has several shards.
    #[error(
        "the replication group {group} is in cluster mode; fix: name a group of one shard with \
         cluster mode disabled"
    )]
    Sharded {
        /// The group's name.
        group: String,
    },
    /// The group has no primary at present.
    #[error("the replication group {group} is {status} and has no primary endpoint; fix: wait")]
    NotReady {
        /// The group's name.
        group: String,
        /// The group's status.
        status: String,
    },
    /// The group requires a token, and none is configured.
    #[error("the replication group {group} wants an AUTH token; fix: set INKWIRE_REDIS_TOKEN")]
    TokenMissing {
        /// The group's name.
        group: String,
    },
    /// A token is configured, and the group takes none.
    #[error(
        "the replication group {group} takes no AUTH token; fix: unset INKWIRE_REDIS_TOKEN, or \
         switch AUTH on"
    )]
    TokenUnwanted {
        /// The group's name.
        group: String,
    },
    /// The endpoint or the credentials cannot be used.
    #[error("the endpoint of the replication group {group} cannot be used: {why}")]
    Unusable {
        /// The group's name.
        group: String,
        /// What is wrong.
        why: String,
    },
    /// The service gave no answer.
    #[error(
        "no answer to the lookup of {group}: {why}; fix: open a way to the ElastiCache API \
         (port 443, AWS_ENDPOINT_URL_ELASTICACHE)"
    )]
    Unanswered {
        /// The group's name.
        group: String,
        /// What happened instead.
        why: String,
    },
}

impl FindError {
    /// What kind of issue it is.
    #[must_use]
    pub const fn issue(&self) -> Issue {
        match self {
            Self::TokenMissing { .. } | Self::TokenUnwanted { .. } => Issue::RedisAuth,
            Self::Missing { .. }
            | Self::Denied { .. }
            | Self::Sharded { .. }
            | Self::NotReady { .. }
            | Self::Unusable { .. }
            | Self::Unanswered { .. } => Issue::RedisGroup,
        }
    }
}

/// Looks a group up, and remembers where it was found last.
pub(crate) struct GroupLookup {
    finder: Arc<dyn FindGroup>,
    access: GroupAccess,
    /// Held during a lookup, so that there is one at a time.
    search: tokio::sync::Mutex<Search>,
    /// The last answer. It has a lock of its own, so that it can be shown during a lookup.
    last: Mutex<Option<(Group, Address)>>,
    failing_since: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Search {
    /// When the next lookup is allowed; at once if absent.
    next_at: Option<Instant>,
    /// Lookups in a row that found nothing.
    failures: u32,
    failure: Option<FindError>,
}

impl GroupLookup {
    pub(crate) fn new(finder: Arc<dyn FindGroup>, access: GroupAccess) -> Self {
        Self {
            finder,
            access,
            search: tokio::sync::Mutex::default(),
            last: Mutex::default(),
            failing_since: Mutex::default(),
        }
    }

    /// The primary's address: the one that was found last, or a new one if there is none or writes
    /// have been failing. While lookups fail, the known address stays in use.
    pub(crate) async fn address(&self) -> Result<Address, FindError> {
        let mut search = self.search.lock().await;
        let known = self.known();
        if let Some((_, address)) = known.as_ref().filter(|_| !self.is_doubted()) {
            return Ok(address.clone());
        }
        let known = known.map(|(_, address)| address);
        if search.next_at.is_some_and(|at| Instant::now() < at) {
            let failure = search.failure.clone().unwrap_or_else(|| self.unanswered("too early"));
            return known.ok_or(failure);
        }
        // Set before the call, so that a cancelled lookup counts as well.
        search.next_at = Some(Instant::now() + jittered(backoff(SEARCH_WAIT, search.failures)));
        search.failures = search.failures.saturating_add(1);
        search.failure = None;
        let found = tokio::time::timeout(SEARCH_MAX, self.finder.find()).await;
        let found = found.unwrap_or_else(|_elapsed| Err(self.unanswered("it took too long")));
        match found.and_then(|group| Ok((self.address_of(&group)?, group))) {
            Ok((address, group)) => {
                self.remember(group, &address);
                search.failures = 0;
                Ok(address)
            }
            Err(failure) => {
                warn!(group = self.finder.name(), cause = %failure, "replication group not found");
                search.failure = Some(failure.clone());
                known.ok_or(failure)
            }
        }
    }

    fn remember(&self, group: Group, address: &Address) {
        let (name, primary) = (self.finder.name(), address);
        match self.last.lock().replace((group, address.clone())) {
            Some((_, before)) if before.to_string() == primary.to_string() => {}
            Some((_, before)) => info!(group = name, %before, %primary, "replication group moved"),
            None => info!(group = name, %primary, "replication group found"),
        }
        *self.failing_since.lock() = None;
    }

    fn address_of(&self, group: &Group) -> Result<Address, FindError> {
        let name = || self.finder.name().to_owned();
        if group.is_sharded {
            return Err(FindError::Sharded { group: name() });
        }
        let Some(primary) = &group.primary else {
            return Err(FindError::NotReady { group: name(), status: group.status.clone() });
        };
        match &self.access.token {
            None if group.wants_token => return Err(FindError::TokenMissing { group: name() }),
            Some(_) if !group.wants_token && !group.may_take_token => {
                return Err(FindError::TokenUnwanted { group: name() });
            }
            Some(_) | None => {}
        }
        let token = self.access.token.as_deref();
        let address = Address::from_parts((&primary.host, primary.port), group.tls, token);
        let trusted = address.and_then(|address| match &self.access.authorities {
            Some(authorities) if group.tls => address.trusting(authorities),
            Some(_) | None => Ok(address),
        });
        trusted.map_err(|err| FindError::Unusable { group: name(), why: err.to_string() })
    }

    /// The group and its address as they were found last.
    pub(crate) fn known(&self) -> Option<(Group, Address)> {
        self.last.lock().clone()
    }

    pub(crate) fn record_failure(&self) {
        self.failing_since.lock().get_or_insert_with(Instant::now);
    }

    pub(crate) fn record_write(&self) {
        *self.failing_since.lock() = None;
    }

    fn is_doubted(&self) -> bool {
        self.failing_since.lock().is_some_and(|since| since.elapsed() >= DOUBTED_AFTER)
    }

    fn unanswered(&self, why: &str) -> FindError {
        FindError::Unanswered { group: self.finder.name().to_owned(), why: why.to_owned() }
    }
}

impl fmt::Display for GroupLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, address)) => write!(f, "{address}"),
            None => write!(f, "group {}", self.finder.name()),
        }
    }
}

/// Equal jitter (50-100 %), so that nodes do not look up in lockstep.
fn jittered(wait: Duration) -> Duration {
    let share = u32::try_from(RandomState::new().hash_one(0) % 500).unwrap_or_default();
    wait / 2 + wait * share / 1_000
}

/// How long connecting or writing must fail before the group is looked up again: longer than a
/// failover usually takes to move the name.
const DOUBTED_AFTER: Duration = Duration::from_secs(10);
/// First and last wait between two lookups; each is twice the one before.
const SEARCH_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// One lookup, including the SDK's attempts.
const SEARCH_MAX: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests;
