use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Hand {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

/// Always draws the same share of a range: 0 for the shortest waits, 1 for the longest.
#[derive(Debug)]
struct Drawn(u64);

impl Randomness for Drawn {
    fn bits(&self) -> u128 {
        0
    }

    fn up_to(&self, max: u64) -> u64 {
        max * self.0
    }
}

fn circuit(drawn: u64) -> (Arc<Hand>, Circuit) {
    let clock = Arc::new(Hand(AtomicU64::new(1_000_000)));
    let circuit = Circuit::new(Arc::<Hand>::clone(&clock), Arc::new(Drawn(drawn)));
    (clock, circuit)
}

fn fail(circuit: &Circuit, times: u32) {
    for _ in 0..times {
        circuit.admit().unwrap().fail();
    }
}

const FAILURES: u32 = limits::CIRCUIT_FAILURES_MAX;

#[test]
fn it_opens_after_failures_in_a_row_and_refuses_at_once() {
    let (_, circuit) = circuit(1);
    fail(&circuit, FAILURES - 1);
    circuit.admit().unwrap().succeed();
    fail(&circuit, FAILURES - 1);
    assert!(!circuit.is_open(), "a success in between starts the count anew");
    fail(&circuit, 1);
    assert_eq!(circuit.admit().unwrap_err(), NotTried::Open);
}

#[test]
fn it_lets_one_probe_through_and_closes_when_that_succeeds() {
    let (clock, circuit) = circuit(1);
    fail(&circuit, FAILURES);
    clock.advance(limits::CIRCUIT_OPEN.0 - Duration::from_millis(1));
    assert!(circuit.admit().is_err());
    clock.advance(Duration::from_millis(1));
    let probe = circuit.admit().unwrap();
    assert!(circuit.admit().is_err(), "one at a time");
    probe.succeed();
    assert!(circuit.admit().is_ok() && circuit.admit().is_ok());
}

#[test]
fn a_probe_that_hangs_does_not_keep_the_next_one_back() {
    let (clock, circuit) = circuit(1);
    fail(&circuit, FAILURES);
    let mut hanging = Vec::new();
    for _ in 0..3 {
        clock.advance(limits::CIRCUIT_OPEN.1);
        hanging.push(circuit.admit().unwrap());
        assert!(circuit.admit().is_err(), "one in a period");
    }
    clock.advance(limits::CIRCUIT_OPEN.1);
    circuit.admit().unwrap().succeed();
    hanging.into_iter().for_each(Permit::fail);
    assert!(circuit.admit().is_ok());
}

#[test]
fn a_failed_probe_opens_it_for_twice_as_long_up_to_a_bound() {
    let (clock, circuit) = circuit(1);
    fail(&circuit, FAILURES);
    let (first, most) = limits::CIRCUIT_OPEN;
    let mut period = first;
    for _ in 0..8 {
        clock.advance(period);
        circuit.admit().unwrap().fail();
        period = (period * 2).min(most);
        clock.advance(period - Duration::from_millis(1));
        assert!(circuit.admit().is_err(), "open for {period:?}");
        clock.advance(Duration::from_millis(1));
        // Dropped without an outcome: the next call may probe.
        drop(circuit.admit().unwrap());
        circuit.admit().unwrap().fail();
        period = (period * 2).min(most);
    }
    assert_eq!(period, most);
}

#[test]
fn its_period_is_at_least_half_of_the_longest() {
    let (clock, circuit) = circuit(0);
    fail(&circuit, FAILURES);
    clock.advance(limits::CIRCUIT_OPEN.0 / 2 - Duration::from_millis(1));
    assert!(circuit.admit().is_err());
    clock.advance(Duration::from_millis(1));
    assert!(circuit.admit().is_ok());
}

#[test]
fn what_began_before_it_opened_may_close_it_and_does_not_prolong_it() {
    let (clock, circuit) = circuit(1);
    let (one, other) = (circuit.admit().unwrap(), circuit.admit().unwrap());
    fail(&circuit, FAILURES);
    clock.advance(limits::CIRCUIT_OPEN.0);
    one.fail();
    let probe = circuit.admit().unwrap();
    other.succeed();
    assert!(!circuit.is_open(), "it answers again");
    drop(probe);
    assert!(!circuit.is_open());
}

#[test]
fn a_call_that_is_cut_counts_if_it_took_long() {
    let (clock, circuit) = circuit(1);
    for _ in 0..FAILURES {
        drop(circuit.admit().unwrap());
    }
    assert!(!circuit.is_open());
    let cut: Vec<_> = (0..FAILURES).map(|_| circuit.admit().unwrap()).collect();
    clock.advance(limits::CIRCUIT_SLOW);
    drop(cut);
    assert!(circuit.is_open());
}

#[test]
fn callers_wait_longer_the_more_trouble_there_was_lately() {
    let (clock, circuit) = circuit(1);
    let (first, most) = limits::RETRY_AFTER;
    assert_eq!(circuit.retry_after(), first * 2);
    let mut last = circuit.retry_after();
    for _ in 0..8 {
        fail(&circuit, if circuit.is_open() { 1 } else { FAILURES });
        clock.advance(limits::CIRCUIT_OPEN.1);
        assert!(circuit.retry_after() >= last);
        last = circuit.retry_after();
    }
    assert_eq!(last, most * 2);
    circuit.admit().unwrap().succeed();
    assert_eq!(circuit.retry_after(), last, "it may fail again");
    clock.advance(limits::CIRCUIT_MEMORY);
    assert_eq!(circuit.retry_after(), first * 2, "until it has been calm for a while");
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_it_open() {
    let (clock, circuit) = circuit(1);
    fail(&circuit, FAILURES);
    clock.0.store(5, Ordering::Relaxed);
    assert!(circuit.admit().is_ok());
}

/// Evenly spread draws: a Weyl sequence.
#[derive(Debug, Default)]
struct Spread(AtomicU64);

impl Randomness for Spread {
    fn bits(&self) -> u128 {
        0
    }

    fn up_to(&self, max: u64) -> u64 {
        let drawn = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        u64::try_from((u128::from(drawn) * (u128::from(max) + 1)) >> 64).unwrap()
    }
}

/// A circuit that wants 100 calls a second.
struct Wanted {
    clock: Arc<Hand>,
    circuit: Circuit,
    passed: u32,
}

impl Wanted {
    fn new() -> Self {
        let clock = Arc::new(Hand(AtomicU64::new(1_000_000)));
        let circuit = Circuit::new(Arc::<Hand>::clone(&clock), Arc::new(Spread::default()));
        Self { clock, circuit, passed: 0 }
    }

    /// Returns how many calls pass in `seconds` while `percent` of them are throttled.
    fn passed(&mut self, seconds: u32, percent: u32) -> u32 {
        let before = self.passed;
        for _ in 0..seconds * 100 {
            self.clock.advance(Duration::from_millis(10));
            let Ok(permit) = self.circuit.admit() else { continue };
            self.passed += 1;
            // 37 and 100 are coprime, so throttled calls are spread evenly.
            if self.passed * 37 % 100 < percent {
                permit.throttled();
            } else {
                permit.succeed();
            }
        }
        self.passed - before
    }
}

#[test]
fn calls_pass_while_fewer_than_three_of_four_are_throttled() {
    let mut wanted = Wanted::new();
    assert_eq!(wanted.passed(5, 0), 500);
    assert_eq!(wanted.passed(60, 30), 6_000);
    assert_eq!(wanted.passed(60, 60), 6_000);
}

#[test]
fn a_dependency_that_throttles_nearly_all_is_asked_by_a_tenth_of_the_calls() {
    let mut wanted = Wanted::new();
    wanted.passed(5, 0);
    let passed = wanted.passed(60, 90);
    assert!((60..=600).contains(&passed), "{passed} of 6,000");
    let passed = wanted.passed(60, 100);
    assert!((30..=120).contains(&passed), "{passed} of 6,000");
}

#[test]
fn all_calls_pass_soon_after_the_throttling() {
    let mut wanted = Wanted::new();
    wanted.passed(60, 90);
    wanted.passed(3, 0);
    assert_eq!(wanted.passed(10, 0), 1_000);
}
