//! Compact JWS (RFC 7515, RFC 7518): what tokens and tickets share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::secret::{Secret, Secrets};

/// One secret as a key, both ways.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Tells which secret it is without telling the secret.
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

/// Shared secrets sign with this and nothing else.
pub(crate) const SHARED: Algorithm = Algorithm::HS256;

/// The keys of one purpose: the first signs, all verify.
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

/// The header of a token whose signature is not checked yet, if it is one that we look at at all:
/// nothing that would bring a key along or change how the token is read.
pub(crate) fn header_of(token: &str) -> Option<Header> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let names_a_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.x5t.is_some()
        || header.x5t_s256.is_some();
    // RFC 7515, 4.1.11: an extension that is not understood must be refused; we understand none.
    // `b64` and `enc` would change what the payload is.
    let is_extended = header.crit.is_some()
        || header.enc.is_some()
        || header.zip.is_some()
        || header.extras.inner().contains_key("b64");
    (!names_a_key && !is_extended).then_some(header)
}

/// The claims of a token that was signed for this key. Time, audience and issuer are not looked at.
pub(crate) fn claims_of(
    key: &DecodingKey,
    algorithm: Algorithm,
    token: &str,
) -> Option<Map<String, Value>> {
    serde_json::from_slice(&payload_of(key, algorithm, token)?).ok()
}

/// The same as they stand there. That the header names this algorithm is the caller's to see: who
/// chose the key has read it, and it is not read again.
pub(crate) fn payload_of(key: &DecodingKey, algorithm: Algorithm, token: &str) -> Option<Vec<u8>> {
    let (message, signature) = token.rsplit_once('.')?;
    let (_header, payload) = message.rsplit_once('.')?;
    let is_good = jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm);
    if !is_good.is_ok_and(|is_good| is_good) {
        return None;
    }
    URL_SAFE_NO_PAD.decode(payload).ok()
}

/// The longest token that is looked at: far above what claims of ours need, below what a head
/// may hold.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
