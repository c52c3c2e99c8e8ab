//! Checks the server the way a program uses it: by the endpoint's name, on a new connection, with a
//! write.

use async_trait::async_trait;
use messaging::ports::{Finding, HealthCheck, Issue, Scope};
use redis::{RedisError, RedisResult, Value};

use crate::address::Address;
use crate::bus::RedisBus;
use crate::connection::{self, Connection};
use crate::diagnosis::diagnosis;
use crate::endpoint::Endpoint;
use crate::probe::{self, Speech};

#[async_trait]
impl HealthCheck for RedisBus {
    async fn run(&self, _scope: Scope) -> Vec<Finding> {
        look(self.endpoint()).await
    }
}

async fn look(endpoint: &Endpoint) -> Vec<Finding> {
    let mut findings = Vec::new();
    let address = match endpoint.address().await {
        Ok(address) => address,
        Err(err) => return vec![Finding::bad(GROUP, err.issue(), err.to_string())],
    };
    if let Some((group, _)) = endpoint.group().and_then(|group| group.known()) {
        let engine = group.engine.as_deref().unwrap_or("cache");
        let line = format!("{}, {engine}, {} members", group.status, group.members);
        findings.push(Finding::good(GROUP, line));
        let reader = group.reader.map_or_else(|| "none".to_owned(), |reader| reader.to_string());
        findings.push(Finding::good(ENDPOINTS, format!("primary {address}, reader {reader}")));
    }
    let connection = match endpoint.connect().await {
        Ok(connection) => connection,
        Err(err) => {
            findings.push(unconnected(&address, &err).await);
            return findings;
        }
    };
    let tls = if address.has_tls() { "on, certificate verified" } else { "off" };
    findings.push(Finding::good(TLS, tls.to_owned()));
    match described(&*connection).await {
        Ok(found) => findings.extend(found),
        Err(err) if answers_no_command(&err) => {
            findings.push(refused(&address, &err).await);
            return findings;
        }
        // The user may lack the permission, and nothing depends on the answer.
        Err(err) => tracing::debug!(cause = %err, "no answer to INFO"),
    }
    findings.push(match written(&*connection).await {
        Ok(()) => Finding::good(WRITES, "taken".to_owned()),
        Err(err) => refused(&address, &err).await,
    });
    findings
}

/// Writes a key that nothing reads.
async fn written(connection: &dyn Connection) -> RedisResult<()> {
    let mut set = redis::cmd("SET");
    set.arg(CHECKUP_KEY).arg("").arg("PX").arg(CHECKUP_TTL_MS);
    connection::query::<Value>(connection, &set).await.map(drop)
}

async fn described(connection: &dyn Connection) -> RedisResult<Vec<Finding>> {
    let info: String = connection::query(connection, &redis::cmd("INFO")).await?;
    let field = |name: &str| {
        let is_it =
            |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
        info.lines().find_map(is_it)
    };
    let told = |name: &str| field(name).unwrap_or_else(|| "not told".to_owned());
    let role = match told("role").as_str() {
        "master" => format!("primary, {} replicas attached", told("connected_slaves")),
        "slave" => "replica".to_owned(),
        other => other.to_owned(),
    };
    let version = match field("valkey_version") {
        Some(version) => format!("valkey {version}"),
        None => format!("redis {}", told("redis_version")),
    };
    Ok(vec![
        Finding::good(ROLE, role),
        Finding::good(VERSION, version),
        Finding::good(EVICTION, told("maxmemory_policy")),
    ])
}

/// Whether the server would answer any other command in the same way.
fn answers_no_command(err: &RedisError) -> bool {
    matches!(diagnosis(err), Some((Issue::RedisAuth, _))) || err.is_io_error()
}

/// The finding for a command that failed on an open connection.
async fn refused(address: &Address, err: &RedisError) -> Finding {
    match diagnosis(err) {
        Some((issue, fix)) => {
            Finding::bad(WRITES, issue, format!("{address} answers: {err}; fix: {fix}"))
        }
        None if err.is_io_error() => unconnected(address, err).await,
        None => Finding::bad(
            WRITES,
            Issue::RedisRefuses,
            format!("{address} answers: {err}; fix: a Redis 6 or Valkey that takes writes"),
        ),
    }
}

