//! Channels that keep nothing (G15), in worlds of their own.

use checker::Verdict;
use simulation::{Plan, sweep};

/// Without faults the cut is exact, no number is missing for long, and no session ends.
#[test]
fn k11_a_meeting_in_a_quiet_world_is_exact() {
    let totals = sweep(0..12, 1, false, |_| Plan::meetings());
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
    let Verdict { joins, said, heard, missed, removals, .. } = totals.verdict;
    let counts = [joins, said, heard, missed, removals];
    assert!(counts.iter().all(|count| *count >= 100), "{counts:?}");
}

/// Each server of Redis takes over from the other in turn.
#[test]
fn k12_no_number_repeats_when_a_server_takes_over_again() {
    // With numbers that go on by `run_id`, four of these failed.
    let totals = sweep(20..46, 1, false, |_| Plan::meetings_over_failovers());
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
    let Verdict { said, joins, .. } = totals.verdict;
    assert!(said >= 200 && joins >= 100, "{said} said, {joins} joins");
}
