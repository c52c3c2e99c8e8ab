//! Looks at the server as a program would use it: by the endpoint's name, on a connection of its
//! own, with a write.

use std::time::Duration;

use async_trait::async_trait;
use messaging::ports::{Checkup, Depth, Finding, Trouble};
use model::limits;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bus::RedisBus;
use crate::cure::diagnosis;
use crate::endpoint::Endpoint;
use crate::target::Target;

#[async_trait]
impl Checkup for RedisBus {
    async fn look(&self, _depth: Depth) -> Vec<Finding> {
        look(self.endpoint()).await
    }
}

async fn look(endpoint: &Endpoint) -> Vec<Finding> {
    let mut findings = Vec::new();
    let target = match endpoint.target().await {
        Ok(target) => target,
        Err(err) => return vec![Finding::bad(GROUP, err.trouble(), err.to_string())],
    };
    if let Some((group, _)) = endpoint.group().and_then(|found| found.known()) {
        let engine = group.engine.as_deref().unwrap_or("cache");
        let line = format!("{}, {engine}, {} members", group.status, group.members);
        findings.push(Finding::good(GROUP, line));
        let reader = group.reader.map_or_else(|| "none".to_owned(), |reader| reader.to_string());
        findings.push(Finding::good(ENDPOINTS, format!("primary {target}, reader {reader}")));
    }
    let mut connection = match endpoint.connect().await {
        Ok(connection) => connection,
        Err(err) => {
            findings.push(unconnected(&target, &err).await);
            return findings;
        }
    };
    let tls = if target.has_tls() { "on, certificate verified" } else { "off" };
    findings.push(Finding::good(TLS, tls.to_owned()));
    match described(&mut connection).await {
        Ok(found) => findings.extend(found),
        Err(err) if answers_no_command(&err) => {
            findings.push(refused(&target, &err).await);
            return findings;
        }
        // It may be forbidden, and is only told.
        Err(err) => tracing::debug!(cause = %err, "the server does not describe itself"),
    }
    findings.push(match written(&mut connection).await {
        Ok(()) => Finding::good(WRITES, "taken".to_owned()),
        Err(err) => refused(&target, &err).await,
    });
    findings
}

/// Writes as the programs do, where nothing reads.
async fn written(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut set = redis::cmd("SET");
    set.arg(CHECKUP_KEY).arg("").arg("PX").arg(CHECKUP_TTL_MS);
    set.query_async(connection).await
}

async fn described(connection: &mut MultiplexedConnection) -> RedisResult<Vec<Finding>> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
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

/// Whether it would answer any other command in the same way.
fn answers_no_command(err: &RedisError) -> bool {
    matches!(diagnosis(err), Some((Trouble::RedisAuth, _))) || err.is_io_error()
}

/// A command that failed on a connection that was made.
async fn refused(target: &Target, err: &RedisError) -> Finding {
    match diagnosis(err) {
        Some((trouble, cure)) => {
            Finding::bad(WRITES, trouble, format!("{target} answers: {err}; cure: {cure}"))
        }
        None if err.is_io_error() => unconnected(target, err).await,
        None => Finding::bad(
            WRITES,
            Trouble::RedisRefuses,
            format!("{target} answers: {err}; cure: a Redis 6 or Valkey that takes writes"),
        ),
    }
}

/// Why there is no connection: the same bytes tell a wrong password, TLS on one side only, and
/// nobody there apart.
async fn unconnected(target: &Target, err: &RedisError) -> Finding {
    if let Some((trouble, cure)) = diagnosis(err) {
        let line = format!("{target} refuses the login: {err}; cure: {cure}");
        return Finding::bad(CONNECT, trouble, line);
    }
    let speaks = match target.host_and_port() {
        Some(address) => spoken_at(address).await,
        None => None,
    };
    let (trouble, cure) = match (speaks, target.has_tls()) {
        (None, _) => (
            Trouble::RedisUnreachable,
            "nothing answers there: correct host and port, or the way to them (security group)",
        ),
        (Some(Speech::Plain), true) => {
            (Trouble::RedisTls, "the server speaks no TLS there: use redis://, or switch TLS on")
        }
        (Some(Speech::Other), true) => (
            Trouble::RedisTls,
            "its certificate must be for this host, in time, and from an authority that is \
             trusted (INKWIRE_REDIS_CA)",
        ),
        (Some(Speech::Other), false) => {
            (Trouble::RedisTls, "the server expects TLS there: use rediss://")
        }
        (Some(Speech::Plain), false) => {
            (Trouble::RedisUnreachable, "it answers, but too slowly: look at its load")
        }
    };
    Finding::bad(CONNECT, trouble, format!("no connection to {target}: {err}; cure: {cure}"))
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// Redis's protocol without TLS.
    Plain,
    /// Something that a plain PING ends: TLS, as a rule.
    Other,
}

/// Says PING in plain text; `None` if nobody takes the call.
async fn spoken_at((host, port): (&str, u16)) -> Option<Speech> {
    let call = async {
        let mut stream = TcpStream::connect((host, port)).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        let mut first = [0];
        let read = tokio::time::timeout(SPEECH_MAX, stream.read(&mut first)).await;
        // `+PONG`, or `-NOAUTH`: both are Redis. A TLS server sends an alert or hangs up.
        Some(match (read, first) {
            (Ok(Ok(1..)), [b'+' | b'-']) => Speech::Plain,
            (Ok(_) | Err(_), _) => Speech::Other,
        })
    };
    tokio::time::timeout(limits::BUS_CONNECT_MAX + SPEECH_MAX, call).await.ok().flatten()
}

const GROUP: &str = "redis group";
const ENDPOINTS: &str = "redis endpoints";
const CONNECT: &str = "redis connection";
const TLS: &str = "redis tls";
const ROLE: &str = "redis role";
const VERSION: &str = "redis version";
const EVICTION: &str = "redis eviction";
const WRITES: &str = "redis writes";
const CHECKUP_KEY: &str = "{ink:fleet}:checkup";
const CHECKUP_TTL_MS: u32 = 1_000;
/// How long an answer to the plain PING is waited for.
const SPEECH_MAX: Duration = Duration::from_secs(1);
