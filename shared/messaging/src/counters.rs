//! Counts what an environment does, under the names of the guarantees.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// A message was stored (G1).
    Stored,
    /// A message had been stored before: a retry (G1).
    Duplicate,
    /// The bus has a publication, from this offer or an earlier one (G3).
    Published,
    /// Publishing failed, timed out or was skipped: the relay publishes what is stored (G3).
    PublishFailed,
    /// A failed publish, because the bus did not answer in time.
    PublishTimedOut,
    /// A failed publish that was not tried: the last calls timed out, or publishing is off.
    PublishSkipped,
    /// A client got a node (G7).
    Connected,
    /// A user was revoked (G8).
    Revoked,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Stored,
        Self::Duplicate,
        Self::Published,
        Self::PublishFailed,
        Self::PublishTimedOut,
        Self::PublishSkipped,
        Self::Connected,
        Self::Revoked,
    ];

    /// The metric's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicates",
            Self::Published => "published",
            Self::PublishFailed => "publish_failures",
            Self::PublishTimedOut => "publish_timeouts",
            Self::PublishSkipped => "publish_skips",
            Self::Connected => "connects",
            Self::Revoked => "revocations",
        }
    }
}

/// Counts of counts since the last [`Counters::take`].
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// Counts one.
    pub fn count(&self, counter: Counter) {
        if let Some(count) = self.0.get(counter as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the counts above zero and resets them, so each counter is reported once.
    pub fn take(&self) -> Vec<(Counter, u64)> {
        let taken = |counter: Counter| {
            let count =
                self.0.get(counter as usize).map_or(0, |count| count.swap(0, Ordering::Relaxed));
            (counter, count)
        };
        Counter::ALL.into_iter().map(taken).filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_taken_once() {
        let counters = Counters::default();
        for counter in Counter::ALL {
            counters.count(counter);
        }
        counters.count(Counter::Revoked);
        let taken = counters.take();
        assert_eq!(taken.len(), Counter::ALL.len());
        assert!(
            taken
                .iter()
                .all(|(counter, count)| *count == 1 + u64::from(*counter == Counter::Revoked))
        );
        assert_eq!(counters.take(), []);
    }
}
