//! Channels that deliver first (G13, G14), in worlds of their own.

use checker::Verdict;
use simulation::{Plan, sweep};

/// Nothing is lost where only devices die: what a lost device had sent was stored before, or the archive
/// stored it afterwards.
#[test]
fn k15_in_a_quiet_world_all_that_is_accepted_is_stored() {
    let totals = sweep(0..12, 1, false, |_| Plan::delivering());
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
    let Verdict { taken, accepted, archived, repeated, hole, .. } = totals.verdict;
    let counts = [taken, accepted, archived, repeated];
    assert!(counts.iter().all(|count| *count >= 100) && hole == 0, "{counts:?}, {hole}");
}

/// The one documented hole: Redis loses what is not stored yet, and its sender never comes back.
#[test]
fn k15_what_redis_loses_with_its_sender_is_counted() {
    let totals = sweep(0..8, 1, false, |_| Plan::delivering_over_failovers());
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
    let Verdict { archived, hole, lost, .. } = totals.verdict;
    assert!(archived >= 500 && hole >= 8 && lost == 0, "{archived} archived, {hole} in the hole");
}
