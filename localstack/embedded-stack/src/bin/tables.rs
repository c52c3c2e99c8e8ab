//! Only the tables, for functions and nodes that run elsewhere: creates them at an endpoint, or
//! serves them with the embedded engine. Their shape comes from `shared/dynamo/tables.json`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dynamo::{ClientConfig, CredentialSource};
use embedded_stack::TABLE_PREFIX;
use embedded_stack::engine::{Engine, EngineData};
use model::chain;
use service::telemetry::{self, LogConfig, LogFormat};
use tokio::signal::unix::{SignalKind, signal};

/// Creates the tables at an endpoint, or serves them itself until it is stopped.
#[derive(Debug, Parser)]
#[command(name = "tables", bin_name = "cargo run --bin tables --", version = model::version())]
struct Options {
    /// The DynamoDB-compatible endpoint to create the tables at, instead of serving them.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    at: Option<String>,

    /// Directory of the served tables; without it they are in memory.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,

    /// The region to sign requests for: some endpoints keep the tables of each region apart.
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::start(&LogConfig { filter: "error".to_owned(), format: LogFormat::Pretty });
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tables: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Registered first, so that signals while the tables are created are not lost.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terms = signal(SignalKind::terminate())?;
    let engine = match &options.at {
        Some(_) => None,
        None => {
            Some(Engine::start(options.data_dir.map_or(EngineData::Memory, EngineData::Directory))?)
        }
    };
    let endpoint =
        options.at.or_else(|| engine.as_ref().map(|engine| engine.endpoint().to_owned()));
    let config = ClientConfig {
        region: options.region,
        endpoint: endpoint.clone(),
        credentials: CredentialSource::local(),
    };
    dynamo::create_tables(&dynamo::client(&config).await, TABLE_PREFIX).await?;
    // The caller waits for this line: it names the endpoint and shows that the tables exist.
    writeln!(io::stdout(), "{}", endpoint.unwrap_or_default())?;
    if engine.is_some() {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terms.recv() => {}
        }
        // Dropping it joins its thread, which would block this one.
        tokio::task::spawn_blocking(move || drop(engine)).await?;
    }
    Ok(())
}
