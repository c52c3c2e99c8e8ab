use std::sync::atomic::{AtomicUsize, Ordering};

use model::{ChannelId, Message, MessageId, limits};
use protocol::client_frame::ClientFrame;
use protocol::frame::ServerFrame;
use serde_json::json;

use super::*;
use crate::fake_server::{
    FakeServer, Request, assignment, at, event, general, message, page, problem, ready,
    until_caught_up,
};
use crate::{Source, TokenSource};

mod moving;

fn is_ready(event: &Event) -> bool {
    matches!(event, Event::Ready { .. })
}

fn is_message(event: &Event) -> bool {
    matches!(event, Event::Message { .. })
}

fn tick(cursor: &str) -> ServerFrame {
    ServerFrame::Tick { cursor: cursor.into(), server_time: at(0), fresh: true, every: None }
}

/// Answers `GET /scroll` with pages of two messages from a history.
fn scroll(call: &Request, history: &[Message]) -> Option<(u16, serde_json::Value)> {
    let query = call.line.strip_prefix("GET /scroll?")?;
    let offset = query.split('&').find_map(|pair| pair.strip_prefix("offset="));
    let offset: Option<MessageId> = offset.map(|offset| offset.parse().unwrap());
    if query.contains("direction=older") {
        let newest: Vec<_> = history.iter().rev().take(2).cloned().collect();
        return Some(page(&newest, None));
    }
    let newer = history.iter().filter(|message| Some(message.id) > offset);
    let newer: Vec<_> = newer.take(2).cloned().collect();
    Some(page(&newer, newer.last().map(|message| message.id)))
}

#[tokio::test]
async fn a_first_visit_reads_the_newest_page_and_pushes_follow() {
    let history: Vec<_> = (1..=5).map(message).collect();
    let mut fake = FakeServer::start(move |call| scroll(call, &history)).await;
    let (client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    assert_eq!((peer.hello.ticket.as_str(), &peer.hello.cursor), ("ticket", &None));
    assert_eq!(until_caught_up(&mut events).await, [message(4).id, message(5).id]);

    peer.push("c2", &message(6)).await;
    peer.push("c3", &message(6)).await;
    let first = event(&mut events, is_message).await;
    assert!(matches!(first, Event::Message { source: Source::Pushed, fresh: true, .. }));
    let second = event(&mut events, is_message).await;
    assert!(matches!(second, Event::Message { source: Source::Pushed, fresh: false, .. }));
    assert_eq!(client.timeline(general()).ids(), [4, 5, 6].map(|ms| message(ms).id));
    assert_eq!(client.node_id().unwrap().as_str(), "N1");
}

#[tokio::test]
async fn a_broken_socket_reports_its_node_and_resumes_with_the_cursor() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    peer.send(&tick("c2")).await;
    event(&mut events, |event| matches!(event, Event::Tick { .. })).await;
    drop(peer);
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 })).await;
    let peer = fake.accept_ready("c2", true).await;
    assert_eq!(peer.hello.cursor.as_deref(), Some("c2"));
    let ready = event(&mut events, is_ready).await;
    assert!(matches!(ready, Event::Ready { resumed: true, after: Some(_), .. }), "{ready:?}");
    assert_eq!(fake.lines("GET /connect"), ["GET /connect", "GET /connect?failed=N1"]);
    assert_eq!(client.cursor().as_deref(), Some("c2"));

    client.cut();
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 })).await;
    fake.accept_ready("c2", true).await;
    event(&mut events, is_ready).await;
}

