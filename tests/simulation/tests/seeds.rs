//! Seeds that hold, seeds that repeat, and bugs that are found.

use simulation::{Kind, Plan, Planted, run, scenario, sweep};

/// Seeds in CI.
const SEEDS: u64 = 200;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

#[test]
fn every_seed_holds() {
    let tally = sweep(0..SEEDS, threads(), false, Plan::of_seed);
    let replay = tally
        .failures
        .iter()
        .map(|(seed, why)| format!("cargo run -p simulation -- --seed {seed}: {why}"));
    assert!(tally.failures.is_empty(), "{}", replay.collect::<Vec<_>>().join("\n"));
    for kind in Kind::ALL {
        let name = format!("{kind:?}");
        assert!(tally.faults.contains_key(&name), "{name} was never injected");
    }
    println!("{} runs: {}", tally.runs, tally.verdict);
}

#[test]
fn a_seed_gives_one_trace() {
    let tally = sweep(0..SEEDS / 10, threads(), true, Plan::of_seed);
    assert!(tally.failures.is_empty(), "{:?}", tally.failures);
    assert_ne!(run(1, Plan::of_seed(1)).trace(), run(2, Plan::of_seed(2)).trace());
}

/// The bug shows in its scenario, and the scenario is quiet without it.
fn is_caught(bug: Planted) {
    let sound = sweep(scenario::SEEDS, threads(), false, |_| scenario::of(bug));
    assert!(sound.failures.is_empty(), "without the bug: {:?}", sound.failures);
    let planted = |_| Plan { planted: Some(bug), ..scenario::of(bug) };
    let tally = sweep(scenario::SEEDS, threads(), false, planted);
    let rule = format!("{:?}", scenario::broken_by(bug));
    let shows = tally.failures.iter().any(|(_, why)| why.contains(&rule));
    assert!(shows, "{bug:?} does not break {rule}: {}", tally.verdict);
}

#[test]
fn bugs_of_the_chain_need_a_failover_to_show() {
    for bug in [Planted::Counter, Planted::FirstFour] {
        let quiet = |_| Plan { planted: Some(bug), ..Plan::quiet() };
        let tally = sweep(0..2, threads(), false, quiet);
        assert!(tally.failures.is_empty(), "{bug:?}: {:?}", tally.failures);
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
