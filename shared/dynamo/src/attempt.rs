//! Whether any attempt of one call may have written.
//!
//! The SDK retries a call whose answer was lost, and returns only the last attempt's error. So
//! "throttled" does not mean that nothing was written, if an earlier attempt got no answer.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::result::ConnectorError;

/// Watches the attempts of one call. Clones share what they saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// An attempt was handed to the connection and has not ended yet.
    in_flight: AtomicBool,
    /// An attempt ended, and it is unknown whether it wrote.
    unresolved: AtomicBool,
}

impl Attempts {
    /// Whether an attempt may have written, judging by how the attempts ended.
    pub(crate) fn may_have_written(&self) -> bool {
        self.0.in_flight.load(Ordering::Acquire) || self.0.unresolved.load(Ordering::Acquire)
    }

    fn begin(&self) {
        // A timed-out attempt is dropped without ending: the next one still finds its flag set.
        if self.0.in_flight.swap(true, Ordering::AcqRel) {
            self.0.unresolved.store(true, Ordering::Release);
        }
    }

    fn end(&self, wrote_nothing_unknown: bool) {
        if self.0.in_flight.swap(false, Ordering::AcqRel) && !wrote_nothing_unknown {
            self.0.unresolved.store(true, Ordering::Release);
        }
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.begin();
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A 4xx says that this attempt wrote nothing. After a 5xx it may have written.
        let refused =
            context.response().is_some_and(|response| response.status().is_client_error());
        let resolved = match context.output_or_error() {
            Some(Ok(_)) => true,
            Some(Err(err)) => refused || err.as_connector_error().is_some_and(never_connected),
            None => false,
        };
        self.end(resolved);
        Ok(())
    }
}

/// Whether the connection failed before the request could be sent on it.
fn never_connected(err: &ConnectorError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(err);
    while let Some(err) = next {
        if err
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(|err| err.is_connect())
        {
            return true;
        }
        next = err.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_without_an_end_may_have_written() {
        let attempts = Attempts::default();
        assert!(!attempts.may_have_written());
        attempts.begin();
        assert!(attempts.may_have_written());
        attempts.end(true);
        assert!(!attempts.may_have_written());
    }

    #[test]
    fn a_later_refusal_does_not_resolve_an_earlier_attempt() {
        for lost in [|attempts: &Attempts| attempts.end(false), |_: &Attempts| {}] {
            let attempts = Attempts::default();
            attempts.begin();
            lost(&attempts);
            attempts.begin();
            attempts.end(true);
            assert!(attempts.may_have_written());
        }
    }
}