#[tokio::test]
async fn without_a_resume_messages_are_read_from_the_last_catch_up_to_the_end() {
    let history: Vec<_> = (1..=7).map(message).collect();
    let mut fake = FakeServer::start(move |call| scroll(call, &history)).await;
    let (client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    peer.close(1012).await;

    let mut peer = fake.accept_ready("c9", false).await;
    event(&mut events, is_ready).await;
    peer.push("c10", &message(90)).await;
    let mut fresh = until_caught_up(&mut events).await;
    if fresh.len() == 5 {
        let Event::Message { message, .. } = event(&mut events, is_message).await else { panic!() };
        fresh.push(message.id);
    }
    fresh.sort();
    assert_eq!(fresh, [1, 2, 3, 4, 5, 90].map(|ms| message(ms).id));
    // Nothing stored before the first catch-up can be missing, however old the newest message is.
    let newer: Vec<_> =
        fake.lines("GET /scroll").into_iter().filter(|line| line.contains("newer")).collect();
    let (_, offset) = newer[0].rsplit_once("&offset=").unwrap();
    let offset: MessageId = offset.parse().unwrap();
    let verified = at(0).minus(limits::VERIFIED_OVERLAP);
    let late = offset.time().since(verified);
    assert!(offset.time() >= verified && late < Duration::from_secs(20), "{newer:?}");
    // Four pages with messages, and an empty one that ends the catch-up.
    assert_eq!(newer.len(), 5);
    assert!(!client.inbox().has_gap());
}

#[tokio::test]
async fn a_gap_left_open_by_a_lost_socket_is_read_after_the_next_ready() {
    let scrolls = AtomicUsize::new(0);
    let mut fake = FakeServer::start(move |call| {
        let first =
            call.line.starts_with("GET /scroll") && scrolls.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Some(problem(503, "unavailable")) } else { scroll(call, &[message(1)]) }
    })
    .await;
    let (client, mut events) = Client::start(Config {
        // The wait after the catch-up's first failure outlasts the socket.
        backoff: Backoff::seeded(1).with_windows(Duration::from_secs(2), Duration::from_secs(2)),
        ..fake.config()
    });
    let peer = fake.accept_ready("c1", false).await;
    event(&mut events, is_ready).await;
    while fake.lines("GET /scroll").is_empty() {
        tokio::task::yield_now().await;
    }
    drop(peer);
    let _peer = fake.accept_ready("c1", true).await;
    assert_eq!(until_caught_up(&mut events).await, [message(1).id]);
    assert!(!client.inbox().has_gap());
}

#[tokio::test]
async fn g11_no_catch_up_starts_before_the_node_says_whether_it_resumed() {
    let mut fake = FakeServer::start(move |call| scroll(call, &[message(1)])).await;
    let (client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    peer.send(&resync(200, &[general()])).await;
    event(&mut events, |event| matches!(event, Event::Resync { .. })).await;
    drop(peer);
    let mut peer = fake.accept().await;
    let before = fake.lines("GET /scroll").len();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // It would prove that channels are in step of which this socket will say that they are not.
    assert_eq!(fake.lines("GET /scroll").len(), before);
    assert!(client.inbox().has_gap());
    peer.send(&ready("c2", false)).await;
    until_caught_up(&mut events).await;
    assert!(!client.inbox().has_gap());
}

#[tokio::test]
async fn a_resync_waits_for_its_delay_and_catches_up() {
    let mut fake = FakeServer::start(|call| scroll(call, &[message(1)])).await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    let started_at = Instant::now();
    peer.send(&ServerFrame::Resync { reason: "hole".into(), delay_ms: 60, channels: None }).await;
    event(&mut events, |event| matches!(event, Event::Resync { .. })).await;
    until_caught_up(&mut events).await;
    assert!(started_at.elapsed() >= Duration::from_millis(60));
    assert_eq!(fake.lines("GET /connect").len(), 1);
}

fn channel_object(id: &ChannelId) -> serde_json::Value {
    json!({
        "channel_id": id.as_str(), "workspace_id": "demo", "type": "GROUP_CHANNEL",
        "name": "general", "contract": "persist_first", "created_at": at(0).rfc3339(),
        "created_by": "alice", "members_version": 1, "late": null,
    })
}

/// Answers `GET /channels` with two channels.
fn two_channels(call: &Request) -> Option<(u16, serde_json::Value)> {
    let channels = [general(), other()].map(|id| channel_object(&id));
    call.line
        .starts_with("GET /channels?")
        .then(|| (200, json!({ "next_offset": null, "channels": channels })))
}

fn other() -> ChannelId {
    ChannelId::mint_group(at(0), 2)
}

fn resync(delay_ms: u64, channels: &[ChannelId]) -> ServerFrame {
    let channels = (!channels.is_empty()).then(|| channels.to_vec());
    ServerFrame::Resync { reason: "hole".into(), delay_ms, channels }
}

#[tokio::test]
async fn a_resync_reads_the_channels_that_it_names() {
    let mut fake = FakeServer::start(two_channels).await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    let calls = fake.calls().len();
    peer.send(&resync(0, &[other()])).await;
    until_caught_up(&mut events).await;
    let lines: Vec<_> = fake.calls().split_off(calls).into_iter().map(|call| call.line).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("GET /scroll?channel_id={}", other())), "{lines:?}");
}

