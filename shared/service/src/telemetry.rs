//! Logs: one event per line, to stderr.
//!
//! Our own code logs no text of a message, no token, no ticket and no secret, at any level.
//! Libraries promise no such thing: from `debug` on, some log whole requests and answers. So their
//! lines are limited to `info`, whatever the filter asks for.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For machines: one JSON object per line.
    #[default]
    Json,
    /// For people.
    Pretty,
}

impl LogFormat {
    /// Reads `json` or `pretty`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "json" => Some(Self::Json),
            "pretty" => Some(Self::Pretty),
            _ => None,
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Levels, for all lines or by a target's prefix: `info`, `warn,node=debug`.
    pub filter: String,
    /// The format of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: FILTER_DEFAULT.to_owned(), format: LogFormat::default() }
    }
}

/// Starts logging for the whole process. Invalid directives are left out. A second start changes
/// nothing.
pub fn start(config: &LogConfig) {
    start_to(config, io::stderr, io::stderr().is_terminal());
}

/// The same, to another writer than stderr, and with colours if a person reads it.
pub fn start_to<W>(config: &LogConfig, place: W, has_colours: bool)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = config.filter.split(',').filter(|directive| is_filter(directive));
    let filter: Targets = directives.collect::<Vec<_>>().join(",").parse().unwrap_or_default();
    let limited = tracing_subscriber::registry().with(filter_fn(may_say)).with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(place);
    let started = match config.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            limited.with(lines.with_current_span(true).with_span_list(false)).try_init()
        }
        LogFormat::Pretty => limited.with(lines.with_ansi(has_colours)).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging is already set up");
    }
    // A panic's message may contain what a user wrote: only its location is logged.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

/// Whether a line like this one may be logged at all.
fn may_say(line: &Metadata<'_>) -> bool {
    let name = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || OUR_PACKAGES.contains(&name)
}

/// Writes a finished line, whatever the filter says, because it contains metrics.
#[cfg(feature = "lambda")]
pub(crate) fn write(mut line: String) {
    use std::io::Write;

    line.push('\n');
    // One write call, so that other threads' lines do not mix in. If stderr is closed, there is
    // nowhere to report it.
    io::stderr().write_all(line.as_bytes()).unwrap_or_default();
}

/// Whether all directives in a text are valid.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    text.parse::<Targets>().is_ok()
}

pub(crate) const FILTER_DEFAULT: &str = "info";
/// Packages of this workspace, as log targets name them. `tests/tidy` compares them.
pub const OUR_PACKAGES: &[&str] = &[
    "model",
    "protocol",
    "messaging",
    "dynamo",
    "redis_bus",
    "memory",
    "auth",
    "service",
    "client",
    "send",
    "scroll",
    "membership",
    "amend",
    "files",
    "s3",
    "connect",
    "archive",
    "relay",
    "derive",
    "delivery",
    "node",
    "embedded_stack",
];
