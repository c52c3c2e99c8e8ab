//! Logs: one event a line, to stderr.
//!
//! What our own code says holds no text of a message, no token, no ticket and no secret, at any
//! level. What libraries say is not ours to promise: from `debug` on, some write requests and
//! answers out whole. So they are cut at `info`, whatever the filter asks for.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For machines: one JSON object a line.
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
    /// Levels, of all or by the start of a target: `info`, `warn,node=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: FILTER_DEFAULT.to_owned(), format: LogFormat::default() }
    }
}

/// Starts logging for the whole process. Directives that are none are left out; a second start
/// changes nothing.
pub fn start(config: &LogConfig) {
    start_to(config, io::stderr, io::stderr().is_terminal());
}

/// The same to another place than stderr; with colours, if a person looks at it.
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
    // The text of a panic may hold what a user wrote: only its place is logged.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic");
    }));
}

/// Whether lines like this one may be written at all.
fn may_say(line: &Metadata<'_>) -> bool {
    let name = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || OUR_PACKAGES.contains(&name)
}

/// Writes a line that is made already, whatever the filter says: it holds metrics.
#[cfg(feature = "lambda")]
pub(crate) fn write(mut line: String) {
    use std::io::Write;

    line.push('\n');
    // One call, so that lines of other threads do not come in between. Nobody is left to be told
    // where the standard error is closed.
    io::stderr().write_all(line.as_bytes()).unwrap_or_default();
}

/// Whether a text is directives that can all be used.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    text.parse::<Targets>().is_ok()
}

pub(crate) const FILTER_DEFAULT: &str = "info";
/// Packages of this workspace, as their lines name them. A check compares them.
pub const OUR_PACKAGES: &[&str] = &[
    "model",
    "protocol",
    "messaging",
    "dynamo",
    "redis_bus",
    "memory",
    "runtime",
    "client",
    "send",
    "scroll",
    "membership",
    "connect",
    "relay",
    "session",
    "node",
    "embedded_stack",
];
