//! A list of the messages that a client already has in a range, eight characters each.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::ids::MessageId;
use crate::limits;

/// The messages after `offset` that a client has: a mark for each, in ascending order of ids, at
/// most [`limits::KNOWN_MESSAGES_MAX`]. On the wire base64url without padding (RFC 4648, 5).
///
/// A mark is the first 48 bits of SHA-256 over `offset`, if there is one, and the message's id,
/// each as 26 ASCII characters. Since the offset is hashed too, nobody can choose an id that a
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
    /// Makes the marks of ids in ascending order, up to the first [`limits::KNOWN_MESSAGES_MAX`];
    /// `None` if there are no ids.
    #[must_use]
    pub fn of(offset: Option<MessageId>, ids: impl IntoIterator<Item = MessageId>) -> Option<Self> {
        let first = ids.into_iter().take(limits::KNOWN_MESSAGES_MAX as usize);
        let marker = Marker::new(offset);
        let marks: Vec<Mark> = first.map(|id| marker.mark(id)).collect();
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
    /// Whether the client has this message. If it has one that the log does not have, no message
    /// after that is recognised.
    pub fn has(&mut self, id: MessageId) -> bool {
        let next = self.known.0.get(self.passed);
        let has = next.is_some_and(|next| *next == self.marker.mark(id));
        self.passed += usize::from(has);
        has
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

    fn mark(&self, id: MessageId) -> Mark {
        let hash: [u8; 32] =
            self.0.clone().chain_update(id.to_string().as_bytes()).finalize().into();
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

    #[test]
    fn the_form_on_the_wire_is_fixed() {
        // By `printf %s OFFSET ID | sha256sum`: clients in other languages must get the same.
        let ids = ids(3);
        let known = KnownMessages::of(Some(ids[0]), ids[1..].iter().copied()).unwrap();
        assert_eq!(known.to_string(), "wHLZJK2WeTPEO37B");
        assert_eq!(KnownMessages::parse(&known.to_string()), Ok(known));
        let first = KnownMessages::of(None, [ids[0]]).unwrap();
        assert_eq!(first.to_string(), "uuVj3T3n");
        assert_eq!(KnownMessages::of(None, []), None);
    }

    #[test]
    fn holes_are_found_anywhere_and_a_stranger_ends_it() {
        let ids = ids(10);
        let has = [1, 2, 4, 7, 9];
        let known = KnownMessages::of(Some(ids[0]), has.map(|n| ids[n])).unwrap();
        let mut scan = known.scan(Some(ids[0]));
        let found: Vec<usize> = (1..10).filter(|n| scan.has(ids[*n])).collect();
        assert_eq!(found, has);
        let mut elsewhere = known.scan(Some(ids[1]));
        assert!(!ids.iter().any(|id| elsewhere.has(*id)), "marks of another offset");
        let mut stranger = known.scan(Some(ids[0]));
        let without_2 = (1..10).filter(|n| *n != 2 && stranger.has(ids[*n]));
        assert_eq!(without_2.collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn only_a_full_list_is_used_up() {
        let most = limits::KNOWN_MESSAGES_MAX as usize;
        let ids = ids(limits::KNOWN_MESSAGES_MAX.into());
        for (count, used_up) in [(most - 1, false), (most, true)] {
            let known = KnownMessages::of(None, ids[..count].iter().copied()).unwrap();
            assert_eq!(known.count(), count);
            let mut scan = known.scan(None);
            assert!(ids[..count].iter().all(|id| scan.has(*id)));
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
