//! An HTTP proxy before the store: loses answers, throttles, fails, delays, stops answering,
//! repeats calls, and returns stale data to reads that are not consistent. Counts every call by
//! table and operation, and by second.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::authority::trusting_nobody;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It is executed, and the connection breaks instead of an answer.
    LoseAnswer,
    /// It is refused as throttled, and not executed.
    Throttle,
    /// It is refused for a missing permission, and not executed.
    Deny,
    /// It fails with 500, and is not executed.
    ServerError,
    /// It is executed after a delay, even if the caller has given up.
    Delay(Duration),
    /// It is executed after a random delay, even if the caller has given up. The median is this
    /// duration; the delays are from a quarter of it to four times it, and end with the fault.
    Slow(Duration),
    /// It is accepted, but gets no answer until the fault ends. Then half of the held calls are
    /// executed and answered, and the connections of the others break.
    Silent,
    /// It is executed twice, and the second answer is returned.
    Twice,
    /// The connection breaks before it is executed.
    Refuse,
    /// A read that is not strongly consistent gets an earlier answer, if there is one.
    Stale,
}

/// A fault and the calls that it applies to.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Operations, such as `PutItem`; empty for all.
    pub operations: &'static [&'static str],
    /// A part of the table's name; empty for every table.
    pub table: &'static str,
    /// The fault.
    pub fault: StoreFault,
    /// The percentage of calls that it hits.
    pub percent: u64,
}

impl Rule {
    /// A fault for every call.
    #[must_use]
    pub const fn all(fault: StoreFault) -> Self {
        Self { operations: &[], table: "", fault, percent: 100 }
    }

    /// Limits the fault to some operations.
    #[must_use]
    pub const fn of(self, operations: &'static [&'static str]) -> Self {
        Self { operations, ..self }
    }

    /// Limits the fault to a percentage of calls.
    #[must_use]
    pub const fn share(self, percent: u64) -> Self {
        Self { percent, ..self }
    }

    fn fits(&self, call: &Call) -> bool {
        let operation = self.operations.is_empty() || self.operations.contains(&&*call.operation);
        operation && call.tables.iter().any(|table| table.contains(self.table))
    }
}

/// A proxy before an endpoint. It stops when it is dropped.
#[derive(Debug)]
pub struct StoreProxy {
    url: String,
    shared: Arc<Shared>,
    accept: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    target: String,
    http: reqwest::Client,
    state: Mutex<State>,
    /// Grows with each change of the faults, so that held calls check again.
    switches: watch::Sender<u64>,
    began: Instant,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    calls: BTreeMap<(String, String), u64>,
    a_second: Vec<Second>,
    injected: u64,
    random: u64,
    answers: HashMap<Bytes, Answer>,
}

/// The calls of one second, by operation.
pub type Second = BTreeMap<String, u64>;

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    body: Bytes,
}

#[derive(Debug)]
struct Call {
    operation: String,
    tables: Vec<String>,
    consistent: bool,
}

impl StoreProxy {
    /// Starts a proxy before an `http://` endpoint. The seed and the order of calls determine which
    /// ones are hit.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(target: &str, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let http = reqwest::Client::builder()
            // It does not use TLS; without this it would load the system's authorities.
            .tls_backend_preconfigured(trusting_nobody())
            .no_proxy()
            .tcp_nodelay(true)
            .build();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            http: http.expect("a client without files"),
            state: Mutex::new(State { random: seed, ..State::default() }),
            switches: watch::Sender::new(0),
            began: Instant::now(),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self { url, shared, accept }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Switches to these faults. The first one that matches and hits a call applies.
    pub fn set(&self, rules: Vec<Rule>) {
        self.shared.state.lock().rules = rules;
        self.shared.switches.send_modify(|switches| *switches += 1);
    }

    /// How many calls a fault has hit so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.shared.state.lock().injected
    }

    /// How many calls so far, of tables whose name contains `table`, of one operation (`""`: all).
    #[must_use]
    pub fn calls(&self, table: &str, operation: &str) -> u64 {
        let state = self.shared.state.lock();
        let fits = |(of, done): &&(String, String)| {
            of.contains(table) && (operation.is_empty() || done == operation)
        };
        state.calls.iter().filter(|(call, _)| fits(call)).map(|(_, count)| count).sum()
    }

    /// How many reads so far, of all tables, whether answered or not.
    #[must_use]
    pub fn reads(&self) -> u64 {
        let state = self.shared.state.lock();
        let reads = state.calls.iter().filter(|((_, operation), _)| is_read(operation));
        reads.map(|(_, count)| count).sum()
    }

    /// The calls of each second since the proxy started, by operation.
    #[must_use]
    pub fn by_second(&self) -> Vec<Second> {
        self.shared.state.lock().a_second.clone()
    }

    /// All counts, by table and operation.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        self.shared.state.lock().calls.clone()
    }
}

impl Drop for StoreProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Shared {
    /// Counts a call and returns the fault that hits it.
    fn admit(&self, call: &Call) -> Option<StoreFault> {
        let mut state = self.state.lock();
        for table in &call.tables {
            *state.calls.entry((table.clone(), call.operation.clone())).or_default() += 1;
        }
        let second = usize::try_from(self.began.elapsed().as_secs()).unwrap_or_default();
        if state.a_second.len() <= second {
            state.a_second.resize(second + 1, Second::new());
        }
        if let Some(calls) = state.a_second.get_mut(second) {
            *calls.entry(call.operation.clone()).or_default() += 1;
        }
        let rule = state.rules.iter().find(|rule| rule.fits(call)).cloned()?;
        let hit = state.percent() < rule.percent;
        state.injected += u64::from(hit);
        hit.then_some(rule.fault)
    }

