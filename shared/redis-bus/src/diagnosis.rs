//! What a server's refusal says about the deployment, and the fix.

use messaging::ports::{Cause, Issue};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Maps an answer of the server to an issue and its fix. `None` for a refusal that passes by itself,
/// and for an error that is no answer.
pub(crate) fn diagnosis(err: &RedisError) -> Option<(Issue, &'static str)> {
    if let ErrorKind::Server(kind) = err.kind() {
        match kind {
            ServerErrorKind::ReadOnly => return Some((Issue::RedisReadOnly, READ_ONLY)),
            ServerErrorKind::NoPerm => return Some((Issue::RedisRefuses, NO_PERMISSION)),
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::CrossSlot
            | ServerErrorKind::ClusterDown => return Some((Issue::RedisGroup, CLUSTER)),
            ServerErrorKind::ResponseError
            | ServerErrorKind::ExecAbort
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::TryAgain
            | ServerErrorKind::MasterDown
            | ServerErrorKind::NotBusy
            | ServerErrorKind::NoSub
            | _ => {}
        }
    }
    if err.kind() == ErrorKind::AuthenticationFailed {
        return Some((Issue::RedisAuth, PASSWORD));
    }
    match err.code()? {
        "NOAUTH" | "WRONGPASS" => Some((Issue::RedisAuth, PASSWORD)),
        "OOM" => Some((Issue::RedisRefuses, MEMORY)),
        "MISCONF" => Some((Issue::RedisRefuses, DISK)),
        "NOREPLICAS" => Some((Issue::RedisRefuses, REPLICAS)),
        _ => None,
    }
}

/// An error for the log, with the fix if there is one.
pub(crate) fn cause(err: RedisError) -> Cause {
    match diagnosis(&err) {
        Some((_, fix)) => Box::new(Explained { err, fix }),
        None => err.into(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{err}; fix: {fix}")]
struct Explained {
    err: RedisError,
    fix: &'static str,
}

const READ_ONLY: &str = "this is a replica or a demoted primary: give the primary's endpoint, \
     a name that follows a failover";
const NO_PERMISSION: &str = "let this user run scripts, streams and Pub/Sub on keys `ink:*` and \
     `{ink:*` (ACL)";
const CLUSTER: &str = "this is a cluster: give a group of one shard with cluster mode disabled";
const PASSWORD: &str = "give the server's own password, in its URL (INKWIRE_REDIS_URL, \
     --redis-url) or in INKWIRE_REDIS_TOKEN";
const MEMORY: &str = "its memory is full: a larger server, or less in it";
const DISK: &str =
    "it cannot save to its disk: mend that, or switch snapshots off (none is needed)";
const REPLICAS: &str = "it wants more replicas than it has: bring them back, or lower \
     min-replicas-to-write";
