//! Calls to the functions' handlers, each as a task of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use model::{ErrorCode, limits};
use protocol::routes::{self, Function};
use runtime::http::{RequestId, respond, serve};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

use super::stream::Peer;

/// The calls in flight.
#[derive(Debug, Default)]
pub(super) struct Calls {
    tasks: Mutex<JoinSet<()>>,
    send: Slots,
    scroll: Slots,
    membership: Slots,
    connect: Slots,
}

/// Room for calls of one function: one call at a time and environment, as on Lambda. Calls wait
/// for it up to [`limits::SLOT_WAIT_MAX`]; the connections bound how many.
#[derive(Debug, Clone)]
struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ENVIRONMENTS_MAX)))
    }
}

/// Why a call was not started.
enum NotStarted {
    /// Every environment was busy for too long.
    Busy,
    /// Nobody waits for its answer any more.
    ClientGone,
}

impl Slots {
    /// An environment for a call. A client that gave up while the call waited has no use for an
    /// answer, and most likely repeats the call: executing both would add up.
    async fn take(&self, peer: &Peer) -> Result<OwnedSemaphorePermit, NotStarted> {
        if let Ok(slot) = Arc::clone(&self.0).try_acquire_owned() {
            return Ok(slot);
        }
        let slot = Arc::clone(&self.0).acquire_owned();
        match tokio::time::timeout(limits::SLOT_WAIT_MAX, slot).await {
            Ok(Ok(slot)) if !peer.is_gone() => Ok(slot),
            Ok(Ok(_)) => Err(NotStarted::ClientGone),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(NotStarted::Busy),
        }
    }
}

impl Calls {
    /// Finds a request's function and runs its handler. A call that was started goes on when the
    /// client does not wait for it: a Lambda does not learn of that either, and a message that is
    /// stored must still be published. One that still waits for an environment then is not started.
    pub(super) async fn respond(
        &self,
        app: &App,
        mut request: Request<Bytes>,
        peer: Peer,
    ) -> Response<Bytes> {
        request.extensions_mut().insert(RequestId::mint(app));
        let function = match routes::resolve(request.method(), request.uri().path()) {
            Ok(route) => route.function(),
            Err(problem) => return respond(app, &request, Err(problem.into())),
        };
        let slot = match self.slots_of(function).take(&peer).await {
            Ok(slot) => slot,
            Err(not_started) => {
                let is_busy = matches!(not_started, NotStarted::Busy);
                tracing::debug!(?function, is_busy, "a call was not started");
                return respond(app, &request, Err(ErrorCode::Unavailable.into()));
            }
        };
        let (tx, answered) = oneshot::channel();
        let app_of_call = app.clone();
        self.spawn(async move {
            let response = run(function, app_of_call, request).await;
            drop(slot);
            // A client that went away reads no answer.
            tx.send(response).unwrap_or_default();
        });
        match answered.await {
            Ok(response) => response,
            // The stack stops, and has waited long enough.
            Err(_) => respond(app, &Request::new(Bytes::new()), Err(ErrorCode::Unavailable.into())),
        }
    }

    /// Waits for the calls in flight; cuts those that take longer.
    pub(super) async fn finish(&self, wait: Duration) {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(wait, ended).await.is_err() {
            tracing::warn!("calls were still running and were cut off");
        }
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(call);
    }

    fn slots_of(&self, function: Function) -> &Slots {
        match function {
            Function::Send => &self.send,
            Function::Scroll => &self.scroll,
            Function::Membership => &self.membership,
            Function::Connect => &self.connect,
        }
    }
}

async fn run(function: Function, app: App, request: Request<Bytes>) -> Response<Bytes> {
    match function {
        Function::Send => serve(app, request, send::handle).await,
        Function::Scroll => serve(app, request, scroll::handle).await,
        Function::Membership => serve(app, request, membership::handle).await,
        Function::Connect => serve(app, request, connect::handle).await,
    }
}

/// Calls of one function at once. More would only queue for this machine's cores, and a call that
/// waits 200 ms for a core looks to its publisher like a bus that is down.
const ENVIRONMENTS_MAX: usize = 16;