/// The finding for a connection that could not be opened. It depends on what the port answers to a
/// new client, so that silence and resets are never taken for TLS.
async fn unconnected(address: &Address, err: &RedisError) -> Finding {
    if let Some((issue, fix)) = diagnosis(err) {
        let line = format!("{address} refuses the login: {err}; fix: {fix}");
        return Finding::bad(CONNECT, issue, line);
    }
    let speech = match address.host_and_port() {
        Some((host, port)) => probe::speech(host, port).await,
        None => Speech::Unreached,
    };
    let (issue, fix) = verdict(speech, address.has_tls(), Failure::of(err));
    Finding::bad(CONNECT, issue, format!("no connection to {address}: {err}; fix: {fix}"))
}

/// How the attempt to connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No answer in time.
    Late,
    /// The connection was reset or closed.
    Cut,
    /// Anything else: over TLS, a failed handshake.
    Other,
}

impl Failure {
    fn of(err: &RedisError) -> Self {
        if err.is_timeout() {
            Self::Late
        } else if err.is_connection_dropped() {
            Self::Cut
        } else {
            Self::Other
        }
    }
}

fn verdict(speech: Speech, has_tls: bool, failure: Failure) -> (Issue, &'static str) {
    match (speech, has_tls, failure) {
        (Speech::Refused, _, _) => (
            Issue::RedisUnreachable,
            "nothing answers there: start the server, or correct host and port",
        ),
        (Speech::Unreached, _, _) => (
            Issue::RedisUnreachable,
            "no connection is accepted there: correct host and port, the way to them (security \
             group), or look whether the server is overloaded",
        ),
        (Speech::Foreign, _, _) => {
            (Issue::RedisUnreachable, "what answers there is not Redis: correct host and port")
        }
        (Speech::Plain, true, _) => {
            (Issue::RedisTls, "the server speaks no TLS there: use redis://, or switch TLS on")
        }
        (Speech::Tls, false, _) => (Issue::RedisTls, "the server expects TLS there: use rediss://"),
        (Speech::Tls, true, Failure::Other) => (
            Issue::RedisTls,
            "its certificate must be for this host, in time, and from an authority that is \
             trusted (INKWIRE_REDIS_CA)",
        ),
        (Speech::Silent, _, _) => (Issue::RedisSilent, SILENT),
        (Speech::HangsUp, _, _)
        | (Speech::Tls, true, Failure::Cut)
        | (Speech::Plain, false, Failure::Cut) => (Issue::RedisReset, RESET),
        (Speech::Tls, true, Failure::Late)
        | (Speech::Plain, false, Failure::Late | Failure::Other) => {
            (Issue::RedisSilent, "it answers, but too slowly: look at its load")
        }
    }
}

const SILENT: &str = "it accepts connections and answers nothing: look whether the server is \
     paused, overloaded or swapping";
const RESET: &str = "it ends connections without an answer: look whether the server, or a proxy \
     in front of it, restarts or fails over";
const GROUP: &str = "redis group";
const ENDPOINTS: &str = "redis endpoints";
const CONNECT: &str = "redis connection";
const TLS: &str = "redis tls";
const ROLE: &str = "redis role";
const VERSION: &str = "redis version";
const EVICTION: &str = "redis eviction";
const WRITES: &str = "redis writes";
const CHECKUP_KEY: &str = "{ink:fleet}:check";
const CHECKUP_TTL_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_answered_in_tls_is_called_a_tls_port() {
        use Speech::{Foreign, HangsUp, Plain, Refused, Silent, Tls, Unreached};
        for speech in [Refused, Unreached, Plain, Tls, Silent, HangsUp, Foreign] {
            for failure in [Failure::Late, Failure::Cut, Failure::Other] {
                let (issue, fix) = verdict(speech, false, failure);
                let is_tls = issue == Issue::RedisTls;
                assert_eq!(is_tls, speech == Tls, "{speech:?} {failure:?}");
                assert_eq!(is_tls, fix.contains("rediss://"), "{speech:?} {failure:?}");
                let (issue, _) = verdict(speech, true, failure);
                let is_tls = speech == Plain || (speech == Tls && failure == Failure::Other);
                assert_eq!(issue == Issue::RedisTls, is_tls, "{speech:?} {failure:?}");
            }
        }
    }
}
