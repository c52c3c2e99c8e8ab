//! Seeded random draws for tests and simulated runs.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use messaging::ports::Randomness;

use crate::clock::SeededRandomness;

/// The random sequence of a seed. Clones draw from the same sequence. A fork has its own, so that
/// draws in one part of a test do not shift those in another.
#[derive(Debug, Clone)]
pub struct SeededRng(Arc<SeededRandomness>);

impl SeededRng {
    /// Creates the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(SeededRandomness::new(seed)))
    }

    /// Returns an independent sequence, seeded from this one.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::new(self.number())
    }

    /// The same sequence as a port.
    #[must_use]
    pub fn port(&self) -> Arc<dyn Randomness> {
        Arc::<SeededRandomness>::clone(&self.0)
    }

    /// 128 bits.
    #[must_use]
    pub fn bits(&self) -> u128 {
        self.0.bits()
    }

    /// 64 bits.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::try_from(self.0.bits() >> 64).unwrap_or_default()
    }

    /// A number within a range.
    #[must_use]
    pub fn within(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.up_to(range.end().saturating_sub(*range.start()))
    }

    /// A number below `end`; zero if `end` is zero.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.0.up_to(end.saturating_sub(1))
    }

    /// A duration within a range of milliseconds.
    #[must_use]
    pub fn ms(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// A duration within a range of seconds.
    #[must_use]
    pub fn s(&self, range: RangeInclusive<u64>) -> Duration {
        self.ms(range.start() * 1_000..=range.end() * 1_000)
    }

    /// True once in `n` times on average.
    #[must_use]
    pub fn one_in(&self, n: u64) -> bool {
        n > 0 && self.0.up_to(n - 1) == 0
    }

    /// An index below `count`, which must not be zero.
    #[must_use]
    pub fn index(&self, count: usize) -> usize {
        let last = count.saturating_sub(1) as u64;
        usize::try_from(self.0.up_to(last)).unwrap_or_default()
    }

    /// One of the items; `None` if there are none.
    #[must_use]
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.index(of.len())) }
    }
}
