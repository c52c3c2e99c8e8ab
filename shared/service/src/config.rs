//! The environment of each program: all names and defaults. Reports all problems at once.
//!
//! Nothing that decides where data goes has a default.

mod files;
mod identity;
mod reader;
mod redis;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use auth::Secrets;
use auth::tokens::TokenConfig;
use messaging::ports::Clock;
use model::{Timestamp, limits};
use protocol::routes::Function;

use crate::certificate::Certificate;
use crate::clock::SystemClock;
use crate::telemetry::LogConfig;
use identity::Identity;
use reader::{Reader, address, origins, rate, replicas};

pub use files::FilesConfig;
pub use redis::{RedisGroup, RedisPlace, RedisUrl};

/// Prefix of every table name.
pub const TABLE_PREFIX: &str = "INKWIRE_TABLE_PREFIX";
/// Where Redis or Valkey is: `redis://`.
pub const REDIS_URL: &str = "INKWIRE_REDIS_URL";
/// The id of a replication group of ElastiCache, instead of a URL.
pub const REDIS_GROUP: &str = "INKWIRE_REDIS_GROUP";
/// That group's AUTH token.
pub const REDIS_TOKEN: &str = "INKWIRE_REDIS_TOKEN";
/// PEM certificates to trust for TLS to Redis, instead of the public authorities.
pub const REDIS_CA: &str = "INKWIRE_REDIS_CA";
/// How many replicas Redis has, for the relay, which waits for one.
pub const REDIS_REPLICAS: &str = "INKWIRE_REDIS_REPLICAS";
/// Secrets that sign bearer tokens (HS256), newest first, separated by commas.
pub const TOKEN_SECRET: &str = "INKWIRE_TOKEN_SECRET";
/// Public keys that verify bearer tokens: a JWK set.
pub const TOKEN_KEYS: &str = "INKWIRE_TOKEN_KEYS";
/// The only accepted issuer, if set.
pub const TOKEN_ISSUER: &str = "INKWIRE_TOKEN_ISSUER";
/// The audience that a token must name, if set.
pub const TOKEN_AUDIENCE: &str = "INKWIRE_TOKEN_AUDIENCE";
/// The longest life of a socket in seconds, whatever its token's `exp`; a day if unset.
pub const SOCKET_SECONDS_MAX: &str = "INKWIRE_SOCKET_SECONDS_MAX";
/// Secrets that sign tickets, newest first, separated by commas.
pub const TICKET_SECRET: &str = "INKWIRE_TICKET_SECRET";
/// Where a node listens for sockets: address and port.
pub const NODE_LISTEN: &str = "INKWIRE_NODE_LISTEN";
/// Where a node serves its metrics: address and port; nowhere if unset.
pub const NODE_ADMIN_LISTEN: &str = "INKWIRE_NODE_ADMIN_LISTEN";
/// How clients reach a node: `ws://` or `wss://`; [`TASK_ID`] in it is replaced.
pub const NODE_URL: &str = "INKWIRE_NODE_URL";
/// A node's certificate chain: PEM, or a file that holds it. Without it the node has no TLS.
pub const NODE_TLS_CERTIFICATE: &str = "INKWIRE_NODE_TLS_CERTIFICATE";
/// The key of that certificate: PEM, or a file that holds it.
pub const NODE_TLS_KEY: &str = "INKWIRE_NODE_TLS_KEY";
/// The metadata endpoint that tells an ECS task its id; the platform sets it.
pub const TASK_METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// Handshakes that a node accepts per second.
pub const NODE_HANDSHAKES_PER_SECOND: &str = "INKWIRE_NODE_HANDSHAKES_PER_SECOND";
/// Origins that browsers may connect from, separated by commas; none if unset.
pub const ALLOWED_ORIGINS: &str = "INKWIRE_ALLOWED_ORIGINS";
/// The log filter: directives of `tracing-subscriber`; `info` if unset.
pub const LOG: &str = "INKWIRE_LOG";
/// `json` (if unset) or `pretty`.
pub const LOG_FORMAT: &str = "INKWIRE_LOG_FORMAT";
/// The region of the tables.
pub const REGION: &str = "AWS_REGION";
/// The bucket of files.
pub const FILES_BUCKET: &str = "INKWIRE_FILES_BUCKET";
/// Where the store and S3 listen, if it is not the region's own.
pub const ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
/// Where the ElastiCache API listens, if it is neither there nor the region's own.
pub const ELASTICACHE_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL_ELASTICACHE";

