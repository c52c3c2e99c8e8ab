//! Looking whether what a program stands on is there and as it must be.

use std::fmt;

use async_trait::async_trait;

/// What can be wrong, each with one cure: the words that a node's health shows. They name no
/// address, no account and no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// The replication group is not there, not ours to look up, or cannot be used.
    RedisGroup,
    /// Nothing answers where Redis should be.
    RedisUnreachable,
    /// It accepts connections and answers nothing, or too late.
    RedisSilent,
    /// It closes or resets connections without an answer.
    RedisReset,
    /// One side speaks TLS and the other does not, or the certificate is not good.
    RedisTls,
    /// A password is wrong, missing, or not wanted.
    RedisAuth,
    /// It takes no writes: a replica, or a primary that was demoted.
    RedisReadOnly,
    /// It answers, and refuses what the program does: memory, permissions, replicas.
    RedisRefuses,
    /// Nothing answers where the tables should be.
    StoreUnreachable,
    /// The role lacks a permission.
    StoreDenied,
    /// There is no table of that name.
    TableMissing,
    /// A table has other keys.
    TableShape,
    /// A table has no stream, or no time to live: the relay, or what lapses, lacks it.
    TableSettings,
    /// The program's clock differs from Redis's by more than
    /// [`model::limits::CLOCK_SKEW_MAX`].
    ClockSkew,
}

impl Trouble {
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

    /// Its word.
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

    /// Whether a node cannot serve with it.
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

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which thing, in a few words.
    pub item: &'static str,
    /// What it is like; if something is wrong, what, and its cure. One line, without secrets and
    /// without contents of rows.
    pub line: String,
    /// What is wrong with it, if anything.
    pub trouble: Option<Trouble>,
}

impl Finding {
    /// Nothing is wrong.
    #[must_use]
    pub const fn good(item: &'static str, line: String) -> Self {
        Self { item, line, trouble: None }
    }

    /// Something is wrong.
    #[must_use]
    pub const fn bad(item: &'static str, trouble: Trouble, line: String) -> Self {
        Self { item, line, trouble: Some(trouble) }
    }
}

/// How closely is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, shapes of tables included: at start, for a deployment, when something failed and
    /// until it is cured.
    Whole,
    /// What a program that serves would not notice by itself: nothing that it calls all the time,
    /// and nothing that is paid by the call.
    Running,
}

/// Looks at what a program stands on, by the same calls that the program makes.
///
/// A call that got no answer about a *shape* is no trouble: the store serves without telling it.
#[async_trait]
pub trait Checkup: fmt::Debug + Send + Sync {
    /// Looks now. Takes as long as the calls' own deadlines; writes nothing that anybody reads.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    async fn look(&self, depth: Depth) -> Vec<Finding>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_trouble_has_a_word_of_its_own() {
        let words: BTreeSet<&str> = Trouble::ALL.iter().map(|trouble| trouble.as_str()).collect();
        assert_eq!(words.len(), Trouble::ALL.len());
        let is_plain =
            |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(words.iter().all(is_plain));
    }
}
