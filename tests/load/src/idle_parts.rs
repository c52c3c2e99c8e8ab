//! Memory of an idle socket by owner: which code of a node allocated the heap blocks that exist
//! while many sockets are attached and idle.
//!
//! **Main path.** A node runs twice under valgrind (`dhat`): with the sockets that `idle` has at
//! its first reading of memory, and with those at its second. With these numbers, buffers that
//! double have grown as far as in `idle`. The difference belongs to the sockets. [`heap`] reads
//! valgrind's output, [`owner`] finds the owner of a block.
//!
//! **Not counted:** what the allocator adds to a block, and pages that are partly empty.

mod heap;
mod owner;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tests::authority::Authority;
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::idle::{self, FIRST};
use crate::machine::{self, CLIENT_CORE};
use crate::pair::{Options, Pair, Subject};
use crate::population::Population;
use crate::record::{Record, progress, say};
use crate::rest::valgrind::Tool;
use heap::{Amount, Heap};
use owner::{Owner, Shares};

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    idle: idle::Plan,
    /// Keeps dhat's output in this folder, for its `dh_view.html`.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Runs the scenario for plain sockets and for TLS.
///
/// # Errors
/// If valgrind is missing, or a process of the run fails.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    machine::pin(CLIENT_CORE)?;
    let redis = RedisServer::start(Flavor::Redis);
    let authority = Authority::new();
    let cases = [("node, plain", Options::default()), ("node, TLS", Options::over_tls(&authority))];
    for (subject, options) in cases {
        let all = FIRST + plan.idle.sockets;
        let first = heap_with(FIRST, subject, plan, &redis.url(), &options)?;
        let all = heap_with(all, subject, plan, &redis.url(), &options)?;
        let each = owner::each(&first, &all, plan.idle.sockets);
        report(subject, plan.idle.sockets, &each, record)?;
    }
    Ok(())
}

/// The heap of a node with `sockets` idle sockets.
fn heap_with(
    sockets: usize,
    subject: &str,
    plan: &Plan,
    redis: &str,
    options: &Options,
) -> Result<Heap, Failed> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("heap");
    // The store has all users in both runs, so they do not count as the sockets'.
    let population = Population::one_channel(FIRST + plan.idle.sockets);
    let options = Options { under: Tool::Live.words(&out), ..options.clone() };
    progress(&format!("{subject}: opening {sockets} sockets, under valgrind"));
    let Pair { server, mut crowd, .. } = Pair::start(Subject::Node, redis, population, &options)?;
    crowd.ask(&CrowdCommand::Open { until: sockets, in_flight: 64 })?;
    progress(&format!("{subject}: {sockets} sockets are idle"));
    std::thread::sleep(Duration::from_secs(plan.idle.wait_s));
    server.end()?;
    // Not earlier: a closed socket would have released its memory.
    drop(crowd);
    let text = std::fs::read_to_string(&out)?;
    if let Some(folder) = &plan.keep {
        std::fs::write(folder.join(format!("{subject}, {sockets}.json")), &text)?;
    }
    Heap::read(&text)
}

fn report(subject: &str, sockets: usize, each: &Shares, record: &mut Record) -> Result<(), Failed> {
    say(&format!("{subject:<33} bytes a socket   blocks"));
    let line = |name: &str, amount: Amount| {
        say(&format!("  {name:<31} {:>14.1} {:>8.2}", amount.bytes, amount.blocks));
    };
    let mut sum = Amount::default();
    for owner in Owner::ALL {
        let amount = each.get(&owner).copied().unwrap_or_default();
        line(owner.name(), amount);
        sum = sum.plus(amount);
        record.write(
            "idle_part",
            json!({ "subject": subject, "part": owner.name(), "bytes": amount.bytes,
                    "blocks": amount.blocks, "sockets": sockets }),
        )?;
    }
    line("all of it", sum);
    Ok(())
}
