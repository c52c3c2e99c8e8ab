//! The commands that `redis-bus` sends, and the scripts among them.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Arg, Cmd, Value};

use super::spool::Spooling;

/// A command as a server reads it.
#[derive(Debug, Clone)]
pub(super) enum Command {
    Ping,
    Info,
    /// `WAIT`, always for one replica.
    Wait(Duration),
    LoadScript(Script),
    /// A script by its hash or by its text, with keys and arguments.
    Run {
        script: Script,
        is_by_hash: bool,
        keys: Vec<String>,
        args: Vec<String>,
    },
    /// `XRANGE <stream> <from> + COUNT <count>`.
    ReadStream {
        key: String,
        from: String,
        count: usize,
    },
    /// A command on a spool, by its key.
    Spool(String, Spooling),
    /// `ZRANGE`: the first entries of a channel that wait in the spool, up to and including this one.
    Index(String, usize),
    /// `ZRANGEBYSCORE`: the spools that were noted since a time, in ms.
    Spools(u64),
    /// `HGETALL`, of a channel's receipts or a message's keepers.
    Receipts(String),
    /// `SET`: used only for markers, whose value nobody reads.
    Set,
    Publish {
        topic: String,
        payload: String,
    },
    /// Removes everything. Only faults use it.
    Flush,
    Unknown,
}

/// The scripts of `redis-bus`. `stream`, `spool`, `receipts`, `leases`, `presence` and
/// `sessions` run their steps in Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Script {
    Publish,
    Leases,
    Presence,
    Session,
    Spools,
    Waiting,
    Stored,
    Keepers,
    Receipts,
}

impl Script {
    fn by_text(text: &str) -> Option<Self> {
        SCRIPTS.iter().find(|(_, known, _)| *known == text).map(|(script, ..)| *script)
    }

    fn by_hash(hash: &str) -> Option<Self> {
        SCRIPTS.iter().find(|(.., known)| known.as_str() == hash).map(|(script, ..)| *script)
    }

    pub(super) fn hash(self) -> Value {
        let hash = SCRIPTS.iter().find(|(script, ..)| *script == self).map(|(.., hash)| hash);
        text(hash.map_or("", String::as_str))
    }
}

impl Command {
    pub(super) fn read(cmd: &Cmd) -> Self {
        let text = |arg: Arg<&[u8]>| match arg {
            Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        let words: Vec<String> = cmd.args_iter().filter_map(text).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::of(&words).unwrap_or(Self::Unknown)
    }

    fn of(words: &[&str]) -> Option<Self> {
        Some(match words {
            ["PING"] => Self::Ping,
            ["INFO", ..] => Self::Info,
            ["WAIT", "1", ms] => Self::Wait(Duration::from_millis(ms.parse().ok()?)),
            ["SCRIPT", "LOAD", text] => Self::LoadScript(Script::by_text(text)?),
            ["EVALSHA", hash, rest @ ..] => Self::run(Script::by_hash(hash)?, true, rest)?,
            ["EVAL", text, rest @ ..] => Self::run(Script::by_text(text)?, false, rest)?,
            ["XRANGE", key, from, "+", "COUNT", count] => Self::ReadStream {
                key: (*key).to_owned(),
                from: (*from).to_owned(),
                count: usize::try_from(count.parse::<i64>().ok()?).ok()?,
            },
            ["ZRANGE", key, "0", last] => Self::Index((*key).to_owned(), last.parse().ok()?),
            ["ZRANGEBYSCORE", _, since, "+inf", "WITHSCORES"] => Self::Spools(since.parse().ok()?),
            ["HGETALL", key] => Self::Receipts((*key).to_owned()),
            ["SET", ..] => Self::Set,
            ["PUBLISH", topic, payload] => {
                Self::Publish { topic: (*topic).to_owned(), payload: (*payload).to_owned() }
            }
            _ => return Self::on_spool(words),
        })
    }

    fn on_spool(words: &[&str]) -> Option<Self> {
        let (key, command) = match words {
            ["XGROUP", "CREATE", key, _, "0", "MKSTREAM"] => (key, Spooling::CreateGroup),
            ["XREADGROUP", "GROUP", _, _, "COUNT", count, "STREAMS", key, ">"] => {
                (key, Spooling::Take { count: count.parse().ok()? })
            }
            ["XAUTOCLAIM", key, _, _, idle, "0-0", "COUNT", count] => {
                let (idle, count) = (idle.parse().ok()?, count.parse().ok()?);
                (key, Spooling::TakeOver { idle: Duration::from_millis(idle), count })
            }
            ["XLEN", key] => (key, Spooling::Length),
            ["XREVRANGE", key, "+", "-", "COUNT", count] => {
                (key, Spooling::ReadBack { count: count.parse().ok()? })
            }
            _ => return None,
        };
        Some(Self::Spool((*key).to_owned(), command))
    }

    fn run(script: Script, is_by_hash: bool, rest: &[&str]) -> Option<Self> {
        let (count, rest) = rest.split_first()?;
        let (keys, args) = rest.split_at_checked(count.parse().ok()?)?;
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Some(Self::Run { script, is_by_hash, keys: owned(keys), args: owned(args) })
    }

    /// Whether a server answers it while it is loading its data.
    pub(super) const fn runs_while_loading(&self) -> bool {
        matches!(self, Self::Info | Self::Publish { .. })
    }
}

/// A bulk string.
pub(super) fn text(text: impl Into<String>) -> Value {
    Value::BulkString(text.into().into_bytes())
}

/// An error reply.
pub(super) fn error(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap_or(Value::Nil)
}

/// Each script with its text and its hash.
static SCRIPTS: LazyLock<[(Script, &str, String); 9]> = LazyLock::new(|| {
    let with_hash = |script, text| (script, text, redis::Script::new(text).get_hash().to_owned());
    [
        with_hash(Script::Publish, PUBLISH_TEXT),
        with_hash(Script::Leases, LEASES_TEXT),
        with_hash(Script::Presence, PRESENCE_TEXT),
        with_hash(Script::Session, SESSION_TEXT),
        with_hash(Script::Spools, SPOOLS_TEXT),
        with_hash(Script::Waiting, WAITING_TEXT),
        with_hash(Script::Stored, STORED_TEXT),
        with_hash(Script::Keepers, KEEPERS_TEXT),
        with_hash(Script::Receipts, RECEIPTS_TEXT),
    ]
});
const PUBLISH_TEXT: &str = include_str!("../../../../shared/redis-bus/src/publish.lua");
const LEASES_TEXT: &str = include_str!("../../../../shared/redis-bus/src/leases.lua");
const PRESENCE_TEXT: &str = include_str!("../../../../shared/redis-bus/src/presence.lua");
const SESSION_TEXT: &str = include_str!("../../../../shared/redis-bus/src/session.lua");
const SPOOLS_TEXT: &str = include_str!("../../../../shared/redis-bus/src/spools.lua");
const WAITING_TEXT: &str = include_str!("../../../../shared/redis-bus/src/waiting.lua");
const STORED_TEXT: &str = include_str!("../../../../shared/redis-bus/src/stored.lua");
const KEEPERS_TEXT: &str = include_str!("../../../../shared/redis-bus/src/keepers.lua");
const RECEIPTS_TEXT: &str = include_str!("../../../../shared/redis-bus/src/receipts.lua");
