//! Exponential backoff.

use std::time::Duration;

/// The wait after a number of earlier failures: the first wait, doubled by each of them, up to the
/// longest. Without jitter: callers that fail together add their own.
#[must_use]
pub fn backoff((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest() {
        let limits = (Duration::from_millis(50), Duration::from_secs(1));
        let waits = [0, 1, 4, 5, u32::MAX].map(|failures| backoff(limits, failures).as_millis());
        assert_eq!(waits, [50, 100, 800, 1_000, 1_000]);
    }
}
