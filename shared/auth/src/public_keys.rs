//! Public keys that verify tokens: a JWK set (RFC 7517) from the configuration.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// An issuer's keys. Each has one algorithm, which a token cannot choose (RFC 8725, 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

/// One key. `Debug` shows only its id.
#[derive(Clone)]
pub(crate) struct PublicKey {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
    jwk: Jwk,
}

/// Why a text is not a set of public keys. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeysError {
    /// Not the JSON of a JWK set.
    #[error("is not a JWK set: {{\"keys\":[…]}}")]
    NotASet,
    /// The set is empty.
    #[error("contains no key")]
    Empty,
    /// A private or a shared key. A program that only verifies needs neither.
    #[error("contains a private or shared key")]
    Private,
    /// Not RSA of 2,048 to 4,096 bits for RS256, P-256 for ES256, Ed25519 for `EdDSA`.
    #[error("contains a key that is not RS256 (2048 to 4096 bits), ES256 or EdDSA (Ed25519)")]
    Unsupported,
    /// The type is supported, but the numbers form no key: nothing would ever verify.
    #[error("contains an invalid key: an even RSA modulus, or a point off the curve")]
    Impossible,
    /// There are several keys, and one has no `kid`, or two have the same.
    #[error("contains several keys, and not each has a kid of its own")]
    Ambiguous,
}

impl PublicKeys {
    /// Parses a JWK set.
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

    /// Returns the key that a token names. If it names none, there must be only one key.
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
        if !is_possible(&jwk, &decoding, algorithm) {
            return Err(PublicKeysError::Impossible);
        }
        Ok(Self { id: jwk.common.key_id.clone(), algorithm, decoding, jwk })
    }
}

/// The only algorithm that a key is for, if we support it.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let bytes = |text: &str| bytes_of(text).len();
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if RSA_BITS.contains(&bits(&bytes_of(&rsa.n))) => {
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

/// Whether the key can verify anything. The library checks points when it creates a verifier, but
/// RSA numbers only while it verifies, when it can only answer "not valid".
fn is_possible(jwk: &Jwk, decoding: &DecodingKey, algorithm: Algorithm) -> bool {
    if let AlgorithmParameters::RSA(rsa) = &jwk.algorithm {
        let (n, e) = (bytes_of(&rsa.n), bytes_of(&rsa.e));
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        return is_odd(&n) && is_odd(&e) && RSA_EXPONENT_BITS.contains(&bits(&e));
    }
    jsonwebtoken::crypto::verify("", b"", decoding, algorithm).is_ok()
}

/// Decodes a number in a JWK; empty if it is malformed.
fn bytes_of(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
}

/// The length of a number in bits, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0);
    let zeros = number.iter().find(|byte| **byte != 0).map_or(0, |byte| byte.leading_zeros());
    first.map_or(0, |at| (number.len() - at) * 8 - zeros as usize)
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

/// JWK members that only private and shared keys have (RFC 7518, 6; RFC 8037, 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// The least that RFC 7518, 3.3 allows, and the most that the library verifies with.
const RSA_BITS: RangeInclusive<usize> = 2_048..=4_096;
/// Above 1, and the most that the library accepts.
const RSA_EXPONENT_BITS: RangeInclusive<usize> = 2..=33;
