//! The shared connection for commands, replaced as soon as it is doubtful.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::limits;
use redis::{
    Arg, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::{self, Connection};
use crate::endpoint::Endpoint;

/// Sends commands over one connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    endpoint: Endpoint,
    slot: Arc<Mutex<Option<Arc<Open>>>>,
}

/// A command, or a script by its hash, with the text to send if the server does not know the hash.
#[derive(Debug)]
pub(crate) struct Request {
    cmd: Cmd,
    text: Option<&'static str>,
    /// Whether its success shows that the server takes writes.
    is_write: bool,
}

#[derive(Debug)]
struct Open {
    connection: Arc<dyn Connection>,
    opened_at: Instant,
    doubtful: AtomicBool,
}

impl Commands {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, slot: Arc::default() }
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request that may be repeated. Repeats it at most once, over a new connection, if the
    /// first connection broke or led to a server that cannot serve it.
    ///
    /// # Cancel safety
    /// Dropping the future makes the connection doubtful, so the next request opens another one.
    /// Otherwise callers with short deadlines would keep using a dead connection.
    pub(crate) async fn query<T: FromRedisValue>(&self, request: &Request) -> RedisResult<T> {
        let answer = match self.query_once(request).await {
            Err(err) if is_doubtful(&err) => self.query_once(request).await,
            answer => answer,
        };
        match &answer {
            // The second attempt went through the endpoint's name.
            Err(err) if is_doubtful(err) => self.endpoint.record_failure(),
            Ok(_) if request.is_write => self.endpoint.record_write(),
            Ok(_) | Err(_) => {}
        }
        answer
    }

    async fn query_once<T: FromRedisValue>(&self, request: &Request) -> RedisResult<T> {
        let open = self.open().await?;
        match (open.send(&request.cmd).await, request.text) {
            // After a restart, a failover or SCRIPT FLUSH. EVAL also loads the script.
            (Err(err), Some(text)) if is_unknown_script(&err) => {
                open.send(&by_text(&request.cmd, text)).await
            }
            (answer, _) => answer,
        }
    }

    /// Makes the next request open a connection through the endpoint's name.
    pub(crate) async fn renew(&self) {
        *self.slot.lock().await = None;
    }

    async fn open(&self) -> RedisResult<Arc<Open>> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if let Some(open) = slot.as_ref().filter(|open| open.is_usable()) {
            return Ok(Arc::clone(open));
        }
        *slot = None;
        // A task of its own, so that a caller whose deadline is shorter than connecting does not
        // cancel the attempt: if all callers did, none would ever succeed.
        let endpoint = self.endpoint.clone();
        let attempt = tokio::spawn(async move {
            let open = Arc::new(Open {
                connection: endpoint.connect().await?,
                opened_at: Instant::now(),
                doubtful: AtomicBool::new(false),
            });
            *slot = Some(Arc::clone(&open));
            Ok(open)
        });
        attempt.await.unwrap_or_else(|err| Err(std::io::Error::other(err).into()))
    }
}

impl Open {
    fn is_usable(&self) -> bool {
        !self.doubtful.load(Ordering::Acquire)
            && self.opened_at.elapsed() < limits::BUS_CONNECTION_AGE_MAX
    }

    async fn send<T: FromRedisValue>(&self, cmd: &Cmd) -> RedisResult<T> {
        let unanswered = Unanswered(&self.doubtful);
        let answer = connection::query(&*self.connection, cmd).await;
        if !answer.as_ref().is_err_and(is_doubtful) {
            std::mem::forget(unanswered);
        }
        answer
    }
}

/// Makes the connection doubtful when it is dropped.
struct Unanswered<'a>(&'a AtomicBool);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Request {
    /// A plain command.
    pub(crate) const fn of(cmd: Cmd) -> Self {
        Self { cmd, text: None, is_write: false }
    }

    /// A call of a script.
    pub(crate) fn of_script(
        script: &Script,
        text: &'static str,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Self {
        Self { cmd: script_by_hash(script, keys, args), text: Some(text), is_write: true }
    }

    /// The same for a call that only reads: a replica answers it, too.
    pub(crate) fn reading(self) -> Self {
        Self { is_write: false, ..self }
    }
}

/// The same call with the script's text instead of its hash.
fn by_text(by_hash: &Cmd, text: &str) -> Cmd {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(text);
    // The command's name and the hash come first.
    for arg in by_hash.args_iter().skip(2) {
        // The other kind is a cursor, which scripts do not have.
        if let Arg::Simple(arg) = arg {
            cmd.arg(arg);
        }
    }
    cmd
}

/// A call of a script on a server that knows it.
pub(crate) fn script_by_hash(script: &Script, keys: &[&str], args: &[&[u8]]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(script.get_hash()).arg(keys.len()).arg(keys).arg(args);
    cmd
}

/// Whether an error says that the connection is broken, or that the server is not (yet) the primary.
/// The endpoint's name may lead to another server by now.
pub(crate) fn is_doubtful(err: &RedisError) -> bool {
    err.is_io_error()
        || err.is_unrecoverable_error()
        || err.is_cluster_error()
        || matches!(
            err.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::MasterDown
            )
        )
}

pub(crate) fn is_unknown_script(err: &RedisError) -> bool {
    err.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
