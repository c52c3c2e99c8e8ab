//! A replication group whose primary is looked up by name, at most once at a time and never in a
//! hurry.
//!
//! A failover needs none of this: the primary's endpoint is a name that follows it, and connections
//! go through that name. Looking up again is for a group that was replaced, whose names are others.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::Trouble;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::target::Target;

/// Looks a replication group up.
#[async_trait]
pub trait FindGroup: fmt::Debug + Send + Sync {
    /// The group's name, for logs.
    fn name(&self) -> &str;

    /// Looks it up now, within seconds.
    ///
    /// # Errors
    /// [`FindError`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    async fn find(&self) -> Result<Group, FindError>;
}

/// A replication group, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `available`, `modifying`, `creating` and so on.
    pub status: String,
    /// `redis` or `valkey`, where it is told.
    pub engine: Option<String>,
    /// Members, the primary included.
    pub members: usize,
    /// Whether it has, or may get, several shards.
    pub is_sharded: bool,
    /// Host and port of whichever member is the primary.
    pub primary: Option<Address>,
    /// Host and port of some replica.
    pub reader: Option<Address>,
    /// Whether it takes TLS.
    pub tls: bool,
    /// Whether it wants an AUTH token.
    pub wants_token: bool,
    /// Whether it may take one nevertheless: users of its own (RBAC), or a token that is being set.
    pub may_take_token: bool,
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What a group is entered with.
#[derive(Clone, Default)]
pub struct GroupAccess {
    /// The AUTH token. Not shown by `Debug`.
    pub token: Option<String>,
    /// PEM certificates that are trusted over TLS, instead of the public ones.
    pub authorities: Option<String>,
}

impl fmt::Debug for GroupAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupAccess(..)")
    }
}

/// Why a group leads nowhere. One line each, with the cure, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// There is none of that name.
    #[error(
        "there is no replication group {group}; cure: correct INKWIRE_REDIS_GROUP or AWS_REGION"
    )]
    Missing {
        /// Which.
        group: String,
    },
    /// The role may not look it up, or has no valid credentials.
    #[error(
        "looking {group} up was answered {code}; cure: give the role \
         elasticache:DescribeReplicationGroups on this group"
    )]
    Denied {
        /// Which.
        group: String,
        /// The service's word.
        code: String,
    },
    /// It has several shards.
    #[error(
        "the replication group {group} is in cluster mode; cure: name a group of one shard with \
         cluster mode disabled"
    )]
    Sharded {
        /// Which.
        group: String,
    },
    /// It has no primary yet, or no more.
    #[error("the replication group {group} is {status} and has no primary endpoint; cure: wait")]
    NotReady {
        /// Which.
        group: String,
        /// What it says of itself.
        status: String,
    },
    /// It wants a token, and there is none.
    #[error("the replication group {group} wants an AUTH token; cure: set INKWIRE_REDIS_TOKEN")]
    TokenMissing {
        /// Which.
        group: String,
    },
    /// There is a token, and it takes none.
    #[error(
        "the replication group {group} takes no AUTH token; cure: unset INKWIRE_REDIS_TOKEN, or \
         switch AUTH on"
    )]
    TokenUnwanted {
        /// Which.
        group: String,
    },
    /// What it is entered with is unusable.
    #[error("the endpoint of the replication group {group} cannot be used: {why}")]
    Unusable {
        /// Which.
        group: String,
        /// Why.
        why: String,
    },
    /// The service did not say.
    #[error(
        "looking {group} up got no answer: {why}; cure: a way to the ElastiCache API (port 443, \
         AWS_ENDPOINT_URL_ELASTICACHE)"
    )]
    Unanswered {
        /// Which.
        group: String,
        /// What happened instead.
        why: String,
    },
}

impl FindError {
    /// What kind of trouble it is.
    #[must_use]
    pub const fn trouble(&self) -> Trouble {
        match self {
            Self::TokenMissing { .. } | Self::TokenUnwanted { .. } => Trouble::RedisAuth,
            Self::Missing { .. }
            | Self::Denied { .. }
            | Self::Sharded { .. }
            | Self::NotReady { .. }
            | Self::Unusable { .. }
            | Self::Unanswered { .. } => Trouble::RedisGroup,
        }
    }
}

