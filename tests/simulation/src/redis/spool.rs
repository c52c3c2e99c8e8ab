//! The spools: the steps of `spools.lua`, `waiting.lua`, `stored.lua` and of the spool's part of
//! `publish.lua`, and the commands that archivers send.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{EntryId, Timestamp};
use redis::Value;

use super::command::{error, text};
use super::keys::{Done, Permit};
use super::server::Refusal;
use super::stream::next_id;

/// A command on a spool.
#[derive(Debug, Clone)]
pub(super) enum Spooling {
    /// `XGROUP CREATE <spool> archive 0 MKSTREAM`.
    CreateGroup,
    /// `XREADGROUP GROUP archive <archiver> COUNT <count> STREAMS <spool> >`.
    Take { count: usize },
    /// `XAUTOCLAIM <spool> archive <archiver> <idle> 0-0 COUNT <count>`.
    TakeOver { idle: Duration, count: usize },
    /// `XLEN <spool>`.
    Length,
    /// `XREVRANGE <spool> + - COUNT <count>`.
    ReadBack { count: usize },
}

/// All spools by key, and the list of the workspaces that may have something in theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Spools {
    by_key: BTreeMap<String, Spool>,
    /// When each workspace was last noted, in ms.
    noted: BTreeMap<String, u64>,
}

/// A spool. It is there, and keeps its last id and its group, even if it has no entry.
#[derive(Debug, Clone, Default)]
struct Spool {
    entries: BTreeMap<EntryId, Spooled>,
    last: Option<EntryId>,
    group: Option<Group>,
}

/// An entry with the fields that the script gives it.
#[derive(Debug, Clone)]
struct Spooled {
    /// The key of its channel's index. The index is what these entries say.
    index: String,
    publication: String,
    /// Bytes of all payloads up to this one.
    total: usize,
    payload: String,
}

/// The group of archivers.
#[derive(Debug, Clone, Default)]
struct Group {
    /// The last entry that was given out.
    given: EntryId,
    /// Entries that an archiver has, and since when.
    taken: BTreeMap<EntryId, Timestamp>,
}

impl Spools {
    /// Whether a key is a spool's.
    pub(super) fn is_key(key: &str) -> bool {
        key.ends_with(":spool")
    }

    /// Whether a payload does not fit into a spool.
    pub(super) fn is_full(&self, key: &str, payload: &str, bytes_max: usize) -> bool {
        let Some(spool) = self.by_key.get(key) else { return false };
        spool.held().is_some_and(|held| held + payload.len() > bytes_max)
    }

    /// Appends an entry.
    pub(super) fn append(
        &mut self,
        [key, index]: [&str; 2],
        publication: &str,
        payload: &str,
        now: Timestamp,
    ) {
        let spool = self.by_key.entry(key.to_owned()).or_default();
        let before = spool.entries.last_key_value().map_or(0, |(_, last)| last.total);
        let id = next_id(spool.last, now);
        let (publication, total) = (publication.to_owned(), before + payload.len());
        let (index, payload) = (index.to_owned(), payload.to_owned());
        spool.entries.insert(id, Spooled { index, publication, total, payload });
        spool.last = Some(id);
    }

    /// `XRANGE`: as of a stream.
    pub(super) fn read(&self, key: &str, from: &str, count: usize) -> Vec<Value> {
        let from = EntryId::parse(from).unwrap_or_default();
        let entries =
            self.by_key.get(key).into_iter().flat_map(|spool| spool.entries.range(from..));
        entries.take(count).map(|(id, entry)| entry.element(*id)).collect()
    }

    /// `ZRANGE <index> 0 <last>`: the ids of a channel's entries.
    pub(super) fn index(&self, index: &str, last: usize) -> Value {
        let entries = self.by_key.values().flat_map(|spool| &spool.entries);
        let of_channel = entries.filter(|(_, entry)| entry.index == index);
        let ids = of_channel.map(|(id, _)| text(id.to_string()));
        Value::Array(ids.take(last.saturating_add(1)).collect())
    }

    /// Runs `waiting.lua`.
    pub(super) fn entries(&self, keys: &[String], ids: &[String]) -> Value {
        let spool = keys.first().and_then(|key| self.by_key.get(key));
        let entry = |id: &String| {
            let id = EntryId::parse(id)?;
            Some(spool?.entries.get(&id)?.element(id))
        };
        Value::Array(ids.iter().filter_map(entry).collect())
    }

    /// Runs `stored.lua`.
    pub(super) fn remove(
        &mut self,
        keys: &[String],
        args: &[String],
        permit: Permit,
    ) -> Result<Done, Refusal> {
        permit.to_shrink()?;
        if let Some(spool) = keys.first().and_then(|key| self.by_key.get_mut(key)) {
            for id in args.iter().skip(1).filter_map(|id| EntryId::parse(id)) {
                spool.entries.remove(&id);
                if let Some(group) = &mut spool.group {
                    group.taken.remove(&id);
                }
            }
        }
        Ok(Done::writing(text("OK")))
    }