/// Where S3 listens, if it is neither there nor the region's own.
pub const S3_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL_S3";

/// Placeholder in [`NODE_URL`] for the id of the node's task.
pub const TASK_ID: &str = "{task_id}";

/// The exit code of a program whose configuration is wrong (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;

/// Where values come from.
pub trait Env {
    /// The value of a name, if it is set.
    fn value(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    fn value(&self, name: &str) -> Option<OsString> {
        match std::env::var(name) {
            Ok(value) => Some(value.into()),
            Err(std::env::VarError::NotUnicode(value)) => Some(value),
            Err(std::env::VarError::NotPresent) => None,
        }
    }
}

impl Env for HashMap<&str, String> {
    fn value(&self, name: &str) -> Option<OsString> {
        self.get(name).map(Into::into)
    }
}

/// Everything that is wrong with an environment, by variable name. Contains no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence per problem.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Prints every problem of a program's configuration on a line of its own on stderr, and returns
/// the exit code.
pub fn refuse<P: fmt::Display>(program: &str, problems: impl IntoIterator<Item = P>) -> ExitCode {
    for problem in problems {
        eprintln!("{program}: {problem}");
    }
    ExitCode::from(EXIT_CONFIG)
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The region.
    pub region: String,
    /// Where the store listens, if it is not the region's own.
    pub endpoint: Option<String>,
    /// Prefix of every table name.
    pub table_prefix: String,
}

/// The environment of a function that answers calls: the part that all of them read, and the part
/// that only some do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Logs.
    pub log: LogConfig,
    /// The tables.
    pub store: StoreConfig,
    /// Bearer tokens.
    pub tokens: TokenConfig,
    /// The bus and the node directory, for functions that publish or read the directory.
    pub redis: Option<RedisUrl>,
    /// Secrets that sign tickets, for the function that issues them.
    pub ticket_secrets: Option<Secrets>,
    /// Files, for functions that sign URLs to them or look whether they are uploaded.
    pub files: Option<FilesConfig>,
}

/// What a function reads besides tables and tokens. It needs no variable that it does not read.
struct Needs {
    redis: bool,
    tickets: bool,
    files: bool,
}

impl Needs {
    const fn of(function: Function) -> Self {
        match function {
            Function::Send => Self { redis: true, tickets: false, files: true },
            Function::Membership | Function::Amend | Function::Scroll => {
                Self { redis: true, tickets: false, files: false }
            }
            Function::Connect => Self { redis: true, tickets: true, files: false },
            Function::Files => Self { redis: false, tickets: false, files: true },
        }
    }
}

impl FunctionConfig {
    /// Reads what this function needs.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env, function: Function) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let needs = Needs::of(function);
        let log = reader.log();
        let store = reader.store();
        let redis = needs.redis.then(|| reader.redis()).flatten();
        let tokens = reader.tokens();
        let ticket_secrets = needs.tickets.then(|| reader.secrets(TICKET_SECRET)).flatten();
        let files = needs.files.then(|| reader.files()).flatten();
        match (store, tokens) {
            (Some(store), Some(tokens)) if reader.problems.is_empty() => {
                Ok(Self { log, store, tokens, redis, ticket_secrets, files })
            }
            _ => Err(reader.refused()),
        }
    }
}

/// The environment of the relay. It has no signing secret: it handles neither tokens nor tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// Logs.
    pub log: LogConfig,
    /// The tables.
    pub store: StoreConfig,
    /// The bus.
    pub redis: RedisUrl,
    /// How many replicas it should have.
    pub redis_replicas: u32,
}

impl RelayConfig {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let log = reader.log();
        let store = reader.store();
        let redis = reader.redis();
        let redis_replicas = reader.required(REDIS_REPLICAS, replicas);
        match (store, redis, redis_replicas) {
            (Some(store), Some(redis), Some(redis_replicas)) if reader.problems.is_empty() => {
                Ok(Self { log, store, redis, redis_replicas })
            }
            _ => Err(reader.refused()),
        }
    }
}

/// The environment of the archiver: the tables and the bus. It has no signing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// Logs.
    pub log: LogConfig,
    /// The tables.
    pub store: StoreConfig,
    /// The bus.
    pub redis: RedisUrl,
}

