//! The node's program: configuration, ports, node, signals. `--health` checks the node of the same
//! environment, for containers without a shell. `--check` and `--fleet` are for operators.

mod fleet_table;

use std::alloc::System;
use std::io::Write as _;
use std::process::ExitCode;

use messaging::Ports;
use messaging::ports::{Issue, Scope};
use node::{Config, Node};
use service::compose::ports_of_node;
use service::config::{EXIT_CONFIG, HealthConfig, NodeConfig, ProcessEnv, TASK_ID, refuse};
use tokio::signal::unix::{SignalKind, signal};
use zeroizing_alloc::ZeroAlloc;

/// Freed memory is overwritten: what was said in a channel that keeps nothing is not left in it (G15).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(said) = service::version::asked_for_version(PROGRAM) {
        return said;
    }
    let mut arguments = std::env::args_os().skip(1);
    let done = match (arguments.next(), arguments.next()) {
        (None, _) => serve().await,
        (Some(only), None) if only == "--check" => check().await,
        (Some(only), None) if only == "--health" => health().await,
        (Some(only), None) if only == "--fleet" => fleet().await,
        (Some(_), _) => {
            eprintln!(
                "{PROGRAM} takes --check, --fleet, --health, --version or nothing; its \
                 configuration is in the environment: {NAMES}"
            );
            Err(ExitCode::from(EXIT_CONFIG))
        }
    };
    done.map_or_else(|code| code, |()| ExitCode::SUCCESS)
}

async fn serve() -> Result<(), ExitCode> {
    let (config, ports) = configured().await?;
    let awaits_name = config.task_metadata.is_some();
    let url = named(config.url, config.task_metadata).await.map_err(|error| {
        let error = model::chain(&error);
        eprintln!("{PROGRAM}: cannot read the task's id from its ECS metadata: {error}");
        ExitCode::from(EXIT_UNAVAILABLE)
    })?;
    let listen = Config {
        listen: config.listen,
        admin: config.admin_listen,
        url: Some(url),
        awaits_name,
        certificate: config.certificate,
        allowed_origins: config.allowed_origins,
        handshakes_per_second: config.handshakes_per_second,
    };
    let node = Node::bind(listen, ports).await;
    node.map_err(|error| fail(&error, EXIT_UNAVAILABLE))?.serve(stop_signal()).await;
    Ok(())
}

async fn configured() -> Result<(NodeConfig, Ports), ExitCode> {
    let config =
        NodeConfig::try_from(&ProcessEnv).map_err(|refused| refuse(PROGRAM, refused.problems))?;
    service::telemetry::start(&config.log);
    let ports = ports_of_node(&config).await.map_err(|error| fail(&error, EXIT_CONFIG))?;
    Ok((config, ports))
}

/// Checks what a node depends on and prints a line for each thing; for use before a deployment.
async fn check() -> Result<(), ExitCode> {
    let (_, ports) = configured().await?;
    let mut is_good = true;
    for check in &ports.health_checks {
        for finding in check.run(Scope::All).await {
            is_good &= finding.issue.is_none();
            let verdict = finding.issue.map_or("ok", Issue::as_str);
            print(&format!("{verdict}: {}: {}\n", finding.item, finding.line))?;
        }
    }
    if is_good { Ok(()) } else { Err(ExitCode::from(EXIT_UNAVAILABLE)) }
}

/// Prints what the directory knows about each node.
async fn fleet() -> Result<(), ExitCode> {
    let (_, ports) = configured().await?;
    let fleet = ports.nodes.fleet().await.map_err(|error| fail(&error, EXIT_UNAVAILABLE))?;
    let ticket_key = ports.tickets.key_ids().first().map(String::as_str);
    print(&fleet_table::table(&fleet, ticket_key))
}

fn print(text: &str) -> Result<(), ExitCode> {
    std::io::stdout().write_all(text.as_bytes()).or(Err(ExitCode::from(EXIT_UNAVAILABLE)))
}

/// The URL with `{task_id}` filled in, if it has that placeholder.
async fn named(url: String, metadata: Option<String>) -> Result<String, node::GetError> {
    match metadata {
        Some(metadata) => Ok(url.replace(TASK_ID, &node::task_id(&metadata).await?)),
        None => Ok(url),
    }
}

/// 0 if the node answers that it serves, 1 if not.
async fn health() -> Result<(), ExitCode> {
    let config =
        HealthConfig::try_from(&ProcessEnv).map_err(|refused| refuse(PROGRAM, refused.problems))?;
    node::health(&config).await.map_err(|error| fail(&error, EXIT_UNHEALTHY))
}

/// SIGTERM from a scheduler, SIGINT from a person.
async fn stop_signal() {
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

/// Prints an error and its causes on one line, and returns the exit code.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("{PROGRAM}: {}", model::chain(error));
    ExitCode::from(code)
}

const PROGRAM: &str = "inkwire-node";
const NAMES: &str = "INKWIRE_NODE_LISTEN, INKWIRE_NODE_URL, INKWIRE_NODE_ADMIN_LISTEN, \
    INKWIRE_NODE_TLS_CERTIFICATE, INKWIRE_NODE_TLS_KEY, INKWIRE_NODE_HANDSHAKES_PER_SECOND, \
    INKWIRE_ALLOWED_ORIGINS, INKWIRE_REDIS_URL or INKWIRE_REDIS_GROUP, INKWIRE_REDIS_TOKEN, \
    INKWIRE_REDIS_CA, INKWIRE_TABLE_PREFIX, INKWIRE_TICKET_SECRET, INKWIRE_LOG, \
    INKWIRE_LOG_FORMAT, AWS_REGION, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_ELASTICACHE \
    (docs/operations.md)";
/// A container's health check takes this exit code as unhealthy.
const EXIT_UNHEALTHY: u8 = 1;
/// `EX_UNAVAILABLE` of sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