    /// Waits until no fault of this kind applies to the call; `false` if the proxy stops first.
    async fn ends(&self, call: &Call, is: fn(StoreFault) -> bool) -> bool {
        let mut switches = self.switches.subscribe();
        let lasts = |state: &State| {
            let rule = state.rules.iter().find(|rule| rule.fits(call));
            rule.is_some_and(|rule| is(rule.fault))
        };
        switches.wait_for(|_| !lasts(&self.state.lock())).await.is_ok()
    }

    /// The delay of a slow call.
    fn slow(&self, half: Duration) -> Duration {
        let percent = self.state.lock().percent();
        // From a quarter to four times `half`: every 25 percentage points double the delay.
        half.mul_f64(2_f64.powf((percent as f64 - 50.0) / 25.0))
    }

    async fn forward(&self, head: &http::request::Parts, body: &Bytes) -> Option<Answer> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers.clone();
        headers.remove(hyper::header::HOST);
        let request = self.http.request(head.method.clone(), format!("{}{path}", self.target));
        let sent = request.headers(headers).body(body.clone()).send().await.ok()?;
        let status = sent.status().as_u16();
        Some(Answer { status, body: sent.bytes().await.ok()? })
    }

    /// Forwards in a separate task, so that the call is executed even if its caller gave up.
    async fn later(
        self: Arc<Self>,
        by: Duration,
        head: http::request::Parts,
        body: Bytes,
    ) -> Option<Answer> {
        let late = tokio::spawn(async move {
            tokio::time::sleep(by).await;
            self.forward(&head, &body).await
        });
        late.await.ok().flatten()
    }

    /// Returns a read's answer, or the remembered earlier one, which then stays remembered.
    fn maybe_stale(&self, call: &Call, body: &Bytes, answer: Answer, stale: bool) -> Answer {
        if call.consistent || !call.is_read() {
            return answer;
        }
        let mut state = self.state.lock();
        if state.answers.len() > ANSWERS_MAX {
            state.answers.clear();
        }
        if stale {
            return state.answers.entry(body.clone()).or_insert(answer).clone();
        }
        state.answers.insert(body.clone(), answer.clone());
        answer
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Option<Answer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let call = Call::of(target.unwrap_or_default(), &body);
        let fault = self.admit(&call);
        match fault {
            Some(StoreFault::Refuse) => None,
            Some(StoreFault::Throttle) => {
                Some(refusal(400, "ProvisionedThroughputExceededException"))
            }
            Some(StoreFault::Deny) => Some(refusal(400, "AccessDeniedException")),
            Some(StoreFault::ServerError) => Some(refusal(500, "InternalServerError")),
            Some(StoreFault::LoseAnswer) => {
                // Also if the caller is killed meanwhile.
                self.later(Duration::ZERO, head, body).await;
                None
            }
            Some(StoreFault::Twice) => {
                self.forward(&head, &body).await;
                self.forward(&head, &body).await
            }
            Some(StoreFault::Silent) => {
                let ended = self.ends(&call, |fault| fault == StoreFault::Silent).await;
                if !ended || self.state.lock().percent() < 50 {
                    return None;
                }
                self.forward(&head, &body).await
            }
            Some(StoreFault::Delay(by)) => self.later(by, head, body).await,
            Some(StoreFault::Slow(half)) => {
                let by = self.slow(half);
                let late = tokio::spawn(async move {
                    // When the fault ends, execute the delayed calls at once.
                    let ends = self.ends(&call, |fault| matches!(fault, StoreFault::Slow(_)));
                    tokio::time::timeout(by, ends).await.unwrap_or_default();
                    self.forward(&head, &body).await
                });
                late.await.ok().flatten()
            }
            Some(StoreFault::Stale) | None => {
                let answer = self.forward(&head, &body).await?;
                Some(self.maybe_stale(&call, &body, answer, fault.is_some()))
            }
        }
    }
}

impl Call {
    fn of(target: &str, body: &[u8]) -> Self {
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut tables = Vec::new();
        let mut consistent = is_true(&body) || operation.starts_with("Transact");
        tables.extend(named(&body).map(str::to_owned));
        for (table, items) in
            body.get("RequestItems").and_then(Value::as_object).into_iter().flatten()
        {
            tables.push(table.clone());
            consistent |= is_true(items);
        }
        for item in body.get("TransactItems").and_then(Value::as_array).into_iter().flatten() {
            let parts = item.as_object().into_iter().flatten();
            tables.extend(parts.filter_map(|(_, part)| named(part)).map(str::to_owned));
        }
        Self { operation, tables, consistent }
    }

    fn is_read(&self) -> bool {
        is_read(&self.operation)
    }
}

impl State {
    /// A random number below a hundred, from the high bits of a linear congruential generator.
    const fn percent(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % 100
    }
}

fn is_read(operation: &str) -> bool {
    matches!(operation, "Query" | "GetItem" | "BatchGetItem" | "Scan")
}

fn named(part: &Value) -> Option<&str> {
    part.get("TableName").and_then(Value::as_str)
}

fn is_true(part: &Value) -> bool {
    part.get("ConsistentRead").and_then(Value::as_bool).unwrap_or(false)
}

fn refusal(status: u16, name: &str) -> Answer {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"),
        "message": "injected",
    });
    Answer { status, body: body.to_string().into() }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap_or_default();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| respond(Arc::clone(&shared), request));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // An error only means that the connection ended.
            served.await.unwrap_or_default();
        });
    }
}

/// An error ends the connection without an answer.
async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let answer = shared.answer(request).await.ok_or_else(broken)?;
    Response::builder()
        .status(answer.status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Full::<Bytes>::new(answer.body))
        .map_err(std::io::Error::other)
}

const ANSWERS_MAX: usize = 10_000;