impl ArchiveConfig {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let log = reader.log();
        let (store, redis) = (reader.store(), reader.redis());
        match (store, redis) {
            (Some(store), Some(redis)) if reader.problems.is_empty() => {
                Ok(Self { log, store, redis })
            }
            _ => Err(reader.refused()),
        }
    }
}

/// The environment of the deriver: it needs only the tables and the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeriveConfig {
    /// Logs.
    pub log: LogConfig,
    /// The tables.
    pub store: StoreConfig,
    /// Files.
    pub files: FilesConfig,
}

impl DeriveConfig {
    /// Reads it.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let log = reader.log();
        let (store, files) = (reader.store(), reader.files());
        match (store, files) {
            (Some(store), Some(files)) if reader.problems.is_empty() => {
                Ok(Self { log, store, files })
            }
            _ => Err(reader.refused()),
        }
    }
}

/// The environment of a node. It has no token secret, since nodes handle only tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Logs.
    pub log: LogConfig,
    /// The tables.
    pub store: StoreConfig,
    /// The bus and the node directory.
    pub redis: RedisPlace,
    /// Secrets that verify tickets.
    pub ticket_secrets: Secrets,
    /// Where the node listens for sockets.
    pub listen: SocketAddr,
    /// Where it serves metrics, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// How clients reach this node; may contain [`TASK_ID`].
    pub url: String,
    /// The endpoint that tells the task's id, if the URL contains [`TASK_ID`].
    pub task_metadata: Option<String>,
    /// Its TLS certificate; plain `ws://` without it.
    pub certificate: Option<Certificate>,
    /// Origins that browsers may connect from.
    pub allowed_origins: Vec<String>,
    /// Handshakes that it accepts per second.
    pub handshakes_per_second: u32,
}

impl NodeConfig {
    /// Reads it. Its certificate must be valid now.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env) -> Result<Self, ConfigError> {
        Self::at(env, SystemClock.now())
    }

    fn at(env: &impl Env, now: Timestamp) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let log = reader.log();
        let store = reader.store();
        let redis = reader.redis_place();
        let ticket_secrets = reader.secrets(TICKET_SECRET);
        let listen = reader.required(NODE_LISTEN, address);
        let admin_listen = reader.optional(NODE_ADMIN_LISTEN, address);
        if let (Some(sockets), Some(admin)) = (listen, admin_listen)
            && sockets.port() == admin.port()
            && sockets.port() != 0
        {
            let both = format!("{NODE_LISTEN} and {NODE_ADMIN_LISTEN} have the same port");
            reader.problems.push(both);
        }
        let identity = reader.identity(now);
        let allowed_origins = reader.optional(ALLOWED_ORIGINS, origins).unwrap_or_default();
        let handshakes_per_second = reader
            .optional(NODE_HANDSHAKES_PER_SECOND, rate)
            .unwrap_or(limits::HANDSHAKES_PER_SECOND_MAX);
        match (store, redis, ticket_secrets, listen, identity) {
            (Some(store), Some(redis), Some(ticket_secrets), Some(listen), Some(identity))
                if reader.problems.is_empty() =>
            {
                let Identity { url, task_metadata, certificate } = identity;
                Ok(Self {
                    log,
                    store,
                    redis,
                    ticket_secrets,
                    listen,
                    admin_listen,
                    url,
                    task_metadata,
                    certificate,
                    allowed_origins,
                    handshakes_per_second,
                })
            }
            _ => Err(reader.refused()),
        }
    }
}

/// The part of a node's environment that a health check needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Where the node listens for sockets.
    pub listen: SocketAddr,
    /// Where it serves metrics and health, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// Its TLS certificate; plain `ws://` without it.
    pub certificate: Option<Certificate>,
}

impl HealthConfig {
    /// Reads it. Does not check the certificate's dates: the node reports them.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn try_from(env: &impl Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let listen = reader.required(NODE_LISTEN, address);
        let admin_listen = reader.optional(NODE_ADMIN_LISTEN, address);
        let certificate = reader.certificate();
        match listen {
            Some(listen) if reader.problems.is_empty() => {
                Ok(Self { listen, admin_listen, certificate })
            }
            Some(_) | None => Err(reader.refused()),
        }
    }
}

/// The host in a URL, without its port.
#[must_use]
pub fn host_of(url: &str) -> Option<String> {
    identity::host_of(url)
}

#[cfg(test)]
mod tests;
