//! The pace of store reads: a concurrency limit that falls when reads fail and grows when they
//! succeed, probes while the store is down, and the timeout of each read.
//!
//! Pure state: time is an argument, and there are no timers or tasks.

use std::time::Duration;

use model::{backoff, limits};
use tokio::time::Instant;

/// The pace of one workspace's reads.
///
/// While the store is well, up to [`limits::WORKSPACE_READS_MAX`] reads run at once. A failed read
/// halves the limit, once for all reads that were started before. From then on reads start one by
/// one, as probes, with jittered exponential backoff: whether the store refuses calls or leaves
/// them hanging, it gets about one per second from a workspace. The first success ends the probes,
/// and each success doubles the limit.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: usize,
    /// Reads in flight that were started since the store last recovered. Older ones may still hang;
    /// they must not delay others once the store answers.
    in_flight: usize,
    troubles: u64,
    /// Counts changes of the limit: a read that started before the last one does not change it.
    epoch: u64,
    /// 0 while the store is well; otherwise 1 plus the probes since the first failure.
    probes: u32,
    /// The first and the last failure of the current trouble.
    trouble: Option<(Instant, Instant)>,
    next_at: Instant,
    patience: Duration,
}

/// A read that was started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    epoch: u64,
    troubles: u64,
    /// The timeout.
    pub(crate) patience: Duration,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            limit: limits::WORKSPACE_READS_MAX,
            in_flight: 0,
            troubles: 0,
            epoch: 0,
            probes: 0,
            trouble: None,
            next_at: now,
            patience: limits::STORE_PATIENCE.0,
        }
    }

    /// Since when reads have failed, if one failed recently: a throttling store still answers some.
    pub(crate) fn troubled_since(&self, now: Instant) -> Option<Instant> {
        let (first, last) = self.trouble?;
        (now - last < TROUBLE).then_some(first)
    }

    /// Whether a read may start now.
    pub(crate) fn may_start(&self, now: Instant) -> bool {
        // Hanging probes must not stop later ones from noticing that the store is back.
        let most = if self.probes > 0 { limits::WORKSPACE_READS_MAX } else { self.limit };
        now >= self.next_at && self.in_flight < most
    }

    /// Starts a read.
    pub(crate) fn start(&mut self, now: Instant) -> Started {
        self.in_flight += 1;
        if self.probes > 0 {
            self.probes = self.probes.saturating_add(1);
            self.next_at = now + wait(self.probes);
        }
        let Self { epoch, troubles, patience, .. } = *self;
        Started { epoch, troubles, patience }
    }

    fn end(&mut self, started: Started) {
        if started.troubles == self.troubles {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    /// When the next read may start, if it waits only for time to pass.
    pub(crate) fn next_at(&self, now: Instant) -> Option<Instant> {
        (self.next_at > now).then_some(self.next_at)
    }

    /// A read was answered.
    pub(crate) fn succeeded(&mut self, started: Started, took: Duration, now: Instant) {
        self.end(started);
        if self.probes > 0 {
            self.epoch += 1;
            self.troubles += 1;
            self.in_flight = 0;
        }
        (self.probes, self.next_at) = (0, now);
        self.limit = (self.limit * 2).min(limits::WORKSPACE_READS_MAX);
        let (least, most) = limits::STORE_PATIENCE;
        self.patience = (took * 3).clamp(least, most);
    }

    /// A read failed, or was not answered in time. `jitter` is random, from 0 to 1.
    pub(crate) fn failed(&mut self, started: Started, timed_out: bool, jitter: f64, now: Instant) {
        self.end(started);
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
            // Equal jitter (50-100 %), so that workspaces do not retry in lockstep.
            self.next_at = now + wait(1).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        }
    }
}

/// The wait after a number of probes.
fn wait(probes: u32) -> Duration {
    backoff(limits::STORE_RETRY, probes.saturating_sub(1))
}

/// The trouble is over after this long without a failure.
const TROUBLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_moment_halve_the_limit_once_and_a_success_ends_the_wait() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let all = |pace: &mut Pace, now| {
            std::iter::from_fn(|| pace.may_start(now).then(|| pace.start(now))).collect::<Vec<_>>()
        };
        let started = all(&mut pace, now);
        assert_eq!(started.len(), limits::WORKSPACE_READS_MAX);
        for one in started {
            pace.failed(one, true, 1.0, now);
        }
        assert_eq!(pace.limit, limits::WORKSPACE_READS_MAX / 2);
        assert!(!pace.may_start(now), "it waits first");
        let mut later = now + limits::STORE_RETRY.0;
        let hangs = pace.start(later);
        assert_eq!(hangs.patience, limits::STORE_PATIENCE.0 * 2);
        assert!(!pace.may_start(later), "one at a time");
        later += limits::STORE_RETRY.1;
        let probe = pace.start(later);
        pace.succeeded(probe, Duration::from_millis(5), later);
        assert!(pace.troubled_since(later + TROUBLE).is_none());
        let started = all(&mut pace, later);
        assert_eq!(started.len(), limits::WORKSPACE_READS_MAX, "what hangs takes no place");
        pace.failed(hangs, true, 1.0, later);
        assert!(!pace.may_start(later), "nor gives one back");
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
            while pace.may_start(now) {
                let one = pace.start(now);
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