/// A group, and where it was found last.
pub(crate) struct Found {
    finder: Arc<dyn FindGroup>,
    access: GroupAccess,
    /// Held while it is looked up: one flight.
    search: Mutex<Search>,
    /// What it came to, for who only wants to tell.
    last: StdMutex<Option<(Group, Target)>>,
    failing_since: StdMutex<Option<Instant>>,
}

#[derive(Default)]
struct Search {
    /// Not before; none before the first.
    next_at: Option<Instant>,
    wait: Duration,
    failure: Option<FindError>,
}

impl Found {
    pub(crate) fn new(finder: Arc<dyn FindGroup>, access: GroupAccess) -> Self {
        Self {
            finder,
            access,
            search: Mutex::default(),
            last: StdMutex::default(),
            failing_since: StdMutex::default(),
        }
    }

    /// The primary: as it was found last, or found now. While looking up fails, what was known goes
    /// on being used.
    pub(crate) async fn target(&self) -> Result<Target, FindError> {
        let mut search = self.search.lock().await;
        let known = self.known();
        if let Some((_, target)) = known.as_ref().filter(|_| !self.is_doubted()) {
            return Ok(target.clone());
        }
        let known = known.map(|(_, target)| target);
        if search.next_at.is_some_and(|at| Instant::now() < at) {
            let failure = search.failure.clone().unwrap_or_else(|| self.unanswered("too early"));
            return known.ok_or(failure);
        }
        // Before the call: one that is given up counts as well.
        search.wait = (search.wait * 2).clamp(SEARCH_WAIT.0, SEARCH_WAIT.1);
        search.next_at = Some(Instant::now() + jittered(search.wait));
        search.failure = None;
        let found = tokio::time::timeout(SEARCH_MAX, self.finder.find()).await;
        let found = found.unwrap_or_else(|_elapsed| Err(self.unanswered("it took too long")));
        match found.and_then(|group| Ok((self.target_of(&group)?, group))) {
            Ok((target, group)) => {
                self.take(group, &target);
                search.wait = Duration::ZERO;
                Ok(target)
            }
            Err(failure) => {
                warn!(group = self.finder.name(), cause = %failure, "the group was not found");
                search.failure = Some(failure.clone());
                known.ok_or(failure)
            }
        }
    }

    fn take(&self, group: Group, target: &Target) {
        let name = self.finder.name();
        match lock(&self.last).replace((group, target.clone())) {
            Some((_, before)) if before.to_string() == target.to_string() => {}
            Some((_, before)) => info!(group = name, %before, primary = %target, "the group moved"),
            None => info!(group = name, primary = %target, "the group was found"),
        }
        *lock(&self.failing_since) = None;
    }

    fn target_of(&self, group: &Group) -> Result<Target, FindError> {
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
        let (address, token) =
            ((primary.host.as_str(), primary.port), self.access.token.as_deref());
        let target = Target::found(address, group.tls, token);
        let trusted = target.and_then(|target| match &self.access.authorities {
            Some(authorities) if group.tls => target.trusting(authorities),
            Some(_) | None => Ok(target),
        });
        trusted.map_err(|err| FindError::Unusable { group: name(), why: err.to_string() })
    }

    /// The group as it was found last.
    pub(crate) fn known(&self) -> Option<(Group, Target)> {
        lock(&self.last).clone()
    }

    pub(crate) fn failed(&self) {
        lock(&self.failing_since).get_or_insert_with(Instant::now);
    }

    pub(crate) fn took_a_write(&self) {
        *lock(&self.failing_since) = None;
    }

    fn is_doubted(&self) -> bool {
        lock(&self.failing_since).is_some_and(|since| since.elapsed() >= DOUBTED_AFTER)
    }

    fn unanswered(&self, why: &str) -> FindError {
        FindError::Unanswered { group: self.finder.name().to_owned(), why: why.to_owned() }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((_, target)) => write!(f, "{target}"),
            None => write!(f, "group {}", self.finder.name()),
        }
    }
}

/// Between half of a wait and all of it: nodes that lost their way together do not ask together.
fn jittered(wait: Duration) -> Duration {
    let share = u32::try_from(RandomState::new().hash_one(0) % 500).unwrap_or_default();
    wait / 2 + wait * share / 1_000
}

fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long connecting or writing fails before the address is doubted: longer than a failover takes
/// to move the name, as a rule.
const DOUBTED_AFTER: Duration = Duration::from_secs(10);
/// First and last wait between two searches; each is twice the one before.
const SEARCH_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// One search, attempts of the SDK included.
const SEARCH_MAX: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests;
