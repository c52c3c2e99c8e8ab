//! A clock and randomness that a test controls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messaging::ports::{Clock, Randomness};
use model::Timestamp;

/// A clock that stands still until it is moved. It may be set back, like a real one.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Creates a clock that shows `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.unix_ms()))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.unix_ms(), Ordering::SeqCst);
    }

    /// Moves the clock forward and returns the new time.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let moved = |ms: u64| Some(ms.saturating_add(by_ms).min(Timestamp::MAX.unix_ms()));
        // `moved` never returns `None`, so both arms hold the time before the move.
        let before = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved)
            .unwrap_or_else(|unmoved| unmoved);
        Timestamp::from_unix_ms(before).plus(by)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

/// Randomness that gives the same bits for the same seed, in the order of the calls.
///
/// Source: `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Debug)]
pub struct SeededRandomness(AtomicU64);

impl SeededRandomness {
    /// Starts the sequence for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Randomness for SeededRandomness {
    fn bits(&self) -> u128 {
        // One step of the shared state gives both halves, so threads never mix theirs.
        let before = self.0.fetch_add(GAMMA.wrapping_mul(2), Ordering::Relaxed);
        let high = mixed(before.wrapping_add(GAMMA));
        let low = mixed(before.wrapping_add(GAMMA.wrapping_mul(2)));
        (u128::from(high) << 64) | u128::from(low)
    }
}

const fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = ManualClock::at(Timestamp::from_unix_ms(5));
        assert_eq!(clock.now().unix_ms(), 5);
        assert_eq!(clock.advance(Duration::from_secs(1)).unix_ms(), 1_005);
        assert_eq!(clock.now().unix_ms(), 1_005);
        clock.set(Timestamp::from_unix_ms(1));
        assert_eq!(clock.now().unix_ms(), 1);
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let (one, same, other) =
            (SeededRandomness::new(1), SeededRandomness::new(1), SeededRandomness::new(2));
        for _ in 0..100 {
            let bits = one.bits();
            assert_eq!(bits, same.bits());
            assert_ne!(bits, other.bits());
            assert!(one.up_to(9) <= 9);
            same.bits();
        }
    }
}
