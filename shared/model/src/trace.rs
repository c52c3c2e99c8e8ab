//! Trace ids: one name for everything that a request causes, in every process.

use std::fmt;

use crate::ids::{MessageId, PublicationId};

/// A trace id: 128 bits, in the form of W3C Trace Context. It names a path through the system, not
/// a person, and no decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// Parses 32 lower-case hexadecimal digits that are not all zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != TRACE_DIGITS || !text.bytes().all(is_hex) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().filter(|bits| *bits != 0).map(Self)
    }

    /// Makes a trace id from these bits.
    #[must_use]
    pub const fn of_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl From<MessageId> for TraceId {
    /// The trace of a message whose request is unknown: its id has as many bits.
    fn from(id: MessageId) -> Self {
        Self(id.bits())
    }
}

impl From<PublicationId> for TraceId {
    fn from(id: PublicationId) -> Self {
        Self(id.bits())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

const TRACE_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_trace_is_32_digits_and_not_zero() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(TraceId::parse(text).unwrap().to_string(), text);
        for other in ["", &"0".repeat(32), &text.to_uppercase(), "4bf9", &format!("{text}0")] {
            assert_eq!(TraceId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_makes_a_trace() {
        let id = MessageId::mint(Timestamp::from_unix_ms(1), 2);
        assert_eq!(TraceId::from(id).to_string(), "00000000000100000000000000000002");
        assert_eq!(TraceId::from(PublicationId::from(id)), TraceId::from(id));
    }
}
