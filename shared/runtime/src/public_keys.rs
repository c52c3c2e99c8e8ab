//! Public keys that tokens are verified with: a JWK set (RFC 7517) given as configuration.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The keys of an issuer. Each has one algorithm, which a token cannot choose (RFC 8725, 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

/// One key. `Debug` shows its name.
#[derive(Clone)]
pub(crate) struct PublicKey {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
    jwk: Jwk,
}

/// Why a text is no set of public keys. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeysError {
    /// Not the JSON of a JWK set.
    #[error("is not a JWK set: {{\"keys\":[…]}}")]
    NotASet,
    /// No key in it.
    #[error("holds no key")]
    Empty,
    /// A private or a shared key: neither belongs into the configuration of who only verifies.
    #[error("holds a private or a shared key")]
    Private,
    /// Not RSA of 2,048 bits or more for RS256, P-256 for ES256, Ed25519 for `EdDSA`.
    #[error("holds a key that is none of RS256 (2048 bits or more), ES256, EdDSA (Ed25519)")]
    Unsupported,
    /// Several keys, and one of them has no `kid`, or two have the same.
    #[error("holds several keys, and their kid does not tell them apart")]
    Ambiguous,
}

impl PublicKeys {
    /// Takes a JWK set.
    ///
    /// # Errors
    /// [`PublicKeysError`] of the first key that cannot be used.
    pub fn parse(text: &str) -> Result<Self, PublicKeysError> {
        let set: Value = serde_json::from_str(text).or(Err(PublicKeysError::NotASet))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(PublicKeysError::NotASet)?;
        let keys: Vec<PublicKey> = keys.iter().map(PublicKey::of).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(PublicKeysError::Empty);
        }
        let is_told_apart = |(at, key): (usize, &PublicKey)| {
            key.id.is_some() && keys.iter().take(at).all(|other| other.id != key.id)
        };
        if keys.len() > 1 && !keys.iter().enumerate().all(is_told_apart) {
            return Err(PublicKeysError::Ambiguous);
        }
        Ok(Self(keys))
    }

    /// The key that a token names; a token that names none is taken for the only one's.
    pub(crate) fn named(&self, id: Option<&str>) -> Option<&PublicKey> {
        match (id, self.0.as_slice()) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

impl PublicKey {
    fn of(value: &Value) -> Result<Self, PublicKeysError> {
        if PRIVATE.iter().any(|name| value.get(name).is_some()) {
            return Err(PublicKeysError::Private);
        }
        let jwk: Jwk =
            serde_json::from_value(value.clone()).or(Err(PublicKeysError::Unsupported))?;
        let algorithm = algorithm_of(&jwk).ok_or(PublicKeysError::Unsupported)?;
        let decoding = DecodingKey::from_jwk(&jwk).or(Err(PublicKeysError::Unsupported))?;
        Ok(Self { id: jwk.common.key_id.clone(), algorithm, decoding, jwk })
    }
}

/// The one algorithm that a key is for, if it is one of ours.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_or(0, |bytes| bytes.len());
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if bytes(&rsa.n) >= RSA_BYTES_MIN => {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(ec)
            if ec.curve == EllipticCurve::P256 && bytes(&ec.x) == 32 && bytes(&ec.y) == 32 =>
        {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(ed)
            if ed.curve == EllipticCurve::Ed25519 && bytes(&ed.x) == 32 =>
        {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::RSA(_)
        | AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::Other(_)
        | _ => return None,
    };
    let is_for_it = jwk.common.key_algorithm.is_none_or(|alg| alg == named);
    let signs = jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|for_what| *for_what == PublicKeyUse::Signature);
    (is_for_it && signs).then_some(algorithm)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

impl Eq for PublicKey {}

/// Members that only a private or a shared key has (RFC 7518, 6; RFC 8037, 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// 2,048 bits (RFC 7518, 3.3).
const RSA_BYTES_MIN: usize = 256;
