//! Where bearer tokens come from.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{Timestamp, UserId, WorkspaceId};
use serde_json::Value;

use crate::error::ApiError;

/// A bearer token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a token in the form that `Authorization: Bearer …` carries.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it says that it expires, unverified; `None` if it is no JWT with an `exp`.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        let payload = URL_SAFE_NO_PAD.decode(self.0.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let seconds = Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
        Some(Timestamp::from_unix_ms(u64::try_from(seconds.as_millis()).ok()?))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A user that a local environment mints a token for.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
    /// `admin`, or absent.
    pub role: Option<String>,
    /// The token's lifetime in seconds; the environment's default if absent.
    pub ttl_s: Option<u64>,
}

impl DevUser {
    /// An ordinary user whose token has the default lifetime.
    #[must_use]
    pub const fn new(workspace_id: WorkspaceId, user_id: UserId) -> Self {
        Self { workspace_id, user_id, role: None, ttl_s: None }
    }

    /// Makes the user an admin of the workspace.
    #[must_use]
    pub fn admin(self) -> Self {
        Self { role: Some("admin".to_owned()), ..self }
    }
}

/// The future that a login returns.
pub type LoginFuture = Pin<Box<dyn Future<Output = Result<Token, ApiError>> + Send>>;

/// Where tokens come from. A node closes a socket when its token expires (4401), so a client renews it
/// before, if it can.
#[derive(Clone)]
pub enum TokenSource {
    /// One token that cannot be renewed: the client stops when it expires.
    Fixed(Token),
    /// `POST /dev/token` of the base URL: local environments only.
    Dev(DevUser),
    /// The application's own login.
    Login(Arc<dyn Fn() -> LoginFuture + Send + Sync>),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Dev(_) => "Dev",
            Self::Login(_) => "Login",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_says_when_it_expires() {
        let token = |claims: &str| Token(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
        let ends_at = |claims: &str| token(claims).expires_at().map(Timestamp::unix_ms);
        assert_eq!(ends_at(r#"{"sub":"bob","exp":1800000000}"#), Some(1_800_000_000_000));
        assert_eq!(ends_at(r#"{"exp":1.5}"#), Some(1_500));
        for claims in ["", "{}", "[]", r#"{"exp":"1"}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#] {
            assert_eq!(ends_at(claims), None, "{claims}");
        }
        assert_eq!(Token::new("secret").expires_at(), None);
    }
}
