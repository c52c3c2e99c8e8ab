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
    /// Takes a token as it stands in `Authorization: Bearer …`.
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

/// Who a local environment mints a token for.
#[derive(Debug, Clone)]
pub struct DevUser {
    /// The tenant.
    pub workspace_id: WorkspaceId,
    /// The person.
    pub user_id: UserId,
    /// `admin`, or nothing.
    pub role: Option<String>,
    /// How long the token lives, in seconds; the environment's default if absent.
    pub ttl_s: Option<u64>,
}

impl DevUser {
    /// An ordinary user with a token of the usual length.
    #[must_use]
    pub const fn new(workspace_id: WorkspaceId, user_id: UserId) -> Self {
        Self { workspace_id, user_id, role: None, ttl_s: None }
    }

    /// The same person as an admin of the workspace.
    #[must_use]
    pub fn admin(self) -> Self {
        Self { role: Some("admin".to_owned()), ..self }
    }
}

/// What a login answers.
pub type LoginFuture = Pin<Box<dyn Future<Output = Result<Token, ApiError>> + Send>>;

/// Where tokens come from, again and again: a socket ends with its token (4401).
#[derive(Clone)]
pub enum TokenSource {
    /// One token, which cannot be renewed: the client stops when it expires.
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
