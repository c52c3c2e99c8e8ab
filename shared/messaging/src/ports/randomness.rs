//! Randomness.

use std::fmt::Debug;

/// Randomness for ids, choices and jitter.
pub trait Randomness: Send + Sync + Debug {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A number from 0 to `max`, inclusive.
    fn up_to(&self, max: u64) -> u64 {
        let range = u128::from(max) + 1;
        u64::try_from(self.bits() % range).unwrap_or(max)
    }
}
