//! Instructions of hot paths, compared with the committed baseline.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Outcome;
use super::baseline::{Baseline, Compared, Comparison, Figures};
use super::handlers::Call;
use super::parts::Part;
use super::profile::Profile;
use super::valgrind::{Allocations, Counts, Tool, operate};
use crate::record::{Record, progress, say};

/// How to compare.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The committed file.
    #[arg(long, default_value = "tests/load/instructions.json")]
    baseline: PathBuf,
    /// How many percent more still count as the same.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
    /// Writes the counts into the file, instead of comparing.
    #[arg(long)]
    accept: bool,
}

/// A hot path: a loop that `operate` runs, and functions in it that are counted separately.
struct HotPath {
    name: &'static str,
    /// Calls in the shorter of two runs. The other one makes twice as many; the difference counts.
    calls: u32,
    /// Parts of function names, as callgrind writes them.
    functions: &'static [&'static str],
}

/// The hot paths. To add one, add a loop to `operate` and a line with its name here.
const HOT_PATHS: &[HotPath] = &[
    HotPath {
        name: Call::Send.name(),
        calls: 500,
        functions: &[
            AROUND,
            AUTHENTICATE,
            "protocol::http::request::read_json",
            "for model::request::NewMessage>::try_from",
            "protocol::publication::Publication::encode",
        ],
    },
    HotPath { name: Call::Scroll.name(), calls: 500, functions: &[AROUND, AUTHENTICATE] },
    HotPath {
        name: Call::Connect.name(),
        calls: 500,
        functions: &[
            AUTHENTICATE,
            "messaging::fleet::candidates",
            "SignedTickets as messaging::ports::identity::Tickets>::issue",
        ],
    },
    HotPath {
        // One call is one publication to a hundred sockets.
        name: "fan-out",
        calls: 300,
        functions: &["node::shard::Shard::accept", "node::shard::Shard::write_some"],
    },
];

/// The whole of a handled call. For `connect`, it is inlined into another function.
const AROUND: &str = "service::http::attend";
/// The check of the token.
const AUTHENTICATE: &str = "service::http::authenticate";

/// Counts, then compares or accepts.
///
/// # Errors
/// If something cannot be counted, is above the tolerance, or has no accepted count.
pub(crate) fn run(options: &Options, mut record: Record) -> Outcome<()> {
    let mut counted = Baseline { about: about(), ..Baseline::default() };
    for path in HOT_PATHS {
        progress(&format!("counting {}", path.name));
        counted.operations.insert(path.name.to_owned(), path.count()?);
    }
    for (operation, figures) in &counted.operations {
        record.write("instructions", json!({ "operation": operation, "counts": figures }))?;
    }
    if options.accept {
        counted.write(&options.baseline)?;
        say(&format!("accepted: {}", options.baseline.display()));
        return Ok(());
    }
    let accepted = Baseline::read(&options.baseline)?;
    if accepted.about != counted.about {
        say(&format!("counted with {}, accepted with {}", counted.about, accepted.about));
    }
    let compared = accepted.compare(&counted, options.tolerance);
    table(&compared);
    let bad =
        |compared: &&Compared| matches!(compared.verdict, Comparison::Worse | Comparison::Unknown);
    match compared.iter().filter(bad).count() {
        0 => Ok(()),
        count => Err(format!(
            "{count} figures are more than {} % worse, or unknown; --accept takes them",
            options.tolerance
        )
        .into()),
    }
}

impl HotPath {
    fn count(&self) -> Outcome<Figures> {
        let counts = |calls| {
            let text = operate(Tool::Callgrind, &self.arguments(calls))?;
            Outcome::Ok(Counts::of(&Profile::read(&text)?, self.functions))
        };
        let heap = |calls| Allocations::read(&operate(Tool::Heap, &self.arguments(calls))?);
        let each = Counts::per_call(&counts(self.calls)?, &counts(self.calls * 2)?, self.calls);
        let heap = Allocations::per_call(heap(self.calls)?, heap(self.calls * 2)?, self.calls);
        if let Some((name, _)) = each.named.iter().find(|(_, count)| *count < 1.0) {
            return Err(format!("{}: {name} was not called, or is no function", self.name).into());
        }
        let named = each.named.iter().map(|(name, count)| (name.as_str(), *count));
        let all = [
            ("all", each.whole),
            ("own", each.share(Part::Own)),
            ("allocations", heap.allocations),
            ("allocated bytes", heap.bytes),
        ];
        let all = all.into_iter().chain(named);
        all.map(|(name, count)| Ok((name.to_owned(), whole_number(count)?))).collect()
    }

    fn arguments(&self, calls: u32) -> Vec<String> {
        [self.name, "--calls", &calls.to_string()].map(str::to_owned).to_vec()
    }
}

fn table(compared: &[Compared]) {
    let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    for of in compared {
        let change = match (of.accepted, of.counted) {
            (Some(accepted), Some(counted)) => {
                format!("{:+.2} %", (counted as f64 / accepted.max(1) as f64 - 1.0) * 100.0)
            }
            (_, _) => String::new(),
        };
        let verdict = match of.verdict {
            Comparison::Same => "",
            Comparison::Better => "better",
            Comparison::Worse => "WORSE",
            Comparison::Unknown => "UNKNOWN",
        };
        let (operation, figure) = (&of.operation, &of.figure);
        let (accepted, counted) = (number(of.accepted), number(of.counted));
        say(&format!(
            "{operation:8} {figure:34} {accepted:>9} {counted:>9} {change:>10} {verdict}"
        ));
    }
}

/// Rounds a count to the nearest integer.
fn whole_number(count: f64) -> Outcome<u64> {
    Ok(format!("{:.0}", count.max(0.0)).parse()?)
}

fn about() -> String {
    let rustc = std::process::Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{}, {}", rustc.unwrap_or_default(), std::env::consts::ARCH)
}
