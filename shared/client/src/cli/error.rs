//! The command's errors: one line for a person, and an exit code for a script.

use std::error::Error;

use client::{ApiError, OutboxFull, SendError, StopReason, StoreError};
use model::{ErrorCode, MessageId, TextError};

use super::terminal::escape;

/// The part of `--help` that lists the exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
   0  done
  64  the arguments are wrong
  66  not found: no such channel, DM or user, or the environment issues no tokens
  69  unreachable: nobody answered, or something that is not Inkwire
  74  standard input or output failed, or the file of --store
  75  try again later: the environment is busy, or it is not known whether the message was stored
  77  refused: the token, the permission or the request";

/// Exit codes, by `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Usage = 64,
    NotFound = 66,
    Unreachable = 69,
    Io = 74,
    TryAgain = 75,
    Refused = 77,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Stopped(StopReason),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    BadText(#[from] TextError),
    #[error(transparent)]
    OutboxFull(#[from] OutboxFull),
    #[error("the message was refused: {0}")]
    NotDelivered(String),
    #[error("{}: send the same text again with --id {id}", not_archived(*accepted))]
    NotArchived { id: MessageId, accepted: bool },
    #[error("say who you are with --as USER, or pass a --token")]
    NoUser,
    #[error("{flag} is {given}, but the token is {claimed}'s: leave one of them out")]
    OtherOwner { flag: &'static str, given: String, claimed: String },
    #[error("{0} is not a user id: 1 to 64 of A-Z a-z 0-9 _ -")]
    BadUser(String),
    #[error(
        "there is no DM with {0} yet, and Inkwire does not know which users exist: check the \
         name, or open the DM with `inkwire send --new-dm --channel {0} TEXT`"
    )]
    NoDm(String),
    #[error("no channel is named {wanted}; there are: {known}")]
    NoChannel { wanted: String, known: String },
    #[error("{0} channels are named {1}: use an id from `inkwire channels`")]
    ManyChannels(usize, String),
    #[error("cannot use {file} as certificate authorities: {cause}")]
    NoAuthority { file: String, cause: String },
    #[error("cannot reach {url}: {advice}")]
    WrongScheme { url: String, advice: String },
    #[error("cannot read standard input: {0}")]
    Input(std::io::Error),
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// One line: what went wrong, its cause, and its fix. No part is repeated.
    pub(crate) fn line(&self) -> String {
        let mut parts = Vec::new();
        if let Self::Send(error) = self {
            parts.extend(error.source().map(ToString::to_string));
        }
        if let Self::Send(SendError::OutcomeUnknown { draft, .. }) = self {
            parts.push(format!("send the same text again with --id {}", draft.id));
        }
        if let Ok(error) = self.call() {
            if let ApiError::Unreachable { source, .. } = error {
                parts.push(root_of(source).to_string());
            }
            parts.extend(hint(error).map(str::to_owned));
        }
        let mut line = self.to_string();
        for part in parts {
            if !line.contains(&part) {
                line = format!("{line}: {part}");
            }
        }
        // The detail of a refusal comes from the server and is not trusted.
        escape(&line).replace('\n', " ")
    }

    /// The exit code that `--help` lists for it.
    pub(crate) fn exit(&self) -> Exit {
        match self.call() {
            Ok(_) if matches!(self, Self::Send(SendError::OutcomeUnknown { .. })) => Exit::TryAgain,
            Ok(error) => exit_of(error),
            Err(exit) => exit,
        }
    }

    /// Whether there was no answer, or one that is not from Inkwire.
    pub(crate) fn may_be_wrong_scheme(&self) -> bool {
        matches!(self.call(), Ok(ApiError::Unreachable { .. } | ApiError::BadAnswer { .. }))
    }

    /// The error of the call that failed. If no call failed, the exit code.
    fn call(&self) -> Result<&ApiError, Exit> {
        match self {
            Self::Api(error)
            | Self::Send(
                SendError::NotStored { source: error }
                | SendError::OutcomeUnknown { source: error, .. },
            )
            | Self::Stopped(StopReason::Refused(error)) => Ok(error),
            Self::Stopped(StopReason::Closed(_) | StopReason::BadUrl | StopReason::Requested) => {
                Err(Exit::Refused)
            }
            Self::Stopped(StopReason::Store(_)) => Err(Exit::Io),
            Self::NoUser
            | Self::OtherOwner { .. }
            | Self::BadUser(_)
            | Self::ManyChannels(..)
            | Self::NoAuthority { .. } => Err(Exit::Usage),
            Self::NoDm(_) | Self::NoChannel { .. } => Err(Exit::NotFound),
            Self::WrongScheme { .. } => Err(Exit::Unreachable),
            Self::Input(_) | Self::Output(_) | Self::Store(_) => Err(Exit::Io),
            Self::BadText(_) => Err(Exit::Usage),
            Self::NotDelivered(_) => Err(Exit::Refused),
            Self::NotArchived { .. } | Self::OutboxFull(_) => Err(Exit::TryAgain),
        }
    }
}

