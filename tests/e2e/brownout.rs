//! The functions, behind the local gateway, while the store is down, does not answer or is slow.

use std::sync::Arc;
use std::time::Duration;

use client::RawAnswer;
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Data, StackOptions};
use model::Direction;
use model::{ChannelId, limits};
use tests::cluster::{Cluster, options};
use tests::proxy::http::{Rule, StoreFault, StoreProxy};
use tests::{SOON, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A cluster without nodes whose functions reach the store through a proxy, and one channel.
struct Fixture {
    cluster: Cluster,
    store: StoreProxy,
    channel: ChannelId,
    token: String,
}

impl Fixture {
    async fn start() -> Self {
        let engine = Arc::new(Engine::start(EngineData::Memory).unwrap());
        let store = StoreProxy::start(engine.endpoint(), 7).await;
        let data = Data::Endpoint(store.url().to_owned());
        let stack = StackOptions { nodes: 0, data, engine: Some(engine), ..options() };
        let cluster = Cluster::of(stack, None).await;
        let channel = cluster.group("alice", &[]).await.id;
        let token = cluster.token("alice", 3_600).await;
        Self { cluster, store, channel, token }
    }

    async fn channels(&self) -> (RawAnswer, Duration) {
        let at = Instant::now();
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/channels/{}", self.channel);
        (self.cluster.call("GET", &path, &headers, b"").await, at.elapsed())
    }

    async fn stored(&self) -> usize {
        let api = self.cluster.api("alice");
        let page = api.scroll(&self.channel, None, 100, Direction::Older).await.unwrap();
        page.messages.len()
    }
}

fn retry_after_ms(answer: &RawAnswer) -> u64 {
    let body = answer.json();
    assert_eq!((answer.status, body["code"].as_str()), (503, Some("unavailable")), "{body}");
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    let ms = body["retry_after_ms"].as_u64().unwrap();
    assert_eq!(seconds, ms.div_ceil(1_000));
    ms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_gets_few_calls_and_is_used_again_once_it_is_up() {
    let fixture = Fixture::start().await;
    fixture.store.set(vec![Rule::all(StoreFault::Refuse)]);
    let mut first = Vec::new();
    for _ in 0..limits::CIRCUIT_FAILURES_MAX {
        first.push(retry_after_ms(&fixture.channels().await.0));
    }
    let (asked, began) = (fixture.store.calls("channels", ""), Instant::now());
    let (mut shed, mut waits) = (0_u32, Vec::new());
    while began.elapsed() < Duration::from_secs(6) {
        let (answer, took) = fixture.channels().await;
        shed += u32::from(took < Duration::from_millis(40));
        waits.push(retry_after_ms(&answer));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = fixture.store.calls("channels", "") - asked;
    let calls = waits.len();
    let last = &waits[calls - 20..];
    println!(
        "store down for 6 s: {calls} calls, {shed} answered within 40 ms, {asked} attempts reached \
         the store; Retry-After {first:?} ms at first, {}-{} ms at the end",
        last.iter().min().unwrap(),
        last.iter().max().unwrap()
    );
    // A probe is up to three attempts of the store's client. Six seconds allow at most nine probes.
    assert!(asked <= 27, "{asked}");
    let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap();
    let (base, most) = (ms(limits::RETRY_AFTER.0), ms(limits::RETRY_AFTER.1));
    assert!(last.iter().all(|ms| (most..=2 * most).contains(ms)), "{last:?}");
    assert!(first.iter().take(2).all(|ms| (base..=2 * base).contains(ms)), "{first:?}");
    assert!(last.iter().min() != last.iter().max(), "jittered");

    fixture.store.set(Vec::new());
    let began = Instant::now();
    eventually("the store is used again", SOON, async || fixture.channels().await.0.status == 200)
        .await;
    println!("store up again: calls succeed after {:.1?}", began.elapsed());
    assert!(began.elapsed() < limits::CIRCUIT_OPEN.1 + Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_keeps_no_call_waiting_beyond_its_deadline() {
    let fixture = Arc::new(Fixture::start().await);
    fixture.store.set(vec![Rule::all(StoreFault::Delay(Duration::from_secs(30)))]);
    let mut calls = JoinSet::new();
    for _ in 0..48 {
        let fixture = Arc::clone(&fixture);
        calls.spawn(async move { fixture.channels().await });
    }
    let mut took: Vec<Duration> = Vec::new();
    for (answer, waited) in calls.join_all().await {
        retry_after_ms(&answer);
        took.push(waited);
    }
    took.sort_unstable();
    println!("48 calls at a silent store: answered after {:.1?} to {:.1?}", took[0], took[47]);
    assert!(took[47] < limits::CALL_DEADLINE, "{took:?}");
    // 16 calls run; the others find no free environment.
    assert!(took[31] < limits::SLOT_WAIT_MAX + Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_client_left_before_it_was_started_is_not_executed() {
    let fixture = Fixture::start().await;
    // Keep all environments of `send` busy for a second.
    let slow = Rule::all(StoreFault::Delay(Duration::from_secs(1)));
    fixture.store.set(vec![slow.of(&["BatchGetItem"])]);
    let busy = fixture.store.calls("channels", "BatchGetItem");
    let mut waiting = JoinSet::new();
    for n in 0..16 {
        let (api, channel) = (fixture.cluster.api("alice"), fixture.channel.clone());
        waiting.spawn(async move {
            api.post_message(&channel, &format!("stays {n}"), None, None).await.unwrap();
        });
    }
    eventually("all environments are busy", SOON, async || {
        fixture.store.calls("channels", "BatchGetItem") == busy + 16
    })
    .await;
    for n in 0..40 {
        let body = format!(r#"{{"channel_id":"{}","message":"leaves {n}"}}"#, fixture.channel);
        let request = format!(
            "POST /messages HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            fixture.token,
            body.len()
        );
        let mut client = TcpStream::connect(fixture.cluster.stack.address()).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
    }
    waiting.join_all().await;
    fixture.store.set(Vec::new());
    // This send comes after the waiting ones: the environments are free again.
    let api = fixture.cluster.api("alice");
    api.post_message(&fixture.channel, "last", None, None).await.unwrap();
    assert_eq!(fixture.stored().await, 17, "the waiting sends, and the last one");
}
