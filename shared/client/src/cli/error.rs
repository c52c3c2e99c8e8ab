//! What goes wrong, in one line for a person.

use client::{ApiError, SendError, StopReason};
use model::ErrorCode;

use super::terminal::escape;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Stopped(StopReason),
    #[error("say who you are with --as USER, or bring a --token")]
    NoUser,
    #[error("{0} is no user id: 1 to 64 of A-Z a-z 0-9 _ -")]
    BadUser(String),
    #[error("there is no DM with {0} yet: `client send --channel {0} TEXT` opens one")]
    NoDm(String),
    #[error("no channel named {wanted}; there are: {known}")]
    NoChannel { wanted: String, known: String },
    #[error("{0} channels are named {1}: use an id from `client channels`")]
    ManyChannels(usize, String),
    #[error("{file} cannot be trusted: {cause}")]
    NoAuthority { file: String, cause: String },
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// One line: what went wrong and, where there is something, what to do about it.
    pub(crate) fn line(&self) -> String {
        let mut line = self.to_string();
        if let Self::Send(
            SendError::NotStored { source } | SendError::OutcomeUnknown { source, .. },
        ) = self
        {
            line = format!("{line}: {source}");
        }
        if let Some(hint) = self.api().and_then(hint) {
            line = format!("{line}: {hint}");
        }
        // A detail comes from whoever answered.
        escape(&line).replace('\n', " ")
    }

    fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error)
            | Self::Send(
                SendError::NotStored { source: error }
                | SendError::OutcomeUnknown { source: error, .. },
            )
            | Self::Stopped(StopReason::Refused(error)) => Some(error),
            Self::Stopped(StopReason::Closed(_) | StopReason::BadUrl | StopReason::Requested)
            | Self::NoUser
            | Self::BadUser(_)
            | Self::NoDm(_)
            | Self::NoChannel { .. }
            | Self::ManyChannels(..)
            | Self::NoAuthority { .. }
            | Self::Output(_) => None,
        }
    }
}

fn hint(error: &ApiError) -> Option<&'static str> {
    match error {
        ApiError::Unreachable { .. } => Some("is the stack running? start it with: cargo run"),
        ApiError::Refused { .. } if error.code() == Some(ErrorCode::NotFound) => {
            Some("only a local environment mints tokens; bring a --token")
        }
        ApiError::Refused { status: 401, .. } => Some("bring another --token"),
        ApiError::BadAnswer { .. } => Some("is something else listening there?"),
        ApiError::Refused { .. } | ApiError::BadAddress => None,
    }
}

#[cfg(test)]
mod tests {
    use client::{Api, Token, TokenSource};

    use super::*;

    #[tokio::test]
    async fn a_stack_that_does_not_run_is_one_line_with_the_way_out() {
        let source = TokenSource::Fixed(Token::new("t"));
        let error = Api::new("http://127.0.0.1:1", source).unwrap().channels().await.unwrap_err();
        assert_eq!(
            CliError::from(error).line(),
            "cannot reach http://127.0.0.1:1: is the stack running? start it with: cargo run"
        );
    }
}
