//! Arguments, and what each command does with the library.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use client::{Api, DevUser, Outbox, Token, TokenSource, Trust};
use model::Direction;
use model::{Channel, UserId, WorkspaceId};

mod error;
mod listen;
mod names;
pub(crate) mod terminal;

use error::CliError;
use names::Names;
use terminal::{Terminal, escape};

/// Talks to an Inkwire environment.
#[derive(Debug, Parser)]
#[command(name = "client", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints messages as they come.
    Listen {
        #[command(flatten)]
        who: Who,
        /// Prints one JSON object per event.
        #[arg(long)]
        json: bool,
    },
    /// Sends one message.
    Send {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        place: Place,
        /// What to say.
        text: String,
    },
    /// Lists the user's channels.
    Channels {
        #[command(flatten)]
        who: Who,
    },
    /// Prints the newest messages of a channel.
    History {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        place: Place,
        /// How many messages.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
}

#[derive(Debug, Args)]
struct Who {
    /// The user; a local environment mints the token.
    #[arg(long = "as", value_name = "USER", required_unless_present = "token")]
    user: Option<UserId>,
    /// The user's workspace.
    #[arg(long, default_value = "demo")]
    workspace: WorkspaceId,
    /// Where the environment is.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A bearer token to use instead.
    #[arg(long, env = "INKWIRE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file of PEM certificates: authorities that are trusted over TLS beside the public ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Place {
    /// A channel's name, its id, or `@user` for a DM.
    #[arg(long, value_name = "NAME|ID|@USER")]
    channel: String,
}

impl Who {
    fn api(&self) -> Result<Api, CliError> {
        // An empty variable counts as unset.
        let token = self.token.as_ref().filter(|token| !token.is_empty());
        let source = match (token, &self.user) {
            (Some(token), _) => TokenSource::Fixed(Token::new(token.as_str())),
            (None, Some(user)) => {
                TokenSource::Dev(DevUser::new(self.workspace.clone(), user.clone()))
            }
            (None, None) => return Err(CliError::NoUser),
        };
        Ok(Api::trusting(&self.url, source, self.trust()?)?)
    }

    fn trust(&self) -> Result<Trust, CliError> {
        let Some(file) = &self.ca else { return Ok(Trust::public()) };
        let name = || file.display().to_string();
        let authorities = std::fs::read_to_string(file)
            .map_err(|source| CliError::NoAuthority { file: name(), cause: source.to_string() })?;
        Trust::with(&authorities)
            .map_err(|source| CliError::NoAuthority { file: name(), cause: source.to_string() })
    }

    fn names(&self, api: Api) -> Names {
        Names::new(api, self.user.clone())
    }
}

/// Does what was asked.
///
/// # Errors
/// [`CliError`], which is one line for a person.
pub(crate) async fn run(arguments: Arguments) -> Result<(), CliError> {
    let mut terminal = Terminal::new();
    match arguments.command {
        Command::Listen { who, json } => {
            let api = who.api()?;
            listen::listen(api.clone(), who.names(api), &mut terminal, json).await
        }
        Command::Send { who, place, text } => {
            let api = who.api()?;
            let channel = who.names(api.clone()).open(&place.channel).await?;
            let sent = Outbox::new(api).send(&channel.id, &text).await?;
            let again = if sent.duplicate { ", stored by an earlier attempt" } else { "" };
            Ok(terminal.note(&format!("stored as {}{again}", sent.message.id))?)
        }
        Command::Channels { who } => list_channels(&who, &mut terminal).await,
        Command::History { who, place, limit } => {
            let api = who.api()?;
            let channel = who.names(api.clone()).find(&place.channel).await?;
            let page = api.scroll(&channel.id, None, limit, Direction::Older).await?;
            for message in page.messages.iter().rev() {
                terminal.message(None, message)?;
            }
            Ok(())
        }
    }
}

async fn list_channels(who: &Who, terminal: &mut Terminal) -> Result<(), CliError> {
    let api = who.api()?;
    let mut names = who.names(api.clone());
    let mut channels: Vec<Channel> = api.channels().await?;
    channels.sort_by_key(|channel| channel.created_at);
    for channel in channels {
        let label = names.label(&channel.id).await;
        terminal.line(&format!("{}  {}", channel.id, escape(&label)))?;
    }
    Ok(())
}
