//! Compact JWS (RFC 7515, RFC 7518): what tokens and tickets share.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use messaging::ports::TokenError;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::secret::{Secret, Secrets};

/// A secret as a key that signs and verifies.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Identifies the secret without revealing it.
    pub(crate) id: String,
    encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
}

impl Key {
    fn of(secret: &Secret) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"inkwire key id\0");
        digest.update(secret.bytes());
        let id = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let encoding = EncodingKey::from_secret(secret.bytes());
        Self { id, encoding, decoding: DecodingKey::from_secret(secret.bytes()) }
    }
}

/// The only algorithm that shared secrets sign with.
pub(crate) const SHARED: Algorithm = Algorithm::HS256;

/// The keys for one purpose: the first signs, all verify.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    first: Key,
    older: Vec<Key>,
}

impl Keys {
    pub(crate) fn of(secrets: &Secrets) -> Self {
        Self { first: Key::of(&secrets.first), older: secrets.older.iter().map(Key::of).collect() }
    }

    pub(crate) fn first(&self) -> &Key {
        &self.first
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.older)
    }
}

/// Signs claims.
pub(crate) fn sign(key: &Key, header: &Header, claims: &impl Serialize) -> String {
    jsonwebtoken::encode(header, claims, &key.encoding)
        .expect("HMAC takes a key of any length, and our claims are plain JSON")
}

/// Returns the header of a token before its signature is checked.
///
/// # Errors
/// [`TokenError::Malformed`] if it brings a key along, changes how the token is read, or is no header;
/// [`TokenError::Algorithm`] if it names one that we do not have, such as `none`.
pub(crate) fn header_of(token: &str) -> Result<Header, TokenError> {
    if token.len() > TOKEN_BYTES_MAX || token.split('.').count() != 3 {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_error| why(token))?;
    let names_a_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.x5t.is_some()
        || header.x5t_s256.is_some();
    // RFC 7515, 4.1.11: an unknown extension must be refused, and we know none. `b64` and `enc`
    // would change what the payload is.
    let is_extended = header.crit.is_some()
        || header.enc.is_some()
        || header.zip.is_some()
        || header.extras.inner().contains_key("b64");
    if names_a_key || is_extended { Err(TokenError::Malformed) } else { Ok(header) }
}

/// Why a header cannot be read.
fn why(token: &str) -> TokenError {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    let named = header.as_ref().and_then(|header| header.get("alg")).and_then(Value::as_str);
    match named.map(Algorithm::from_str) {
        Some(Err(_unknown)) => TokenError::Algorithm,
        Some(Ok(_)) | None => TokenError::Malformed,
    }
}

/// Returns the payload of a token if this key signed it. Does not check time, audience or issuer. The caller
/// must have checked that the header names this algorithm; it is not read again here.
pub(crate) fn payload_of(key: &DecodingKey, algorithm: Algorithm, token: &str) -> Option<Vec<u8>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (_header, payload) = message.rsplit_once('.')?;
    let is_good = jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm);
    if !is_good.is_ok_and(|is_good| is_good) {
        return None;
    }
    URL_SAFE_NO_PAD.decode(payload).ok()
}

/// The longest token that is read: far more than our claims need, and less than a request's head
/// may contain.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