#[tokio::test]
async fn pending_resyncs_merge_and_all_channels_include_named_ones() {
    let mut fake = FakeServer::start(two_channels).await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    for (frames, list) in [
        ([resync(150, &[other()]), resync(100, &[general()])], 0),
        ([resync(150, &[other()]), resync(100, &[])], 1),
    ] {
        let calls = fake.calls().len();
        let started_at = Instant::now();
        for frame in frames {
            peer.send(&frame).await;
        }
        until_caught_up(&mut events).await;
        assert!(started_at.elapsed() >= Duration::from_millis(150));
        let lines: Vec<_> =
            fake.calls().split_off(calls).into_iter().map(|call| call.line).collect();
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        let found = (count("GET /channels?"), count("GET /scroll"), lines.len());
        assert_eq!(found, (list, 2, 2 + list), "{lines:?}");
    }
}

#[tokio::test]
async fn a_busy_node_is_avoided_for_the_delay_it_asks_for_and_not_reported() {
    let mut fake = FakeServer::start(|_| None).await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    let started_at = Instant::now();
    peer.close_because(1013, "delay_ms=300").await;
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1013 })).await;
    let peer = fake.accept_ready("c1", true).await;
    assert!(started_at.elapsed() >= Duration::from_millis(300));
    assert_eq!(peer.hello.cursor.as_deref(), Some("c1"));
    assert_eq!(fake.lines("GET /connect"), ["GET /connect", "GET /connect"]);
}

#[tokio::test]
async fn the_silence_timeout_follows_the_nodes_tick_interval() {
    let mut fake = FakeServer::start(|_| None).await;
    let silence_max = Duration::from_millis(50);
    let (_client, mut events) = Client::start(Config { silence_max, ..fake.config() });
    let mut peer = fake.accept_ready("c1", false).await;
    let tick = |every| ServerFrame::Tick {
        cursor: "c1".into(),
        server_time: at(0),
        fresh: true,
        every: Some(Duration::from_millis(every)),
    };
    peer.send(&tick(400)).await;
    event(&mut events, |event| matches!(event, Event::Tick { .. })).await;
    let heard_at = Instant::now();
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 })).await;
    assert!(heard_at.elapsed() >= Duration::from_millis(550), "{:?}", heard_at.elapsed());
}

#[tokio::test]
async fn code_4401_fetches_a_fresh_token_and_4403_stops_the_client() {
    let mut fake = FakeServer::start(|call| {
        (call.line == "POST /dev/token").then(|| {
            static TOKENS: AtomicUsize = AtomicUsize::new(1);
            (200, json!({ "token": format!("t{}", TOKENS.fetch_add(1, Ordering::Relaxed)) }))
        })
    })
    .await;
    let user = crate::DevUser::new("demo".parse().unwrap(), "bob".parse().unwrap());
    let api = Api::new(&fake.base_url, TokenSource::Dev(user)).unwrap();
    let (_client, mut events) = Client::start(Config { api, ..fake.config() });
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    peer.close(4401).await;
    let mut peer = fake.accept_ready("c1", true).await;
    event(&mut events, is_ready).await;
    let connects: Vec<_> =
        fake.calls().into_iter().filter(|call| call.line.starts_with("GET /connect")).collect();
    assert_eq!(connects[0].token, "Bearer t1");
    assert_eq!(
        (connects[1].token.as_str(), connects[1].line.as_str()),
        ("Bearer t2", "GET /connect")
    );

    peer.close(4403).await;
    let stopped = event(&mut events, |event| matches!(event, Event::Stopped { .. })).await;
    let Event::Stopped { reason } = stopped else { panic!() };
    assert_eq!(reason.to_string(), "the node closed the socket: 4403 (revoked)");
}

