//! What one call of a function costs: as a Lambda function, and as the gateway runs it.
//!
//! Callgrind counts the instructions, and they are assigned to parts. Their microseconds follow
//! from the rate of the same program on this machine: its own CPU time divided by the instructions
//! of the same calls.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use serde_json::{Value, json};
use service::config::RedisUrl;
use tests::cluster::{Cluster, TICKET_SECRET, options};
use tests::lambda::{Function, http_event};
use tests::redis::{Flavor, RedisServer};

use super::Outcome;
use super::handlers::{Call, TEXT_BYTES, TOKEN_SECRET, group, on_engine, redis, token};
use super::operate::{Took, share};
use super::parts::Part;
use super::profile::Profile;
use super::valgrind::{Allocations, Counts, Tool, beside, once_only, operate};
use crate::machine;
use crate::record::{Record, progress, say};
use crate::stats::{Median, median};

/// Which calls to measure, and how many.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which calls; all if none.
    #[arg(value_enum)]
    calls: Vec<Call>,
    /// Calls under valgrind, in the shorter of the two runs.
    #[arg(long, default_value_t = 100)]
    counted: u32,
    /// Calls whose CPU time is measured, in each of 15 turns.
    #[arg(long, default_value_t = 200)]
    timed: u32,
    /// Keeps callgrind's output in this folder, for `callgrind_annotate`.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// How a call's code is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    /// The function's program under a Runtime API, as Lambda runs it.
    Lambda,
    /// The handler alone, as the gateway runs it.
    Handler,
}

impl Where {
    const fn name(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Handler => "handler",
        }
    }
}

/// A cluster with a channel to make calls on.
struct Fixture {
    cluster: Cluster,
    channel: String,
    token: String,
    _engine: Arc<Engine>,
}

/// The measurements of a call.
struct Measured {
    counts: Counts,
    /// From the start to the first answer, without the cost of any call.
    start: Counts,
    heap: Allocations,
    /// Microseconds of CPU per call.
    cpu_us: Median,
    /// The part of it that was not spent in the kernel.
    user_share: f64,
    took: Option<Took>,
    redis_commands: f64,
}

/// The times of a call.
struct Timed {
    /// Microseconds of CPU per call, in each turn.
    cpu_us: Vec<f64>,
    user_share: f64,
    took: Option<Took>,
}

/// Measures and reports.
///
/// # Errors
/// If something does not start or a call fails.
pub(crate) fn run(options: &Options, mut record: Record) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let fixture = Fixture::start().await?;
        let calls = if options.calls.is_empty() { &Call::ALL[..] } else { &options.calls };
        for call in calls {
            for place in [Where::Lambda, Where::Handler] {
                let measured = fixture.measure(*call, place, options).await?;
                report(*call, place, &measured, &mut record)?;
            }
        }
        Ok(())
    })
}

impl Fixture {
    async fn start() -> Outcome<Self> {
        // A stack with a given engine runs no relay, whose script calls would count, too.
        let engine = Arc::new(Engine::start(EngineData::Memory)?);
        let redis_server = RedisServer::start(Flavor::Redis);
        let url = redis_server.url();
        let setup = StackOptions {
            nodes: 1,
            data: Data::Endpoint(engine.endpoint().to_owned()),
            bus: Bus::Redis(RedisUrl::parse(&url)?),
            ..options()
        };
        let cluster = Cluster::of(setup, Some(redis_server)).await;
        let capacity = dynamo::Capacity::default();
        let app = on_engine(cluster.stack.store_endpoint(), redis(&url)?, capacity).await?;
        let channel = group(&app).await?.to_string();
        for _ in 0..PAGE_AND_MORE {
            let sent = Call::Send.serve(app.clone(), Call::Send.request(&channel, &token()?)?);
            if sent.await.status() != 200 {
                return Err("a message was not sent".into());
            }
        }
        Ok(Self { cluster, channel, token: token()?, _engine: engine })
    }

