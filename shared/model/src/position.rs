//! Positions in a workspace's stream of publications.

use std::fmt;

use crate::limits;

/// The id of a stream entry: `<milliseconds>-<sequence>`, as Redis assigns it.
///
/// Source: Redis Streams, "Entry IDs".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// The Unix milliseconds at which Redis added the entry.
    pub ms: u64,
    /// The number of the entry within its millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// Parses `<milliseconds>-<sequence>` in its canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, sequence) = text.split_once('-')?;
        Some(Self { ms: canonical_u64(ms)?, sequence: canonical_u64(sequence)? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

/// A stream entry's id, and a digest of its publication and of the position before it. Each digest
/// includes the one before, so equal positions have equal histories: a promoted replica may use an
/// entry id again, even for the same publication, but not after the same entries (G5, ADR 0015).
///
/// Clients carry it as `cursor`, and an entry's `prev` is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The entry.
    pub entry: EntryId,
    /// The digest of the entry's publication and of everything before it.
    pub history: u32,
}

impl Position {
    /// Parses `<milliseconds>-<sequence>-<8 hexadecimal digits>`, in lower case; `None` for
    /// anything else, of any length.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > limits::CURSOR_BYTES_MAX {
            return None;
        }
        let (entry, history) = text.rsplit_once('-')?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let canonical = history.len() == HISTORY_DIGITS && history.bytes().all(is_digit);
        let history = canonical.then(|| u32::from_str_radix(history, 16).ok()).flatten()?;
        Some(Self { entry: EntryId::parse(entry)?, history })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:0digits$x}", self.entry, self.history, digits = HISTORY_DIGITS)
    }
}

/// Hexadecimal digits of 32 bits.
const HISTORY_DIGITS: usize = 8;

fn canonical_u64(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.starts_with('+'));
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        let position = Position::parse("1700000000000-12-00c0ffee").unwrap();
        assert_eq!(position.entry, EntryId { ms: 1_700_000_000_000, sequence: 12 });
        assert_eq!(position.history, 0x00c0_ffee);
        assert_eq!(position.to_string(), "1700000000000-12-00c0ffee");
    }

    #[test]
    fn garbage_is_no_position() {
        let long = format!("1-1-{}", "a".repeat(500));
        for text in [
            "",
            "-",
            "--",
            "1-1",
            "1-1-",
            "1-1-abcdef0",
            "1-1-abcdef012",
            "1-1-ABCDEF01",
            "1-1-+bcdef01",
            "1-1-abcdefg1",
            "01-1-abcdef01",
            "+1-1-abcdef01",
            "1--1-abcdef01",
            "1-1-abcdef\u{e9}",
            "99999999999999999999-1-abcdef01",
            "\0",
            &long,
        ] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }
}
