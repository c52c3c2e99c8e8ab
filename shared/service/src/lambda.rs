//! Runs a handler as a Lambda function. Only this module uses `lambda_http` and `lambda_runtime`.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, Uri};
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::request::RequestContext;
use lambda_http::{Body, RequestExt};
use lambda_runtime::LambdaEvent;
use messaging::App;
use messaging::archive::{Archiver, Waiting};
use messaging::derive::Deriver;
use messaging::ports::{BusError, Clock as _};
use messaging::relay::Relay;
use model::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::http::AMAZON_TRACE;
use protocol::routes::Function;
use serde::Serialize;
use serde_json::Value;

use crate::clock::SystemClock;
use crate::compose;
use crate::config::{ArchiveConfig, DeriveConfig, FunctionConfig, ProcessEnv, RelayConfig, refuse};
use crate::http::{Call, RequestId, attend};
use crate::metrics::{Metric, document};
use crate::stream::{BatchResponse, EventError};
use crate::telemetry::{self, LogFormat};
use crate::version::asked_for_version;

/// Runs a function's handler for as long as Lambda keeps the environment.
///
/// A wrong configuration ends it with exit code 64 and one line per problem.
pub async fn run<H, F>(name: &'static str, function: Function, handle: H) -> ExitCode
where
    H: Fn(App, Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    if let Some(said) = asked_for_version(name) {
        return said;
    }
    let config = match FunctionConfig::try_from(&ProcessEnv, function) {
        Ok(config) => config,
        Err(refused) => return refuse(name, &refused.problems),
    };
    telemetry::start(&config.log);
    let app = match compose::ports_of_function(&config).await {
        Ok(ports) => App::new(ports),
        Err(error) => return refuse(name, [error]),
    };
    let format = config.log.format;
    let service = lambda_http::service_fn(move |request: lambda_http::Request| {
        let (app, handle) = (app.clone(), handle.clone());
        async move {
            let named = request.lambda_context_ref().map(|context| context.env_config.clone());
            let (response, call) = attend(app.clone(), from_lambda(request), handle).await;
            log_call(&app, &call, format, named.as_ref().map(|config| &*config.function_name));
            Ok::<_, Infallible>(into_lambda(response))
        }
    });
    ended(name, lambda_http::run(service).await)
}

/// Runs the relay's handler for as long as Lambda keeps the environment. If the handler returns an
/// error, the whole event fails.
///
/// A wrong configuration ends it with exit code 64 and one line per problem.
pub async fn run_relay<H, F>(name: &'static str, handle: H) -> ExitCode
where
    H: Fn(Relay, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<BatchResponse, EventError>> + Send + 'static,
{
    if let Some(said) = asked_for_version(name) {
        return said;
    }
    let config = match RelayConfig::try_from(&ProcessEnv) {
        Ok(config) => config,
        Err(refused) => return refuse(name, &refused.problems),
    };
    telemetry::start(&config.log);
    match compose::relay_of_function(&config).await {
        Ok(relay) => run_reader(name, config.log.format, relay, handle).await,
        Err(error) => refuse(name, [error]),
    }
}

/// Runs the deriver's handler, as [`run_relay`] does the relay's.
pub async fn run_derive<H, F>(name: &'static str, handle: H) -> ExitCode
where
    H: Fn(Deriver, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<BatchResponse, EventError>> + Send + 'static,
{
    if let Some(said) = asked_for_version(name) {
        return said;
    }
    let config = match DeriveConfig::try_from(&ProcessEnv) {
        Ok(config) => config,
        Err(refused) => return refuse(name, &refused.problems),
    };
    telemetry::start(&config.log);
    let deriver = compose::deriver_of_function(&config).await;
    run_reader(name, config.log.format, deriver, handle).await
}

/// Runs the archiver's handler, as [`run_relay`] does the relay's.
pub async fn run_archive<H, F>(name: &'static str, handle: H) -> ExitCode
where
    H: Fn(Archiver, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), BusError>> + Send + 'static,
{
    if let Some(said) = asked_for_version(name) {
        return said;
    }
    let config = match ArchiveConfig::try_from(&ProcessEnv) {
        Ok(config) => config,
        Err(refused) => return refuse(name, &refused.problems),
    };
    telemetry::start(&config.log);
    match compose::archiver_of_function(&config).await {
        Ok(archiver) => run_reader(name, config.log.format, archiver, handle).await,
        Err(error) => refuse(name, [error]),
    }
}

/// Something that handles events without a caller, and counts what it does.
trait Reader: Clone + Send + Sync + 'static {
    /// What it counted since it was created.
    fn counts(&self) -> Vec<(&'static str, u64)>;

    /// What it measured during the last event, of which it counted this.
    fn measured(&self, counted: &[(&'static str, u64)]) -> Vec<Metric>;
}

impl Reader for Relay {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        vec![
            ("relayed", counts.relayed),
            ("relay_firsts", counts.appended),
            ("relay_late", counts.late),
            ("relay_skipped", counts.poisoned),
            ("relay_unknown", counts.unknown),
            ("relay_reruns", counts.reruns),
            ("relay_alone", counts.alone),
            ("relay_held", counts.held),
        ]
    }

    fn measured(&self, counted: &[(&'static str, u64)]) -> Vec<Metric> {
        let lag = has(counted, "relayed").then(|| self.counts().lag_ms);
        lag.map(|lag| Metric::milliseconds("relay_lag_ms", lag)).into_iter().collect()
    }
}

impl Reader for Deriver {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        vec![
            ("derive_folded", counts.folded),
            ("derive_unchanged", counts.unchanged),
            ("derive_pins_shown", counts.pins_shown),
            ("derive_mentioned", counts.mentioned),
            ("derive_following", counts.following),
            ("derive_files_named", counts.files_named),
            ("derive_files_deleted", counts.files_deleted),
            ("derive_skipped", counts.poisoned),
            ("derive_held", counts.held),
        ]
    }

    fn measured(&self, _: &[(&'static str, u64)]) -> Vec<Metric> {
        Vec::new()
    }
}

impl Reader for Archiver {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        vec![
            ("archived", counts.archived),
            ("archive_repeats", counts.repeated),
            ("archive_acked", counts.acked),
            ("archive_conflicts", counts.conflicts),
            ("archive_unreadable", counts.unreadable),
            ("archive_failures", counts.failed),
        ]
    }

    fn measured(&self, counted: &[(&'static str, u64)]) -> Vec<Metric> {
        let lag = self.take_lag_ms();
        let lag = has(counted, "archived").then(|| Metric::milliseconds("archive_lag_ms", lag));
        // Also where nothing was stored: that is when it matters.
        let waiting = self.take_waiting().map(|Waiting { oldest_ms, bytes_max }| {
            [
                Metric::milliseconds("archive_waiting_ms", oldest_ms),
                Metric::bytes("archive_waiting_bytes", bytes_max),
            ]
        });
        lag.into_iter().chain(waiting.into_iter().flatten()).collect()
    }
}

fn has(counted: &[(&'static str, u64)], name: &str) -> bool {
    counted.iter().any(|(counted, _)| *counted == name)
}

async fn run_reader<R, H, F, T, E>(name: &str, format: LogFormat, reader: R, handle: H) -> ExitCode
where
    R: Reader,
    H: Fn(R, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Serialize + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let service = lambda_runtime::service_fn(move |event: LambdaEvent<Value>| {
        let (reader, handle) = (reader.clone(), handle.clone());
        async move {
            let (before, began) = (reader.counts(), SystemClock.now());
            let handled = AssertUnwindSafe(handle(reader.clone(), event.payload));
            // The runtime would log a panic's message, which may contain what a user wrote.
            let answer = match handled.catch_unwind().await {
                Ok(answer) => answer.map_err(|error| Box::new(error) as lambda_runtime::Error),
                Err(_) => Err("the handler panicked".into()),
            };
            let metrics = metrics_of(&reader, &before);
            let batch = Batch { id: event.context.request_id, metrics, began };
            batch.log(format, &event.context.env_config.function_name, answer.is_ok());
            answer
        }
    });
    ended(name, lambda_runtime::run(service).await)
}

/// What a reader did since `before`. An environment handles one event at a time, so whatever was
/// counted meanwhile belongs to it.
fn metrics_of(reader: &impl Reader, before: &[(&'static str, u64)]) -> Vec<Metric> {
    let pairs = reader.counts().into_iter().zip(before);
    let counts = pairs.map(|((name, now), (_, before))| (name, now - before));
    let counts: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
    let mut metrics: Vec<Metric> =
        counts.iter().map(|(name, count)| Metric::count(name, *count)).collect();
    metrics.extend(reader.measured(&counts));
    metrics
}

/// Logs a call: with metrics for machines, without for people.
fn log_call(app: &App, call: &Call, format: LogFormat, function: Option<&str>) {
    match (format, function) {
        (LogFormat::Json, Some(function)) => telemetry::write(call.document(app, function)),
        (LogFormat::Json, None) | (LogFormat::Pretty, _) => call.log(),
    }
}

/// One event of the stream.
struct Batch {
    id: String,
    metrics: Vec<Metric>,
    began: Timestamp,
}

/// A batch's log line, for machines.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    request_id: &'a str,
    duration_ms: u64,
}

impl Batch {
    fn log(&self, format: LogFormat, function: &str, is_ok: bool) {
        let duration_ms = SystemClock.now().since(self.began).as_millis();
        let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
        let metrics = &self.metrics;
        match format {
            LogFormat::Json => {
                let level = if is_ok { "INFO" } else { "ERROR" };
                let timestamp = self.began.rfc3339();
                let (message, request_id) = ("batch", &*self.id);
                let line = Line { timestamp, level, message, request_id, duration_ms };
                telemetry::write(document(function, self.began, metrics, &line));
            }
            LogFormat::Pretty => {
                let request_id = self.id.as_str();
                tracing::info!(request_id, duration_ms, is_ok, ?metrics, "batch");
            }
        }
    }
}

fn ended(name: &str, end: Result<(), lambda_runtime::Error>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(function = name, cause = %error, "the Lambda runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// Restores the client's request: without the stage, and with the body as bytes.
fn from_lambda(request: lambda_http::Request) -> Request<Bytes> {
    let stage = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.stage.clone(),
        Some(_) | None => None,
    };
    let path = without_stage(request.raw_http_path(), stage.as_deref());
    // In a decoded path, `#` hides the query from the URI.
    let hidden = || request.query_string_parameters_ref().map(query_of);
    let query = request.uri().query().map(str::to_owned).or_else(hidden);
    let uri = uri_of(path, query.as_deref().filter(|query| !query.is_empty()));
    let context = request.lambda_context_ref();
    let id = context.and_then(|context| RequestId::from_platform(&context.request_id));
    let trace = context.and_then(|context| context.xray_trace_id.as_deref());
    let trace = trace.and_then(|trace| HeaderValue::from_str(trace).ok());
    let (mut head, body) = request.into_parts();
    // A caller that is part of a trace sends a header of its own; that one takes precedence.
    if let Some(trace) = trace.filter(|_| !head.headers.contains_key(AMAZON_TRACE)) {
        head.headers.insert(AMAZON_TRACE, trace);
    }
    head.uri = uri;
    if let Some(id) = id {
        head.extensions.insert(id);
    }
    Request::from_parts(head, Bytes::copy_from_slice(&body))
}

/// A named stage is the first part of the path; the default stage is not in it.
fn without_stage<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) | None => path,
    }
}

fn query_of(parameters: &QueryMap) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pair = |(name, value)| format!("{}={}", encode(name), encode(value));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// API Gateway passes paths on decoded: encode again what a URI cannot contain.
fn uri_of(path: &str, query: Option<&str>) -> Uri {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"#<>?\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    // Only a URI over 64 KiB still fails to parse, and API Gateway lets none pass.
    text.parse().unwrap_or_else(|_| Uri::from_static("/-"))
}

fn into_lambda(response: Response<Bytes>) -> Response<Body> {
    response.map(|body| match String::from_utf8(body.into()) {
        Ok(text) => Body::Text(text),
        Err(bytes) => Body::Binary(bytes.into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use messaging::archive::ArchiverPorts;

    use super::*;

    fn request(event: &str) -> Request<Bytes> {
        from_lambda(lambda_http::request::from_str(event).unwrap())
    }

    fn event(stage: &str, path: &str, query: &str, body: &str) -> String {
        format!(
            r#"{{"version":"2.0","routeKey":"$default","rawPath":"{path}","rawQueryString":"{query}",
            "headers":{{"host":"api.example","content-type":"application/json"}},
            "requestContext":{{"accountId":"1","apiId":"a","domainName":"api.example",
            "http":{{"method":"POST","path":"{path}","protocol":"HTTP/1.1","sourceIp":"1.2.3.4","userAgent":"x"}},
            "requestId":"r","routeKey":"$default","stage":"{stage}","time":"t","timeEpoch":1}},
            "body":"{body}","isBase64Encoded":true}}"#
        )
    }

    #[test]
    fn an_event_becomes_the_request_that_the_client_made() {
        let made = request(&event("$default", "/messages", "a=1&a=%2F&b", "eyJhIjoxfQ=="));
        assert_eq!(made.uri(), "/messages?a=1&a=%2F&b");
        assert_eq!(made.method(), "POST");
        assert_eq!(made.headers()["content-type"], "application/json");
        assert_eq!(made.body().as_ref(), br#"{"a":1}"#);
    }

    #[test]
    fn a_keycap_in_a_decoded_path_does_not_hide_the_query() {
        let made = request(&event("$default", "/reactions/#\u{fe0f}\u{20e3}", "a=1%2F", ""));
        assert_eq!(made.uri(), "/reactions/%23%EF%B8%8F%E2%83%A3?a=1%2F");
        let made = request(&event("$default", "/reactions/\u{1f44d}", "a=1", ""));
        assert_eq!(made.uri(), "/reactions/%F0%9F%91%8D?a=1");
    }

    #[test]
    fn a_named_stage_is_taken_off_the_path() {
        for (path, expected) in [
            ("/prod/messages", "/messages"),
            ("/prod", "/"),
            ("/product", "/product"),
            ("/messages", "/messages"),
        ] {
            assert_eq!(request(&event("prod", path, "", "")).uri(), expected, "{path}");
        }
    }

    #[test]
    fn a_decoded_path_is_encoded_again() {
        assert_eq!(uri_of("/users/a b\u{e9}?#", Some("x=1")), "/users/a%20b%C3%A9%3F%23?x=1");
        assert_eq!(uri_of(&"/".repeat(70_000), None), "/-");
    }

    /// Counts and measures what a test says.
    #[derive(Clone)]
    struct Fake(Vec<(&'static str, u64)>, Vec<Metric>);

    impl Reader for Fake {
        fn counts(&self) -> Vec<(&'static str, u64)> {
            self.0.clone()
        }

        fn measured(&self, counted: &[(&'static str, u64)]) -> Vec<Metric> {
            if has(counted, "archived") { self.1.clone() } else { Vec::new() }
        }
    }

    #[test]
    fn a_line_has_what_was_counted_since_and_what_was_measured() {
        let lag = Metric::milliseconds("archive_lag_ms", 7);
        let fake = Fake(vec![("archived", 5), ("archive_failures", 2)], vec![lag]);
        let found = metrics_of(&fake, &[("archived", 3), ("archive_failures", 2)]);
        assert_eq!(found, [Metric::count("archived", 2), lag]);
        let found = metrics_of(&fake, &[("archived", 5), ("archive_failures", 1)]);
        assert_eq!(found, [Metric::count("archive_failures", 1)], "nothing was measured");
    }

    #[tokio::test]
    async fn an_archiver_tells_what_waits_even_if_it_stores_nothing() {
        let clock = Arc::new(memory::ManualClock::at(Timestamp::from_unix_ms(1)));
        let bus = memory::MemoryBus::new(clock.clone());
        let store = Arc::new(memory::MemoryStore::new());
        let archiver = Archiver::new(ArchiverPorts {
            spool: Arc::new(bus.clone()),
            receipts: Arc::new(bus.clone()),
            bus: Arc::new(bus),
            messages: store.clone(),
            members: store.clone(),
            devices: store,
            clock,
            randomness: Arc::new(memory::SeededRandomness::new(1)),
        });
        assert_eq!(metrics_of(&archiver, &Reader::counts(&archiver)), []);
        archiver.measure().await.unwrap();
        let found = metrics_of(&archiver, &Reader::counts(&archiver));
        let waiting = Metric::milliseconds("archive_waiting_ms", 0);
        assert_eq!(found, [waiting, Metric::bytes("archive_waiting_bytes", 0)]);
    }
}
