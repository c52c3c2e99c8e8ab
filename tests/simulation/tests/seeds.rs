//! Seeds that pass, seeds that repeat exactly, and planted bugs that are found.
//!
//! Two hundred seeds in four tests, so that several cores can share them.

use std::ops::Range;
use std::time::Duration;

use checker::Verdict;
use simulation::{Kind, Plan, Planted, run, scenario, sweep};

fn hold(seeds: Range<u64>) {
    let totals = sweep(seeds, 1, false, Plan::of_seed);
    let replay =
        |(seed, why): &(u64, String)| format!("cargo run -p simulation -- --seed {seed}: {why}");
    let failed: Vec<String> = totals.failures.iter().map(replay).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Half of the usual numbers. Without them, a run in which nothing happens would pass as well.
    let runs = totals.runs;
    let Verdict { acknowledged, deliveries, removals, .. } = totals.verdict;
    let (acked, seen, removed) = (acknowledged / runs, deliveries / runs, removals / runs);
    assert!(acked >= 180 && seen >= 650 && removed >= 12, "{acked}, {seen}, {removed} a seed");
    let Verdict { joins, said, heard, missed, left, .. } = totals.verdict;
    let meetings = [joins, said, heard, missed].map(|count| count / runs);
    assert!(
        meetings.iter().zip([6, 11, 24, 28]).all(|(is, least)| *is >= least) && left == 0,
        "{meetings:?} a seed, {left} left"
    );
    let Verdict { taken, accepted, archived, repeated, .. } = totals.verdict;
    let delivered = [taken, accepted, archived, repeated].map(|count| count / runs);
    assert!(
        delivered.iter().zip([36, 17, 33, 8]).all(|(is, least)| *is >= least),
        "delivered first: {delivered:?} a seed"
    );
    for kind in Kind::ALL {
        let name = format!("{kind:?}");
        assert!(totals.faults.contains_key(&name), "{name} was never injected");
    }
}

#[test]
fn seeds_0_to_49_hold() {
    hold(0..50);
}

#[test]
fn seeds_50_to_99_hold() {
    hold(50..100);
}

#[test]
fn seeds_100_to_149_hold() {
    hold(100..150);
}

#[test]
fn seeds_150_to_199_hold() {
    hold(150..200);
}

#[test]
fn a_seed_gives_one_trace() {
    let totals = sweep(0..20, 1, true, Plan::of_seed);
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
    assert_ne!(run(1, Plan::of_seed(1)).trace(), run(2, Plan::of_seed(2)).trace());
}

/// A slow delivery or a second reading in a quiet world is a defect, even if nothing is lost.
#[test]
fn a_quiet_world_delivers_at_once() {
    let mut pages_read = 0;
    for seed in QUIET_SEEDS {
        let report = run(seed, Plan::quiet());
        let Verdict { slowest, resyncs, deliveries, .. } = report.verdict;
        assert!(report.holds() && deliveries >= 100, "seed {seed}: {}", report.verdict);
        assert!(slowest <= AT_ONCE, "seed {seed}: {slowest:?} after the 200");
        assert_eq!(resyncs, 0, "seed {seed}: a resync");
        pages_read += report.pages_read;
    }
    // An audit may read a page for a publication whose push is still on its way.
    assert!(pages_read <= 2, "{pages_read} pages");
    // The counter works: a lost push makes nodes read pages.
    let (at, lasts) = (Duration::from_secs(2), Duration::from_secs(3));
    let faults = vec![(at, lasts, Kind::PushesDropped)];
    let troubled = run(0, Plan { faults, ..Plan::quiet() });
    assert!(troubled.holds() && troubled.pages_read > 0, "{} pages", troubled.pages_read);
}

#[test]
fn a_relay_an_hour_behind_loses_nothing() {
    let totals = sweep(0..3, 1, false, |_| Plan::hour_behind());
    assert!(totals.failures.is_empty(), "{:?}", totals.failures);
}

