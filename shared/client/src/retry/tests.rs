use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use model::ErrorCode;
use protocol::http::client::ProblemBody;
use serde_json::json;
use tokio::time::sleep;

use super::*;

fn refused(code: ErrorCode, retry_after_ms: u64) -> ApiError {
    let problem = json!({ "code": code.as_str(), "retry_after_ms": retry_after_ms });
    let problem: ProblemBody = serde_json::from_value(problem).unwrap();
    ApiError::Refused { status: code.status(), problem: Box::new(problem) }
}

/// A server that fails until a given time and counts its calls.
struct Server {
    recovers_at: Instant,
    calls: AtomicU32,
    in_flight: AtomicU32,
    most_in_flight: AtomicU32,
}

impl Server {
    fn new(outage_s: u64) -> Self {
        let counter = AtomicU32::default;
        let recovers_at = Instant::now() + Duration::from_secs(outage_s);
        Self { recovers_at, calls: counter(), in_flight: counter(), most_in_flight: counter() }
    }

    async fn read(&self) -> Result<(), ApiError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let is_up = Instant::now() >= self.recovers_at;
        if is_up { Ok(()) } else { Err(refused(ErrorCode::Unavailable, 1_000)) }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_server_fails_only_one_call_at_a_time_is_tried() {
    let (server, retrier) = (Server::new(60), Retrier::new(Backoff::seeded(1)));
    let alone = {
        let (server, retrier) = (Server::new(60), Retrier::new(Backoff::seeded(1)));
        retrier.run(|| server.read()).await.unwrap();
        server.calls()
    };
    let reads = (0..8).map(|_| retrier.run(|| server.read()));
    assert!(join_all(reads).await.into_iter().all(|read| read.is_ok()));
    // One call retries as if alone; the 7 others fail once and then succeed once.
    let calls = server.calls();
    assert!(calls <= alone + 7 + 7, "{calls}, alone {alone}");
    assert_eq!(server.most_in_flight.load(Ordering::Relaxed), 8);
    // The server has recovered, so no call waits.
    let before = Instant::now();
    let reads = (0..8).map(|_| retrier.run(|| server.read()));
    join_all(reads).await;
    assert!(before.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_starts_while_the_server_fails_waits_for_the_probe() {
    let (server, retrier) = (Server::new(20), Retrier::new(Backoff::seeded(1)));
    let first = retrier.run(|| server.read());
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let reads = (0..8).map(|_| retrier.run(|| server.read()));
        join_all(reads).await
    };
    let (first, _) = tokio::join!(first, later);
    first.unwrap();
    let calls = server.calls();
    assert!(calls < 8 + 20, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_lets_another_call_try() {
    let (server, retrier) = (Server::new(5), Retrier::new(Backoff::seeded(1)));
    let dropped = tokio::time::timeout(Duration::from_secs(2), retrier.run(|| server.read()));
    assert!(dropped.await.is_err());
    retrier.run(|| server.read()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_retry_fixes_is_returned_at_once() {
    let retrier = Retrier::new(Backoff::seeded(1));
    let calls = AtomicU32::default();
    let read = || async {
        calls.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>(refused(ErrorCode::ChannelNotFound, 0))
    };
    let error = retrier.run(read).await.unwrap_err();
    assert_eq!((error.code(), calls.into_inner()), (Some(ErrorCode::ChannelNotFound), 1));
}
