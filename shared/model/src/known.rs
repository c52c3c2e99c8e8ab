//! What a client already has of a range of messages, in a few bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::ids::MessageId;
use crate::limits;

/// "I have the first `count` messages of this range": their number, and 128 bits of a digest over
/// their ids. On the wire `<count>:<32 lower-case hex digits>`.
///
/// The digest is the first 16 bytes of SHA-256 over the ids in ascending order, each as its 26
/// ASCII characters, without separators: all have the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KnownMessages {
    count: u32,
    digest: u128,
}

/// Why a string is not of that form. Never carries the string itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a number from 1 to {}, a colon and 32 lower-case hex digits",
    limits::KNOWN_MESSAGES_MAX
)]
pub struct KnownError;

impl KnownMessages {
    /// Sums up ids in ascending order, at most the first [`limits::KNOWN_MESSAGES_MAX`]; `None` if
    /// there are none.
    #[must_use]
    pub fn of(ids: impl IntoIterator<Item = MessageId>) -> Option<Self> {
        let mut hash = Sha256::new();
        let mut count = 0;
        for id in ids.into_iter().take(limits::KNOWN_MESSAGES_MAX as usize) {
            hash.update(id.to_string().as_bytes());
            count += 1;
        }
        let hash = hash.finalize();
        let digest = hash.iter().take(16).fold(0, |bits, byte| (bits << 8) | u128::from(*byte));
        (count > 0).then_some(Self { count, digest })
    }

    /// How many messages these are: 1 to [`limits::KNOWN_MESSAGES_MAX`].
    #[must_use]
    pub const fn count(self) -> usize {
        self.count as usize
    }

    /// Reads the form on the wire.
    ///
    /// # Errors
    /// [`KnownError`] if the string has another form.
    pub fn parse(text: &str) -> Result<Self, KnownError> {
        let (count, digest) = text.split_once(':').ok_or(KnownError)?;
        let is_number = !count.starts_with('0') && count.bytes().all(|byte| byte.is_ascii_digit());
        let is_digest = digest.len() == DIGEST_CHARS
            && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_number || !is_digest {
            return Err(KnownError);
        }
        let count = count.parse().or(Err(KnownError))?;
        let digest = u128::from_str_radix(digest, 16).or(Err(KnownError))?;
        if (1..=limits::KNOWN_MESSAGES_MAX).contains(&count) {
            Ok(Self { count, digest })
        } else {
            Err(KnownError)
        }
    }
}

impl fmt::Display for KnownMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.count, self.digest)
    }
}

impl FromStr for KnownMessages {
    type Err = KnownError;
    fn from_str(text: &str) -> Result<Self, KnownError> {
        Self::parse(text)
    }
}

const DIGEST_CHARS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn ids(count: u128) -> impl Iterator<Item = MessageId> {
        (0..count).map(|n| MessageId::mint(Timestamp::from_unix_ms(1_800_000_000_000), n))
    }

    #[test]
    fn the_form_on_the_wire_is_fixed() {
        // By `printf %s ID ID | sha256sum`: clients in other languages must get the same.
        let known = KnownMessages::of(ids(2)).unwrap();
        assert_eq!(known.to_string(), "2:c072d924ad96c5ffb1174987f89465d7");
        assert_eq!(KnownMessages::parse(&known.to_string()), Ok(known));
        assert_eq!((known.count(), KnownMessages::of(ids(0))), (2, None));
    }

    #[test]
    fn count_order_and_every_id_matter() {
        let of = |ids: &[MessageId]| KnownMessages::of(ids.iter().copied()).unwrap();
        let all: Vec<_> = ids(4).collect();
        let swapped = [all[1], all[0], all[2], all[3]];
        assert_ne!(of(&all), of(&all[..3]));
        assert_ne!(of(&all), of(&swapped));
        assert_eq!(KnownMessages::of(ids(501)), KnownMessages::of(ids(500)));
        assert_eq!(KnownMessages::of(ids(501)).unwrap().count(), 500);
    }

    #[test]
    fn other_forms_are_refused() {
        let short = "123456789abcdef0123456789abcdef";
        let hex = format!("0{short}");
        assert!(KnownMessages::parse(&format!("1:{hex}")).is_ok());
        assert!(KnownMessages::parse(&format!("500:{hex}")).is_ok());
        for bad in [
            String::new(),
            ":".to_owned(),
            hex.clone(),
            format!(":{hex}"),
            format!("0:{hex}"),
            format!("01:{hex}"),
            format!("501:{hex}"),
            format!("99999999999:{hex}"),
            format!("-1:{hex}"),
            format!("+1:{hex}"),
            format!("1.0:{hex}"),
            format!(" 1:{hex}"),
            format!("1:{hex} "),
            format!("1:{hex}0"),
            format!("1:{short}"),
            format!("1:+{short}"),
            format!("1:{}", hex.to_uppercase()),
            format!("1:{hex}:{hex}"),
            format!("1:{}", "é".repeat(16)),
        ] {
            assert_eq!(KnownMessages::parse(&bad), Err(KnownError), "{bad}");
        }
    }
}
