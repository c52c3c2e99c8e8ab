//! Pages of channels of every size, in turns, through the function's handler, the real adapter and
//! the embedded engine, compared with the naive schema.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use dynamo::Capacity;
use embedded_stack::TABLE_PREFIX;
use embedded_stack::engine::{Engine, EngineData};
use http::{Request, header};
use messaging::App;
use messaging::ports::Clock as _;
use serde_json::json;
use service::clock::SystemClock;
use tests::store::local_client;
use tokio::time::Instant;

use super::Outcome;
use super::handlers::{Call, group, memory_bus, on_engine, token};
use super::naive::{self, Cost};
use super::seed::Log;
use crate::record::{Record, progress, say};
use crate::stats::{median, percentile};

/// Sizes and repetitions.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Channel sizes in messages. Each channel has an engine of its own.
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    sizes: Vec<u64>,
    /// Up to this many messages, the naive table is measured as well.
    #[arg(long, default_value_t = 100_000)]
    naive: u64,
    /// Up to this many messages, the naive SQL is measured as well.
    #[arg(long, default_value_t = 1_000_000)]
    naive_sql: u64,
    /// Turns.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Pages per size and position in a turn.
    #[arg(long, default_value_t = 100)]
    pages: usize,
    /// Where to put the tables: 4 GB for ten million messages, removed afterwards.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// What a page is read from.
enum Asked {
    /// The handler, for the newest page or one in the middle.
    Handler { app: App, capacity: Capacity, log: Log, is_newest: bool },
    /// The store's naive table.
    Table(aws_sdk_dynamodb::Client),
    /// The naive SQL.
    Sql(rusqlite::Connection),
}

/// A line of the result.
struct Subject {
    schema: &'static str,
    position: &'static str,
    messages: u64,
    asked: Asked,
    /// Microseconds, of each turn.
    rounds: Vec<Vec<f64>>,
    cost: Option<Cost>,
}

/// Seeds, measures in turns, and reports.
///
/// # Errors
/// If a page is not what was written, or something does not start.
pub(crate) fn run(options: &Options, record: Record) -> Outcome<()> {
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut engines = Vec::new();
    let measured = runtime.block_on(measure(options, folder.path(), record, &mut engines));
    // Engines write into the folder until they have stopped.
    drop(runtime);
    drop(engines);
    measured
}

async fn measure(
    options: &Options,
    folder: &Path,
    mut record: Record,
    engines: &mut Vec<Engine>,
) -> Outcome<()> {
    let mut subjects = Vec::new();
    for messages in &options.sizes {
        let (engine, app, capacity, log) =
            seeded(&folder.join(messages.to_string()), *messages).await?;
        engines.push(engine);
        for (position, is_newest) in [("newest", true), ("middle", false)] {
            let (app, capacity, log) = (app.clone(), capacity.clone(), log.clone());
            let asked = Asked::Handler { app, capacity, log, is_newest };
            subjects.push(Subject::of("log", position, *messages, asked));
        }
        if *messages <= options.naive {
            let (engine, client) =
                naive_table(&folder.join(format!("naive-{messages}")), *messages).await?;
            engines.push(engine);
            subjects.push(Subject::of("naive_table", "newest", *messages, Asked::Table(client)));
        }
        if *messages <= options.naive_sql {
            let path = folder.join(format!("naive-{messages}.sqlite"));
            let file = naive::fill_sql(&path, *messages)?;
            subjects.push(Subject::of("naive_sql", "newest", *messages, Asked::Sql(file)));
        }
    }
    for subject in &mut subjects {
        subject.ask(0).await?;
    }
    for round in 0..options.rounds {
        progress(&format!("turn {} of {}", round + 1, options.rounds));
        // Each subject finds the caches as the one before left them, so the order rotates.
        let count = subjects.len().max(1);
        for at in 0..count {
            if let Some(subject) = subjects.get_mut((at + round) % count) {
                subject.round(round, options.pages).await?;
            }
        }
    }
    report(&subjects, &mut record)
}

