//! Checks whether what a program depends on is there and set up correctly.

use std::fmt;

use async_trait::async_trait;

/// What a check can find wrong. Each kind has one fix, and a word that a node's health shows. The
/// words contain no address, no account and no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Issue {
    /// The replication group does not exist, or we may not look it up or use it.
    RedisGroup,
    /// Nothing answers where Redis should be.
    RedisUnreachable,
    /// It accepts connections, but answers nothing, or too late.
    RedisSilent,
    /// It closes or resets connections without an answer.
    RedisReset,
    /// One side speaks TLS and the other does not, or the certificate is not valid.
    RedisTls,
    /// A password is wrong, missing, or not expected.
    RedisAuth,
    /// It accepts no writes: it is a replica, or a primary that was demoted.
    RedisReadOnly,
    /// It answers, but refuses the program's commands: memory, permissions, replicas.
    RedisRefuses,
    /// Nothing answers where the tables should be.
    StoreUnreachable,
    /// The role lacks a permission.
    StoreDenied,
    /// There is no table of that name.
    TableMissing,
    /// A table's keys differ from `tables.json`.
    TableShape,
    /// A table has no stream, which the relay needs, or no time to live, which deletes redirects.
    TableSettings,
    /// The program's clock differs from Redis's by more than
    /// [`model::limits::CLOCK_SKEW_MAX`].
    ClockSkew,
}

impl Issue {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::RedisGroup,
        Self::RedisUnreachable,
        Self::RedisSilent,
        Self::RedisReset,
        Self::RedisTls,
        Self::RedisAuth,
        Self::RedisReadOnly,
        Self::RedisRefuses,
        Self::StoreUnreachable,
        Self::StoreDenied,
        Self::TableMissing,
        Self::TableShape,
        Self::TableSettings,
        Self::ClockSkew,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RedisGroup => "redis_group",
            Self::RedisUnreachable => "redis_unreachable",
            Self::RedisSilent => "redis_silent",
            Self::RedisReset => "redis_reset",
            Self::RedisTls => "redis_tls",
            Self::RedisAuth => "redis_auth",
            Self::RedisReadOnly => "redis_read_only",
            Self::RedisRefuses => "redis_refuses",
            Self::StoreUnreachable => "store_unreachable",
            Self::StoreDenied => "store_denied",
            Self::TableMissing => "table_missing",
            Self::TableShape => "table_shape",
            Self::TableSettings => "table_settings",
            Self::ClockSkew => "clock_skew",
        }
    }

    /// Whether it keeps a node from serving.
    #[must_use]
    pub const fn stops_a_node(self) -> bool {
        match self {
            Self::RedisGroup
            | Self::RedisUnreachable
            | Self::RedisSilent
            | Self::RedisReset
            | Self::RedisTls
            | Self::RedisAuth
            | Self::RedisReadOnly
            | Self::RedisRefuses
            | Self::StoreUnreachable
            | Self::StoreDenied
            | Self::TableMissing
            | Self::TableShape => true,
            Self::TableSettings | Self::ClockSkew => false,
        }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of checking one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked, in a few words.
    pub item: &'static str,
    /// Its state, or what is wrong with it and the fix. One line, without secrets and without
    /// contents of rows.
    pub line: String,
    /// What is wrong with it, if anything.
    pub issue: Option<Issue>,
}

impl Finding {
    /// Nothing is wrong.
    #[must_use]
    pub const fn good(item: &'static str, line: String) -> Self {
        Self { item, line, issue: None }
    }

    /// Something is wrong.
    #[must_use]
    pub const fn bad(item: &'static str, issue: Issue, line: String) -> Self {
        Self { item, line, issue: Some(issue) }
    }
}

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything, including the tables' keys and settings: at start, for a deployment, and from a
    /// failure until it is fixed.
    All,
    /// Only what a serving program would not notice by itself: nothing that it calls all the time,
    /// and nothing that is billed per call.
    Running,
}

/// Checks what a program depends on, with the same calls that the program makes.
///
/// A table's *shape* that cannot be read is a finding only if the store is unreachable or denies
/// the call. Otherwise the store serves all the same.
#[async_trait]
pub trait HealthCheck: fmt::Debug + Send + Sync {
    /// Checks now. Takes at most the calls' own deadlines, and writes nothing that anybody reads.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing to clean up.
    async fn run(&self, scope: Scope) -> Vec<Finding>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_trouble_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Issue::ALL.iter().map(|issue| issue.as_str()).collect();
        assert_eq!(words.len(), Issue::ALL.len());
        let is_plain =
            |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(words.iter().all(is_plain));
    }
}
