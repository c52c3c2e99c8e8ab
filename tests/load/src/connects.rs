//! What opening a socket costs a node: accept, upgrade, ticket, membership, first frame.

use dynamo::Capacity;
use embedded_stack::TABLE_PREFIX;
use embedded_stack::engine::{Engine, EngineData};
use serde_json::json;
use tests::authority::Authority;
use tests::redis::{Flavor, RedisServer};
use tests::store::local_client;

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::record::{Record, progress, say};
use crate::serve::store;
use crate::stats::middle_of;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Sockets in a turn.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Turns, each with a new node.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) const fn smoke() -> Self {
        Self { sockets: 200, repetitions: 1 }
    }
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
    let population = Population { channel_size: 10, ..Population::one_channel(plan.sockets) };
    let engine = Engine::start(EngineData::Memory)?;
    progress("filling the engine");
    fill(&population, &engine)?;
    let on_engine = Options { store: Some(engine.endpoint().to_owned()), ..Options::default() };
    let plain = Options::default();
    say(
        "connects                CPU us   a second and core   aim          wall clock: a second, p99 ms",
    );
    for (name, options, aim) in [
        ("plain", &plain, Some(10_000.0)),
        ("plain, engine", &on_engine, None),
        ("TLS", &tls, None),
    ] {
        let mut taken = Vec::new();
        for repetition in 0..plan.repetitions {
            progress(&format!("{name}: turn {} of {}", repetition + 1, plan.repetitions));
            let mut pair = Pair::start(Subject::Node, &redis.url(), population, options)?;
            let open = CrowdCommand::Open { until: usize::MAX, in_flight: 256 };
            let (mut answer, cpu) = pair.measure(open)?;
            if let Some(fields) = answer.as_object_mut() {
                let cpu_us = cpu.as_secs_f64() * 1e6 / plan.sockets as f64;
                fields.insert("cpu_us".to_owned(), json!(cpu_us));
                fields.insert("subject".to_owned(), json!(name));
                fields.insert("repetition".to_owned(), json!(repetition));
            }
            record.write("connects", answer.clone())?;
            taken.push(answer);
        }
        let middle = |field| middle_of(&taken, field);
        let a_second = 1e6 / middle("cpu_us");
        let verdict = aim.map_or(String::new(), |aim: f64| {
            format!("{aim}: {}", if a_second >= aim { "met" } else { "missed" })
        });
        say(&format!(
            "{name:<20} {:>9.1} {a_second:>19.0}   {verdict:<12} {:>12.0} {:>8.1}",
            middle("cpu_us"),
            plan.sockets as f64 / middle("seconds"),
            middle("p99_ms"),
        ));
    }
    Ok(())
}

#[tokio::main]
async fn fill(population: &Population, engine: &Engine) -> Result<(), Failed> {
    dynamo::create_tables(&local_client(engine.endpoint()).await, TABLE_PREFIX).await?;
    population.fill(&store(engine.endpoint(), Capacity::default()).await).await
}