impl Subject {
    fn of(schema: &'static str, position: &'static str, messages: u64, asked: Asked) -> Self {
        Self { schema, position, messages, asked, rounds: Vec::new(), cost: None }
    }

    /// Runs one turn. A slow subject reads only one page, in only a few turns.
    async fn round(&mut self, round: usize, pages: usize) -> Outcome<()> {
        let last = self.rounds.last().and_then(|round| round.first()).copied().unwrap_or_default();
        let pages = if matches!(self.asked, Asked::Handler { .. }) { pages } else { 1 };
        if last > SLOW_US && self.rounds.len() >= SLOW_ROUNDS {
            return Ok(());
        }
        let mut took = Vec::with_capacity(pages);
        for page in 0..pages {
            let began = Instant::now();
            self.ask(u64::try_from(round * pages + page)?).await?;
            took.push(began.elapsed().as_nanos() as f64 / 1e3);
        }
        self.rounds.push(took);
        Ok(())
    }

    async fn ask(&mut self, n: u64) -> Outcome<()> {
        let cost = match &self.asked {
            Asked::Handler { app, capacity, log, is_newest } => {
                let before = capacity.snapshot();
                let messages = page(app, log, *is_newest, n).await?;
                let spent = capacity.since(&before).total();
                Cost { messages, calls: spent.calls, read_units: spent.read_units }
            }
            Asked::Table(client) => naive::page_of_table(client).await?,
            Asked::Sql(file) => naive::page_of_sql(file)?,
        };
        if cost.messages != PAGE {
            return Err(format!("{} messages on a page of {PAGE}", cost.messages).into());
        }
        self.cost = Some(cost);
        Ok(())
    }

    /// The median of each turn.
    fn medians(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| percentile(round, 50.0)).collect()
    }
}

/// Reads a page through the handler, and checks that it is the right one.
async fn page(app: &App, log: &Log, is_newest: bool, n: u64) -> Outcome<usize> {
    let from = if is_newest { log.messages } else { log.middle(n).max(PAGE as u64) };
    let offset = if is_newest { String::new() } else { format!("&offset={}", log.id(from)) };
    let request = Request::builder()
        .uri(format!("/scroll?channel_id={}&limit={PAGE}{offset}", log.channel))
        .header(header::AUTHORIZATION, format!("Bearer {}", token()?))
        .body(Bytes::new())?;
    let response = Call::Scroll.serve(app.clone(), request).await;
    let body: serde_json::Value = serde_json::from_slice(response.body())?;
    let first = body.pointer("/messages/0/id").and_then(serde_json::Value::as_str);
    // The newest message of all was sent through the API.
    if !is_newest && first != Some(&log.id(from - 1).to_string()) {
        return Err(format!("not the page before message {from}: {first:?}").into());
    }
    let messages = body.get("messages").and_then(serde_json::Value::as_array);
    Ok(messages.map_or(0, Vec::len))
}

/// An engine on a folder, with a channel of `messages` messages and one more.
async fn seeded(folder: &Path, messages: u64) -> Outcome<(Engine, App, Capacity, Log)> {
    let began = Instant::now();
    let engine = Engine::start(EngineData::Directory(folder.to_owned()))?;
    dynamo::create_tables(&local_client(engine.endpoint()).await, TABLE_PREFIX).await?;
    let app = on_engine(engine.endpoint(), memory_bus(), Capacity::default()).await?;
    let channel = group(&app).await?;
    let log = Log { channel, messages, until: SystemClock.now() };
    let sent = Call::Send.request(log.channel.as_str(), &token()?)?;
    let sent = Call::Send.serve(app, sent).await;
    if sent.status() != 200 {
        return Err(format!("a message was not sent: {}", sent.status()).into());
    }
    drop(engine);
    log.write(&folder.join("tables.sqlite"), &format!("{TABLE_PREFIX}messages"))?;
    let engine = Engine::start(EngineData::Directory(folder.to_owned()))?;
    let capacity = Capacity::default();
    let app = on_engine(engine.endpoint(), memory_bus(), capacity.clone()).await?;
    let bytes = std::fs::metadata(folder.join("tables.sqlite"))?.len();
    say(&format!("{messages} messages: {} MB, {:.0?}", bytes / 1_000_000, began.elapsed()));
    Ok((engine, app, capacity, log))
}

