//! Secrets: bytes that sign, and are never shown.

use std::fmt;

/// A shared secret. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why a text is not a usable secret. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Shorter than the hash that it keys (RFC 7518, 3.2).
    #[error("shorter than {SECRET_BYTES_MIN} bytes")]
    Short,
    /// Starts or ends with white space, probably from a bad copy.
    #[error("begins or ends with white space")]
    Padded,
}

impl Secret {
    /// Accepts a text of at least 32 bytes as it is.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        if text.trim().len() != text.len() {
            return Err(SecretError::Padded);
        }
        if text.len() < SECRET_BYTES_MIN {
            return Err(SecretError::Short);
        }
        Ok(Self(text.as_bytes().into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Secrets for one purpose: the first signs, all verify. To replace a secret, put the new one
/// first, and drop the old one when nothing that it signed is valid any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub(crate) first: Secret,
    pub(crate) older: Vec<Secret>,
}

impl Secrets {
    /// Parses secrets separated by commas, the newest first.
    ///
    /// # Errors
    /// [`SecretError`] of the first invalid one.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let (first, older) = match text.split_once(',') {
            Some((first, older)) => (first, Some(older)),
            None => (text, None),
        };
        let older = older.into_iter().flat_map(|older| older.split(',')).map(Secret::parse);
        Ok(Self { first: Secret::parse(first)?, older: older.collect::<Result<_, _>>()? })
    }
}

impl From<Secret> for Secrets {
    fn from(first: Secret) -> Self {
        Self { first, older: Vec::new() }
    }
}

/// As long as the output of SHA-256.
const SECRET_BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_clean() {
        let long = "s".repeat(32);
        assert_eq!(Secret::parse("short"), Err(SecretError::Short));
        assert_eq!(Secret::parse(&format!("{long}\n")), Err(SecretError::Padded));
        assert!(Secret::parse(&long).is_ok());
        let two = Secrets::parse(&format!("{long}n,{long}")).unwrap();
        assert_eq!((two.first.bytes().len(), two.older.len()), (33, 1));
        assert_eq!(Secrets::parse(&format!("{long},")), Err(SecretError::Short));
    }

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Secrets::from(Secret::parse(&"s".repeat(32)).unwrap());
        assert_eq!(format!("{secrets:?}"), "Secrets { first: Secret(..), older: [] }");
    }
}
