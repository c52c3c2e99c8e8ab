//! The node's program: configuration, ports, node, signals.

use std::process::ExitCode;

use node::{Config, Node};
use runtime::config::{EXIT_CONFIG, NodeConfig, ProcessEnv};
use runtime::wire::Parts;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("node takes no arguments; it is configured by its environment: {NAMES}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let config = match NodeConfig::try_from(&ProcessEnv) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    runtime::telemetry::start(&config.log);
    let parts = match Parts::of_node(&config).await {
        Ok(parts) => parts,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    let listen = Config {
        listen: config.listen,
        admin: config.admin_listen,
        url: Some(config.url),
        allowed_origins: config.allowed_origins,
        handshakes_per_second: config.handshakes_per_second,
    };
    match Node::bind(listen, parts).await {
        Ok(node) => {
            node.serve(told_to_stop()).await;
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, EXIT_UNAVAILABLE),
    }
}

/// SIGTERM from a scheduler, SIGINT from a person.
async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// One line that names the cause, and an exit code that a scheduler can tell apart.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("node: {}", messaging::publisher::chain(error));
    ExitCode::from(code)
}

const NAMES: &str = "INKWIRE_NODE_LISTEN, INKWIRE_NODE_URL, INKWIRE_NODE_ADMIN_LISTEN, \
    INKWIRE_NODE_HANDSHAKES_PER_SECOND, \
    INKWIRE_ALLOWED_ORIGINS, INKWIRE_REDIS_URL, INKWIRE_TABLE_PREFIX, INKWIRE_TICKET_SECRET, \
    INKWIRE_LOG, INKWIRE_LOG_FORMAT, AWS_REGION, AWS_ENDPOINT_URL (docs/operations.md)";
/// `EX_UNAVAILABLE` of sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
