//! Whether the node's own DNS name resolves: before that, no client is sent to it (ADR 0014).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use messaging::outage::Outage;
use model::limits;
use tokio::time::{Instant, sleep, timeout};

/// A name that the deployment creates when this node starts.
#[derive(Debug)]
pub(crate) struct DnsReadiness {
    host: String,
    is_ready: AtomicBool,
    misses: Outage,
}

impl DnsReadiness {
    pub(crate) fn new(host: String) -> Self {
        Self { host, is_ready: AtomicBool::new(false), misses: Outage::default() }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// Resolves the name until there is an answer; false if there is none within the limit.
    pub(crate) async fn wait(&self) -> bool {
        let deadline = Instant::now() + limits::NAME_WAIT_MAX;
        while Instant::now() < deadline {
            // Before the first query, too: resolvers cache a negative answer.
            sleep(QUERY_EVERY).await;
            let query = tokio::net::lookup_host((&*self.host, 0));
            let answer = timeout(QUERY_MAX, query).await;
            match answer.map(|answer| answer.map(|mut addresses| addresses.next())) {
                Ok(Ok(Some(_))) => {
                    self.is_ready.store(true, Ordering::Relaxed);
                    tracing::info!(host = self.host, "own host name resolves");
                    return true;
                }
                Ok(Ok(None)) => self.record_miss(&"no address"),
                Ok(Err(error)) => self.record_miss(&error),
                Err(_) => self.record_miss(&"no answer"),
            }
        }
        tracing::error!(
            host = self.host,
            "own host name still does not resolve: the node gets no clients"
        );
        false
    }

    fn record_miss(&self, cause: &dyn fmt::Display) {
        // Normal for a minute or two, so not every query is worth a line.
        if self.misses.failed(Instant::now()).is_some() {
            tracing::info!(host = self.host, %cause, "own host name does not resolve yet");
        }
    }
}

/// A resolver's own timeout.
const QUERY_MAX: Duration = Duration::from_secs(10);
const QUERY_EVERY: Duration = Duration::from_secs(3);
