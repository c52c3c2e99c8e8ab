use std::sync::Arc;

use auth::Secrets;
use auth::tickets::SignedTickets;
use auth::tokens::{JwtTokens, TokenConfig, TokenSigner};
use dynamo::{Capacity, CredentialSource};
use memory::{ManualClock, MemoryBus, MemoryDirectory};
use messaging::Ports;
use messaging::counters::Counter;
use messaging::ports::Clock;
use model::{Timestamp, UserId, WorkspaceId};
use serde_json::Value;

use super::*;
use crate::compose::{BusParts, ports, store};
use crate::config::StoreConfig;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn tokens() -> JwtTokens {
    JwtTokens::new(&TokenConfig::shared(secrets()))
}

fn secrets() -> Secrets {
    Secrets::parse(&"s".repeat(32)).unwrap()
}

fn signer() -> TokenSigner {
    TokenSigner::new(&secrets())
}

/// An environment whose store is never called.
async fn app() -> App {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let config = StoreConfig {
        region: "local".to_owned(),
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        table_prefix: "t-".to_owned(),
    };
    let store = store(&config, CredentialSource::local(), Capacity::default()).await;
    let bus = MemoryBus::new(Arc::clone(&clock));
    let parts = BusParts::of(bus, Arc::new(MemoryDirectory::new(Arc::clone(&clock))));
    let tickets = Arc::new(SignedTickets::new(&Secrets::parse(&"t".repeat(32)).unwrap()));
    let ports = ports(store, parts, Arc::new(tokens()), tickets);
    App::new(Ports { clock, ..ports })
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn named(id: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    request.extensions_mut().insert(RequestId::from_platform(id).unwrap());
    request
}

#[tokio::test]
async fn a_panic_costs_one_call() {
    let panics = |_app: App, request: Request<Bytes>| async move {
        let _response: Response<Bytes> = Response::new(request.into_body());
        panic!("secret text")
    };
    let response = serve(app().await, named("R-1"), panics).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["x-request-id"], "R-1");
    assert_eq!(body(&response)["request_id"], "R-1");
    assert_eq!(body(&response)["code"], "unavailable");
    assert!(!body(&response).to_string().contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_cut_and_its_outcome_is_unknown() {
    for (method, path, wall) in [
        ("POST", "/messages", limits::SEND_DEADLINE),
        ("GET", "/scroll", limits::CALL_DEADLINE),
        ("GET", "/connect", limits::CALL_DEADLINE),
        ("PUT", "/channels/c/members/u", limits::MEMBERSHIP_DEADLINE),
        ("GET", "/nothing", limits::CALL_DEADLINE),
    ] {
        let mut request = named("R-4");
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        let hangs = |_app: App, _request: Request<Bytes>| std::future::pending();
        let began = tokio::time::Instant::now();
        let response = serve(app().await, request, hangs).await;
        // Timers have a resolution of a millisecond.
        assert!(began.elapsed() - wall < Duration::from_millis(2), "{path}");
        assert_eq!(
            (response.status().as_u16(), &body(&response)["code"]),
            (503, &"unavailable".into())
        );
        assert_eq!(response.headers()["x-request-id"], "R-4");
    }
}

#[tokio::test]
async fn a_refusal_is_its_code_and_nothing_of_its_cause() {
    let app = app().await;
    let cause = || Box::<dyn std::error::Error + Send + Sync>::from("table secret is gone");
    let unavailable = PostMessageError::Store(StoreError::Unavailable(cause()));
    let response = respond(&app, &named("R-2"), Err(unavailable.into()));
    assert_eq!(response.status(), 503);
    let ms = body(&response)["retry_after_ms"].as_u64().unwrap();
    assert!((1_000..=2_000).contains(&ms), "{ms}");
    assert_eq!(response.headers()["retry-after"], ms.div_ceil(1_000).to_string());
    assert_eq!(body(&response)["server_time"], NOW.unix_ms());
    assert!(!body(&response).to_string().contains("secret"));
    let out_of_range = PostMessageError::IdOutOfRange { field: "after" };
    let response = respond(&app, &named("R-3"), Err(out_of_range.into()));
    let body = body(&response);
    assert_eq!((response.status().as_u16(), &body["field"]), (422, &"after".into()));
    assert_eq!(body["server_time"], NOW.unix_ms());
}

#[tokio::test]
async fn a_caller_is_who_the_token_says() {
    let app = app().await;
    let expires_at = NOW.plus(Duration::from_millis(1));
    let alice = Principal {
        workspace_id: WorkspaceId::parse("demo").unwrap(),
        user_id: UserId::parse("alice").unwrap(),
        is_admin: false,
        expires_at,
    };
    let code_of = |authorization: Option<String>| {
        let mut request = Request::new(Bytes::new());
        if let Some(value) = authorization {
            let value = HeaderValue::from_str(&value).unwrap();
            request.headers_mut().insert("authorization", value);
        }
        authenticate(&app, &request).map_err(|failure| failure.problem.code)
    };
    assert_eq!(code_of(None), Err(ErrorCode::Unauthenticated));
    assert_eq!(code_of(Some("Basic x".to_owned())), Err(ErrorCode::Unauthenticated));
    assert_eq!(code_of(Some("Bearer x".to_owned())), Err(ErrorCode::InvalidToken));
    let token = signer().issue(&alice, NOW);
    assert_eq!(code_of(Some(format!("Bearer {token}"))), Ok(alice.clone()));
    let old = signer().issue(&Principal { expires_at: NOW, ..alice }, NOW);
    assert_eq!(code_of(Some(format!("Bearer {old}"))), Err(ErrorCode::TokenExpired));
}

#[tokio::test]
async fn request_ids_are_plain() {
    for text in ["", "a b", "ä", "<x>", &"x".repeat(65)] {
        assert_eq!(RequestId::from_platform(text), None, "{text}");
    }
    assert_eq!(RequestId::mint(&app().await).as_str().len(), 26);
}

/// Calls a handler that records what `send` would, and answers with `status`.
async fn call(app: &App, headers: &[(&'static str, &str)], status: u16) -> Call {
    let mut request = named("c6af9ac6-7b61-11e6-9a41-93e8deadbeef");
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "/messages?channel_id=secret".parse().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let handle = |app: App, request: Request<Bytes>| async move {
        assert!(route(&request).is_ok());
        let notes = LogFields::of(&request);
        notes.message(MessageId::mint(NOW, 1), false);
        app.counters().count(Counter::Stored);
        let failed = StoreError::Unavailable("the table is gone".into());
        let result = if status == 200 {
            Ok(Answer::ok(&origin(&app, &request).trace.to_string()))
        } else {
            Err(failed.into())
        };
        respond(&app, &request, result)
    };
    attend(app.clone(), request, handle).await.1
}

#[tokio::test]
async fn a_call_is_one_line_with_its_metrics() {
    let app = app().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let called = call(&app, &[("traceparent", &parent)], 200).await;
    let line: Value = serde_json::from_str(&called.document(&app, "inkwire-send")).unwrap();
    let expected = serde_json::json!({
        "_aws": {
            "Timestamp": NOW.unix_ms(),
            "CloudWatchMetrics": [{
                "Namespace": "Inkwire",
                "Dimensions": [["function"]],
                "Metrics": [{ "Name": "stored", "Unit": "Count" }],
            }],
        },
        "function": "inkwire-send", "stored": 1,
        "timestamp": NOW.rfc3339(), "level": "INFO", "message": "call",
        "request_id": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "trace_id": trace,
        "method": "POST", "route": "/messages", "status": 200, "duration_ms": 0,
        "message_id": MessageId::mint(NOW, 1).to_string(), "duplicate": false,
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_failure_says_why_and_is_counted_and_a_call_has_a_trace_of_its_own() {
    let app = app().await;
    let failed = call(&app, &[], 503).await;
    let line: Value = serde_json::from_str(&failed.document(&app, "f")).unwrap();
    assert_eq!((&line["level"], &line["code"]), (&"ERROR".into(), &"unavailable".into()));
    assert_eq!(line["cause"], "the store is unavailable: the table is gone");
    assert_eq!((&line["failures"], &line["stored"]), (&1.into(), &1.into()));
    assert_eq!(line["trace_id"], "c6af9ac67b6111e69a4193e8deadbeef", "the request's id");
    let lost = call(&app, &[("traceparent", "secret")], 200).await;
    let line = lost.document(&app, "f");
    assert!(
        line.contains("c6af9ac67b6111e69a4193e8deadbeef") && !line.contains("secret"),
        "{line}"
    );
}