    async fn measure(&self, call: Call, place: Where, options: &Options) -> Outcome<Measured> {
        let counted = options.counted;
        let mut profiles = Vec::new();
        let mut heaps = Vec::new();
        for calls in [counted, counted * 2] {
            progress(&format!("{}, {}: {calls} calls under valgrind", call.name(), place.name()));
            let text = self.valgrind(call, place, Tool::Callgrind, calls).await?;
            if let Some(folder) = &options.keep {
                let name = format!("{}-{}-{calls}.callgrind", call.name(), place.name());
                std::fs::write(folder.join(name), &text)?;
            }
            profiles.push(Counts::of(&Profile::read(&text)?, &[]));
            heaps.push(Allocations::read(&self.valgrind(call, place, Tool::Heap, calls).await?)?);
        }
        let ([once, twice], [less, more]) = (profiles.as_slice(), heaps.as_slice()) else {
            return Err("two runs each".into());
        };
        progress(&format!("{}, {}: timed", call.name(), place.name()));
        let before = self.redis_commands()?;
        let timed = match place {
            Where::Lambda => self.time_function(call, options.timed).await?,
            Where::Handler => self.time_handler(call, options.timed)?,
        };
        let made = f64::from((options.timed + WARM) * TURNS);
        Ok(Measured {
            counts: Counts::per_call(once, twice, counted),
            start: once_only(once, twice),
            heap: Allocations::per_call(*less, *more, counted),
            cpu_us: median(&timed.cpu_us).ok_or("nothing was timed")?,
            user_share: timed.user_share,
            took: timed.took,
            redis_commands: (self.redis_commands()? - before) / made,
        })
    }

    async fn valgrind(&self, call: Call, place: Where, tool: Tool, calls: u32) -> Outcome<String> {
        if place == Where::Handler {
            let arguments = self.arguments(call, calls, 0)?;
            return tokio::task::spawn_blocking(move || operate(tool, &arguments)).await?;
        }
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("counted");
        let function = self.function(&tool.words(&out).join(" "), call, folder.path()).await?;
        for _ in 0..calls {
            self.invoke(&function, call).await?;
        }
        function.end();
        Ok(std::fs::read_to_string(out)?)
    }

    async fn time_function(&self, call: Call, calls: u32) -> Outcome<Timed> {
        let folder = tempfile::tempdir()?;
        let function = self.function("", call, folder.path()).await?;
        for _ in 0..WARM * TURNS {
            self.invoke(&function, call).await?;
        }
        let (ticks, mut cpu_us) = (machine::ticks(function.id()), Vec::new());
        for _ in 0..TURNS {
            let before = function.cpu();
            for _ in 0..calls {
                self.invoke(&function, call).await?;
            }
            cpu_us.push(microseconds(function.cpu() - before) / f64::from(calls));
        }
        let now = machine::ticks(function.id());
        let user_share = share((now.0 - ticks.0) as f64, (now.1 - ticks.1) as f64);
        Ok(Timed { cpu_us, user_share, took: None })
    }

    fn time_handler(&self, call: Call, calls: u32) -> Outcome<Timed> {
        let (mut cpu_us, mut shares, mut last) = (Vec::new(), Vec::new(), None);
        for _ in 0..TURNS {
            let ran = std::process::Command::new(std::env::current_exe()?)
                .arg("operate")
                .args(self.arguments(call, calls, WARM)?)
                .output()?;
            if !ran.status.success() {
                return Err(String::from_utf8_lossy(&ran.stderr).into_owned().into());
            }
            let took: Took = serde_json::from_slice(&ran.stdout)?;
            cpu_us.push(took.cpu_ns / 1e3);
            shares.push(took.user_share);
            last = Some(took);
        }
        let user_share = median(&shares).map_or(1.0, |share| share.middle);
        Ok(Timed { cpu_us, user_share, took: last })
    }

