//! Calls to the functions' handlers. Each call is its own task.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use model::{ErrorCode, limits};
use parking_lot::Mutex;
use protocol::routes::{self, Function};
use service::http::{RequestId, respond, serve};
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
    amend: Slots,
    files: Slots,
}

/// The environments of one function. As on Lambda, each runs one call at a time. Calls wait for one
/// up to [`limits::SLOT_WAIT_MAX`]; the number of connections bounds how many calls wait.
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
    /// The client no longer waits for the answer.
    ClientGone,
}

impl Slots {
    /// Waits for an environment. A call is not started if its client gave up in the meantime: the
    /// client most likely repeats the call, and running both would add load.
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
    /// Finds a request's function and runs its handler. A started call continues when its client
    /// disconnects, as on Lambda, because a stored message must still be published. A call that
    /// still waits for an environment is then not started.
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
            // The client may have disconnected.
            tx.send(response).unwrap_or_default();
        });
        match answered.await {
            Ok(response) => response,
            // The stack is stopping, and the call did not finish in time.
            Err(_) => respond(app, &Request::new(Bytes::new()), Err(ErrorCode::Unavailable.into())),
        }
    }

    /// Waits for the calls in flight, and aborts those that take longer.
    pub(super) async fn finish(&self, wait: Duration) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(wait, ended).await.is_err() {
            tracing::warn!("calls were still running and were cut off");
        }
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(call);
    }

    fn slots_of(&self, function: Function) -> &Slots {
        match function {
            Function::Send => &self.send,
            Function::Scroll => &self.scroll,
            Function::Membership => &self.membership,
            Function::Connect => &self.connect,
            Function::Amend => &self.amend,
            Function::Files => &self.files,
        }
    }
}

async fn run(function: Function, app: App, request: Request<Bytes>) -> Response<Bytes> {
    match function {
        Function::Send => serve(app, request, send::handle).await,
        Function::Scroll => serve(app, request, scroll::handle).await,
        Function::Membership => serve(app, request, membership::handle).await,
        Function::Connect => serve(app, request, connect::handle).await,
        Function::Amend => serve(app, request, amend::handle).await,
        Function::Files => serve(app, request, files::handle).await,
    }
}

/// Concurrent calls of one function. More would only queue for this machine's cores, and a call
/// that waits 200 ms for a core would conclude that the bus is down.
const ENVIRONMENTS_MAX: usize = 16;