const fn not_archived(accepted: bool) -> &'static str {
    if accepted {
        "the message was delivered, and is not known to be stored"
    } else {
        "the message was not delivered in time"
    }
}

/// The innermost cause: the layers above it only repeat that they failed.
fn root_of(error: &dyn Error) -> &dyn Error {
    error.source().map_or(error, root_of)
}

fn exit_of(error: &ApiError) -> Exit {
    match error {
        ApiError::BadAddress => Exit::Usage,
        ApiError::Unreachable { .. } | ApiError::BadAnswer { .. } => Exit::Unreachable,
        ApiError::Refused { status: 404, .. } => Exit::NotFound,
        ApiError::Refused { .. } if error.is_retryable() => Exit::TryAgain,
        ApiError::Refused { .. } => Exit::Refused,
    }
}

fn hint(error: &ApiError) -> Option<&'static str> {
    match error {
        ApiError::Unreachable { base_url, source } => {
            if root_of(source).to_string().contains("certificate") {
                return Some("--ca FILE trusts the authority that signed it");
            }
            let is_local = ["//127.0.0.1", "//localhost", "//[::1]"];
            let is_local = is_local.iter().any(|host| base_url.contains(host));
            is_local.then_some("is the stack running? start it with: cargo run")
        }
        ApiError::Refused { .. } if error.code() == Some(ErrorCode::NotFound) => {
            Some("only a local environment issues tokens; pass a --token")
        }
        ApiError::Refused { status: 401, .. } => Some("pass another --token"),
        ApiError::BadAnswer { .. } => Some("is something else listening there?"),
        ApiError::Refused { .. } | ApiError::BadAddress => None,
    }
}

#[cfg(test)]
mod tests {
    use client::{Api, Draft, Token, TokenSource};
    use serde_json::json;

    use super::*;

    fn refused(status: u16, code: &str) -> ApiError {
        let problem = json!({ "status": status, "code": code, "detail": "because" });
        ApiError::Refused { status, problem: serde_json::from_value(problem).unwrap() }
    }

    async fn unreachable() -> ApiError {
        let source = TokenSource::Fixed(Token::new("t"));
        Api::new("http://127.0.0.1:1", source).unwrap().channels().await.unwrap_err()
    }

    #[tokio::test]
    async fn an_unreachable_stack_is_one_line_with_its_cause_and_a_fix() {
        let expected = "cannot reach http://127.0.0.1:1: Connection refused (os error 111): \
                        is the stack running? start it with: cargo run";
        assert_eq!(CliError::from(unreachable().await).line(), expected);
        let not_stored = CliError::from(SendError::NotStored { source: unreachable().await });
        assert_eq!(not_stored.line(), format!("the message was not stored: {expected}"));
    }

    #[tokio::test]
    async fn exit_codes_distinguish_refused_unreachable_and_not_found() {
        for (error, exit) in [
            (unreachable().await, Exit::Unreachable),
            (ApiError::BadAnswer { status: 502, retry_after: None }, Exit::Unreachable),
            (refused(401, "invalid_token"), Exit::Refused),
            (refused(403, "forbidden"), Exit::Refused),
            (refused(404, "channel_not_found"), Exit::NotFound),
            (refused(429, "rate_limited"), Exit::TryAgain),
            (refused(503, "unavailable"), Exit::TryAgain),
            (ApiError::BadAddress, Exit::Usage),
        ] {
            let text = error.to_string();
            assert_eq!(CliError::from(error).exit(), exit, "{text}");
        }
        assert_eq!(CliError::NoDm("@bob".to_owned()).exit(), Exit::NotFound);
        for exit in [
            Exit::Usage,
            Exit::NotFound,
            Exit::Unreachable,
            Exit::Io,
            Exit::TryAgain,
            Exit::Refused,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)), "{exit:?} is in --help");
        }
    }

    #[test]
    fn an_unknown_outcome_says_to_send_again_with_the_same_id() {
        let id: MessageId = "01K0G4ZFXS0000000000000000".parse().unwrap();
        let log = model::LogId::parse("C01K0G4ZFXS0000000000000000").unwrap();
        let draft =
            Box::new(Draft { log, text: "x".to_owned(), attachments: Vec::new(), id, after: None });
        let source = refused(503, "unavailable");
        let error = CliError::from(SendError::OutcomeUnknown { draft, source });
        assert!(error.line().ends_with(&format!("--id {id}")), "{}", error.line());
        assert_eq!(error.exit(), Exit::TryAgain);
    }
}
