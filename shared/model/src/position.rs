//! Positions in a workspace's stream of publications.

use std::fmt;

use crate::limits;

/// The id of a stream entry: `<milliseconds>-<sequence>`, as Redis gives it.
///
/// Source: Redis Streams, "Entry IDs".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// The Unix milliseconds at which the store of the stream took the entry.
    pub ms: u64,
    /// The number of the entry within its millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// Reads `<milliseconds>-<sequence>` in its one canonical form.
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

/// A stream entry's id and the LAST four characters of its publication's ULID: a promoted replica
/// may give an entry id out again, but not to the same publication (G5).
///
/// This is what clients carry as `cursor`, and what an entry's `prev` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The entry.
    pub entry: EntryId,
    /// The last four characters of the publication's id.
    pub suffix: [u8; 4],
}

impl Position {
    /// Reads `<milliseconds>-<sequence>-<suffix>`; anything else, of any length, is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > limits::CURSOR_BYTES_MAX {
            return None;
        }
        let (entry, suffix) = text.rsplit_once('-')?;
        let suffix = <[u8; 4]>::try_from(suffix.as_bytes()).ok()?;
        let well_formed = suffix.iter().all(u8::is_ascii_alphanumeric);
        Some(Self { entry: EntryId::parse(entry)?, suffix }).filter(|_| well_formed)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.suffix.map(char::from);
        write!(f, "{}-{a}{b}{c}{d}", self.entry)
    }
}

fn canonical_u64(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.starts_with('+'));
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        let position = Position::parse("1700000000000-12-9XYZ").unwrap();
        assert_eq!(position.entry, EntryId { ms: 1_700_000_000_000, sequence: 12 });
        assert_eq!(position.to_string(), "1700000000000-12-9XYZ");
    }

    #[test]
    fn garbage_is_no_position() {
        let long = format!("1-1-{}", "A".repeat(500));
        for text in [
            "",
            "-",
            "--",
            "1-1",
            "1-1-",
            "1-1-ABC",
            "01-1-ABCD",
            "+1-1-ABCD",
            "1--1-ABCD",
            "1-1-AB\u{e9}",
            "99999999999999999999-1-ABCD",
            "\0",
            &long,
        ] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }
}
