//! The node's program: configuration, ports, node, signals.

use std::io::Write as _;
use std::process::ExitCode;

use messaging::ports::{Depth, Trouble};
use node::{Config, Node};
use runtime::config::{EXIT_CONFIG, NodeConfig, ProcessEnv, refuse};
use runtime::wire::Parts;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_check = arguments.iter().any(|argument| argument == "--check");
    if arguments.len() > usize::from(is_check) {
        eprintln!("node takes no argument but --check; its environment configures it: {NAMES}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let config = match NodeConfig::try_from(&ProcessEnv) {
        Ok(config) => config,
        Err(refused) => return refuse("node", refused.problems),
    };
    runtime::telemetry::start(&config.log);
    let parts = match Parts::of_node(&config).await {
        Ok(parts) => parts,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    if is_check {
        return check(&parts).await;
    }
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

/// Looks at what a node would stand on and says it, a line each: for a deployment.
async fn check(parts: &Parts) -> ExitCode {
    let mut is_good = true;
    for checkup in &parts.checkups {
        for finding in checkup.look(Depth::Whole).await {
            is_good &= finding.trouble.is_none();
            let verdict = finding.trouble.map_or("ok", Trouble::as_str);
            let line = format!("{verdict}: {}: {}\n", finding.item, finding.line);
            if std::io::stdout().write_all(line.as_bytes()).is_err() {
                return ExitCode::from(EXIT_UNAVAILABLE);
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_UNAVAILABLE) }
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
    INKWIRE_ALLOWED_ORIGINS, INKWIRE_REDIS_URL or INKWIRE_REDIS_GROUP, INKWIRE_REDIS_TOKEN, \
    INKWIRE_REDIS_CA, INKWIRE_TABLE_PREFIX, INKWIRE_TICKET_SECRET, INKWIRE_LOG, \
    INKWIRE_LOG_FORMAT, AWS_REGION, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_ELASTICACHE \
    (docs/operations.md)";
/// `EX_UNAVAILABLE` of sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
