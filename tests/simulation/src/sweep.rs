//! Runs many seeds, one per thread at a time, and adds up the results.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::Verdict;
use parking_lot::Mutex;

use crate::plan::Plan;
use crate::run::{Report, run};

/// The results of many runs.
#[derive(Debug, Default)]
pub struct SweepTotals {
    /// Runs.
    pub runs: u64,
    /// Their verdicts, added up.
    pub verdict: Verdict,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<String, u64>,
    /// Seeds that broke a rule or gave two different traces, and how.
    pub failures: Vec<(u64, String)>,
}

impl SweepTotals {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        if !report.holds() {
            let why = format!("{} {}", report.verdict, report.unfinished.join("; "));
            self.failures.push((report.seed, why));
        }
        for (kind, count) in report.faults {
            *self.faults.entry(kind).or_insert(0) += count;
        }
        self.verdict.add(report.verdict);
    }
}

/// Runs the plan of each seed on `threads` threads. With `twice`, each seed runs again and must
/// give the same trace.
#[must_use]
pub fn sweep(
    seeds: Range<u64>,
    threads: usize,
    twice: bool,
    plan: impl Fn(u64) -> Plan + Sync,
) -> SweepTotals {
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(SweepTotals::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = run(seed, plan(seed));
            let differs = twice && run(seed, plan(seed)).trace() != report.trace();
            let mut totals = totals.lock();
            if differs {
                totals.failures.push((seed, "two runs of this seed differ".to_owned()));
            }
            totals.add(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut totals = totals.into_inner();
    totals.failures.sort();
    totals
}
