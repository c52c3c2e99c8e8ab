//! Keeps the log readable while something keeps failing: one line when the outage begins, one a
//! minute while it lasts, one when it is over.

use std::time::Duration;

use model::limits;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Decides which failures of one dependency are logged. The caller writes the line, with the cause
/// of the present failure; the causes of failures in between are not logged.
///
/// A flapping dependency costs at most two lines a minute.
#[derive(Debug, Default)]
pub struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The first failure since the last success.
    since: Option<Instant>,
    /// Failures since then.
    failures: u64,
    /// Failures since the last line.
    unlogged: u64,
    logged_at: Option<Instant>,
    /// Whether the present outage was logged.
    is_logged: bool,
}

/// A failure to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// Failures since the last line, this one included.
    pub failures: u64,
    /// How long the outage has lasted: zero for its first failure.
    pub lasting: Duration,
}

/// The end of an outage that was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Failures of the whole outage.
    pub failures: u64,
    /// From its first failure to the first success.
    pub lasted: Duration,
}

impl Outage {
    /// Counts a failure; `Some` if it should be logged.
    pub fn failed(&self, now: Instant) -> Option<Failing> {
        let mut state = self.0.lock();
        let since = *state.since.get_or_insert(now);
        state.failures += 1;
        state.unlogged += 1;
        let logged_before = |at: Instant| now.duration_since(at) < limits::OUTAGE_LOG_EVERY;
        if state.logged_at.is_some_and(logged_before) {
            return None;
        }
        state.logged_at = Some(now);
        state.is_logged = true;
        let failures = std::mem::take(&mut state.unlogged);
        Some(Failing { failures, lasting: now.duration_since(since) })
    }

    /// Records a success; `Some` if it ends an outage that was logged.
    pub fn succeeded(&self, now: Instant) -> Option<Over> {
        let mut state = self.0.lock();
        let since = state.since.take()?;
        let failures = std::mem::take(&mut state.failures);
        if !std::mem::take(&mut state.is_logged) {
            return None;
        }
        state.unlogged = 0;
        Some(Over { failures, lasted: now.duration_since(since) })
    }
}

impl Failing {
    /// [`Self::lasting`] as a field of a log line.
    #[must_use]
    pub fn lasting_ms(&self) -> u64 {
        millis(self.lasting)
    }
}

impl Over {
    /// [`Self::lasted`] as a field of a log line.
    #[must_use]
    pub fn lasted_ms(&self) -> u64 {
        millis(self.lasted)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_of_five_minutes_is_one_line_one_a_minute_and_one_at_its_end() {
        let (outage, start) = (Outage::default(), Instant::now());
        let mut lines = Vec::new();
        for second in (0..300).step_by(2) {
            lines.extend(outage.failed(start + seconds(second)));
        }
        let counts: Vec<u64> = lines.iter().map(|line| line.failures).collect();
        assert_eq!(counts, [1, 30, 30, 30, 30]);
        let lasting: Vec<u64> = lines.iter().map(|line| line.lasting.as_secs()).collect();
        assert_eq!(lasting, [0, 60, 120, 180, 240]);
        let over = outage.succeeded(start + seconds(300));
        assert_eq!(over, Some(Over { failures: 150, lasted: seconds(300) }));
        assert_eq!(outage.succeeded(start + seconds(301)), None, "told once");
    }

    #[test]
    fn what_never_failed_has_nothing_to_say() {
        assert_eq!(Outage::default().succeeded(Instant::now()), None);
    }

    #[test]
    fn one_that_comes_and_goes_costs_two_lines_a_minute() {
        let (outage, start) = (Outage::default(), Instant::now());
        let (mut began, mut ended) = (Vec::new(), Vec::new());
        for second in 0..120 {
            began.extend(outage.failed(start + seconds(second)));
            ended.extend(outage.succeeded(start + seconds(second)));
        }
        let counts: Vec<u64> = began.iter().map(|line| line.failures).collect();
        assert_eq!(counts, [1, 60], "the second line counts those that had none");
        assert_eq!(ended.len(), 2);
    }

    #[test]
    fn a_long_outage_soon_after_a_short_one_is_told_within_the_minute() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert!(outage.failed(start).is_some());
        assert!(outage.succeeded(start + seconds(1)).is_some());
        assert_eq!(outage.failed(start + seconds(10)), None);
        let line = outage.failed(start + limits::OUTAGE_LOG_EVERY);
        assert_eq!(line, Some(Failing { failures: 2, lasting: seconds(50) }));
    }
}
