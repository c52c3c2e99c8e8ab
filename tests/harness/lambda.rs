//! Functions as Lambda runs them: each is a process that polls the Runtime API for one event at a
//! time.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::SOON;
use crate::cluster::Cluster;

/// One execution environment of a function; killed when dropped.
#[derive(Debug)]
pub struct Function {
    process: Child,
    started_at: Instant,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    accept: AbortHandle,
}

/// A function's answer.
#[derive(Debug)]
pub struct Answer {
    /// The payload.
    pub payload: Value,
    /// When it was complete.
    pub at: Instant,
}

#[derive(Debug)]
struct Event {
    id: String,
    payload: Bytes,
}

#[derive(Debug)]
struct Shared {
    events: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    first_asked_at: Mutex<Option<Instant>>,
    asked: Notify,
    waiting: Mutex<HashMap<String, oneshot::Sender<(Bytes, Instant)>>>,
}

impl Function {
    /// Starts a program on a cluster's engine and real Redis, with these variables as well.
    ///
    /// # Panics
    /// If it cannot be started, or the cluster has no real Redis.
    pub async fn start(cluster: &Cluster, program: &Path, variables: &[(&str, String)]) -> Self {
        let redis = cluster.redis.as_ref().expect("functions need a real Redis");
        let stores = [
            ("INKWIRE_TABLE_PREFIX", embedded_stack::TABLE_PREFIX.to_owned()),
            ("INKWIRE_REDIS_URL", redis.url()),
            ("AWS_REGION", "local".to_owned()),
            ("INKWIRE_FILES_BUCKET", "inkwire-files".to_owned()),
            ("AWS_ENDPOINT_URL", cluster.stack.store_endpoint().to_owned()),
        ];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let api = listener.local_addr().expect("a bound address").to_string();
        let (events, waiting) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            events: tokio::sync::Mutex::new(waiting),
            first_asked_at: Mutex::default(),
            asked: Notify::new(),
            waiting: Mutex::default(),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        let started_at = Instant::now();
        let process = Command::new(program)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "tested")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/tested")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "tested")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .envs(stores.iter().chain(variables).map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { process, started_at, shared, events, accept }
    }

    /// The initialisation: the time from the start of the process to its first poll for an event.
    ///
    /// # Panics
    /// If it does not poll.
    pub async fn initialisation(&self) -> Duration {
        let asked = self.shared.asked.notified();
        let known = *self.shared.first_asked_at.lock();
        if known.is_none() {
            tokio::time::timeout(SOON, asked).await.expect("the function asks for an event");
        }
        let first = self.shared.first_asked_at.lock().expect("it asked");
        first.duration_since(self.started_at)
    }

    /// The time from the start of the process to `at`.
    #[must_use]
    pub fn age_at(&self, at: Instant) -> Duration {
        at.duration_since(self.started_at)
    }

    /// Sends it an event and waits for the answer.
    ///
    /// # Panics
    /// If it does not answer, or reports an error.
    pub async fn invoke(&self, event: &Value) -> Answer {
        let id = format!("{:032x}", rand::random::<u128>());
        let (answer, answered) = oneshot::channel();
        self.shared.waiting.lock().insert(id.clone(), answer);
        let event = Event { id, payload: event.to_string().into() };
        self.events.send(event).await.expect("the Runtime API runs");
        let answer = tokio::time::timeout(SOON, answered).await.expect("the function answers");
        let (payload, at) = answer.expect("not an error");
        Answer { payload: serde_json::from_slice(&payload).expect("JSON"), at }
    }

    /// The CPU time of all its threads so far.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(threads.expect("a process").filter_map(of_thread).sum())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM and waits for its end, so that a profiler in it can write its results.
    pub fn end(mut self) {
        self.signal("-TERM");
        self.process.wait().map(drop).unwrap_or_default();
    }

    /// Freezes it (SIGSTOP), as Lambda does between calls.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Thaws it (SIGCONT).
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.accept.abort();
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// A call in the event format of API Gateway's HTTP API (payload format 2.0).
#[must_use]
pub fn http_event(method: &str, path: &str, query: &str, token: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "host": "api.example",
            "authorization": format!("Bearer {token}"),
            "content-type": "application/json",
        },
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "api.example", "domainPrefix": "api",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": "test",
            },
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "24/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_521_600_000_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without this, an answer in two segments waits for an acknowledgement.
        stream.set_nodelay(true).unwrap_or_default();
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| serve(Arc::clone(&shared), request));
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(async move {
            // How the function ends the connection does not matter.
            drop(http.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["2018-06-01", "runtime", "invocation", "next"] => Ok(next(&shared).await),
        ["2018-06-01", "runtime", "invocation", id, end] => {
            let payload = request.into_body().collect().await?.to_bytes();
            let waiting = shared.waiting.lock().remove(*id);
            match (*end, waiting) {
                // The caller may have given up.
                ("response", Some(answer)) => drop(answer.send((payload, Instant::now()))),
                _ => eprintln!("{path}: {}", String::from_utf8_lossy(&payload)),
            }
            Ok(status(StatusCode::ACCEPTED))
        }
        _ => Ok(status(StatusCode::NOT_FOUND)),
    }
}

async fn next(shared: &Shared) -> Response<Full<Bytes>> {
    shared.first_asked_at.lock().get_or_insert_with(Instant::now);
    shared.asked.notify_waiters();
    let Some(event) = shared.events.lock().await.recv().await else {
        return status(StatusCode::GONE);
    };
    let deadline = jsonwebtoken::get_current_timestamp() * 1_000 + 10_000;
    Response::builder()
        .header("lambda-runtime-aws-request-id", event.id)
        .header("lambda-runtime-deadline-ms", deadline)
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:000000000000:function:tested",
        )
        .header("content-type", "application/json")
        .body(Full::new(event.payload))
        .expect("headers of ours")
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