    /// Publications that wait in any spool.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &str> {
        let entries = self.by_key.values().flat_map(|spool| spool.entries.values());
        entries.map(|entry| entry.publication.as_str())
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_key.iter().flat_map(|(key, spool)| {
            spool.entries.values().map(move |entry| (key.as_str(), entry.payload.as_str()))
        })
    }

    /// Runs `spools.lua`.
    pub(super) fn note(
        &mut self,
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        if let [first, workspace, at] = args
            && first.is_empty()
        {
            let at: u64 = at.parse().unwrap_or(0);
            if self.noted.get(workspace).is_some_and(|noted| *noted <= at) {
                permit.to_shrink()?;
                self.noted.remove(workspace);
            }
            return Ok(Done::writing(text("OK")));
        }
        permit.to_grow()?;
        self.noted.extend(args.iter().map(|workspace| (workspace.clone(), now.unix_ms())));
        Ok(Done::writing(text("OK")))
    }

    /// `ZRANGEBYSCORE <list> <since> +inf WITHSCORES`.
    pub(super) fn noted(&self, since: u64) -> Value {
        let mut noted: Vec<_> = self.noted.iter().filter(|(_, at)| **at >= since).collect();
        noted.sort_by_key(|(_, at)| **at);
        let words =
            noted.into_iter().flat_map(|(name, at)| [text(name.as_str()), text(at.to_string())]);
        Value::Array(words.collect())
    }

    /// Runs a command on a spool.
    pub(super) fn run(
        &mut self,
        key: &str,
        command: &Spooling,
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        match command {
            Spooling::CreateGroup => {
                permit.to_grow()?;
                let spool = self.by_key.entry(key.to_owned()).or_default();
                if spool.group.is_some() {
                    let known = error("BUSYGROUP Consumer Group name already exists");
                    return Ok(Done::answering(known));
                }
                spool.group = Some(Group::default());
                Ok(Done::writing(Value::Okay))
            }
            Spooling::Take { count } => {
                permit.to_shrink()?;
                let Some(taken) = self.by_key.get_mut(key).and_then(|one| one.take(*count, now))
                else {
                    return Ok(Done::answering(no_group(key)));
                };
                if taken.is_empty() {
                    return Ok(Done::answering(Value::Nil));
                }
                let stream = Value::Array(vec![text(key), Value::Array(taken)]);
                Ok(Done::writing(Value::Array(vec![stream])))
            }
            Spooling::TakeOver { idle, count } => {
                permit.to_shrink()?;
                let spool = self.by_key.get_mut(key);
                let taken = spool.and_then(|spool| spool.take_over(*idle, *count, now));
                let Some((taken, gone)) = taken else { return Ok(Done::answering(no_group(key))) };
                let gone = gone.into_iter().map(|id| text(id.to_string())).collect();
                let parts = vec![text("0-0"), Value::Array(taken), Value::Array(gone)];
                Ok(Done::writing(Value::Array(parts)))
            }
            Spooling::Length => {
                let length = self.by_key.get(key).map_or(0, |spool| spool.entries.len());
                Ok(Done::answering(number(length)))
            }
            Spooling::ReadBack { count } => {
                let entries = self.by_key.get(key).into_iter().flat_map(|spool| &spool.entries);
                let entries: Vec<_> = entries.collect();
                let last = entries.into_iter().rev().take(*count);
                let last = last.map(|(id, entry)| entry.element(*id)).collect();
                Ok(Done::answering(Value::Array(last)))
            }
        }
    }
}

impl Spool {
    /// Bytes that it holds at most; `None` if it has no entry.
    fn held(&self) -> Option<usize> {
        let ((_, oldest), (_, newest)) =
            (self.entries.first_key_value()?, self.entries.last_key_value()?);
        Some(newest.total - oldest.total + oldest.payload.len())
    }

    /// Gives new entries to an archiver; `None` without a group.
    fn take(&mut self, count: usize, now: Timestamp) -> Option<Vec<Value>> {
        let group = self.group.as_mut()?;
        let new = self.entries.iter().filter(|(id, _)| **id > group.given).take(count);
        let mut taken = Vec::new();
        let mut last = group.given;
        for (id, entry) in new {
            group.taken.insert(*id, now);
            taken.push(entry.element(*id));
            last = *id;
        }
        group.given = last;
        Some(taken)
    }

    /// Gives entries to an archiver that another one took so long ago; and those that are gone.
    fn take_over(
        &mut self,
        idle: Duration,
        count: usize,
        now: Timestamp,
    ) -> Option<(Vec<Value>, Vec<EntryId>)> {
        let group = self.group.as_mut()?;
        let is_idle = |since: &Timestamp| now >= since.plus(idle);
        let left: Vec<EntryId> =
            group.taken.iter().filter(|(_, at)| is_idle(at)).map(|(id, _)| *id).collect();
        let (mut taken, mut gone) = (Vec::new(), Vec::new());
        for id in left {
            if taken.len() >= count {
                break;
            }
            if let Some(entry) = self.entries.get(&id) {
                group.taken.insert(id, now);
                taken.push(entry.element(id));
            } else {
                group.taken.remove(&id);
                gone.push(id);
            }
        }
        Some((taken, gone))
    }
}

impl Spooled {
    fn element(&self, id: EntryId) -> Value {
        let total = self.total.to_string();
        let fields = [("i", &self.publication), ("c", &total), ("d", &self.payload)];
        let fields = fields.into_iter().flat_map(|(name, value)| [text(name), text(value)]);
        Value::Array(vec![text(id.to_string()), Value::Array(fields.collect())])
    }
}

fn no_group(key: &str) -> Value {
    error(&format!("NOGROUP No such key '{key}' or consumer group 'archive'"))
}

fn number(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
