//! Brownouts of the store and of Redis, judged by their cost and by how soon the system recovers.
#![expect(clippy::print_stdout, reason = "figures are for people")]

use std::ops::Range;

use simulation::{Judgement, Kind, Plan, Planted, run};

fn judged(seed: u64, kind: Kind, planted: Option<Planted>) -> (Judgement, Option<String>) {
    let quiet = run(seed, Plan { faults: Vec::new(), ..Plan::brownout(kind) });
    let troubled = run(seed, Plan { planted, ..Plan::brownout(kind) });
    let broken = (!troubled.holds()).then(|| troubled.verdict.to_string());
    (Judgement::of(&troubled, &quiet), broken)
}

/// The brownout costs at most twice the quiet work, is over within five seconds, and loses nothing.
fn is_borne(kind: Kind) {
    let mut missed = Vec::new();
    for seed in SEEDS {
        let (judgement, broken) = judged(seed, kind, None);
        println!("figure: simulation, {kind:?}, seed {seed}: {judgement}");
        if !judgement.holds() || broken.is_some() {
            missed.push(format!("seed {seed}: {judgement} {}", broken.unwrap_or_default()));
        }
    }
    assert!(missed.is_empty(), "{kind:?}: {}", missed.join("; "));
}

#[test]
fn a_slow_store_stays_within_the_bounds() {
    is_borne(Kind::StoreSlow);
}

#[test]
fn a_silent_store_stays_within_the_bounds() {
    is_borne(Kind::StoreSilent);
}

#[test]
fn a_store_that_is_silent_to_nodes_stays_within_the_bounds() {
    is_borne(Kind::StoreSilentToNodes);
}

#[test]
fn a_store_that_throttles_most_calls_stays_within_the_bounds() {
    is_borne(Kind::StoreThrottlesMost);
}

#[test]
fn a_flapping_store_stays_within_the_bounds() {
    is_borne(Kind::StoreFlaps);
}

#[test]
fn silent_redis_commands_stay_within_the_bounds() {
    is_borne(Kind::RedisCommandsSilent);
}

#[test]
fn silent_redis_pushes_stay_within_the_bounds() {
    is_borne(Kind::RedisPushesSilent);
}

#[test]
fn k8_a_storm_of_resyncs_is_caught_by_its_cost() {
    for seed in SEEDS {
        let (storm, _) = judged(seed, Kind::StoreSilentToNodes, Some(Planted::ResyncStorm));
        println!("figure: simulation, planted storm, seed {seed}: {storm}");
        assert!(!storm.holds(), "seed {seed}: {storm}");
    }
}

const SEEDS: Range<u64> = 0..2;