#[tokio::test]
async fn an_unreachable_node_is_reported() {
    let mut fake = FakeServer::start(|call| {
        let mut dead = assignment("ws://127.0.0.1:1/ws");
        dead["node_id"] = json!("N0");
        (call.line == "GET /connect").then_some((200, dead))
    })
    .await;
    let (_client, mut events) = fake.client();
    let _peer = fake.accept_ready("c1", false).await;
    event(&mut events, is_ready).await;
    assert_eq!(fake.lines("GET /connect"), ["GET /connect", "GET /connect?failed=N0"]);
}

#[tokio::test]
async fn a_node_url_with_another_scheme_stops_the_client() {
    let fake = FakeServer::start(|call| {
        call.line.starts_with("GET /connect").then(|| (200, assignment("ftp://127.0.0.1:1/ws")))
    })
    .await;
    let (_client, mut events) = fake.client();
    let stopped = event(&mut events, |event| matches!(event, Event::Stopped { .. })).await;
    assert!(matches!(stopped, Event::Stopped { reason: crate::StopReason::BadUrl }), "{stopped:?}");
}

#[tokio::test]
async fn a_silent_socket_counts_as_lost() {
    let mut fake = FakeServer::start(|_| None).await;
    let silence_max = Duration::from_millis(50);
    let (_client, mut events) = Client::start(Config { silence_max, ..fake.config() });
    let _peer = fake.accept_ready("c1", false).await;
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 })).await;
    fake.accept_ready("c1", true).await;
}

#[tokio::test]
async fn a_socket_that_takes_no_more_bytes_counts_as_lost() {
    let mut fake = FakeServer::start(|_| None).await;
    let silence_max = Duration::from_secs(1);
    let (client, mut events) = Client::start(Config { silence_max, ..fake.config() });
    let mut peer = fake.accept().await;
    let ServerFrame::Ready(ready) = ready("c1", true) else { panic!() };
    let accepts = vec!["send".to_owned()];
    peer.send(&ServerFrame::Ready(protocol::frame::Ready { accepts, ..ready })).await;
    event(&mut events, is_ready).await;
    // The node reads nothing, so the buffers on the way fill up.
    let long = MessageText::from_stored("x".repeat(1 << 18));
    let channel = general();
    let says = (0..64).map(|_| client.say(&channel, long.clone()));
    let says = futures_util::future::join_all(says);
    let lost = event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 }));
    let (said, _) = tokio::join!(says, lost);
    assert!(said.iter().all(Result::is_err), "{said:?}");
    drop(peer);
}

#[tokio::test]
async fn an_offline_client_makes_no_calls_until_it_is_online() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let _peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    client.go_offline();
    event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 })).await;
    assert_eq!(client.node_id(), None);
    let calls = fake.calls().len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fake.calls().len(), calls);
    client.go_online();
    fake.accept_ready("c1", true).await;
    event(&mut events, is_ready).await;
}

#[tokio::test]
async fn a_paused_socket_is_not_read_and_does_not_count_as_silent() {
    let mut fake = FakeServer::start(|_| None).await;
    let silence_max = Duration::from_millis(400);
    let (client, mut events) = Client::start(Config { silence_max, ..fake.config() });
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    client.pause_reading();
    for ms in 1..=3 {
        peer.push("c2", &message(ms)).await;
    }
    tokio::time::sleep(silence_max * 2).await;
    // One frame may have been received before the client paused.
    assert!(client.timeline(general()).len() <= 1);
    client.resume_reading();
    for _ in 1..=3 {
        let next = event(&mut events, |_| true).await;
        assert!(is_message(&next), "{next:?}");
    }
}

