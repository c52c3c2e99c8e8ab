//! The arguments, and the commands that call the library.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use client::{Api, DevUser, Outbox, Token, TokenSource, Trust};
use model::{Channel, Direction, MessageId, UserId, WorkspaceId};
use protocol::http::ChannelBody;
use serde_json::json;

mod claims;
mod error;
mod listen;
mod names;

pub(crate) mod terminal;

pub(crate) use error::Exit;

use claims::Claims;
use error::CliError;
use names::Names;

use terminal::{Terminal, escape};

/// Reads and writes the channels of an Inkwire environment.
#[derive(Debug, Parser)]
#[command(name = "inkwire", version = model::version(), after_help = error::EXIT_CODES)]
pub(crate) struct Arguments {
    /// Prints JSON: one object per line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints messages as they arrive. Times are UTC.
    Listen {
        #[command(flatten)]
        access: Access,
        /// Prints only this channel: its name, its id, or `@user` for a DM. May be repeated.
        #[arg(long = "channel", value_name = "NAME|ID|@USER")]
        channels: Vec<String>,
    },
    /// Sends one message.
    Send {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        place: Place,
        /// Opens the DM with `@user` if there is none yet. Inkwire does not know which users
        /// exist, so a mistyped name opens a DM that nobody reads.
        #[arg(long)]
        new_dm: bool,
        /// The message's id, a ULID. Sending again with the same id never stores the message twice.
        #[arg(long, value_name = "ULID")]
        id: Option<MessageId>,
        /// The text; `-` reads it from standard input.
        text: String,
    },
    /// Lists the user's channels.
    Channels {
        #[command(flatten)]
        access: Access,
    },
    /// Prints the newest messages of a channel. Times are UTC.
    History {
        #[command(flatten)]
        access: Access,
        #[command(flatten)]
        place: Place,
        /// How many messages.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Prints a script that completes this command in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct Access {
    /// The user. A local environment issues a token for any user.
    #[arg(long = "as", value_name = "USER", required_unless_present = "token")]
    user: Option<UserId>,
    /// The user's workspace. Without a token: `demo`.
    #[arg(long)]
    workspace: Option<WorkspaceId>,
    /// The address of the environment.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A bearer token. `--as` and `--workspace` must agree with it, or be left out.
    #[arg(long, env = "INKWIRE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A PEM file of certificate authorities to trust over TLS beside the public ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Place {
    /// A channel's name, its id, or `@user` for a DM.
    #[arg(long, value_name = "NAME|ID|@USER")]
    channel: String,
}

impl Access {
    /// Returns the user's API access and a resolver of channel names.
    fn open(&self) -> Result<(Api, Names), CliError> {
        // An empty variable counts as unset.
        let token = self.token.as_ref().filter(|token| !token.is_empty());
        let (source, user) = match (token, &self.user) {
            (Some(token), _) => {
                let claims = Claims::of(token);
                claims.check(self.user.as_ref(), self.workspace.as_ref())?;
                let user = self.user.clone().or(claims.user);
                (TokenSource::Fixed(Token::new(token.as_str())), user)
            }
            (None, Some(user)) => {
                let workspace = self.workspace.clone().map_or_else(|| DEMO.parse(), Ok);
                let workspace = workspace.or(Err(CliError::NoUser))?;
                (TokenSource::Dev(DevUser::new(workspace, user.clone())), Some(user.clone()))
            }
            (None, None) => return Err(CliError::NoUser),
        };
        let api = Api::trusting(&self.url, source, self.trust()?)?;
        Ok((api.clone(), Names::new(api, user)))
    }

