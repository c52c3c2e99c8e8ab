//! Tokens and tickets of any form, signed with the stack's secrets or others.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The secret that signs the stack's tokens.
pub(crate) const SECRET: &str = "tokens-of-a-test-0123456789-0123456789";

/// Encodes a part of a token.
pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A signed token with these texts as its header and its payload.
pub(crate) fn signed(header: &str, claims: &str, secret: &str, by: Algorithm) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, by).unwrap();
    format!("{message}.{signature}")
}

/// A token with these claims, in the usual form.
pub(crate) fn of(claims: &Value) -> String {
    signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET, Algorithm::HS256)
}

/// A user's claims, valid for an hour.
pub(crate) fn claims(user: &str, workspace: &str) -> Value {
    json!({ "sub": user, "workspace_id": workspace, "exp": now_s() + 3_600 })
}

/// A user's token, valid for an hour.
pub(crate) fn good(user: &str) -> String {
    of(&claims(user, "w"))
}

/// An admin's token, valid for an hour.
pub(crate) fn admin() -> String {
    let mut claims = claims("root", "w");
    claims["role"] = json!("admin");
    of(&claims)
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}

/// Unix seconds.
pub(crate) fn now_s() -> u64 {
    now_ms() / 1_000
}

#[expect(clippy::disallowed_methods, reason = "ids and claims of these tests are of the moment")]
fn system_time() -> SystemTime {
    SystemTime::now()
}
