//! Where bearer tokens come from.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use model::{UserId, WorkspaceId};

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

/// Where tokens come from. A node closes a socket when its token expires (4401).
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