    fn arguments(&self, call: Call, calls: u32, warm: u32) -> Outcome<Vec<String>> {
        let redis = self.cluster.redis.as_ref().ok_or("no redis-server")?.url();
        let (calls, warm) = (calls.to_string(), warm.to_string());
        let store = self.cluster.stack.store_endpoint();
        let words = ["--calls", &calls, "--warm", &warm, "--store", store, "--redis", &redis];
        let words = [&[call.name()][..], &words[..], &["--channel", &self.channel]].concat();
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    /// Starts a function under a tool's command line. Discards its output.
    async fn function(&self, words: &str, call: Call, folder: &Path) -> Outcome<Function> {
        let script = folder.join("bootstrap");
        let program = beside(call.name())?;
        let text = format!("#!/bin/sh\nexec {words} {} >/dev/null 2>&1\n", program.display());
        std::fs::write(&script, text)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        let variables = [
            ("INKWIRE_TOKEN_SECRET", TOKEN_SECRET.to_owned()),
            ("INKWIRE_TICKET_SECRET", TICKET_SECRET.to_owned()),
        ];
        Ok(Function::start(&self.cluster, &script, &variables).await)
    }

    async fn invoke(&self, function: &Function, call: Call) -> Outcome<()> {
        let (method, path, query, body) = call.parts(&self.channel);
        let answer = function.invoke(&http_event(method, path, &query, &self.token, &body)).await;
        if answer.payload.get("statusCode") != Some(&Value::from(200)) {
            return Err(format!("{}: {}", call.name(), answer.payload).into());
        }
        Ok(())
    }

    /// Script calls to Redis so far: the functions', and a node's few renewals of its lease.
    fn redis_commands(&self) -> Outcome<f64> {
        let redis = self.cluster.redis.as_ref().ok_or("no redis-server")?;
        let all = redis.command(&["INFO", "commandstats"]);
        let scripts = all.lines().filter(|line| line.starts_with("cmdstat_eval"));
        let calls = |line: &str| {
            let (_, rest) = line.split_once("calls=")?;
            rest.split(',').next()?.parse::<f64>().ok()
        };
        Ok(scripts.filter_map(calls).sum())
    }
}

fn report(call: Call, place: Where, measured: &Measured, record: &mut Record) -> Outcome<()> {
    let Measured { counts, start, heap, cpu_us, user_share, took, redis_commands } = measured;
    let per_us = counts.whole / (cpu_us.middle * user_share);
    say(&format!(
        "{} ({}): CPU {:.0} us [{:.0}, {:.0}], {:.0} % of it not the kernel's; {per_us:.0} \
         instructions a us; {:.0} allocations, {:.0} bytes; {redis_commands:.2} scripts",
        call.name(),
        place.name(),
        cpu_us.middle,
        cpu_us.low,
        cpu_us.high,
        user_share * 100.0,
        heap.allocations,
        heap.bytes,
    ));
    if let Some(took) = took {
        let Took { store_calls, read_units, write_units, .. } = took;
        say(&format!(
            "  store: {store_calls:.2} calls, {read_units:.2} read units, {write_units:.2} write units"
        ));
    }
    say("  whose    a call: instructions       us    start: instructions       us");
    let row = |name: &str, count: f64, start: f64| {
        let (us, start_us) = (count / per_us, start / per_us);
        say(&format!("  {name:7} {count:>20.0} {us:>8.1} {start:>22.0} {start_us:>8.0}"));
    };
    row("all", counts.whole, start.whole);
    let is_there = |part: &Part| counts.share(*part) >= 1.0 || start.share(*part) >= 1.0;
    for part in Part::ALL.into_iter().filter(is_there) {
        row(part.name(), counts.share(part), start.share(part));
    }
    let units = took.as_ref().map(|took| {
        json!({ "store_calls": took.store_calls, "read_units": took.read_units,
                "write_units": took.write_units })
    });
    record.write(
        "rest_call",
        json!({
            "call": call.name(), "where": place.name(), "text_bytes": TEXT_BYTES,
            "cpu_us": cpu_us.middle, "cpu_low_us": cpu_us.low, "cpu_high_us": cpu_us.high,
            "user_share": user_share, "instructions": counts.whole.round(),
            "instructions_a_us": per_us, "parts": parts(counts, per_us),
            "start_instructions": start.whole.round(), "start_parts": parts(start, per_us),
            "allocations": heap.allocations, "allocated_bytes": heap.bytes,
            "redis_scripts": redis_commands, "store": units,
        }),
    )?;
    Ok(())
}

/// Instructions of each part, and microseconds at the given rate.
fn parts(counts: &Counts, per_us: f64) -> Value {
    let all = Part::ALL.into_iter().map(|part| (part.name(), counts.share(part)));
    let all = all.filter(|(_, count)| *count >= 1.0).map(|(name, count)| {
        (name.to_owned(), json!({ "instructions": count.round(), "us": count / per_us }))
    });
    Value::Object(all.collect())
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// Messages in the channel, so that a page is full.
const PAGE_AND_MORE: usize = 30;
/// Turns of timing.
const TURNS: u32 = 15;
/// Calls before each turn, because the first one connects.
const WARM: u32 = 20;
