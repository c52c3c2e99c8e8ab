//! Thousands of clients that reconnect together: the store's requests per second after all sockets
//! were cut in quiet times, and after an outage of the store.

use std::time::Duration;

use serde_json::json;
use tests::cluster::user;
use tests::crowd::Crowd;
use tests::proxied::{Plan as ClusterPlan, ProxiedCluster};
use tests::proxy::http::{Rule, Second, StoreFault};
use tests::redis::{Flavor, RedisServer};
use tokio::time::{Instant, sleep};

use crate::Failed;
use crate::record::{Record, progress, say};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Users, of ten clients each.
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Seconds that the store is down: long enough for the clients' longest backoff.
    #[arg(long, default_value_t = 75)]
    away_s: u64,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) const fn smoke() -> Self {
        Self { users: 10, away_s: 3 }
    }
}

/// Store requests while all clients reconnected.
#[derive(Debug)]
struct Return {
    /// Requests in each second, from when the clients could reconnect.
    a_second: Vec<u64>,
    seconds: f64,
}

impl Return {
    /// The highest mean of three seconds in a row, or of all if there are fewer. A single second
    /// would depend on luck.
    fn peak(&self) -> f64 {
        let seconds = self.a_second.len().clamp(1, 3);
        let sums = self.a_second.windows(seconds).map(|some| some.iter().sum::<u64>());
        sums.max().unwrap_or_default() as f64 / seconds as f64
    }
}

/// Runs the scenario.
///
/// # Errors
/// If a client does not reconnect, or the bound is missed.
#[tokio::main]
pub(crate) async fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    let redis = RedisServer::start(Flavor::Redis);
    let cluster_plan =
        ClusterPlan { doors: false, store_proxy: true, ..ClusterPlan::on(redis.port()) };
    let proxied = ProxiedCluster::start(cluster_plan).await;
    let names: Vec<String> = (0..plan.users).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let clients = plan.users * EACH;
    // A channel with some of the users, so that there is something to attach to.
    let members: Vec<_> = names.iter().take(100).map(|name| user(name)).collect();
    proxied
        .cluster
        .api("user0")
        .create_channel("general", members.get(1..).unwrap_or_default())
        .await?;
    progress(&format!("{clients} clients come for the first time"));
    let crowd = Crowd::gather(&proxied.cluster, &names, EACH).await;

    progress("cut in quiet times");
    let from = proxied.store.by_second().len();
    crowd.cut();
    let quiet = back(&proxied, &crowd, 2, from).await?;

    progress(&format!("cut, and the store down for {} s", plan.away_s));
    let away = || vec![Rule::all(StoreFault::Refuse)];
    proxied.store.set(away());
    proxied.node_store.set(away());
    crowd.cut();
    sleep(Duration::from_secs(plan.away_s)).await;
    let tries: u32 = crowd.look(|one| one.unassigned + one.refused).iter().sum();
    let from = proxied.store.by_second().len();
    proxied.store.set(Vec::new());
    proxied.node_store.set(Vec::new());
    let after = back(&proxied, &crowd, 3, from).await?;

    let ratio = after.peak() / quiet.peak().max(1.0);
    say(&format!(
        "{clients} clients reconnect: in quiet times within {:.0} s, at most {:.0} requests of the store a second; \
         after {} s without a store ({tries} tries) within {:.0} s, at most {:.0}: x {ratio:.2} (bar x {RATIO_MAX})",
        quiet.seconds,
        quiet.peak(),
        plan.away_s,
        after.seconds,
        after.peak(),
    ));
    record.write(
        "reconnect",
        json!({ "clients": clients, "away_s": plan.away_s, "tries": tries, "ratio": ratio,
                "quiet_s": quiet.seconds, "quiet_peak": quiet.peak(), "quiet_a_second": quiet.a_second,
                "after_s": after.seconds, "after_peak": after.peak(), "after_a_second": after.a_second }),
    )?;
    if ratio > RATIO_MAX {
        return Err(format!("{ratio:.2} times the quiet rate, bar {RATIO_MAX}").into());
    }
    Ok(())
}

/// Waits until each client was ready `times` times; counts store requests from second `from` on.
async fn back(
    proxied: &ProxiedCluster,
    crowd: &Crowd,
    times: usize,
    from: usize,
) -> Result<Return, Failed> {
    let begun = Instant::now();
    loop {
        let there = crowd.look(|one| one.readies.len() >= times);
        if there.iter().all(|is| *is) {
            break;
        }
        if begun.elapsed() > BACK_MAX {
            let missing = there.iter().filter(|is| !**is).count();
            return Err(format!("{missing} clients have not reconnected after {BACK_MAX:?}").into());
        }
        sleep(Duration::from_millis(200)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (of_functions, of_nodes) = (proxied.store.by_second(), proxied.node_store.by_second());
    let of = |calls: Option<&Second>| calls.map_or(0, |calls| calls.values().sum());
    let count = of_functions.len().max(of_nodes.len());
    let a_second = (from..count).map(|n| of(of_functions.get(n)) + of(of_nodes.get(n))).collect();
    Ok(Return { a_second, seconds })
}

const EACH: usize = 10;
/// Bound: requests per second, as a multiple of those in quiet times.
const RATIO_MAX: f64 = 2.0;
/// How long the clients may take to reconnect.
const BACK_MAX: Duration = Duration::from_secs(180);