    fn trust(&self) -> Result<Trust, CliError> {
        let Some(file) = &self.ca else { return Ok(Trust::public()) };
        let name = || file.display().to_string();
        let authorities = std::fs::read_to_string(file)
            .map_err(|source| CliError::NoAuthority { file: name(), cause: source.to_string() })?;
        Trust::with(&authorities)
            .map_err(|source| CliError::NoAuthority { file: name(), cause: source.to_string() })
    }
}

/// Runs a command.
///
/// # Errors
/// [`CliError`], whose text is one line for a person.
pub(crate) async fn run(arguments: Arguments) -> Result<(), CliError> {
    let mut terminal = Terminal::new(arguments.json);
    match arguments.command {
        Command::Listen { access, channels } => {
            let (api, names) = access.open()?;
            let done = listen::listen(api, names, &channels, &mut terminal).await;
            explain_scheme(done, &access.url).await
        }
        Command::Send { access, place, new_dm, id, text } => {
            let letter = Letter { channel: place.channel, new_dm, id, text };
            explain_scheme(send(&access, letter, &mut terminal).await, &access.url).await
        }
        Command::Channels { access } => {
            explain_scheme(list_channels(&access, &mut terminal).await, &access.url).await
        }
        Command::History { access, place, limit } => {
            let done = history(&access, &place.channel, limit, &mut terminal).await;
            explain_scheme(done, &access.url).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "inkwire", &mut script);
            Ok(terminal.line(String::from_utf8_lossy(&script).trim_end())?)
        }
    }
}

/// Replaces an error that was caused by `http://` to a TLS port, or by `https://` to a plain one.
async fn explain_scheme(done: Result<(), CliError>, url: &str) -> Result<(), CliError> {
    match done {
        Err(error) if error.is_not_understood() => match client::scheme(url).await {
            Some(scheme) if !scheme.is_of(url) => {
                Err(CliError::OtherScheme { url: url.to_owned(), scheme })
            }
            Some(_) | None => Err(error),
        },
        other => other,
    }
}

/// The arguments of `send`: the message and its channel.
struct Letter {
    channel: String,
    new_dm: bool,
    id: Option<MessageId>,
    text: String,
}

async fn send(access: &Access, letter: Letter, terminal: &mut Terminal) -> Result<(), CliError> {
    let text = if letter.text == "-" { standard_input()? } else { letter.text };
    let (api, names) = access.open()?;
    let channel = match letter.channel.strip_prefix('@') {
        Some(other) if letter.new_dm => names.open_dm(other).await?,
        Some(_) | None => names.find(&letter.channel).await?,
    };
    let outbox = Outbox::new(api);
    let sent = match letter.id {
        Some(id) => {
            let draft = outbox.draft(&channel.id, &text);
            outbox.send_draft(&client::Draft { id, ..draft }).await?
        }
        None => outbox.send(&channel.id, &text).await?,
    };
    let json = json!({ "message": sent.message, "duplicate": sent.duplicate });
    let again = if sent.duplicate { ", stored by an earlier attempt" } else { "" };
    let note = format!("stored as {}{again}", sent.message.id);
    Ok(terminal.record(&json, |terminal| terminal.note(&note))?)
}

/// Reads a text from standard input, without the line break that shells add at the end.
fn standard_input() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(CliError::Input)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

async fn list_channels(access: &Access, terminal: &mut Terminal) -> Result<(), CliError> {
    let (api, mut names) = access.open()?;
    let mut channels: Vec<Channel> = api.channels().await?;
    channels.sort_by_key(|channel| channel.created_at);
    for channel in channels {
        let label = names.label(&channel.id).await;
        let line = format!("{}  {}", channel.id, escape(&label));
        let json = json!({ "label": label, "channel": ChannelBody::of(&channel) });
        terminal.record(&json, |terminal| terminal.line(&line))?;
    }
    Ok(())
}

async fn history(
    access: &Access,
    channel: &str,
    limit: u32,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let (api, names) = access.open()?;
    let channel = names.find(channel).await?;
    let page = api.scroll(&channel.id, None, limit, Direction::Older).await?;
    for message in page.messages.iter().rev() {
        let json = json!({ "message": message });
        terminal.record(&json, |terminal| terminal.message(None, message))?;
    }
    Ok(())
}

/// The workspace that a local environment starts with.
const DEMO: &str = "demo";
