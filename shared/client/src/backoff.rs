//! Exponential backoff with full jitter.

use std::time::Duration;

use model::limits;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Full jitter: a wait drawn evenly from zero to a window that doubles with every failure.
///
/// The window starts at one second and ends at thirty ([`limits::CLIENT_BACKOFF`]). Full jitter
/// keeps clients that lost the same node from reconnecting in lockstep.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    rng: StdRng,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::from_rng(rand::make_rng())
    }
}

impl Backoff {
    /// A backoff whose seed determines its waits: for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::from_rng(StdRng::seed_from_u64(seed))
    }

    fn from_rng(rng: StdRng) -> Self {
        let (base, cap) = limits::CLIENT_BACKOFF;
        Self { base, cap, failures: 0, rng }
    }

    /// Sets another first and last window, so that tests need not wait long.
    #[must_use]
    pub fn with_windows(self, base: Duration, cap: Duration) -> Self {
        Self { base, cap, ..self }
    }

    /// Another backoff with the same windows and its own jitter.
    pub(crate) fn fork(&mut self) -> Self {
        let rng = StdRng::seed_from_u64(self.rng.random());
        Self { base: self.base, cap: self.cap, failures: 0, rng }
    }

    /// The wait after one more failure.
    ///
    /// If the server asked for a wait (`retry_after`), the result is that wait, capped at
    /// [`limits::CLIENT_WAIT_MAX`], plus jitter ([`Self::jitter`]): without jitter, all refused
    /// clients would return in the same millisecond.
    pub fn next_wait(&mut self, retry_after: Option<Duration>) -> Duration {
        let window = model::backoff((self.base, self.cap), self.failures);
        self.failures = self.failures.saturating_add(1);
        match retry_after.map(|wait| wait.min(limits::CLIENT_WAIT_MAX)) {
            Some(wait) if !wait.is_zero() => wait + self.jitter(wait),
            Some(_) | None => window.mul_f64(self.rng.random::<f64>()),
        }
    }

    /// The wait after a number of failures that its caller counts.
    pub(crate) fn wait_after(&mut self, failures: u32) -> Duration {
        model::backoff((self.base, self.cap), failures).mul_f64(self.rng.random::<f64>())
    }

    /// The jitter to add to a wait that a server gave to many clients, so that they do not all
    /// return together: drawn evenly from zero to half of the wait, or to the first window if that
    /// is longer.
    pub fn jitter(&mut self, wait: Duration) -> Duration {
        self.base.max(wait / 2).mul_f64(self.rng.random::<f64>())
    }

    /// Forgets the failures, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_jittered_in_a_window_that_doubles_to_the_cap() {
        let mut longest = [Duration::ZERO; 8];
        for seed in 0..500 {
            let mut backoff = Backoff::seeded(seed);
            for slot in &mut longest {
                *slot = (*slot).max(backoff.next_wait(None));
            }
        }
        for (slot, window) in longest.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
            let window = Duration::from_secs(window);
            assert!(*slot <= window && *slot > window.mul_f64(0.95), "{slot:?} of {window:?}");
        }
    }

    #[test]
    fn a_seed_determines_the_waits_and_a_success_resets_them() {
        let waits = |mut backoff: Backoff| [0; 5].map(|_| backoff.next_wait(None));
        assert_eq!(waits(Backoff::seeded(7)), waits(Backoff::seeded(7)));
        let mut backoff = Backoff::seeded(7);
        for _ in 0..100 {
            backoff.next_wait(None);
        }
        backoff.reset();
        assert!(backoff.next_wait(None) <= Duration::from_secs(1));
    }

    #[test]
    fn a_servers_wait_gets_jitter_of_half_of_it_and_at_least_of_the_first_window() {
        for (wait_s, most_s) in [(0, 1.0), (2, 1.0), (20, 10.0)] {
            let mut backoff = Backoff::seeded(3);
            let shares = [(); 200].map(|()| backoff.jitter(Duration::from_secs(wait_s)));
            let longest = shares.iter().max().unwrap().as_secs_f64();
            assert!(longest <= most_s && longest > most_s * 0.9, "{wait_s} s: {longest}");
        }
    }

    #[test]
    fn retry_after_is_a_lower_bound_up_to_five_minutes() {
        let mut backoff = Backoff::seeded(1);
        let wait = backoff.next_wait(Some(Duration::from_secs(7)));
        assert!(wait >= Duration::from_secs(7) && wait <= Duration::from_millis(10_500));
        let wait = backoff.next_wait(Some(Duration::from_secs(1 << 40)));
        assert!(wait <= Duration::from_secs(450));
    }
}
