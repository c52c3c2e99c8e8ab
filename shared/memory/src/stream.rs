//! A workspace's stream and guards, which Redis keeps under separate keys.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use messaging::ports::Entry;
use model::{EntryId, Position, PublicationId, Timestamp, limits};
use protocol::publication::Publication;

/// The entries, oldest first, and the guards of a workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    entries: VecDeque<Kept>,
    bytes: usize,
    expires_at: Timestamp,
    guards: Guards,
}

/// An entry as Redis keeps it: encoded, so that a reader gets what it would get from Redis.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) position: Position,
    prev: Option<Position>,
    id: PublicationId,
    wire: String,
}

impl Kept {
    /// The entry as a reader gets it.
    pub(crate) fn decode(&self) -> Entry {
        let publication = Arc::new(Publication::decode(self.id, &self.wire));
        Entry { position: self.position, prev: self.prev, publication }
    }
}

impl Stream {
    /// Appends a publication. `None` if its guard exists.
    pub(crate) fn append(&mut self, publication: &Publication, now: Timestamp) -> Option<&Kept> {
        self.expire(now);
        if !self.guards.set(publication.guard(), now) {
            return None;
        }
        let last = self.entries.back().map(|kept| kept.position);
        let kept = Kept {
            position: Position {
                entry: next_id(last.map(|position| position.entry), now),
                history: history(last, publication.id),
            },
            prev: last,
            id: publication.id,
            wire: publication.encode(),
        };
        self.bytes += kept.wire.len();
        self.entries.push_back(kept);
        self.trim();
        self.expires_at = now.plus(limits::STREAM_TTL);
        self.entries.back()
    }

    /// Whether a guard is set.
    pub(crate) fn is_guarded(&mut self, guard: &str, now: Timestamp) -> bool {
        self.guards.expire(now);
        self.guards.until.contains_key(guard)
    }

    /// Reads entries in order from `from`, inclusive.
    pub(crate) fn read(
        &mut self,
        from: Option<EntryId>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Entry> {
        self.expire(now);
        let from = from.unwrap_or_default();
        let first = self.entries.partition_point(|kept| kept.position.entry < from);
        self.entries.iter().skip(first).take(limit).map(Kept::decode).collect()
    }

    fn expire(&mut self, now: Timestamp) {
        if now >= self.expires_at {
            self.entries.clear();
            self.bytes = 0;
        }
    }

    fn trim(&mut self) {
        let over = |stream: &Self| {
            stream.entries.len() > limits::STREAM_ENTRIES_MAX
                || stream.bytes > limits::STREAM_BYTES_MAX
        };
        // The newest entry stays, however large: the next one names it as `prev`.
        while self.entries.len() > 1 && over(self) {
            let oldest = self.entries.pop_front().map_or(0, |kept| kept.wire.len());
            self.bytes = self.bytes.saturating_sub(oldest);
        }
    }
}

/// A digest that tells entries of the same id or publication apart by what precedes them.
fn history(before: Option<Position>, publication: PublicationId) -> u32 {
    let mut digest = DefaultHasher::new();
    (before, publication).hash(&mut digest);
    (digest.finish() >> 32) as u32
}

/// The id that Redis would assign: the clock's milliseconds, or the id after the last one if the
/// clock is not ahead of it.
pub(crate) fn next_id(last: Option<EntryId>, now: Timestamp) -> EntryId {
    match last {
        Some(last) if last.ms >= now.unix_ms() => {
            EntryId { ms: last.ms, sequence: last.sequence.saturating_add(1) }
        }
        // Redis never assigns the id 0-0.
        _ => EntryId { ms: now.unix_ms(), sequence: u64::from(now.unix_ms() == 0) },
    }
}

/// Guards by publication, and also by expiry, so that only expired ones are visited.
#[derive(Debug, Clone, Default)]
struct Guards {
    until: HashMap<String, Timestamp>,
    by_expiry: BTreeMap<Timestamp, Vec<String>>,
}

impl Guards {
    /// Sets a guard. False if it exists.
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
