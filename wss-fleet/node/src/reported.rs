//! Logs a repeated failure in few lines.

use messaging::outage::Outage;
use tokio::time::Instant;

/// Logs one line when it starts to fail, one per minute while it does, one when it works again.
#[derive(Debug)]
pub(crate) struct Reported {
    outage: Outage,
    fails: &'static str,
    works: &'static str,
}

impl Reported {
    /// The texts of the lines.
    pub(crate) fn new(fails: &'static str, works: &'static str) -> Self {
        Self { outage: Outage::default(), fails, works }
    }

    pub(crate) fn failed(&self, cause: impl FnOnce() -> String) {
        if let Some(failing) = self.outage.failed(Instant::now()) {
            let (failures, lasting_ms) = (failing.failures, failing.lasting_ms());
            tracing::warn!(failures, lasting_ms, cause = cause(), "{}", self.fails);
        }
    }

    pub(crate) fn succeeded(&self) {
        if let Some(over) = self.outage.succeeded(Instant::now()) {
            let (failures, lasted_ms) = (over.failures, over.lasted_ms());
            tracing::info!(failures, lasted_ms, "{}", self.works);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_for_many_is_a_line_a_minute_and_one_at_its_end() {
        let (log, reported) = (Log::default(), Reported::new("reads fail", "it answers again"));
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(lines.finish());
        // A hundred workspaces that each try once a second, for 90 seconds.
        for _ in 0..90 {
            (0..100).for_each(|_| reported.failed(|| "refused".to_owned()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (0..100).for_each(|_| reported.succeeded());
        let text = String::from_utf8(log.0.lock().clone()).unwrap();
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!((count("WARN"), count("reads fail"), count("it answers again")), (2, 2, 1));
        assert!(text.contains("lasted_ms=90000"), "{text}");
    }
}
