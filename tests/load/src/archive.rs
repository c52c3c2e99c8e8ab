//! How long messages that are delivered first wait until they are stored, while many are sent (G13).

use std::sync::Arc;
use std::time::Duration;

use dynamo::Capacity;
use embedded_stack::TABLE_PREFIX;
use embedded_stack::engine::{Engine, EngineData};
use messaging::archive::Archiver;
use messaging::ports::{Clock as _, Offered, Spool};
use model::{ChannelId, Message, MessageId, MessageText, WorkspaceId};
use protocol::publication::Publication;
use serde_json::json;
use service::clock::SystemClock;
use tests::redis::{Flavor, RedisServer};
use tests::store::local_client;
use tokio::time::{Instant, MissedTickBehavior};

use crate::Failed;
use crate::record::{Record, progress, say};
use crate::rest::redis;
use crate::serve::store;
use crate::stats::percentile;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Messages a second, over all workspaces.
    #[arg(long, default_value_t = 200)]
    per_second: u32,
    /// Workspaces, with a channel each.
    #[arg(long, default_value_t = 10)]
    workspaces: usize,
    /// Seconds of load.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the scenario.
///
/// # Errors
/// If a part of the run fails, or a message waits too long.
#[tokio::main]
pub(crate) async fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    let server = RedisServer::start(Flavor::Redis);
    let engine = Engine::start(EngineData::Memory)?;
    dynamo::create_tables(&local_client(engine.endpoint()).await, TABLE_PREFIX).await?;
    let bus = redis(&server.url())?;
    let spool = Arc::clone(&bus.spool);
    let store = store(engine.endpoint(), Capacity::default()).await;
    let archiver = service::compose::archiver(store, bus);
    let run = Duration::from_secs(u64::from(plan.seconds) + 5);
    let serving = tokio::spawn({
        let archiver = archiver.clone();
        async move { archiver.serve(run).await }
    });
    progress("sending");
    let lags = drive(plan, &*spool, &archiver).await?;
    serving.await?;
    let (sent, counts) = (u64::from(plan.per_second * plan.seconds), archiver.counts());
    if counts.archived != sent {
        return Err(
            format!("{sent} were sent and {} are stored: {counts:?}", counts.archived).into()
        );
    }
    let (middle, most) = (percentile(&lags, 50.0), percentile(&lags, 100.0));
    say(&format!(
        "archive lag, {} a second in {} workspaces: the longest of each second {middle:.0} ms in the \
         median, {most:.0} ms at most; {sent} stored",
        plan.per_second, plan.workspaces
    ));
    record.write(
        "archive",
        json!({ "per_second": plan.per_second, "workspaces": plan.workspaces, "sent": sent,
                "lag_ms": middle, "lag_max_ms": most }),
    )?;
    if most > LAG_MS_MAX { Err(format!("the bar is {LAG_MS_MAX} ms").into()) } else { Ok(()) }
}

/// Sends at a steady pace. Returns the longest wait of each second, in milliseconds.
async fn drive(plan: &Plan, spool: &dyn Spool, archiver: &Archiver) -> Result<Vec<f64>, Failed> {
    let places = (0..plan.workspaces).map(place).collect::<Result<Vec<_>, Failed>>()?;
    let mut places = places.iter().cycle();
    let mut lags = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / plan.per_second);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut second_ends = Instant::now() + Duration::from_secs(1);
    for number in 0..plan.per_second * plan.seconds {
        pace.tick().await;
        let (workspace, channel) = places.next().ok_or("no workspace")?;
        let id = MessageId::mint(SystemClock.now(), u128::from(number));
        let text = MessageText::parse(format!("message {number}"))?;
        let message = Message::new(id, channel.clone(), "alice".parse()?, text);
        let publication = Publication::of_delivered(&message, 1);
        let offered = spool.deliver(workspace, &publication, &id.to_string()).await?;
        if !matches!(offered, Offered::Accepted { .. }) {
            return Err(format!("a message is not taken: {offered:?}").into());
        }
        if Instant::now() >= second_ends {
            second_ends += Duration::from_secs(1);
            lags.push(archiver.take_lag_ms() as f64);
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    lags.push(archiver.take_lag_ms() as f64);
    Ok(lags)
}

fn place(number: usize) -> Result<(WorkspaceId, ChannelId), Failed> {
    let channel = ChannelId::mint_group(SystemClock.now(), number as u128);
    Ok((format!("w{number}").parse()?, channel))
}

/// The bar of the 99th percentile; here for all.
const LAG_MS_MAX: f64 = 2_000.0;
