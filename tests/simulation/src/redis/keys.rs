//! The keys of one server, and the commands that change them. Replicas run the same commands later.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use redis::Value;

use super::command::{Command, Script, error, text};
use super::leases::Leases;
use super::presence::Books;
use super::receipts::Receipts;
use super::server::Refusal;
use super::sessions::Sessions;
use super::spool::Spools;
use super::stream::{Bounds, Stream};

/// The server that runs a command. A replica repeats what its primary wrote, as that server.
#[derive(Debug, Clone)]
pub(super) struct By {
    /// The server's time.
    pub(super) at: Timestamp,
    /// The server's `master_replid`.
    pub(super) history: String,
}

/// A command that wrote.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) by: By,
    pub(super) command: Command,
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answer: Value,
    /// Whether replicas must repeat the command.
    pub(super) wrote: bool,
    /// Topic and payload of the push.
    pub(super) push: Option<(String, String)>,
}

/// Which writes a server accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permit(pub(super) Option<Refusal>);

#[derive(Debug, Clone)]
pub(super) struct Keys {
    entries_max: usize,
    streams: BTreeMap<String, Stream>,
    /// Until when each guard lives, and its value.
    guards: BTreeMap<String, (Timestamp, String)>,
    spools: Spools,
    receipts: Receipts,
    leases: Leases,
    books: Books,
    sessions: Sessions,
}

impl Done {
    pub(super) const fn answering(answer: Value) -> Self {
        Self { answer, wrote: false, push: None }
    }

    pub(super) const fn writing(answer: Value) -> Self {
        Self { answer, wrote: true, push: None }
    }
}

impl Permit {
    /// For a write that needs memory.
    pub(super) fn to_grow(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }

    /// For a write that only removes. A full server accepts it, too.
    pub(super) fn to_shrink(self) -> Result<(), Refusal> {
        self.0.filter(|refusal| *refusal != Refusal::OutOfMemory).map_or(Ok(()), Err)
    }
}

