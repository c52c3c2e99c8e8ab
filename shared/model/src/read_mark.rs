//! How far a user has read a channel (G12).

use std::fmt;

use crate::ids::MessageId;
use crate::time::Timestamp;

/// How often a user has marked messages of a channel unread again: 0 to 99,999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(u32);

impl Epoch {
    /// The epoch of a new member.
    pub const FIRST: Self = Self(0);
    /// The last one: an epoch is stored with 8 digits.
    pub const LAST: Self = Self(99_999_999);

    /// Accepts a number from 0 to 99,999,999.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(Self).filter(|epoch| *epoch <= Self::LAST)
    }

    /// The epoch as a number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The next epoch; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(u64::from(self.0) + 1)
    }
}

/// 8 digits, so that epochs sort as text.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

/// How far a user has read a channel: up to this id, inclusive. Of two marks the greater one is the
/// newer: within an epoch a mark only moves forward, and marking messages unread begins the next
/// epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadMark {
    /// The epoch.
    pub epoch: Epoch,
    /// The last id that is read. No message with it needs to exist.
    pub up_to: MessageId,
}

impl ReadMark {
    /// The mark of a member who has not read anything: what was sent before they joined counts as
    /// read.
    #[must_use]
    pub fn of_joining(joined_at: Timestamp) -> Self {
        let first = MessageId::first_of(joined_at);
        Self { epoch: Epoch::FIRST, up_to: first.previous().unwrap_or(first) }
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, id) = text.split_once('#')?;
        let is_epoch = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let epoch = is_epoch.then(|| digits.parse().ok()).flatten()?;
        Some(Self { epoch: Epoch::new(epoch)?, up_to: MessageId::parse(id).ok()? })
    }
}

/// The stored form, such as `00000003#01J…`. Marks sort as their texts do.
impl fmt::Display for ReadMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.epoch, self.up_to)
    }
}

/// A number of unread messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnreadCount {
    /// Exactly this many, at most [`crate::limits::UNREAD_COUNT_MAX`].
    Exact(u32),
    /// More, or too many to count.
    Over,
}

impl UnreadCount {
    /// This many.
    #[must_use]
    pub const fn of(count: u32) -> Self {
        if count > crate::limits::UNREAD_COUNT_MAX { Self::Over } else { Self::Exact(count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(epoch: u64, ms: u64) -> ReadMark {
        let up_to = MessageId::first_of(Timestamp::from_unix_ms(ms));
        ReadMark { epoch: Epoch::new(epoch).unwrap(), up_to }
    }

    #[test]
    fn g12_marks_sort_as_their_texts_do() {
        let marks =
            [mark(0, 5), mark(0, 6), mark(3, 1), mark(9, 9), mark(10, 2), mark(99_999_999, 1)];
        for (one, other) in marks.iter().zip(&marks[1..]) {
            assert!(one < other && one.to_string() < other.to_string(), "{one} {other}");
        }
        for mark in marks {
            assert_eq!(ReadMark::parse(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn other_texts_are_no_marks() {
        let id = "01KDVSQNC0ZZZZZZZZZZZZZZZZ".to_owned();
        for text in [
            String::new(),
            id.clone(),
            format!("3#{id}"),
            format!("+0000003#{id}"),
            format!("000000003#{id}"),
            format!("0000000x#{id}"),
            format!("00000003#{}", id.to_lowercase()),
            format!("00000003#{id}#"),
        ] {
            assert_eq!(ReadMark::parse(&text), None, "{text}");
        }
        assert_eq!(Epoch::new(100_000_000), None);
        assert_eq!(Epoch::LAST.next(), None);
    }

    #[test]
    fn a_new_member_has_read_what_came_before() {
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let joined = ReadMark::of_joining(at);
        assert!(joined.up_to < MessageId::first_of(at));
        assert_eq!(joined.up_to.next(), Some(MessageId::first_of(at)));
        let beginning = ReadMark::of_joining(Timestamp::from_unix_ms(0));
        assert_eq!(beginning.up_to, MessageId::MIN);
    }
}
