//! The functions' environments, and the calls that reach them or not: the real handlers over the
//! ports of this run.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use client::{Call, CallError, RawAnswer};
use http::{Request, Response};
use memory::SeededRng;
use messaging::App;
use model::limits;
use parking_lot::Mutex;
use protocol::routes::{self, Function};
use service::http::{respond, serve};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::planted::{Counted, Counters};

/// What goes wrong between a client and a function, in percent of the calls.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallTrouble {
    /// Calls that never leave.
    pub unsent: u64,
    /// Calls that are lost on their way.
    pub lost: u64,
    /// Answers that are lost.
    pub answers_lost: u64,
    /// How much later a call arrives at most, in milliseconds. May be longer than its caller waits.
    pub later_ms: u64,
    /// Calls during which the environment is killed.
    pub killed: u64,
}

/// The environments of all functions. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Functions(Arc<State>);

#[derive(Debug)]
struct State {
    environments: Vec<App>,
    trouble: Mutex<CallTrouble>,
    rng: SeededRng,
    /// Planted bug 16.
    counters: Option<Counters>,
}

#[derive(Debug, thiserror::Error)]
#[error("simulated")]
struct Simulated;

impl Functions {
    /// Functions that run in these environments.
    #[must_use]
    pub(crate) fn new(environments: Vec<App>, rng: SeededRng, counters: Option<Counters>) -> Self {
        Self(Arc::new(State { environments, trouble: Mutex::default(), rng, counters }))
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn set_trouble(&self, trouble: CallTrouble) {
        *self.0.trouble.lock() = trouble;
    }

    /// Makes a call like a client's HTTP library: it gives up after ten seconds, and the call goes
    /// on without it. A membership change has no such timeout, so whoever repeats it knows that no
    /// earlier attempt is still running.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(&self, call: Call) -> Result<RawAnswer, CallError> {
        let rng = &self.0.rng;
        let trouble = *self.0.trouble.lock();
        let drawn = rng.within(1..=100);
        sleep(rng.ms(1..=15)).await;
        let CallTrouble { unsent, lost, answers_lost, later_ms, killed } = trouble;
        let is_change = call.path.starts_with("/channels/");
        if drawn <= unsent {
            return Err(CallError::NotSent(Simulated.into()));
        }
        if drawn <= unsent + lost {
            sleep(CALL_WAIT_MAX).await;
            return Err(CallError::NotAnswered(Simulated.into()));
        }
        let later = rng.ms(0..=later_ms);
        let polls = (rng.within(1..=100) <= killed).then(|| rng.within(1..=14));
        let (tx, answered) = oneshot::channel();
        let this = self.clone();
        tokio::spawn(async move {
            sleep(later).await;
            tx.send(this.run(call, polls).await).unwrap_or_default();
        });
        let answer = if is_change {
            answered.await.ok().flatten()
        } else {
            timeout(CALL_WAIT_MAX, answered).await.ok().and_then(|answer| answer.ok().flatten())
        };
        sleep(rng.ms(1..=15)).await;
        let is_lost = drawn <= unsent + lost + answers_lost;
        answer.filter(|_| !is_lost).ok_or_else(|| CallError::NotAnswered(Simulated.into()))
    }

    async fn run(&self, call: Call, polls: Option<u64>) -> Option<RawAnswer> {
        let app = self.0.rng.pick(&self.0.environments)?.clone();
        let counted = Counted::of(&call);
        let mut request = Request::builder().method(call.method).uri(&call.path);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::from(call.body)).ok()?;
        let handled = Killed::new(handle(app, request), polls);
        let response = match timeout(limits::SEND_DEADLINE, handled).await {
            Ok(response) => response?,
            // The gateway answers for a function that takes too long.
            Err(_) => Response::builder().status(503).body(Bytes::new()).ok()?,
        };
        let (parts, body) = response.into_parts();
        let (status, mut body) = (parts.status.as_u16(), body.to_vec());
        if let Some(counters) = self.0.counters.as_ref().filter(|_| status == 200) {
            counters.spoil(&counted, &mut body);
        }
        Some(RawAnswer { status, headers: parts.headers, body })
    }
}

async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let function = match routes::resolve(request.method(), request.uri().path()) {
        Ok(route) => route.function(),
        Err(problem) => return respond(&app, &request, Err(problem.into())),
    };
    match function {
        Function::Send => serve(app, request, send::handle).await,
        Function::Scroll => serve(app, request, scroll::handle).await,
        Function::Membership => serve(app, request, membership::handle).await,
        Function::Connect => serve(app, request, connect::handle).await,
        Function::Amend => serve(app, request, amend::handle).await,
        Function::Files => serve(app, request, files::handle).await,
    }
}

/// A call that ends unanswered after `polls` polls, like one in a killed environment. Over many
/// calls, this covers every await point.
pub(crate) struct Killed<F> {
    inner: Pin<Box<F>>,
    polls: Option<u64>,
}

impl<F: Future> Killed<F> {
    /// Kills it after so many polls, if at all.
    pub(crate) fn new(inner: F, polls: Option<u64>) -> Self {
        Self { inner: Box::pin(inner), polls }
    }
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(polls) = &mut self.polls {
            match polls.checked_sub(1) {
                Some(left) => *polls = left,
                None => return Poll::Ready(None),
            }
        }
        self.inner.as_mut().poll(context).map(Some)
    }
}

/// How long a client waits for an answer.
const CALL_WAIT_MAX: Duration = Duration::from_secs(10);
