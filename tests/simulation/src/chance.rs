//! The one source of chance of a run.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use memory::SeededRandomness;
use messaging::ports::Randomness;

/// A sequence of a seed. Clones draw from one sequence; forks have their own, so that one part's
/// draws do not shift another's.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<SeededRandomness>);

impl Chance {
    /// The sequence of a seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(SeededRandomness::new(seed)))
    }

    /// A sequence of its own.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.number())
    }

    /// The same sequence as a port.
    #[must_use]
    pub(crate) fn port(&self) -> Arc<dyn Randomness> {
        Arc::<SeededRandomness>::clone(&self.0)
    }

    /// 128 bits.
    #[must_use]
    pub(crate) fn bits(&self) -> u128 {
        self.0.bits()
    }

    /// 64 bits.
    #[must_use]
    pub(crate) fn number(&self) -> u64 {
        u64::try_from(self.0.bits() >> 64).unwrap_or_default()
    }

    /// A number of a range.
    #[must_use]
    pub(crate) fn within(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.up_to(range.end().saturating_sub(*range.start()))
    }

    /// A time of a range of milliseconds.
    #[must_use]
    pub(crate) fn ms(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// A time of a range of seconds.
    #[must_use]
    pub(crate) fn s(&self, range: RangeInclusive<u64>) -> Duration {
        self.ms(range.start() * 1_000..=range.end() * 1_000)
    }

    /// Whether something that happens once in `n` times happens.
    #[must_use]
    pub(crate) fn one_in(&self, n: u64) -> bool {
        n > 0 && self.0.up_to(n - 1) == 0
    }

    /// An index below `count`, which is not zero.
    #[must_use]
    pub(crate) fn index(&self, count: usize) -> usize {
        let last = count.saturating_sub(1) as u64;
        usize::try_from(self.0.up_to(last)).unwrap_or_default()
    }

    /// One of several.
    #[must_use]
    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.index(of.len())) }
    }
}
