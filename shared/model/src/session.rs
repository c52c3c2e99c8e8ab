//! Sessions of channels that keep nothing.

use std::fmt;

use crate::ids::MessageId;
use crate::time::Timestamp;

/// One session of a channel that keeps nothing: a ULID. Messages are numbered within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(MessageId);

impl SessionId {
    /// A new one.
    #[must_use]
    pub fn mint(now: Timestamp, random: u128) -> Self {
        Self(MessageId::mint(now, random))
    }

    /// Reads a session's id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        MessageId::parse(text).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a session is: the number of the last message, 0 before the first. On the wire
/// `<session>:<n>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionPosition {
    /// The session.
    pub session: SessionId,
    /// The number of messages so far.
    pub n: u64,
}

impl SessionPosition {
    /// How many messages somebody missed who heard everything up to `after`; `None` if that was in
    /// another session, so that nobody knows. Without `after`: everything so far.
    #[must_use]
    pub fn missed_since(&self, after: Option<Self>) -> Option<u64> {
        match after {
            None => Some(self.n),
            Some(after) if after.session == self.session => self.n.checked_sub(after.n),
            Some(_) => None,
        }
    }

    /// Reads a position exactly as it is written. A number is below 2^53, so that every client can
    /// hold it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (session, n) = text.split_once(':')?;
        let number = n.parse().ok().filter(|number: &u64| *number >> 53 == 0)?;
        let session = SessionId::parse(session)?;
        (number.to_string() == n).then_some(Self { session, n: number })
    }
}

impl fmt::Display for SessionPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.session, self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g15_what_was_missed_is_exact_within_one_session_and_unknown_across_two() {
        let [one, other] = [1, 2].map(|n| SessionId::mint(Timestamp::from_unix_ms(n), 7));
        let at = |session, n| SessionPosition { session, n };
        for (now, after, missed) in [
            (at(one, 0), None, Some(0)),
            (at(one, 5), None, Some(5)),
            (at(one, 5), Some(at(one, 5)), Some(0)),
            (at(one, 5), Some(at(one, 2)), Some(3)),
            (at(one, 5), Some(at(one, 6)), None),
            (at(other, 5), Some(at(one, 2)), None),
        ] {
            assert_eq!(now.missed_since(after), missed, "{now} after {after:?}");
        }
    }

    #[test]
    fn a_position_survives_the_wire_and_nothing_else_is_one() {
        let session = SessionId::mint(Timestamp::from_unix_ms(1), 7);
        let at = SessionPosition { session, n: 12 };
        assert_eq!(SessionPosition::parse(&at.to_string()), Some(at));
        for bad in [
            "",
            "x",
            ":1",
            &format!("{session}"),
            &format!("{session}:"),
            &format!("{session}:-1"),
            &format!("{session}:01"),
            &format!("{session}:9007199254740992"),
        ] {
            assert_eq!(SessionPosition::parse(bad), None, "{bad}");
        }
    }
}
