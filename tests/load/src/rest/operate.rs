//! A loop over one call on one thread, so that nothing else is counted.

use std::io::Write as _;

use clap::{Args, ValueEnum};
use dynamo::Capacity;
use messaging::App;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::fan_out::FanOut;
use super::handlers::{Call, group, in_memory, on_engine, redis, token};
use crate::machine;

/// Which call to make, how often, and on which store.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which call, or `fan-out`.
    operation: Operation,
    /// How often.
    #[arg(long)]
    calls: u32,
    /// Calls before the ones that are timed.
    #[arg(long, default_value_t = 0)]
    warm: u32,
    /// The engine's endpoint; ports in memory if absent.
    #[arg(long, requires = "redis")]
    store: Option<String>,
    /// Redis for publications.
    #[arg(long)]
    redis: Option<String>,
    /// An existing channel.
    #[arg(long)]
    channel: Option<String>,
}

/// What the loop does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// [`Call::Send`].
    Send,
    /// [`Call::Scroll`].
    Scroll,
    /// [`Call::Connect`].
    Connect,
    /// One publication on its way through a node.
    FanOut,
}

impl Operation {
    const fn call(self) -> Option<Call> {
        match self {
            Self::Send => Some(Call::Send),
            Self::Scroll => Some(Call::Scroll),
            Self::Connect => Some(Call::Connect),
            Self::FanOut => None,
        }
    }
}

/// The cost of the calls.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Took {
    /// CPU time of all threads, in nanoseconds per call.
    pub(crate) cpu_ns: f64,
    /// The part of it that was not spent in the kernel.
    pub(crate) user_share: f64,
    /// Store calls per call.
    pub(crate) store_calls: f64,
    /// Read units per call.
    pub(crate) read_units: f64,
    /// Write units per call.
    pub(crate) write_units: f64,
}

/// Makes the calls, and prints [`Took`].
///
/// # Errors
/// If a call is not answered with 200.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let took = match options.operation.call() {
        Some(call) => runtime.block_on(operate(call, options))?,
        None => runtime.block_on(fan_out(options))?,
    };
    serde_json::to_writer(std::io::stdout(), &took)?;
    Ok(std::io::stdout().flush()?)
}

async fn fan_out(options: &Options) -> Outcome<Took> {
    let mut node = FanOut::start().await?;
    node.publish(options.warm.max(1)).await?;
    let before = machine::cpu(id());
    node.publish(options.calls).await?;
    let cpu_ns = (machine::cpu(id()) - before).as_nanos() as f64 / f64::from(options.calls.max(1));
    Ok(Took { cpu_ns, user_share: 1.0, store_calls: 0.0, read_units: 0.0, write_units: 0.0 })
}

async fn operate(call: Call, options: &Options) -> Outcome<Took> {
    let capacity = Capacity::default();
    let app = match (&options.store, &options.redis) {
        (Some(store), Some(url)) => on_engine(store, redis(url)?, capacity.clone()).await?,
        (_, _) => in_memory().await?,
    };
    let channel = match &options.channel {
        Some(channel) => channel.clone(),
        None => group(&app).await?.to_string(),
    };
    if options.store.is_none() && call == Call::Scroll {
        make(Call::Send, &app, &channel, PAGE_AND_MORE).await?;
    }
    make(call, &app, &channel, options.warm).await?;
    let (before, ticks, spent) = (machine::cpu(id()), machine::ticks(id()), capacity.snapshot());
    make(call, &app, &channel, options.calls).await?;
    let (now, after) = (machine::cpu(id()), machine::ticks(id()));
    let calls = f64::from(options.calls.max(1));
    let cost = capacity.since(&spent).total();
    Ok(Took {
        cpu_ns: (now - before).as_nanos() as f64 / calls,
        user_share: share((after.0 - ticks.0) as f64, (after.1 - ticks.1) as f64),
        store_calls: cost.calls as f64 / calls,
        read_units: cost.read_units / calls,
        write_units: cost.write_units / calls,
    })
}

async fn make(call: Call, app: &App, channel: &str, times: u32) -> Outcome<()> {
    let request = call.request(channel, &token()?)?;
    for _ in 0..times {
        let response = call.serve(app.clone(), request.clone()).await;
        if response.status() != 200 {
            let body = String::from_utf8_lossy(response.body()).into_owned();
            return Err(format!("{}: {} {body}", call.name(), response.status()).into());
        }
    }
    Ok(())
}

/// The first of two amounts, as a share of both; 1 if both are 0.
pub(crate) fn share(one: f64, other: f64) -> f64 {
    if one + other > 0.0 { one / (one + other) } else { 1.0 }
}

fn id() -> u32 {
    std::process::id()
}

/// Messages in a channel, more than a full page.
const PAGE_AND_MORE: u32 = 30;