/// The bug shows in its scenario, and the scenario passes without it.
fn is_caught(bug: Planted) {
    let sound = sweep(scenario::SEEDS, 1, false, |_| scenario::of(bug));
    assert!(sound.failures.is_empty(), "without the bug: {:?}", sound.failures);
    let planted = |_| Plan { planted: Some(bug), ..scenario::of(bug) };
    let totals = sweep(scenario::SEEDS, 1, false, planted);
    let rule = format!("{:?}", scenario::broken_by(bug));
    let shows = totals.failures.iter().any(|(_, why)| why.contains(&rule));
    assert!(shows, "{bug:?} does not break {rule}: {}", totals.verdict);
}

#[test]
fn bugs_of_the_chain_need_a_failover_to_show() {
    for bug in [Planted::Counter, Planted::FirstFour] {
        let quiet = |_| Plan { planted: Some(bug), ..Plan::quiet() };
        let totals = sweep(0..2, 1, false, quiet);
        assert!(totals.failures.is_empty(), "{bug:?}: {:?}", totals.failures);
    }
}

#[test]
fn k8_dropped_frames_are_caught() {
    is_caught(Planted::DroppedFrames);
}

#[test]
fn k8_a_counter_instead_of_the_chain_is_caught() {
    is_caught(Planted::Counter);
}

#[test]
fn k8_an_overlap_of_seconds_is_caught() {
    is_caught(Planted::ShortOverlap);
}

#[test]
fn k8_a_stale_version_is_caught() {
    is_caught(Planted::StaleVersion);
}

#[test]
fn k8_rows_after_the_version_are_caught() {
    is_caught(Planted::RowsAfterVersion);
}

#[test]
fn k8_a_wait_without_a_marker_is_caught() {
    is_caught(Planted::WaitWithoutMarker);
}

#[test]
fn k8_de_duplication_by_the_greatest_id_is_caught() {
    is_caught(Planted::MaxId);
}

#[test]
fn k8_a_ring_without_ticks_is_caught() {
    is_caught(Planted::NoTick);
}

#[test]
fn k8_a_suffix_of_the_first_four_characters_is_caught() {
    is_caught(Planted::FirstFour);
}

#[test]
fn k8_a_change_written_before_its_log_is_caught() {
    is_caught(Planted::RowBeforeLog);
}

#[test]
fn k8_an_edit_that_wins_because_it_came_last_is_caught() {
    is_caught(Planted::LastEditWins);
}

#[test]
fn k8_catching_up_by_ids_alone_is_caught() {
    is_caught(Planted::CatchUpById);
}

#[test]
fn k8_a_row_that_takes_an_older_revision_is_caught() {
    is_caught(Planted::NoRevisionCompare);
}

#[test]
fn k9_a_fold_that_does_not_compare_is_caught() {
    is_caught(Planted::FoldWithoutCompare);
}

#[test]
fn k9_increments_instead_of_counts_are_caught() {
    is_caught(Planted::Increments);
}

#[test]
fn k10_a_stored_counter_of_what_is_unread_is_caught() {
    is_caught(Planted::UnreadCounter);
}

#[test]
fn k11_what_was_said_before_and_is_replayed_is_caught() {
    is_caught(Planted::ReplayedSaid);
}

#[test]
fn k12_numbers_that_repeat_after_a_failover_are_caught() {
    is_caught(Planted::RepeatedNumbers);
}

#[test]
fn k12_one_missed_too_many_is_caught() {
    is_caught(Planted::MissedByOne);
}

#[test]
fn k13_what_is_said_and_stays_in_the_ring_is_caught() {
    is_caught(Planted::RingKeepsSaid);
}

#[test]
fn k13_a_signal_in_the_stream_is_caught() {
    is_caught(Planted::SignalInStream);
}

#[test]
fn k14_the_presence_of_a_dead_node_is_caught() {
    is_caught(Planted::GhostPresence);
}

#[test]
fn k15_an_archive_that_removes_before_it_stores_is_caught() {
    is_caught(Planted::RemovedFirst);
}

#[test]
fn k15_an_archive_that_takes_devices_to_be_ahead_is_caught() {
    is_caught(Planted::AckedAhead);
}

#[test]
fn k16_an_answer_before_the_script_is_caught() {
    is_caught(Planted::AcceptedFirst);
}

#[test]
fn k16_a_receipt_before_the_delivery_is_caught() {
    is_caught(Planted::ReceiptFirst);
}

const QUIET_SEEDS: Range<u64> = 0..20;
/// Several round trips through the model's network.
const AT_ONCE: Duration = Duration::from_millis(250);
