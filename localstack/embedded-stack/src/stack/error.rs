//! Errors of starting a stack.

use std::io;

use auth::SecretError;
use dynamo::SchemaError;
use messaging::ports::{Cause, Issue};
use service::compose::EndpointError;

use crate::engine::EngineError;
use crate::secrets::SecretsError;

/// Why the stack did not start. Each error has a cause and a fix.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Another program uses the port.
    #[error("port {port} of 127.0.0.1 is taken")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The operating system refuses the port.
    #[error("port {port} of 127.0.0.1 cannot be used")]
    Port {
        /// The port.
        port: u16,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The embedded engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A secret cannot be read or kept.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The system gave no random bytes for a secret.
    #[error("the system gave no random bytes for a secret")]
    NoSecret(#[from] SecretError),
    /// The store cannot be reached, or its tables have another shape.
    #[error("the store at {endpoint} cannot be used")]
    Store {
        /// The store's endpoint.
        endpoint: String,
        /// The cause.
        #[source]
        source: SchemaError,
    },
    /// The address of Redis cannot be used.
    #[error("the address of Redis cannot be used")]
    RedisAddress(#[from] EndpointError),
    /// Redis cannot be reached, or fails its check.
    #[error("cannot use Redis: {problem}")]
    Redis {
        /// What is wrong, and where, without the password.
        problem: String,
        /// The kind of problem.
        issue: Issue,
    },
    /// The engine's stream of messages cannot be read.
    #[error("the relay cannot read the engine's stream")]
    Feed(#[source] Cause),
    /// The directory of the files cannot be written to.
    #[error("files cannot be kept")]
    Files(#[source] io::Error),
    /// The demo workspace could not be written.
    #[error("the demo workspace could not be written")]
    Seed(#[source] Cause),
    /// A node did not start.
    #[error("a node did not start")]
    Node(#[source] Cause),
}

impl StackError {
    /// The fix.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::PortTaken { .. } => "stop what uses it, or choose another with --port",
            Self::Port { .. } => "choose another with --port",
            Self::Engine(_) | Self::Secrets(_) | Self::Files(_) => {
                "choose another directory with --data-dir"
            }
            Self::Store { .. } => "start it, or correct --dynamodb-endpoint",
            Self::RedisAddress(_) => "correct --redis-url",
            Self::Redis { issue, .. } => redis_fix(*issue),
            Self::Feed(_) | Self::Seed(_) => {
                "the data may be damaged: try another directory with --data-dir"
            }
            Self::Node(_) => "try fewer with --nodes",
            Self::NoSecret(_) => "try again",
        }
    }

    /// The process's exit code, by `sysexits.h`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::PortTaken { .. }
            | Self::Port { .. }
            | Self::Store { .. }
            | Self::Redis { .. } => 69,
            Self::Engine(_) | Self::Secrets(_) | Self::Files(_) => 73,
            Self::RedisAddress(_) => 64,
            Self::Feed(_) | Self::Seed(_) | Self::Node(_) | Self::NoSecret(_) => 70,
        }
    }
}

fn redis_fix(issue: Issue) -> &'static str {
    match issue {
        Issue::RedisAuth => "correct the password in --redis-url",
        Issue::RedisTls => {
            "write rediss:// in --redis-url if the server speaks TLS, redis:// if it does not"
        }
        Issue::RedisReadOnly => "give the primary in --redis-url",
        Issue::RedisSilent | Issue::RedisReset => {
            "check whether the server is paused, overloaded or restarting"
        }
        Issue::RedisRefuses => "correct the server's settings",
        Issue::RedisUnreachable
        | Issue::RedisGroup
        | Issue::StoreUnreachable
        | Issue::StoreDenied
        | Issue::TableMissing
        | Issue::TableShape
        | Issue::TableSettings
        | Issue::ClockSkew => "start it, or correct --redis-url",
    }
}
