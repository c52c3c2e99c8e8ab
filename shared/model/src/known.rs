//! A list of the messages that a client already has in a range, eight characters each.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::ids::MessageId;
use crate::limits;
use crate::message::Rev;

/// The messages after `offset` that a client has: a mark for each, in ascending order of ids, at
/// most [`limits::KNOWN_MESSAGES_MAX`]. On the wire base64url without padding (RFC 4648, 5).
///
/// A mark is the first 48 bits of SHA-256 over `offset`, if there is one, and the message's
/// revision, which is its id as long as it has not changed. Since the offset is hashed too, nobody can choose an id that a
/// later read, of another page, mistakes for a known one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMessages(Vec<Mark>);

/// The error for a string without that form; never contains the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {} marks of 8 base64url characters", limits::KNOWN_MESSAGES_MAX)]
pub struct KnownError;

/// Compares messages, in ascending order, with a client's list.
#[derive(Debug)]
pub struct KnownScan<'a> {
    marker: Marker,
    known: &'a KnownMessages,
    passed: usize,
}

type Mark = [u8; MARK_BYTES];

/// Computes the marks of one page.
#[derive(Debug)]
struct Marker(Sha256);

impl KnownMessages {
    /// Makes the marks of messages in ascending order of their ids, up to the first
    /// [`limits::KNOWN_MESSAGES_MAX`]; `None` if there are no messages.
    #[must_use]
    pub fn of<'a>(
        offset: Option<MessageId>,
        revs: impl IntoIterator<Item = &'a Rev>,
    ) -> Option<Self> {
        let first = revs.into_iter().take(limits::KNOWN_MESSAGES_MAX as usize);
        let marker = Marker::new(offset);
        let marks: Vec<Mark> = first.map(|rev| marker.mark(rev)).collect();
        (!marks.is_empty()).then_some(Self(marks))
    }

    /// Parses the form on the wire.
    ///
    /// # Errors
    /// [`KnownError`] if the string has another form.
    pub fn parse(text: &str) -> Result<Self, KnownError> {
        // Checked before decoding, so that an input that is too long costs nothing.
        let most = limits::KNOWN_MESSAGES_MAX as usize * MARK_CHARS;
        if text.is_empty() || text.len() > most || !text.len().is_multiple_of(MARK_CHARS) {
            return Err(KnownError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).or(Err(KnownError))?;
        let (marks, _) = bytes.as_chunks::<MARK_BYTES>();
        Ok(Self(marks.to_vec()))
    }

    /// The number of messages: 1 to [`limits::KNOWN_MESSAGES_MAX`].
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Starts a comparison with the messages after `offset`.
    #[must_use]
    pub fn scan(&self, offset: Option<MessageId>) -> KnownScan<'_> {
        KnownScan { marker: Marker::new(offset), known: self, passed: 0 }
    }
}

impl KnownScan<'_> {
    /// Whether the client has this message in this revision. Those in the list before it, which the
    /// log does not have or has in a newer revision, are passed over.
    pub fn has(&mut self, rev: &Rev) -> bool {
        let mark = self.marker.mark(rev);
        let left = self.known.0.get(self.passed..).unwrap_or_default();
        let found = left.iter().position(|one| *one == mark);
        self.passed += found.map_or(0, |at| at + 1);
        found.is_some()
    }

    /// Whether the list is full and every message in it was found: the client may have more.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.passed == limits::KNOWN_MESSAGES_MAX as usize
    }
}

impl fmt::Display for KnownMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_flattened()))
    }
}

impl Marker {
    fn new(offset: Option<MessageId>) -> Self {
        let mut hash = Sha256::new();
        if let Some(offset) = offset {
            hash.update(offset.to_string().as_bytes());
        }
        Self(hash)
    }

    fn mark(&self, rev: &Rev) -> Mark {
        let hash = rev.with_text(|text| self.0.clone().chain_update(text.as_bytes()).finalize());
        let hash: [u8; 32] = hash.into();
        let mut mark = Mark::default();
        mark.copy_from_slice(&hash[..MARK_BYTES]);
        mark
    }
}

const MARK_BYTES: usize = 6;
const MARK_CHARS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn ids(count: u128) -> Vec<MessageId> {
        let time = Timestamp::from_unix_ms(1_800_000_000_000);
        (0..count).map(|n| MessageId::mint(time, n)).collect()
    }

    fn revs(count: u128) -> Vec<Rev> {
        ids(count).into_iter().map(Rev::of).collect()
    }

    #[test]
    fn the_form_on_the_wire_is_fixed() {
        // By `printf %s OFFSET ID | sha256sum`: clients in other languages must get the same.
        let (ids, revs) = (ids(3), revs(3));
        let known = KnownMessages::of(Some(ids[0]), &revs[1..]).unwrap();
        assert_eq!(known.to_string(), "wHLZJK2WeTPEO37B");
        assert_eq!(KnownMessages::parse(&known.to_string()), Ok(known));
        let first = KnownMessages::of(None, [&revs[0]]).unwrap();
        assert_eq!(first.to_string(), "uuVj3T3n");
        assert_eq!(KnownMessages::of(None, []), None);
    }

    #[test]
    fn holes_are_found_anywhere_on_both_sides() {
        let (ids, revs) = (ids(10), revs(10));
        let has = [1, 2, 4, 7, 9];
        let known = KnownMessages::of(Some(ids[0]), has.iter().map(|n| &revs[*n])).unwrap();
        let mut scan = known.scan(Some(ids[0]));
        let found: Vec<usize> = (1..10).filter(|n| scan.has(&revs[*n])).collect();
        assert_eq!(found, has);
        let mut elsewhere = known.scan(Some(ids[1]));
        assert!(!revs.iter().any(|rev| elsewhere.has(rev)), "marks of another offset");
        // The log has a newer revision of the second message, which the list does not have.
        let mut changed = known.scan(Some(ids[0]));
        let without_2 = (1..10).filter(|n| *n != 2 && changed.has(&revs[*n]));
        assert_eq!(without_2.collect::<Vec<_>>(), [1, 4, 7, 9]);
        assert!(!changed.has(&revs[1]), "passed already");
    }

    #[test]
    fn only_a_full_list_is_used_up() {
        let most = limits::KNOWN_MESSAGES_MAX as usize;
        let revs = revs(limits::KNOWN_MESSAGES_MAX.into());
        for (count, used_up) in [(most - 1, false), (most, true)] {
            let known = KnownMessages::of(None, &revs[..count]).unwrap();
            assert_eq!(known.count(), count);
            let mut scan = known.scan(None);
            assert!(revs[..count].iter().all(|rev| scan.has(rev)));
            assert_eq!(scan.is_used_up(), used_up);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let most = limits::KNOWN_MESSAGES_MAX as usize;
        assert!(KnownMessages::parse(&"aB-_09zZ".repeat(most)).is_ok());
        for bad in ["", "a", "aaaaaaa", "aaaaaaaaa", "aaaaaa==", "aaaa+aaa", "aaaa/aaa", "aaaaaaé"]
        {
            assert_eq!(KnownMessages::parse(bad), Err(KnownError), "{bad}");
        }
        assert_eq!(KnownMessages::parse(&"aaaaaaaa".repeat(most + 1)), Err(KnownError));
    }
}