async fn naive_table(folder: &Path, messages: u64) -> Outcome<(Engine, aws_sdk_dynamodb::Client)> {
    let engine = Engine::start(EngineData::Directory(folder.to_owned()))?;
    naive::create(&local_client(engine.endpoint()).await).await?;
    drop(engine);
    naive::fill_table(&folder.join("tables.sqlite"), messages)?;
    let engine = Engine::start(EngineData::Directory(folder.to_owned()))?;
    let client = local_client(engine.endpoint()).await;
    Ok((engine, client))
}

fn report(subjects: &[Subject], record: &mut Record) -> Outcome<()> {
    say(
        "schema       position   messages   p50 us [95 %]                p99 us   calls  read units",
    );
    for subject in subjects {
        let all: Vec<f64> = subject.rounds.iter().flatten().copied().collect();
        let (Some(p50), Some(cost)) = (median(&subject.medians()), subject.cost) else { continue };
        let p99 = percentile(&all, 99.0);
        let Subject { schema, position, messages, .. } = subject;
        let interval = format!("{:.0} [{:.0}, {:.0}]", p50.middle, p50.low, p50.high);
        let Cost { calls, read_units, .. } = cost;
        say(&format!(
            "{schema:12} {position:8} {messages:>10}   {interval:26} {p99:>9.0} {calls:>7} \
             {read_units:>11.1}"
        ));
        record.write(
            "scroll_page",
            json!({
                "schema": schema, "position": position, "messages": messages,
                "p50_us": p50.middle, "p50_low_us": p50.low, "p50_high_us": p50.high,
                "p99_us": p99, "pages": all.len(), "rounds": subject.rounds.len(),
                "store_calls": calls, "read_units": read_units,
                "text_bytes": super::seed::text(0).len(),
            }),
        )?;
    }
    ratios(subjects, record)
}

/// Compares each size with the smallest, turn by turn.
fn ratios(subjects: &[Subject], record: &mut Record) -> Outcome<()> {
    for subject in subjects {
        let is_beside =
            |other: &&Subject| other.schema == subject.schema && other.position == subject.position;
        let Some(least) = subjects.iter().find(is_beside) else { continue };
        if least.messages == subject.messages {
            continue;
        }
        let pairs = subject.medians().into_iter().zip(least.medians());
        let ratios: Vec<f64> = pairs.map(|(of, to)| of / to).collect();
        let Some(ratio) = median(&ratios) else { continue };
        let Subject { schema, position, messages, .. } = subject;
        say(&format!(
            "{schema:12} {position:8} {messages:>10} / {}: {:.2} [{:.2}, {:.2}]",
            least.messages, ratio.middle, ratio.low, ratio.high
        ));
        record.write(
            "scroll_ratio",
            json!({
                "schema": schema, "position": position, "messages": messages,
                "to_messages": least.messages, "ratio": ratio.middle, "ratio_low": ratio.low,
                "ratio_high": ratio.high, "rounds": ratios.len(), "aim": AIM,
            }),
        )?;
    }
    Ok(())
}

/// From a thousand to ten million.
const SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const PAGE: usize = 20;
/// Bound for the ratio of ten million messages to a thousand.
const AIM: f64 = 1.2;
/// A subject whose page takes longer runs only a few turns.
const SLOW_US: f64 = 300_000.0;
const SLOW_ROUNDS: usize = 3;
