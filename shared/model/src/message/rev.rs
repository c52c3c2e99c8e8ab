//! Revisions of messages and profiles.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{MessageId, ULID_CHARS};
use crate::limits;

/// A revision. Of two copies of a message, the one with the greater revision is newer, compared
/// byte by byte. Opaque to readers: 1 to [`limits::REV_BYTES_MAX`] bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Rev(Form);

/// One text has one form, so equal texts are equal revisions.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Almost every revision is an id, which needs no allocation.
    Id(MessageId),
    /// A text of a later version, which is no id.
    Other(Box<str>),
}

/// The error for a string that is not a revision; never contains the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {} bytes", limits::REV_BYTES_MAX)]
pub struct RevError;

/// Room for the text of an id.
type Buffer = [u8; ULID_CHARS];

impl Rev {
    /// The revision that has this id: a message's own id as long as it has not changed, and a newly
    /// minted one for each change.
    #[must_use]
    pub const fn of(id: MessageId) -> Self {
        Self(Form::Id(id))
    }

    /// The id that it has; `None` if a later version made it in another form.
    #[must_use]
    pub const fn id(&self) -> Option<MessageId> {
        match &self.0 {
            Form::Id(id) => Some(*id),
            Form::Other(_) => None,
        }
    }

    /// Parses a revision that a server made.
    ///
    /// # Errors
    /// [`RevError`] if it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, RevError> {
        if let Ok(id) = MessageId::parse(text) {
            return Ok(Self::of(id));
        }
        let is_rev = (1..=limits::REV_BYTES_MAX).contains(&text.len());
        if is_rev { Ok(Self(Form::Other(text.into()))) } else { Err(RevError) }
    }

    /// Calls `read` with the revision's text.
    pub fn with_text<T>(&self, read: impl FnOnce(&str) -> T) -> T {
        read(self.text_in(&mut Buffer::default()))
    }

    fn text_in<'a>(&'a self, buffer: &'a mut Buffer) -> &'a str {
        match &self.0 {
            Form::Id(id) => id.text_in(buffer),
            Form::Other(text) => text,
        }
    }
}

impl Ord for Rev {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Ids sort as their texts do.
            (Form::Id(one), Form::Id(other)) => one.cmp(other),
            _ => self.with_text(|one| other.with_text(|other| one.cmp(other))),
        }
    }
}

impl PartialOrd for Rev {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.debug_tuple("Rev").field(&text).finish())
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl Serialize for Rev {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Rev {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Rev;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a revision")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rev, E> {
                Rev::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn revisions_compare_hash_and_read_as_their_texts() {
        let id = |ms, random| MessageId::mint(Timestamp::from_unix_ms(ms), random).to_string();
        let minted = id(1_800_000_000_000, 9);
        let texts = [
            minted.clone(),
            id(1_800_000_000_000, 10),
            id(1_800_000_000_000, u128::MAX),
            id(1_700_000_000_000, u128::MAX),
            id(0, 0),
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned(),
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned(),
            minted.to_lowercase(),
            minted.chars().take(25).collect(),
            format!("{minted}0"),
            minted.replace('0', "O"),
            "0".to_owned(),
            "~".to_owned(),
            "é".to_owned(),
            "a".repeat(limits::REV_BYTES_MAX),
        ];
        for one in &texts {
            let rev = Rev::parse(one).unwrap();
            assert_eq!((&rev.to_string(), rev.id()), (one, MessageId::parse(one).ok()));
            let text: StrDeserializer<'_, ValueError> = one.as_str().into_deserializer();
            assert_eq!(Rev::deserialize(text), Ok(rev));
            for other in &texts {
                let revs = [one, other].map(|text| Rev::parse(text).unwrap());
                assert_eq!(revs[0].cmp(&revs[1]), one.cmp(other), "{one} {other}");
                assert_eq!(revs[0] == revs[1], one == other, "{one} {other}");
            }
        }
    }

    #[test]
    fn neither_an_empty_text_nor_a_long_one_is_a_revision() {
        for bad in [String::new(), "a".repeat(limits::REV_BYTES_MAX + 1)] {
            assert_eq!(Rev::parse(&bad), Err(RevError));
        }
    }

    #[test]
    fn a_revision_is_small() {
        assert_eq!(size_of::<Rev>(), 24);
    }
}
