//! How fast reads of the store may go: a limit that falls when reads fail and grows when they
//! succeed, probes while the store is away, and the patience of each read.
//!
//! Pure state on given times: no timer, no task.

use std::time::Duration;

use model::limits;
use tokio::time::Instant;

/// The pace of one workspace's reads.
///
/// While all is well up to [`limits::WORKSPACE_READS_MAX`] run at once. A read that fails halves the
/// limit, once for all that were started before. From then on reads start one by one, as probes, a
/// jittered and growing time apart: a store in trouble gets one a second from a workspace, whether it
/// refuses them or leaves them hanging. The first success ends that, and each one doubles the limit.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: usize,
    in_flight: usize,
    /// Counts changes of the limit: a read that was started before one says nothing new.
    epoch: u64,
    /// In a trouble: the failure that began it, and the probes since, answered or not.
    probes: u32,
    /// The first failure of a trouble, and the last one.
    trouble: Option<(Instant, Instant)>,
    next_at: Instant,
    patience: Duration,
}

/// A read that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    epoch: u64,
    /// How long to wait for its answer.
    pub(crate) patience: Duration,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            limit: limits::WORKSPACE_READS_MAX,
            in_flight: 0,
            epoch: 0,
            probes: 0,
            trouble: None,
            next_at: now,
            patience: limits::STORE_PATIENCE.0,
        }
    }

    /// Since when reads have failed, if one failed lately: a store that throttles answers some.
    pub(crate) fn troubled_since(&self, now: Instant) -> Option<Instant> {
        let (first, last) = self.trouble?;
        (now - last < TROUBLE).then_some(first)
    }

    /// Starts a read if one may start now.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Started> {
        // Probes that hang must not keep later ones from finding the store back.
        let is_probe = self.probes > 0;
        let most = if is_probe { limits::WORKSPACE_READS_MAX } else { self.limit };
        if now < self.next_at || self.in_flight >= most {
            return None;
        }
        self.in_flight += 1;
        if is_probe {
            self.probes = self.probes.saturating_add(1);
            self.next_at = now + wait(self.probes);
        }
        Some(Started { epoch: self.epoch, patience: self.patience })
    }

    /// When a read may start that may not start now, if only time keeps it.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        (self.next_at > now).then_some(self.next_at)
    }

    /// A read was answered.
    pub(crate) fn succeeded(&mut self, took: Duration, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if self.probes > 0 {
            self.epoch += 1;
        }
        (self.probes, self.next_at) = (0, now);
        self.limit = (self.limit * 2).min(limits::WORKSPACE_READS_MAX);
        let (least, most) = limits::STORE_PATIENCE;
        self.patience = (took * 3).clamp(least, most);
    }

    /// A read failed, or was not answered in time. `jitter` is random, from 0 to 1.
    pub(crate) fn failed(&mut self, started: Started, timed_out: bool, jitter: f64, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let first = self.troubled_since(now).unwrap_or(now);
        self.trouble = Some((first, now));
        if timed_out {
            self.patience = (started.patience * 2).min(limits::STORE_PATIENCE.1).max(self.patience);
        }
        if started.epoch != self.epoch {
            return;
        }
        self.epoch += 1;
        self.limit = (self.limit / 2).max(1);
        if self.probes == 0 {
            self.probes = 1;
            // Half of the wait and up to all of it: workspaces that failed together do not try
            // together.
            self.next_at = now + wait(1).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        }
    }
}

/// The wait after so many probes.
fn wait(probes: u32) -> Duration {
    let (first, longest) = limits::STORE_RETRY;
    (first * 2_u32.saturating_pow(probes.saturating_sub(1).min(16))).min(longest)
}

/// A trouble is over after this long without a failure.
const TROUBLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_moment_halve_the_limit_once_and_a_success_ends_the_wait() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let started: Vec<Started> = std::iter::from_fn(|| pace.start(now)).collect();
        assert_eq!(started.len(), limits::WORKSPACE_READS_MAX);
        for one in started {
            pace.failed(one, true, 1.0, now);
        }
        assert_eq!(pace.limit, limits::WORKSPACE_READS_MAX / 2);
        assert!(pace.start(now).is_none(), "it waits first");
        let later = now + limits::STORE_RETRY.0;
        let probe = pace.start(later).unwrap();
        assert_eq!(probe.patience, limits::STORE_PATIENCE.0 * 2);
        assert!(pace.start(later).is_none(), "one at a time");
        pace.succeeded(Duration::from_millis(5), later);
        assert!(pace.troubled_since(later + TROUBLE).is_none());
        assert_eq!(std::iter::from_fn(|| pace.start(later)).count(), limits::WORKSPACE_READS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_gets_about_one_probe_a_second_and_is_found_back_within_one() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let (mut waiting, mut probes): (Vec<(Instant, Started)>, u32) = (Vec::new(), 0);
        let end = now + Duration::from_secs(600);
        let mut last = now;
        let mut longest = Duration::ZERO;
        while now < end {
            let (over, still) = waiting.into_iter().partition(|(until, _)| *until <= now);
            waiting = still;
            for (_, one) in over {
                pace.failed(one, true, 1.0, now);
            }
            while let Some(one) = pace.start(now) {
                waiting.push((now + one.patience, one));
                (probes, longest) = (probes + 1, longest.max(now - last));
                last = now;
            }
            now += Duration::from_millis(10);
        }
        assert!(probes < 700, "{probes} probes in ten minutes");
        assert!(longest <= Duration::from_millis(1_100), "{longest:?} without a probe");
    }
}
