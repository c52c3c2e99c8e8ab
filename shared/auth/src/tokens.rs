//! Bearer tokens: JWT (RFC 7519) with HS256, RS256, ES256 or `EdDSA`, following RFC 8725.

use std::time::Duration;

use jsonwebtoken::Header;
use messaging::ports::{Principal, TokenError, TokenVerifier};
use model::{Timestamp, UserId, WorkspaceId, limits};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::jws::{self, Keys, SHARED};
use crate::public_keys::PublicKeys;
use crate::secret::Secrets;

/// Which bearer tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// The keys that verify them.
    pub keys: TokenKeys,
    /// The only accepted issuer, if set.
    pub issuer: Option<String>,
    /// The audience that a token must name, if set.
    pub audience: Option<String>,
    /// The longest life of a socket, whatever its token's `exp`.
    pub session_max: Duration,
}

impl TokenConfig {
    /// Tokens signed with a shared secret, for any issuer and audience, as in a local environment.
    #[must_use]
    pub const fn shared(secrets: Secrets) -> Self {
        let session_max = limits::SOCKET_LIFETIME;
        Self { keys: TokenKeys::Shared(secrets), issuer: None, audience: None, session_max }
    }
}

/// The keys that verify bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKeys {
    /// HS256: whoever can verify can also sign.
    Shared(Secrets),
    /// RS256, ES256 or `EdDSA`: an issuer's public keys.
    Public(PublicKeys),
}

/// Verifies tokens signed with a shared secret, or by an issuer whose public keys are known.
///
/// A token cannot choose the algorithm: each key has one. A `kid` selects one of an issuer's keys.
/// With shared secrets, which have no names, it is refused.
///
/// A principal expires with its token, or `TokenConfig::session_max` after it was shown, if sooner.
#[derive(Debug, Clone)]
pub struct JwtTokens {
    keys: Verification,
    issuer: Option<String>,
    audience: Option<String>,
    session_max: Duration,
}

#[derive(Debug, Clone)]
enum Verification {
    Shared(Keys),
    Public(PublicKeys),
}

impl JwtTokens {
    /// Creates a verifier.
    #[must_use]
    pub fn new(config: &TokenConfig) -> Self {
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let keys = match &config.keys {
            TokenKeys::Shared(secrets) => Verification::Shared(Keys::of(secrets)),
            TokenKeys::Public(keys) => Verification::Public(keys.clone()),
        };
        Self { keys, issuer, audience, session_max: config.session_max }
    }

    /// Returns the claims of a token if its signature is valid.
    fn claims(&self, header: &Header, token: &str) -> Result<Map<String, Value>, TokenError> {
        let payload = match &self.keys {
            Verification::Shared(keys) => {
                if header.alg != SHARED {
                    return Err(TokenError::Algorithm);
                }
                if header.kid.is_some() {
                    return Err(TokenError::UnknownKey);
                }
                keys.iter().find_map(|key| jws::payload_of(&key.decoding, SHARED, token))
            }
            Verification::Public(keys) => {
                let key = keys.named(header.kid.as_deref()).ok_or(TokenError::UnknownKey)?;
                if header.alg != key.algorithm {
                    return Err(TokenError::Algorithm);
                }
                jws::payload_of(&key.decoding, key.algorithm, token)
            }
        };
        let payload = payload.ok_or(TokenError::Signature)?;
        serde_json::from_slice(&payload).or(Err(TokenError::Malformed))
    }

