//! Why a stack does not start.

use std::io;

use dynamo::SchemaError;
use messaging::ports::{Cause, Trouble};
use runtime::SecretError;
use runtime::compose::EndpointError;

use crate::engine::EngineError;
use crate::secrets::SecretsError;

/// Why the stack did not start. Each has a cause, and a cure.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Another program listens there.
    #[error("port {port} of 127.0.0.1 is taken")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The system does not let us listen there.
    #[error("port {port} of 127.0.0.1 cannot be used")]
    Port {
        /// The port.
        port: u16,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The embedded engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A secret is not there.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The system gave no secret.
    #[error("the system gave no random bytes for a secret")]
    NoSecret(#[from] SecretError),
    /// The store is not there, or has other tables.
    #[error("the store at {endpoint} cannot be used")]
    Store {
        /// Where it was looked for.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: SchemaError,
    },
    /// The address of Redis cannot be used.
    #[error("the address of Redis cannot be used")]
    RedisAddress(#[from] EndpointError),
    /// Redis is not there, or does not do what it must.
    #[error("cannot use Redis: {problem}")]
    Redis {
        /// What is wrong, and where, without a password.
        problem: String,
        /// The kind of it.
        trouble: Trouble,
    },
    /// The engine does not give its stream of messages.
    #[error("the relay cannot read the engine's stream")]
    Feed(#[source] Cause),
    /// The demo workspace could not be written.
    #[error("the demo workspace could not be written")]
    Seed(#[source] Cause),
    /// A node did not start.
    #[error("a node did not start")]
    Node(#[source] Cause),
}

impl StackError {
    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::PortTaken { .. } => "stop what uses it, or choose another with --port",
            Self::Port { .. } => "choose another with --port",
            Self::Engine(_) | Self::Secrets(_) => "choose another directory with --data-dir",
            Self::Store { .. } => "start it, or correct --dynamodb-endpoint",
            Self::RedisAddress(_) => "correct --redis-url",
            Self::Redis { trouble, .. } => redis_cure(*trouble),
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
            Self::Engine(_) | Self::Secrets(_) => 73,
            Self::RedisAddress(_) => 64,
            Self::Feed(_) | Self::Seed(_) | Self::Node(_) | Self::NoSecret(_) => 70,
        }
    }
}

fn redis_cure(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::RedisAuth => "correct the password in --redis-url",
        Trouble::RedisTls => {
            "write rediss:// in --redis-url if the server speaks TLS, redis:// if it does not"
        }
        Trouble::RedisReadOnly => "give the primary in --redis-url",
        Trouble::RedisSilent | Trouble::RedisReset => {
            "check whether the server is paused, overloaded or restarting"
        }
        Trouble::RedisRefuses => "correct the server's settings",
        Trouble::RedisUnreachable
        | Trouble::RedisGroup
        | Trouble::StoreUnreachable
        | Trouble::StoreDenied
        | Trouble::TableMissing
        | Trouble::TableShape
        | Trouble::TableSettings
        | Trouble::ClockSkew => "start it, or correct --redis-url",
    }
}
