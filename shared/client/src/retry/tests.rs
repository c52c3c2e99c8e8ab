use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use model::ErrorCode;
use protocol::http::call::ProblemBody;
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
    well_at: Instant,
    asked: AtomicU32,
    at_once: AtomicU32,
    most_at_once: AtomicU32,
}

impl Server {
    fn new(trouble: Duration) -> Self {
        let counter = AtomicU32::default;
        let well_at = Instant::now() + trouble;
        Self { well_at, asked: counter(), at_once: counter(), most_at_once: counter() }
    }

    async fn read(&self) -> Result<(), ApiError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let is_well = Instant::now() >= self.well_at;
        if is_well { Ok(()) } else { Err(refused(ErrorCode::Unavailable, 1_000)) }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_server_fails_only_one_call_at_a_time_is_tried() {
    let (server, retrier) =
        (Server::new(Duration::from_secs(60)), Retrier::new(Backoff::seeded(1)));
    let alone = {
        let (server, retrier) =
            (Server::new(Duration::from_secs(60)), Retrier::new(Backoff::seeded(1)));
        retrier.run(|| server.read()).await.unwrap();
        server.asked()
    };
    let reads = (0..8).map(|_| retrier.run(|| server.read()));
    assert!(join_all(reads).await.into_iter().all(|read| read.is_ok()));
    // One call retries as if alone; the 7 others fail once and then succeed once.
    let asked = server.asked();
    assert!(asked <= alone + 7 + 7, "{asked}, alone {alone}");
    assert_eq!(server.most_at_once.load(Ordering::Relaxed), 8);
    // The server has recovered, so no call waits.
    let before = Instant::now();
    let reads = (0..8).map(|_| retrier.run(|| server.read()));
    join_all(reads).await;
    assert!(before.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_starts_while_the_server_fails_waits_for_the_probe() {
    let (server, retrier) =
        (Server::new(Duration::from_secs(20)), Retrier::new(Backoff::seeded(1)));
    let first = retrier.run(|| server.read());
    let later = async {
        sleep(Duration::from_secs(1)).await;
        let asked = server.asked();
        let reads = (0..8).map(|_| retrier.run(|| server.read()));
        join_all(reads).await;
        asked
    };
    let (first, _) = tokio::join!(first, later);
    first.unwrap();
    let asked = server.asked();
    assert!(asked < 8 + 20, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_lets_another_call_try() {
    let (server, retrier) = (Server::new(Duration::from_secs(5)), Retrier::new(Backoff::seeded(1)));
    let dropped = tokio::time::timeout(Duration::from_secs(2), retrier.run(|| server.read()));
    assert!(dropped.await.is_err());
    retrier.run(|| server.read()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_retry_fixes_is_returned_at_once() {
    let retrier = Retrier::new(Backoff::seeded(1));
    let asked = AtomicU32::default();
    let read = || async {
        asked.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>(refused(ErrorCode::ChannelNotFound, 0))
    };
    let error = retrier.run(read).await.unwrap_err();
    assert_eq!((error.code(), asked.into_inner()), (Some(ErrorCode::ChannelNotFound), 1));
}