#[tokio::test]
async fn a_silent_socket_counts_as_lost_however_often_its_reading_is_paused() {
    let mut fake = FakeServer::start(|_| None).await;
    let config = Config { silence_max: Duration::from_millis(300), ..fake.config() };
    let (client, mut events) = Client::start(config);
    let _silent = fake.accept().await;
    let pauses = async {
        loop {
            client.pause_reading();
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.resume_reading();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let lost = event(&mut events, |event| matches!(event, Event::Disconnected { code: 1006 }));
    tokio::select! {
        () = pauses => {}
        _ = lost => {}
    }
}

#[tokio::test]
async fn an_event_queue_of_one_slows_a_catch_up_and_loses_nothing() {
    let history: Vec<_> = (1..=9).map(message).collect();
    let mut fake = FakeServer::start(move |call| scroll(call, &history)).await;
    let (client, mut events) = Client::start(Config { events_max: 1, ..fake.config() });
    let mut peer = fake.accept_ready("c1", false).await;
    until_caught_up(&mut events).await;
    peer.send(&ServerFrame::Resync { reason: "hole".into(), delay_ms: 0, channels: None }).await;
    for ms in 20..40 {
        peer.push("c", &message(ms)).await;
    }
    until_caught_up(&mut events).await;
    while client.timeline(general()).len() < 29 {
        event(&mut events, is_message).await;
    }
}

#[tokio::test]
async fn a_client_without_handles_stops() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, mut events) = fake.client();
    let _peer = fake.accept_ready("c1", false).await;
    event(&mut events, is_ready).await;
    drop(client);
    event(&mut events, |event| matches!(event, Event::Stopped { .. })).await;
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn messages_stored_before_the_start_are_never_fresh_and_later_ones_always_are() {
    let stored = Arc::new(Mutex::new(vec![message(2), message(3), message(4)]));
    let history = Arc::clone(&stored);
    let mut fake = FakeServer::start(move |call| {
        let history = history.lock();
        let older = call.line.contains("direction=older");
        let offset = call.line.split("offset=").nth(1).map(|offset| offset.parse().unwrap());
        let is_beyond =
            |id: MessageId| offset.is_none_or(|at| if older { id < at } else { id > at });
        let mut found: Vec<_> = history.iter().filter(|one| is_beyond(one.id)).cloned().collect();
        if older {
            found.reverse();
        }
        // One message a page, so that reading the existing messages takes several pages.
        let has_more = found.len() > 1;
        found.truncate(1);
        let next = found.last().filter(|_| has_more).map(|one| one.id);
        call.line.starts_with("GET /scroll").then(|| page(&found, next))
    })
    .await;
    let start = Config::from_now(fake.api()).await.unwrap();
    let (client, mut events) = Client::start(Config { backoff: fake.config().backoff, ..start });
    // Stored after the start and before the socket is open, with an id older than the start.
    stored.lock().insert(0, message(1));
    let mut peer = fake.accept_ready("c1", false).await;
    assert_eq!(until_caught_up(&mut events).await, [message(1).id]);
    peer.push("c2", &message(5)).await;
    event(&mut events, is_message).await;
    stored.lock().extend([message(5), message(6)]);
    drop(peer);
    let _peer = fake.accept_ready("c3", false).await;
    assert_eq!(until_caught_up(&mut events).await, [message(6).id]);
    assert_eq!(client.timeline(general()).len(), 6);
}

#[tokio::test]
async fn an_environment_that_is_down_fails_the_start() {
    let fake = FakeServer::start(|_| Some(problem(503, "unavailable"))).await;
    let error = Config::from_now(fake.api()).await.unwrap_err();
    assert_eq!(error.status(), Some(503));
}

#[tokio::test]
async fn a_client_says_what_it_has_of_channels_that_deliver_first_and_of_no_others() {
    let mut fake = FakeServer::start(|call| {
        let (status, mut channels) = two_channels(call)?;
        channels["channels"][0]["contract"] = json!("deliver_first");
        Some((status, channels))
    })
    .await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_answering("c1", false, &["got"]).await;
    until_caught_up(&mut events).await;
    let in_other = |ms| Message { channel_id: other(), ..message(ms) };
    for ms in 1..=3 {
        peer.push("c2", &in_other(ms)).await;
        peer.push("c2", &message(ms)).await;
    }
    let got = |ms| ClientFrame::Got { channel_id: general(), up_to: message(ms).id };
    let mut frames = vec![peer.next().await];
    while frames.last() != Some(&got(3)) {
        frames.push(peer.next().await);
    }
    assert!(frames.len() <= 2, "{frames:?}");
    let started_at = Instant::now();
    for ms in 4..=9 {
        peer.push("c3", &message(ms)).await;
    }
    assert_eq!(peer.next().await, got(9));
    assert!(started_at.elapsed() >= Duration::from_millis(350), "batched");
}

/// A direct message that somebody else has just opened: no list has it yet. Its messages keep coming.
#[tokio::test]
async fn a_client_asks_for_the_contract_of_a_channel_that_a_push_brings() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let line = format!("GET /channels/{}", other());
    let mut fake = FakeServer::start(move |call| {
        call.line.starts_with(&line).then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut channel = channel_object(&other());
            channel["contract"] = json!("deliver_first");
            (200, channel)
        })
    })
    .await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_answering("c1", false, &["got"]).await;
    until_caught_up(&mut events).await;
    let until_it_says_so = async {
        for ms in 1.. {
            peer.push("c2", &Message { channel_id: other(), ..message(ms) }).await;
            let next = tokio::time::timeout(Duration::from_millis(100), peer.next()).await;
            if let Ok(said) = next {
                return said;
            }
        }
        unreachable!("it goes on");
    };
    let said = tokio::time::timeout(Duration::from_secs(10), until_it_says_so).await.unwrap();
    let is_of_it = matches!(&said, ClientFrame::Got { channel_id, .. } if *channel_id == other());
    assert!(is_of_it, "{said:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn nothing_is_said_of_a_channel_with_a_gap_until_it_is_read() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let mut fake = FakeServer::start(move |call| {
        if call.line.starts_with("GET /scroll") {
            // The first catch-up passes, the one of the gap has to be repeated.
            let is_second = counted.fetch_add(1, Ordering::Relaxed) == 1;
            return is_second.then(|| problem(503, "unavailable"));
        }
        let (status, mut channels) = two_channels(call)?;
        channels["channels"][0]["contract"] = json!("deliver_first");
        channels["channels"].as_array_mut().unwrap().truncate(1);
        Some((status, channels))
    })
    .await;
    let (_client, mut events) = fake.client();
    let mut peer = fake.accept_answering("c1", false, &["got"]).await;
    until_caught_up(&mut events).await;
    peer.send(&resync(0, &[general()])).await;
    peer.push("c2", &message(5)).await;
    assert_eq!(peer.next().await, ClientFrame::Got { channel_id: general(), up_to: message(5).id });
    assert_eq!(reads.load(Ordering::Relaxed), 3, "the gap was read before");
}

#[tokio::test]
async fn a_view_is_said_once_on_each_socket() {
    let mut fake = FakeServer::start(|_| None).await;
    let (client, _events) = fake.client();
    let view = View { logs: vec![general().into()], users: Vec::new() };
    client.set_view(view.clone());
    for _ in 0..2 {
        let mut peer = fake.accept_answering("c1", true, &["view", "ping"]).await;
        assert_eq!(peer.next().await, ClientFrame::View(view.clone()));
        client.ping();
        assert_eq!(peer.next().await, ClientFrame::Ping);
    }
}
