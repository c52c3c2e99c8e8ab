//! Memory of an idle socket: how much a node grows when many sockets are attached and idle.

use std::time::Duration;

use model::limits;
use serde_json::json;
use tests::authority::Authority;
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::floor::Style;
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::record::{Record, progress, say};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Sockets to measure, after a first thousand that make the node allocate what it needs once.
    #[arg(long, default_value_t = 9_000)]
    pub(crate) sockets: usize,
    /// Seconds to be idle before memory is read: longer than a ticket is remembered.
    #[arg(long, default_value_t = 50)]
    pub(crate) wait_s: u64,
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    machine::pin(CLIENT_CORE)?;
    let redis = RedisServer::start(Flavor::Redis);
    let authority = Authority::new();
    let tls = Options::over_tls(&authority);
    let all = plan.sockets + FIRST;
    let population = Population::one_channel(all);
    let ten =
        Population { users: all / 10, channel_size: all / 10, sockets_per_user: 10, ..population };
    let plain = Options::default();
    let cases = [
        ("floor write", Subject::Floor(Style::Write), population, &plain, None),
        ("floor tasks", Subject::Floor(Style::Tasks), population, &plain, None),
        ("node, plain", Subject::Node, population, &plain, Some(4_096)),
        ("node, plain, ten sockets a user", Subject::Node, ten, &plain, None),
        ("node, TLS", Subject::Node, population, &tls, Some(12_288)),
    ];
    say("idle sockets                      bytes a socket   aim");
    for (name, subject, population, options, aim) in cases {
        progress(&format!("{name}: opening {all} sockets"));
        let mut pair = Pair::start(subject, &redis.url(), population, options)?;
        pair.crowd.ask(&CrowdCommand::Open { until: FIRST, in_flight: 64 })?;
        // Each socket has had a tick, so whatever a tick needs is allocated.
        std::thread::sleep(limits::TICK + Duration::from_secs(1));
        let before = pair.server.private_bytes();
        pair.crowd.ask(&CrowdCommand::Open { until: all, in_flight: 64 })?;
        progress(&format!("{name}: {all} sockets are idle"));
        std::thread::sleep(Duration::from_secs(plan.wait_s));
        let bytes = pair.server.private_bytes().saturating_sub(before) / plan.sockets as u64;
        let verdict = aim.map_or(String::new(), |aim: u64| {
            format!("{aim}: {}", if bytes <= aim { "met" } else { "missed" })
        });
        say(&format!("{name:<33} {bytes:>14}   {verdict}"));
        record.write(
            "idle",
            json!({ "subject": name, "sockets": plan.sockets, "bytes": bytes, "aim": aim }),
        )?;
    }
    Ok(())
}

/// Sockets that are attached before the first reading of memory.
pub(crate) const FIRST: usize = 1_000;
