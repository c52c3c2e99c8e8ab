//! `cargo run` at the root of the repository: the whole system in one process.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use embedded_stack::{Options, Stack, StackOptions, report};
use model::chain;
use service::config::{EXIT_CONFIG, Env, LOG, ProcessEnv, refuse};
use service::telemetry::{self, LogConfig};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(asked) => {
            let is_wrong = asked.use_stderr();
            return if asked.print().is_err() || is_wrong {
                EXIT_CONFIG.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    // Before logging starts, because it would print an invalid filter.
    let stack = match options.stack(&ProcessEnv) {
        Ok(stack) => stack,
        Err(wrong) => return refuse(PROGRAM, wrong.problems),
    };
    let filter = ProcessEnv.value(LOG).and_then(|value| value.into_string().ok());
    // The engine warns of every refused condition; the store's adapter expects those.
    let filter =
        filter.unwrap_or_else(|| format!("{},dynoxide=error", LogConfig::default().filter));
    telemetry::start(&LogConfig { filter, format: options.log_format.into() });
    run(stack).await
}

async fn run(options: StackOptions) -> ExitCode {
    // Registered first, so that signals during the start are not lost.
    let (mut interrupts, mut terms) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupts), Ok(terms)) => (interrupts, terms),
            (Err(error), _) | (_, Err(error)) => return complain(&error.to_string(), 71),
        };
    let stack = match Stack::start(options.clone()).await {
        Ok(stack) => stack,
        Err(error) => {
            let text = format!("{}; {}", chain(&error), error.fix());
            return complain(&text, error.exit_code());
        }
    };
    if io::stdout().write_all(report(&stack, &options).as_bytes()).is_err() {
        tracing::debug!("standard output is closed");
    }
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terms.recv() => {}
    }
    tracing::info!("shutting down; press Ctrl-C again to force");
    tokio::select! {
        () = stack.stop() => ExitCode::SUCCESS,
        _ = interrupts.recv() => ExitCode::from(130),
        _ = terms.recv() => ExitCode::from(143),
    }
}

const PROGRAM: &str = "embedded-stack";

/// Prints one line that names the cause and its fix.
fn complain(text: &str, code: u8) -> ExitCode {
    eprintln!("{PROGRAM}: {}", text.replace('\n', " "));
    ExitCode::from(code)
}
