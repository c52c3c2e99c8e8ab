//! The command line.

use std::path::PathBuf;

use auth::Secrets;
use clap::{Parser, ValueEnum};
use service::config::{ConfigError, Env, LOG, RedisUrl, TICKET_SECRET, TOKEN_SECRET};
use service::telemetry::{LogFormat, is_filter};

use crate::stack::{Bus, Data, StackOptions};

/// Inkwire in one process: gateway, functions, store, bus and nodes, with a demo workspace.
#[derive(Debug, Clone, Parser)]
#[command(name = "embedded-stack", bin_name = "cargo run --", version = model::version())]
pub struct Options {
    /// Port of the gateway on 127.0.0.1; 0 picks a free port.
    #[arg(long, value_name = "PORT", default_value_t = PORT_DEFAULT)]
    pub port: u16,

    /// Number of nodes, each on its own port; 0 starts the gateway only.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub nodes: u16,

    /// Directory of the tables and secrets; created if it is missing.
    #[arg(long, value_name = "DIRECTORY", default_value = ".data")]
    pub data_dir: PathBuf,

    /// A Redis or Valkey server to use instead of the bus inside this process.
    #[arg(long, value_name = "URL", value_parser = given_url)]
    pub redis_url: Option<GivenUrl>,

    /// A DynamoDB-compatible endpoint to use instead of the embedded engine. Creates tables there.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub dynamodb_endpoint: Option<String>,

    /// An origin whose pages may use this stack, such as a front-end's development server; repeatable.
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = origin)]
    pub allowed_origins: Vec<String>,

    /// Format of the log on stderr. INKWIRE_LOG sets its levels: `info,node=debug`.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    pub log_format: Format,
}

/// The parsed value of `--redis-url`. [`Options::stack`] refuses an invalid one, because the
/// command-line parser would print it with its password.
#[derive(Debug, Clone)]
pub struct GivenUrl(Result<RedisUrl, &'static str>);

impl From<&str> for GivenUrl {
    fn from(text: &str) -> Self {
        Self(RedisUrl::parse(text))
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Pretty => Self::Pretty,
            Format::Json => Self::Json,
        }
    }
}

impl Options {
    /// The options of the stack to start. Secrets in the environment take precedence over stored
    /// ones, so that separate node processes can share them.
    ///
    /// # Errors
    /// One sentence for every invalid variable, without its value.
    pub fn stack(&self, env: &impl Env) -> Result<StackOptions, ConfigError> {
        let mut problems = Vec::new();
        let mut secrets = |name: &str| {
            let value = env.value(name).filter(|value| !value.is_empty())?;
            let read = match value.to_str() {
                Some(text) => Secrets::parse(text).map_err(|wrong| format!("{name} is {wrong}")),
                None => Err(format!("{name} is not UTF-8")),
            };
            read.map_err(|problem| problems.push(problem)).ok()
        };
        let (token_secrets, ticket_secrets) = (secrets(TOKEN_SECRET), secrets(TICKET_SECRET));
        let filter = env.value(LOG).filter(|value| !value.is_empty());
        if filter.is_some_and(|filter| !filter.to_str().is_some_and(is_filter)) {
            problems.push(format!("{LOG} is not a log filter"));
        }
        let mut bus = Bus::InProcess;
        match self.redis_url.as_ref().map(|given| &given.0) {
            Some(Ok(url)) => bus = Bus::Redis(url.clone()),
            Some(Err(wrong)) => problems.push(format!("--redis-url {wrong}")),
            None => {}
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(StackOptions {
            port: self.port,
            nodes: usize::from(self.nodes),
            data: match &self.dynamodb_endpoint {
                Some(endpoint) => Data::Endpoint(endpoint.clone()),
                None => Data::Directory(self.data_dir.clone()),
            },
            engine: None,
            replicas: 0,
            bus,
            keep_secrets_in: Some(self.data_dir.clone()),
            token_secrets,
            ticket_secrets,
            seed: true,
            allowed_origins: self.allowed_origins.clone(),
            ..StackOptions::default()
        })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the parser of the command line wants a result")]
fn given_url(text: &str) -> Result<GivenUrl, String> {
    Ok(GivenUrl::from(text))
}

fn endpoint(text: &str) -> Result<String, String> {
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    if is_http { Ok(text.to_owned()) } else { Err("not an http:// or https:// URL".to_owned()) }
}

fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ', '*']));
    if is_origin { Ok(text.to_owned()) } else { Err("not of the form http://host:port".to_owned()) }
}

/// The port that the command `inkwire` connects to by default.
pub(crate) const PORT_DEFAULT: u16 = 8080;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once(&"embedded-stack").chain(arguments))
    }

    #[test]
    fn every_flag_reaches_the_stack() {
        let none = HashMap::<&str, String>::new();
        let stack = options(&[]).unwrap().stack(&none).unwrap();
        assert_eq!((stack.port, stack.nodes, stack.seed), (8080, 2, true));
        assert_eq!(stack.data, Data::Directory(".data".into()));
        assert_eq!(stack.bus, Bus::InProcess);
        let flags = [
            "--port=0",
            "--nodes=0",
            "--data-dir=/d",
            "--redis-url=redis://h:1",
            "--dynamodb-endpoint=http://h:2",
            "--log-format=json",
            "--allow-origin=http://localhost:5173",
            "--allow-origin=https://app.example",
        ];
        let stack = options(&flags).unwrap().stack(&none).unwrap();
        assert_eq!((stack.port, stack.nodes), (0, 0));
        assert_eq!(stack.allowed_origins, ["http://localhost:5173", "https://app.example"]);
        assert_eq!(stack.data, Data::Endpoint("http://h:2".to_owned()));
        assert_eq!(stack.bus, Bus::Redis(RedisUrl::parse("redis://h:1").unwrap()));
        assert_eq!(stack.keep_secrets_in, Some("/d".into()));
    }

    #[test]
    fn wrong_flags_are_refused() {
        for flag in [
            "--port=65536",
            "--nodes=-1",
            "--nodes=65",
            "--dynamodb-endpoint=h:2",
            "--log-format=xml",
            "--allow-origin=*",
            "--allow-origin=localhost:5173",
            "--allow-origin=http://localhost:5173/",
            "--unknown",
            "extra",
        ] {
            assert!(options(&[flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn a_wrong_address_of_redis_is_refused_and_its_password_is_not_shown() {
        let none = HashMap::<&str, String>::new();
        for url in ["http://:hunter2@h", "", "redis://:hunter2@h:99999", "redis://:hunter2@h:port"]
        {
            let options = options(&["--redis-url", url]).unwrap();
            assert!(!format!("{options:?}").contains("hunter2"), "{url}");
            let refused = options.stack(&none).unwrap_err();
            let [problem] = refused.problems.as_slice() else { panic!("{refused:?}") };
            assert!(problem.starts_with("--redis-url ") && !problem.contains("hunter2"));
        }
    }

    #[test]
    fn secrets_of_the_environment_are_checked_and_not_shown() {
        let wrong = || "too short".to_owned();
        let env = HashMap::from([TOKEN_SECRET, TICKET_SECRET].map(|name| (name, wrong())));
        let refused = options(&[]).unwrap().stack(&env).unwrap_err();
        assert_eq!(refused.problems.len(), 2);
        for (problem, name) in refused.problems.iter().zip([TOKEN_SECRET, TICKET_SECRET]) {
            assert!(problem.starts_with(name) && !problem.contains("too short"), "{problem}");
        }
    }
}
