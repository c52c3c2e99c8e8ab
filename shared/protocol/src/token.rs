//! Why a bearer token is refused (RFC 7519, RFC 6750).

/// Why a token is refused. Of several reasons, the first one in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.described().1)]
pub enum TokenError {
    /// No JWT in compact form, or one whose header says more than ours may.
    Malformed,
    /// Its header names another algorithm than its key has.
    Algorithm,
    /// Its header names a key that is not known, or none where there are several.
    UnknownKey,
    /// Its key did not sign it.
    Signature,
    /// It is of another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It counts from a later time on.
    NotYetValid,
    /// A claim is missing or malformed, or `exp` is too far away.
    Claims,
    /// `sub` is no user's id.
    UserId,
    /// It was valid once.
    Expired,
}

impl TokenError {
    /// `reason` in a problem.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.described().0
    }

    /// A sentence for whoever issues tokens.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.described().1
    }

    const fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("malformed", "the token is no JWT of the form that is taken here"),
            Self::Algorithm => ("algorithm", "the token's alg is not the one of its key"),
            Self::UnknownKey => ("unknown_key", "the token's kid names no key that is known here"),
            Self::Signature => ("signature", "the token's signature is wrong"),
            Self::Issuer => ("issuer", "the token's iss is not the issuer that is trusted here"),
            Self::Audience => ("audience", "the token's aud does not name this service"),
            Self::NotYetValid => ("not_yet_valid", "the token's nbf is in the future"),
            Self::Claims => {
                ("claims", "a claim of the token is missing, malformed or out of range")
            }
            Self::UserId => ("user_id", "the token's sub is no user id"),
            Self::Expired => ("expired", "the token has expired"),
        }
    }
}
