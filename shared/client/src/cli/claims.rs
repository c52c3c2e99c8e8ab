//! The user that a token claims to belong to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{UserId, WorkspaceId};
use serde_json::Value;

use super::error::CliError;

/// A token's claims, unverified. They only serve to find a mix-up in the arguments early.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Its user.
    pub(crate) user: Option<UserId>,
    workspace: Option<WorkspaceId>,
}

impl Claims {
    /// Reads a JWT's claims. A token that cannot be read has none; the server will refuse it.
    pub(crate) fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let claim = |name: &str| claims.get(name).and_then(Value::as_str);
        Self {
            user: claim("sub").and_then(|user| user.parse().ok()),
            workspace: claim("workspace_id").and_then(|workspace| workspace.parse().ok()),
        }
    }

    /// Compares the claims with the arguments.
    ///
    /// # Errors
    /// [`CliError::OtherOwner`] if the arguments name another user or workspace.
    pub(crate) fn check(
        &self,
        user: Option<&UserId>,
        workspace: Option<&WorkspaceId>,
    ) -> Result<(), CliError> {
        let users = user.map(UserId::as_str).zip(self.user.as_ref().map(UserId::as_str));
        let claimed = self.workspace.as_ref().map(WorkspaceId::as_str);
        let workspaces = workspace.map(WorkspaceId::as_str).zip(claimed);
        for (flag, pair) in [("--as", users), ("--workspace", workspaces)] {
            if let Some((given, claimed)) = pair.filter(|(given, claimed)| given != claimed) {
                let (given, claimed) = (given.to_owned(), claimed.to_owned());
                return Err(CliError::OtherOwner { flag, given, claimed });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_of_another_user_or_workspace_is_refused() {
        let bobs = Claims::of(&token(r#"{"sub":"bob","workspace_id":"demo","exp":1}"#));
        let (alice, bob) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let (demo, other) = ("demo".parse().unwrap(), "other".parse().unwrap());
        let wrong = bobs.check(Some(&alice), None).unwrap_err().to_string();
        assert_eq!(wrong, "--as is alice, but the token is bob's: leave one of them out");
        let wrong = bobs.check(Some(&bob), Some(&other)).unwrap_err().to_string();
        assert_eq!(wrong, "--workspace is other, but the token is demo's: leave one of them out");
        bobs.check(Some(&bob), Some(&demo)).unwrap();
        bobs.check(None, None).unwrap();
    }

    #[test]
    fn a_text_that_is_not_a_jwt_has_no_claims() {
        for text in ["", "t", "a.b.c", "a.%.c", &token("[]"), &token(r#"{"sub":"no spaces"}"#)] {
            assert_eq!(Claims::of(text), Claims::default(), "{text}");
        }
    }
}