impl Keys {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            streams: BTreeMap::new(),
            guards: BTreeMap::new(),
            spools: Spools::default(),
            receipts: Receipts::default(),
            leases: Leases::default(),
            books: Books::default(),
            sessions: Sessions::default(),
        }
    }

    pub(super) fn run(
        &mut self,
        command: &Command,
        by: &By,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let now = by.at;
        match command {
            Command::Run { script: Script::Publish, keys, args, .. } => {
                let is_known = self.publish(keys, args, now, permit)?;
                Ok(is_known.unwrap_or_else(|| Done::answering(error("ERR wrong arguments"))))
            }
            Command::Run { script: Script::Leases, args, .. } => self.leases.run(args, now, permit),
            Command::Run { script: Script::Presence, keys, args, .. } => {
                self.books.run(keys, args, now, permit)
            }
            Command::Run { script: Script::Session, keys, args, .. } => {
                self.sessions.run(keys, args, by, permit)
            }
            Command::Run { script: Script::Spools, args, .. } => {
                self.spools.note(args, now, permit)
            }
            Command::Run { script: Script::Waiting, keys, args, .. } => {
                Ok(Done::answering(self.spools.entries(keys, args)))
            }
            Command::Run { script: Script::Stored, keys, args, .. } => {
                self.spools.remove(keys, args, permit)
            }
            Command::Run { script: Script::Keepers, keys, args, .. } => {
                self.receipts.note_keepers(keys, args, now, permit)
            }
            Command::Run { script: Script::Receipts, keys, args, .. } => {
                self.receipts.run(keys, args, now, permit)
            }
            Command::Spool(key, command) => self.spools.run(key, command, now, permit),
            Command::Index(key, last) => Ok(Done::answering(self.spools.index(key, *last))),
            Command::Spools(since) => Ok(Done::answering(self.spools.noted(*since))),
            Command::Receipts(key) => Ok(Done::answering(self.receipts.read(key, now))),
            Command::ReadStream { key, from, count } if Spools::is_key(key) => {
                Ok(Done::answering(Value::Array(self.spools.read(key, from, *count))))
            }
            Command::ReadStream { key, from, count } => {
                let stream = self.streams.get_mut(key);
                let found = stream.map_or_else(Vec::new, |one| one.read(from, *count, now));
                Ok(Done::answering(Value::Array(found)))
            }
            Command::Set => {
                permit.to_grow()?;
                Ok(Done::writing(Value::Okay))
            }
            // A replica pushes to its own subscribers too.
            Command::Publish { topic, payload } => {
                let push = Some((topic.clone(), payload.clone()));
                Ok(Done { push, ..Done::writing(Value::Int(1)) })
            }
            Command::Flush => {
                let sessions = self.sessions.emptied();
                *self = Self { sessions, ..Self::new(self.entries_max) };
                Ok(Done::writing(Value::Okay))
            }
            Command::Ping
            | Command::Info
            | Command::Wait(_)
            | Command::LoadScript(_)
            | Command::Unknown => Ok(Done::answering(error("ERR unknown command"))),
        }
    }

    /// Planted bug 21: sessions go on, whichever server counts.
    pub(super) fn ignore_histories(&mut self) {
        self.sessions.ignore_histories();
    }

    /// The keys with values that have one of these texts in them.
    pub(super) fn find(&self, texts: &[&str]) -> Vec<String> {
        let has = |value: &str| texts.iter().any(|text| value.contains(text));
        let streams = self.streams.iter().filter(|(_, stream)| stream.payloads().any(has));
        let streams = streams.map(|(key, _)| key.clone());
        let guards = self.guards.iter().filter(|(key, (_, value))| has(key) || has(value));
        let guards = guards.map(|(key, _)| key.clone());
        let spools = self.spools.payloads().filter(|(_, payload)| has(payload));
        let spools = spools.map(|(key, _)| key.to_owned());
        let others = [
            ("receipts", format!("{:?}", self.receipts)),
            ("leases", format!("{:?}", self.leases)),
            ("presence", format!("{:?}", self.books)),
            ("sessions", format!("{:?}", self.sessions)),
        ];
        let others = others.into_iter().filter(|(_, values)| has(values));
        streams.chain(guards).chain(spools).chain(others.map(|(name, _)| name.to_owned())).collect()
    }

    /// A spool is as small beside the product's as streams are.
    const fn spool_bytes_max(&self) -> usize {
        self.entries_max.saturating_mul(SPOOL_BYTES_AN_ENTRY)
    }

    /// Publications of messages that wait to be stored.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &str> {
        self.spools.waiting()
    }

    /// Runs `publish.lua`. Returns `None` if the keys or arguments do not fit the script.
    fn publish(
        &mut self,
        keys: &[String],
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Option<Done>, Refusal> {
        let (
            [stream, guard, topic, spool @ ..],
            [id, payload, guard_ttl, ttl, entries_max, bytes_max, spooling @ ..],
        ) = (keys, args)
        else {
            return Ok(None);
        };
        let spool = match (spool, spooling) {
            ([], []) => None,
            ([spool, index], [bytes_max, digest]) => Some((
                [spool.as_str(), index],
                digest,
                bytes_max.parse().map_or(0, |most: usize| most.min(self.spool_bytes_max())),
            )),
            _ => return Ok(None),
        };
        if let Some((_, known)) = self.guards.get(guard).filter(|(until, _)| *until > now) {
            return Ok(Some(Done::answering(text(match spool {
                Some((_, digest, _)) if known != digest => {
                    if known.is_empty() {
                        "stored"
                    } else {
                        "conflict"
                    }
                }
                _ => "already",
            }))));
        }
        if let Some(([key, _], _, bytes_max)) = spool
            && self.spools.is_full(key, payload, bytes_max)
        {
            return Ok(Some(Done::answering(text("full"))));
        }
        permit.to_grow()?;
        let bounds = Bounds {
            ttl: Duration::from_millis(ttl.parse().unwrap_or(0)),
            entries_max: entries_max.parse().map_or(0, |most: usize| most.min(self.entries_max)),
            bytes_max: bytes_max.parse().unwrap_or(0),
        };
        let stream = self.streams.entry(stream.clone()).or_default();
        let (position, push) = stream.append(id, payload, bounds, now);
        if let Some((keys, ..)) = spool {
            self.spools.append(keys, id, payload, now);
        }
        let guard_ttl = Duration::from_millis(guard_ttl.parse().unwrap_or(0));
        let digest = spool.map_or_else(String::new, |(_, digest, _)| digest.clone());
        self.guards.insert(guard.clone(), (now.plus(guard_ttl), digest));
        let push = Some((topic.clone(), push));
        Ok(Some(Done { push, ..Done::writing(text(position)) }))
    }
}

/// Bytes of a spool for each entry that a stream keeps.
const SPOOL_BYTES_AN_ENTRY: usize = 100;
