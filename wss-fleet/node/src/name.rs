//! The node's own DNS name: clients are sent to it once it resolves, and not before (ADR 0014).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use messaging::outage::Outage;
use model::limits;
use tokio::time::{Instant, sleep, timeout};

/// A name that the deployment creates when this node starts.
#[derive(Debug)]
pub(crate) struct OwnName {
    host: String,
    is_found: AtomicBool,
    misses: Outage,
}

impl OwnName {
    pub(crate) fn new(host: String) -> Self {
        Self { host, is_found: AtomicBool::new(false), misses: Outage::default() }
    }

    pub(crate) fn is_found(&self) -> bool {
        self.is_found.load(Ordering::Relaxed)
    }

    /// Resolves the name until there is an answer; false if there is none within the limit.
    pub(crate) async fn wait(&self) -> bool {
        let deadline = Instant::now() + limits::NAME_WAIT_MAX;
        while Instant::now() < deadline {
            // Before the first query, too: resolvers cache a negative answer.
            sleep(ASK_AGAIN).await;
            let asked = tokio::net::lookup_host((&*self.host, 0));
            let asked = timeout(ASK_MAX, asked).await;
            match asked.map(|answer| answer.map(|mut addresses| addresses.next())) {
                Ok(Ok(Some(_))) => {
                    self.is_found.store(true, Ordering::Relaxed);
                    tracing::info!(host = self.host, "own host name resolves");
                    return true;
                }
                Ok(Ok(None)) => self.note(&"no address"),
                Ok(Err(error)) => self.note(&error),
                Err(_) => self.note(&"no answer"),
            }
        }
        tracing::error!(
            host = self.host,
            "own host name still does not resolve: the node gets no clients"
        );
        false
    }

    fn note(&self, cause: &dyn fmt::Display) {
        // Normal for a minute or two, so not every query is worth a line.
        if self.misses.failed(Instant::now()).is_some() {
            tracing::info!(host = self.host, %cause, "own host name does not resolve yet");
        }
    }
}

/// A resolver's own timeout.
const ASK_MAX: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(3);
