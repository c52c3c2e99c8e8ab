//! A workspace's stream: what Redis keeps under three keys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use messaging::ports::Entry;
use model::{EntryId, Position, PublicationId, Timestamp, limits};
use protocol::publication::Publication;

/// The entries, oldest first, and the guards of a workspace.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    entries: VecDeque<Kept>,
    bytes: usize,
    expires_at: Timestamp,
    guards: Guards,
    /// A tighter cap than the protocol's, if one is set.
    entries_max: Option<usize>,
}

#[derive(Debug, Clone)]
struct Kept {
    entry: Entry,
    bytes: usize,
}

impl Stream {
    /// A stream that keeps fewer entries than [`limits::STREAM_ENTRIES_MAX`]: to trim under a reader
    /// without thousands of publications.
    #[must_use]
    pub fn capped(entries_max: usize) -> Self {
        Self { entries_max: Some(entries_max), ..Self::default() }
    }

    /// Appends a publication; `None` if its guard stands.
    pub fn append(&mut self, publication: &Publication, now: Timestamp) -> Option<Entry> {
        self.expire(now);
        if !self.guards.set(publication.guard(), now) {
            return None;
        }
        let last = self.entries.back().map(|kept| kept.entry.position);
        let payload = publication.encode();
        let entry = Entry {
            position: Position {
                entry: next_id(last.map(|position| position.entry), now),
                history: history(last, publication.id),
            },
            prev: last,
            // Through the wire form: what a reader of Redis would get, nothing more.
            publication: Arc::new(Publication::decode(publication.id, &payload)),
        };
        self.bytes += payload.len();
        self.entries.push_back(Kept { entry: entry.clone(), bytes: payload.len() });
        self.trim();
        self.expires_at = now.plus(limits::STREAM_TTL);
        Some(entry)
    }

    /// Reads entries in order from `from`, inclusive.
    pub fn read(&mut self, from: Option<EntryId>, limit: usize, now: Timestamp) -> Vec<Entry> {
        self.expire(now);
        let from = from.unwrap_or_default();
        let first = self.entries.partition_point(|kept| kept.entry.position.entry < from);
        self.entries.iter().skip(first).take(limit).map(|kept| kept.entry.clone()).collect()
    }

    fn expire(&mut self, now: Timestamp) {
        if now >= self.expires_at {
            self.entries.clear();
            self.bytes = 0;
        }
    }

    fn trim(&mut self) {
        let over = |stream: &Self| {
            stream.entries.len() > stream.entries_max.unwrap_or(limits::STREAM_ENTRIES_MAX)
                || stream.bytes > limits::STREAM_BYTES_MAX
        };
        // The newest stays, however large: it is the next one's `prev`.
        while self.entries.len() > 1 && over(self) {
            let oldest = self.entries.pop_front().map_or(0, |kept| kept.bytes);
            self.bytes = self.bytes.saturating_sub(oldest);
        }
    }
}

/// What tells an entry from one with the same id, or the same publication, behind other entries.
fn history(before: Option<Position>, publication: PublicationId) -> u32 {
    let mut digest = DefaultHasher::new();
    (before, publication).hash(&mut digest);
    (digest.finish() >> 32) as u32
}

/// The id that Redis gives: the clock's milliseconds, or after the last if the clock is not ahead.
fn next_id(last: Option<EntryId>, now: Timestamp) -> EntryId {
    match last {
        Some(last) if last.ms >= now.unix_ms() => {
            EntryId { ms: last.ms, sequence: last.sequence.saturating_add(1) }
        }
        // 0-0 is no entry's id.
        _ => EntryId { ms: now.unix_ms(), sequence: u64::from(now.unix_ms() == 0) },
    }
}

/// Guards by publication, and by expiry so that forgetting costs what is forgotten.
#[derive(Debug, Clone, Default)]
struct Guards {
    until: HashMap<String, Timestamp>,
    by_expiry: BTreeMap<Timestamp, Vec<String>>,
}

impl Guards {
    /// Sets a guard; false if it stands.
    fn set(&mut self, guard: String, now: Timestamp) -> bool {
        self.expire(now);
        if self.until.contains_key(&guard) {
            return false;
        }
        let until = now.plus(limits::GUARD_TTL);
        self.until.insert(guard.clone(), until);
        self.by_expiry.entry(until).or_default().push(guard);
        true
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(first) = self.by_expiry.first_entry()
            && *first.key() <= now
        {
            for guard in first.remove() {
                self.until.remove(&guard);
            }
        }
    }
}
