//! Rate limiting.

use std::time::Duration;

use model::Timestamp;

/// A token bucket that holds one second's worth, or more. Setting the clock back does not refill it.
#[derive(Debug)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// In thousandths, so that refilling once per millisecond loses nothing.
    left_milli: u64,
    at: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, now: Timestamp) -> Self {
        Self::with_burst(per_second, per_second, now)
    }

    /// A full bucket that holds this many.
    #[must_use]
    pub fn with_burst(per_second: u32, burst: u32, now: Timestamp) -> Self {
        Self { per_second, burst, left_milli: u64::from(burst) * 1_000, at: now }
    }

    /// Takes `count` units, or takes nothing and returns false if fewer are left.
    pub fn take(&mut self, count: u32, now: Timestamp) -> bool {
        // A full bucket takes no more; an hour fills every one.
        let passed = now.since(self.at).min(Duration::from_secs(3_600));
        let refill =
            u64::try_from(passed.as_millis()).unwrap_or(1_000) * u64::from(self.per_second);
        self.left_milli = (self.left_milli + refill).min(u64::from(self.burst) * 1_000);
        self.at = now;
        let left = self.left_milli.checked_sub(u64::from(count) * 1_000);
        self.left_milli = left.unwrap_or(self.left_milli);
        left.is_some()
    }
}
