//! A workspace's stream, with the steps of `publish.lua`.

use std::collections::VecDeque;
use std::time::Duration;

use model::{EntryId, Timestamp};
use redis::Value;

use super::command::text;

/// The entries of a stream, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    entries: VecDeque<Kept>,
    expires_at: Timestamp,
}

/// An entry with the fields that the script gives it.
#[derive(Debug, Clone)]
struct Kept {
    id: EntryId,
    prev: String,
    history: String,
    publication: String,
    /// Bytes of all payloads up to this one.
    total: usize,
    payload: String,
}

/// The bounds that the script's arguments set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) ttl: Duration,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

impl Stream {
    /// Appends an entry. Returns its position, and the payload of the push.
    pub(super) fn append(
        &mut self,
        publication: &str,
        payload: &str,
        bounds: Bounds,
        now: Timestamp,
    ) -> (String, String) {
        self.expire(now);
        let last = self.entries.back();
        let prev = last.map_or_else(String::new, Kept::position);
        let kept = Kept {
            id: next_id(last.map(|last| last.id), now),
            history: history(&prev, publication),
            publication: publication.to_owned(),
            total: last.map_or(0, |last| last.total) + payload.len(),
            payload: payload.to_owned(),
            prev,
        };
        let position = kept.position();
        let prev = if kept.prev.is_empty() { "-" } else { &kept.prev };
        let push = format!("{position} {prev} {publication} {payload}");
        self.entries.push_back(kept);
        self.trim(bounds);
        self.expires_at = now.plus(bounds.ttl);
        (position, push)
    }

    /// `XRANGE`: up to `count` entries from `from`, which is `-`, `<id>` or `(<id>`.
    pub(super) fn read(&mut self, from: &str, count: usize, now: Timestamp) -> Vec<Value> {
        self.expire(now);
        let is_exclusive = from.starts_with('(');
        let from = EntryId::parse(from.trim_start_matches('(')).unwrap_or_default();
        let is_before = |kept: &Kept| if is_exclusive { kept.id <= from } else { kept.id < from };
        let first = self.entries.partition_point(is_before);
        self.entries.iter().skip(first).take(count).map(Kept::element).collect()
    }

    pub(super) fn payloads(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|kept| kept.payload.as_str())
    }

    fn expire(&mut self, now: Timestamp) {
        if now >= self.expires_at {
            self.entries.clear();
        }
    }

    fn trim(&mut self, bounds: Bounds) {
        let is_over = |entries: &VecDeque<Kept>| {
            let bytes = match (entries.front(), entries.back()) {
                (Some(oldest), Some(newest)) => newest.total - oldest.total + oldest.payload.len(),
                _ => 0,
            };
            entries.len() > bounds.entries_max || bytes > bounds.bytes_max
        };
        while self.entries.len() > 1 && is_over(&self.entries) {
            self.entries.pop_front();
        }
    }
}

impl Kept {
    fn position(&self) -> String {
        format!("{}-{}", self.id, self.history)
    }

    fn element(&self) -> Value {
        let total = self.total.to_string();
        let fields = [
            ("p", &self.prev),
            ("h", &self.history),
            ("i", &self.publication),
            ("c", &total),
            ("d", &self.payload),
        ];
        let fields = fields.into_iter().flat_map(|(name, value)| [text(name), text(value)]);
        Value::Array(vec![text(self.id.to_string()), Value::Array(fields.collect())])
    }
}

/// The first eight digits of `sha1hex(prev .. ' ' .. publication)`. A script's hash is the same
/// function of its text.
fn history(prev: &str, publication: &str) -> String {
    let digest = redis::Script::new(&format!("{prev} {publication}"));
    digest.get_hash().chars().take(8).collect()
}

/// The id that `XADD *` gives: the clock's milliseconds, or the last id plus one if the clock is
/// not ahead of it.
pub(super) fn next_id(last: Option<EntryId>, now: Timestamp) -> EntryId {
    match last {
        Some(last) if last.ms >= now.unix_ms() => {
            EntryId { ms: last.ms, sequence: last.sequence.saturating_add(1) }
        }
        _ => EntryId { ms: now.unix_ms(), sequence: u64::from(now.unix_ms() == 0) },
    }
}