    fn read(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let header = jws::header_of(token)?;
        // A ticket or a token for another purpose is not an access token (RFC 8725, 3.11).
        let is_taken = |typ: &str| TYPES.iter().any(|taken| typ.eq_ignore_ascii_case(taken));
        if header.typ.as_deref().is_some_and(|typ| !is_taken(typ)) {
            return Err(TokenError::Malformed);
        }
        let claims = self.claims(&header, token)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if self.issuer.as_deref().is_some_and(|issuer| text("iss") != Some(issuer)) {
            return Err(TokenError::Issuer);
        }
        if self.audience.as_deref().is_some_and(|audience| !is_meant_for(&claims, audience)) {
            return Err(TokenError::Audience);
        }
        let time = |claim: &Value| time_of(claim).ok_or(TokenError::Claims);
        if let Some(not_before) = claims.get("nbf")
            && time(not_before)? > now.plus(limits::TOKEN_LEEWAY)
        {
            return Err(TokenError::NotYetValid);
        }
        let expires_at = time(claims.get("exp").ok_or(TokenError::Claims)?)?;
        // Probably milliseconds: such a token would live for thousands of years.
        if expires_at > now.plus(limits::TOKEN_LIFETIME_MAX) {
            return Err(TokenError::Claims);
        }
        let is_admin = match claims.get("role") {
            None => false,
            Some(Value::String(role)) => role == ADMIN,
            Some(_) => return Err(TokenError::Claims),
        };
        let workspace = text("workspace_id").ok_or(TokenError::Claims)?;
        let user = text("sub").ok_or(TokenError::Claims)?;
        Ok(Principal {
            workspace_id: WorkspaceId::parse(workspace).or(Err(TokenError::Claims))?,
            user_id: UserId::parse(user).or(Err(TokenError::UserId))?,
            is_admin,
            expires_at: expires_at.min(now.plus(self.session_max)),
        })
    }
}

/// Signs tokens with a shared secret, for the local environment. In production the customer's
/// backend signs them.
#[derive(Debug, Clone)]
pub struct TokenSigner {
    keys: Keys,
}

impl TokenSigner {
    /// Signs with the first secret.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        Self { keys: Keys::of(secrets) }
    }

    /// Signs a token.
    #[must_use]
    pub fn issue(&self, principal: &Principal, issued_at: Timestamp) -> String {
        let claims = Claims {
            sub: principal.user_id.as_str(),
            workspace_id: principal.workspace_id.as_str(),
            iat: issued_at.unix_s(),
            exp: numeric_date(principal.expires_at),
            role: principal.is_admin.then_some(ADMIN),
        };
        jws::sign(self.keys.first(), &Header::new(SHARED), &claims)
    }
}

impl TokenVerifier for JwtTokens {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let principal = self.read(token, now)?;
        if now >= principal.expires_at { Err(TokenError::Expired) } else { Ok(principal) }
    }
}

/// Accepts no token: for nodes, which handle only tickets and have no token secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTokens;

impl TokenVerifier for NoTokens {
    fn verify(&self, _token: &str, _now: Timestamp) -> Result<Principal, TokenError> {
        Err(TokenError::UnknownKey)
    }
}

/// The claims of our own tokens.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    workspace_id: &'a str,
    iat: u64,
    exp: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

/// `aud` is one string or several (RFC 7519, 4.1.3).
fn is_meant_for(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(named)) => named == audience,
        Some(Value::Array(named)) => named.iter().any(|named| named == audience),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// A `NumericDate` (RFC 7519, 2): seconds, which may have a fraction.
fn time_of(date: &Value) -> Option<Timestamp> {
    if let Some(seconds) = date.as_u64() {
        let ms = seconds.saturating_mul(1_000);
        return Some(Timestamp::from_unix_ms(ms).min(Timestamp::MAX));
    }
    let seconds = date.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite and not negative; the cast saturates, and the result is bounded below"
    )]
    let ms = (seconds * 1_000.0).round() as u64;
    Some(Timestamp::from_unix_ms(ms).min(Timestamp::MAX))
}

fn numeric_date(at: Timestamp) -> Value {
    let ms = at.unix_ms();
    if ms.is_multiple_of(1_000) {
        return at.unix_s().into();
    }
    #[expect(clippy::cast_precision_loss, reason = "48 bits fit into the 53 of a double")]
    let seconds = ms as f64 / 1_000.0;
    seconds.into()
}

const ADMIN: &str = "admin";
/// Accepted values of `typ` (RFC 7519, 5.1; RFC 9068, 2.1).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

#[cfg(test)]
mod tests;
