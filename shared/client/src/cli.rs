//! The arguments, and the commands that call the library.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use client::{Api, DevUser, Draft, Outbox, Token, TokenSource, Trust};
use model::{Direction, MessageId, UserId, WorkspaceId};
use protocol::http::ChannelBody;
use serde_json::json;

mod claims;
mod deliver;
mod error;
mod listen;
mod names;
pub(crate) mod terminal;

pub(crate) use error::Exit;

use claims::Claims;
use error::CliError;
use names::Names;
use terminal::{Terminal, dim, escape, message_line};

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
        /// Keeps the messages and the place in the stream in this file, and goes on from there the next
        /// time. Messages that are in the file are not printed again.
        #[arg(long, value_name = "FILE")]
        store: Option<PathBuf>,
    },
    /// Sends one message.
    Send(SendArguments),
    /// Lists the user's channels.
    Channels {
        #[command(flatten)]
        access: Access,
        /// Lists the workspace's public channels instead.
        #[arg(long)]
        public: bool,
    },
    /// Joins a public channel.
    Join {
        #[command(flatten)]
        access: Access,
        /// The channel's name or id.
        #[arg(value_name = "NAME|ID")]
        channel: String,
    },
    /// Prints the newest messages of a channel. Times are UTC.
    History {
        #[command(flatten)]
        access: Access,
        /// A channel's name, its id, or `@user` for a DM.
        #[arg(long, value_name = "NAME|ID|@USER")]
        channel: String,
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
struct SendArguments {
    #[command(flatten)]
    access: Access,
    /// A channel's name, its id, or `@user` for a DM.
    #[arg(long, value_name = "NAME|ID|@USER")]
    channel: String,
    /// Opens the DM with `@user` if there is none yet. Inkwire does not know which users
    /// exist, so a mistyped name opens a DM that nobody reads.
    #[arg(long)]
    new_dm: bool,
    /// The message's id, a ULID. Sending again with the same id never stores the message twice.
    #[arg(long, value_name = "ULID")]
    id: Option<MessageId>,
    /// The text; `-` reads it from standard input.
    text: String,
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

impl Access {
    /// Returns the user's API access and a resolver of channel names.
    fn open(&self) -> Result<(Api, Names), CliError> {
        // An empty variable counts as unset.
        let token = self.token.as_ref().filter(|token| !token.is_empty());
        let (source, user) = match (token, self.user.clone()) {
            (Some(token), user) => {
                let claims = Claims::of(token);
                claims.check(user.as_ref(), self.workspace.as_ref())?;
                (TokenSource::Fixed(Token::new(token)), user.or(claims.user))
            }
            (None, Some(user)) => {
                let workspace = self.workspace.clone().map_or_else(|| DEMO.parse(), Ok);
                let workspace = workspace.or(Err(CliError::NoUser))?;
                (TokenSource::Dev(DevUser::new(workspace, user.clone())), Some(user))
            }
            (None, None) => return Err(CliError::NoUser),
        };
        let api = Api::trusting(&self.url, source, self.trust()?)?;
        Ok((api.clone(), Names::new(api, user)))
    }

    fn trust(&self) -> Result<Trust, CliError> {
        let Some(file) = &self.ca else { return Ok(Trust::public()) };
        let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
        let trust = read.and_then(|pem| Trust::with(&pem).map_err(|error| error.to_string()));
        trust.map_err(|cause| CliError::NoAuthority { file: file.display().to_string(), cause })
    }
}

/// Runs a command.
///
/// # Errors
/// [`CliError`], whose text is one line for a person.
pub(crate) async fn run(arguments: Arguments) -> Result<(), CliError> {
    let mut terminal = Terminal { json: arguments.json };
    let (access, done) = match &arguments.command {
        Command::Listen { access, channels, store } => {
            (access, listen::listen(access, channels, store.as_deref(), &mut terminal).await)
        }
        Command::Send(send) => (&send.access, send.run(&mut terminal).await),
        Command::Channels { access, public } => {
            (access, list_channels(access, *public, &mut terminal).await)
        }
        Command::Join { access, channel } => (access, join(access, channel, &mut terminal).await),
        Command::History { access, channel, limit } => {
            (access, history(access, channel, *limit, &mut terminal).await)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "inkwire", &mut script);
            return Ok(terminal.line(String::from_utf8_lossy(&script).trim_end())?);
        }
    };
    match done {
        Err(error) if error.may_be_wrong_scheme() => {
            match client::wrong_scheme(&access.url).await {
                Some(advice) => Err(CliError::WrongScheme { url: access.url.clone(), advice }),
                None => Err(error),
            }
        }
        done => done,
    }
}

impl SendArguments {
    async fn run(&self, terminal: &mut Terminal) -> Result<(), CliError> {
        let text = if self.text == "-" { standard_input()? } else { self.text.clone() };
        let (api, names) = self.access.open()?;
        let channel = match self.channel.strip_prefix('@') {
            Some(other) if self.new_dm => api.create_dm(&names::user(other)?).await?,
            Some(_) | None => names.find(&self.channel).await?,
        };
        // With an id it is posted, which finds out whether it is stored.
        if channel.contract.delivers_first() && self.id.is_none() {
            return deliver::deliver(api, &channel.id, text, terminal).await;
        }
        let outbox = Outbox::new(api);
        let sent = match self.id {
            Some(id) => {
                let draft = outbox.draft(&channel.id, &text);
                outbox.send_draft(&Draft { id, ..draft }).await?
            }
            None => outbox.send(&channel.id, &text).await?,
        };
        let json = json!({ "message": sent.message, "duplicate": sent.duplicate });
        let again = if sent.duplicate { ", stored by an earlier attempt" } else { "" };
        let note = format!("stored as {}{again}", sent.message.id);
        Ok(terminal.print(&json, &dim(&note))?)
    }
}

/// Reads a text from standard input, without the line break that shells add at the end.
fn standard_input() -> Result<String, CliError> {
    let text = std::io::read_to_string(std::io::stdin()).map_err(CliError::Input)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

async fn list_channels(
    access: &Access,
    public: bool,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let (api, mut names) = access.open()?;
    let mut channels = if public { api.browse().await? } else { api.channels().await? };
    channels.sort_by_key(|channel| channel.created_at);
    for channel in channels {
        let label = names.label(&channel.id).await;
        let mut line = format!("{}  {}", channel.id, escape(&label));
        if channel.details.archived {
            line.push_str("  (archived)");
        }
        if !channel.details.topic.is_empty() {
            line = format!("{line}  {}", dim(&escape(&channel.details.topic)));
        }
        let json = json!({ "label": label, "channel": ChannelBody::of(&channel) });
        terminal.print(&json, &line)?;
    }
    Ok(())
}

async fn join(access: &Access, channel: &str, terminal: &mut Terminal) -> Result<(), CliError> {
    let (api, names) = access.open()?;
    let channel = names.find_public(channel).await?;
    api.join(&channel.id).await?;
    let note = format!("joined {}", escape(channel.details.name.as_deref().unwrap_or_default()));
    Ok(terminal.print(&json!({ "channel": ChannelBody::of(&channel) }), &dim(&note))?)
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
        terminal.print(&json!({ "message": message }), &message_line(None, message))?;
    }
    Ok(())
}

/// The workspace that a local environment starts with.
const DEMO: &str = "demo";
