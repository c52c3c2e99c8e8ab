use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use model::{MessageId, MessageText};
use protocol::http::Query;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::backoff::Backoff;
use crate::transport::{ByteStream, Call, CallError, RawAnswer, Transport};
use crate::{Token, TokenSource};

const BASE_MS: u64 = 1_800_000_000_000;

fn channel(n: u128) -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(BASE_MS), n)
}

/// A transport that answers as the functions and the store do.
#[derive(Debug)]
struct Server {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stored: BTreeMap<ChannelId, BTreeMap<MessageId, Message>>,
    minted: u128,
    late: Option<LateArrivals>,
    lines: Vec<String>,
    at_once: usize,
    most_at_once: usize,
    down_until: Option<Instant>,
    /// Behaves as an old server, which ignores the `known` parameter.
    ignores_known: bool,
    /// Does not have the changes after any offset any more.
    has_lost_changes: bool,
}

impl Server {
    fn new(channels: u128) -> Arc<Self> {
        let stored = (0..channels).map(|n| (channel(n), BTreeMap::new())).collect();
        let state = Mutex::new(State { stored, ..State::default() });
        Arc::new(Self { began: Instant::now(), state })
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_unix_ms(BASE_MS).plus(self.began.elapsed())
    }

    /// Stores a message whose id is `age` old.
    fn store(&self, channel: &ChannelId, age: Duration) -> Message {
        let mut state = self.state.lock();
        state.minted += 1;
        let id = MessageId::mint(self.time().minus(age), state.minted * 7_919);
        let message = Message::new(
            id,
            channel.clone(),
            "alice".parse().unwrap(),
            MessageText::from_stored("x".into()),
        );
        state.stored.get_mut(channel).unwrap().insert(id, message.clone());
        message
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().lines)
    }

    fn answer(&self, path: &str) -> (u16, Value) {
        let mut state = self.state.lock();
        state.lines.push(path.to_owned());
        if state.down_until.is_some_and(|until| Instant::now() < until) {
            return (503, json!({ "code": "unavailable", "status": 503, "retryable": true }));
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Query::parse(Some(query));
        let object = |id: &ChannelId| {
            let late = state
                .late
                .map(|late| json!({ "reread_from": late.reread_from.to_string(), "until": late.until.rfc3339() }));
            json!({
                "channel_id": id.as_str(), "workspace_id": "demo", "type": "GROUP_CHANNEL",
                "name": "general", "contract": "persist_first",
                "created_at": self.time().rfc3339(), "created_by": "alice", "members_version": 1,
                "late": late,
            })
        };
        match path {
            "/channels" => {
                let channels: Vec<Value> = state.stored.keys().map(object).collect();
                (200, json!({ "channels": channels, "next_offset": null }))
            }
            "/scroll" => scroll(&state, &query),
            _ => {
                let id = path.trim_start_matches("/channels/").parse().unwrap();
                (200, object(&id))
            }
        }
    }
}

/// The answer of `GET /scroll`.
fn scroll(state: &State, query: &Query) -> (u16, Value) {
    let Some(stored) = state.stored.get(&query.channel_id().unwrap()) else {
        return (404, json!({ "code": "channel_not_found", "status": 404, "retryable": false }));
    };
    let limit = query.limit(20).unwrap() as usize;
    let (offset, direction) = (query.message_offset().unwrap(), query.direction().unwrap());
    let mut page: Vec<&Message> = match direction {
        Direction::Older => stored.values().rev().collect(),
        Direction::Newer => stored.values().filter(|message| Some(message.id) > offset).collect(),
    };
    let known = query.known(direction).unwrap().filter(|_| !state.ignores_known);
    if let Some(known) = known {
        let mut scan = known.scan(offset);
        page.retain(|message| !scan.has(&message.rev));
    }
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|message| message.id.to_string());
    let complete = (direction == Direction::Newer).then_some(!state.has_lost_changes);
    (200, json!({ "messages": page, "next_offset": next, "complete": complete }))
}

#[derive(Debug)]
struct ServerTransport(Arc<Server>);

#[async_trait]
impl Transport for ServerTransport {
    async fn call(&self, call: Call) -> Result<RawAnswer, CallError> {
        let count = |by: isize| {
            let mut state = self.0.state.lock();
            state.at_once = state.at_once.saturating_add_signed(by);
            state.most_at_once = state.most_at_once.max(state.at_once);
        };
        count(1);
        sleep(Duration::from_millis(20)).await;
        let (status, body) = self.0.answer(&call.path);
        count(-1);
        Ok(RawAnswer { status, headers: HeaderMap::new(), body: body.to_string().into_bytes() })
    }

    async fn dial(&self, _: &str) -> io::Result<Box<dyn ByteStream>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Timestamp {
        self.0.time()
    }

    fn random(&self) -> u128 {
        7
    }
}

/// A client without a socket: the test makes the calls that frames would cause.
struct Device {
    server: Arc<Server>,
    shared: Shared,
    events: mpsc::Receiver<Event>,
    /// How many rows the catch-ups read, and how many of those were known.
    rows: (u64, u64),
}

impl Device {
    fn of(server: &Arc<Server>) -> Self {
        let transport = Arc::new(ServerTransport(Arc::clone(server)));
        let api = Api::over(transport, "test", TokenSource::Fixed(Token::new("t")));
        let (tx, events) = mpsc::channel(100_000);
        let shared = Shared {
            is_saved: false,
            gots: Arc::default(),
            keeping: Arc::default(),
            api,
            inbox: Arc::new(Mutex::new(Inbox::new(100_000))),
            events: tx,
            first_visit_messages: 20,
            retrier: Retrier::new(Backoff::seeded(1)),
            node_clock: Arc::default(),
        };
        shared.learn_node_clock(server.time());
        Self { server: Arc::clone(server), shared, events, rows: (0, 0) }
    }

    fn push(&self, message: &Message) {
        self.shared.inbox().upsert(message.clone());
    }

    fn tick(&self) {
        self.shared.learn_node_clock(self.server.time());
        let mut inbox = self.shared.inbox();
        inbox.record_in_step(self.server.time());
    }

    /// Opens a gap and catches up. Returns whether no gap is left.
    async fn catch_up(&mut self, gap: Option<&[ChannelId]>) -> bool {
        self.shared.inbox().open_gap(gap, self.shared.node_now());
        self.shared.clone().catch_up().await.unwrap();
        self.drain_events()
    }

    /// Counts the rows that were read. Returns whether no gap is left.
    fn drain_events(&mut self) -> bool {
        let mut caught_up = false;
        while let Ok(event) = self.events.try_recv() {
            caught_up |= matches!(event, Event::CaughtUp { .. });
            if let Event::Message { source: Source::CaughtUp, fresh, .. } = event {
                self.rows.0 += 1;
                self.rows.1 += u64::from(!fresh);
            }
        }
        caught_up
    }

    fn assert_complete(&self) {
        let state = self.server.state.lock();
        let inbox = self.shared.inbox();
        for (channel, stored) in &state.stored {
            let here = inbox.timeline(channel).map(|timeline| timeline.ids()).unwrap_or_default();
            let stored: Vec<_> = stored.keys().copied().collect();
            assert_eq!(here, stored, "{channel}");
        }
    }
}

/// Draws a number evenly, the same in each run.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Simulates ten minutes in 12 channels, busy and quiet ones. Every 40 s on average the socket is
/// cut or the node sends `resync`, and messages of the two seconds before were not pushed. Returns
/// the share of already known rows among those that the catch-ups read, in percent.
async fn known_share(ignores_known: bool) -> f64 {
    let server = Server::new(12);
    server.state.lock().ignores_known = ignores_known;
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    let (mut seed, mut next_gap, mut gaps) = (7, 30_000, 0);
    let mut held: Vec<Message> = Vec::new();
    for step in 0..6_000_u64 {
        sleep(Duration::from_millis(100)).await;
        for n in 0..12 {
            // From three messages a second to less than one in ten minutes.
            if draw(&mut seed, 10_000) < 3_000 >> n {
                let age = Duration::from_millis(draw(&mut seed, 300));
                let message = server.store(&channel(n), age);
                // Messages of the last two seconds before a gap are not pushed.
                if step * 100 + 2_000 < next_gap {
                    device.push(&message)
                } else {
                    held.push(message)
                }
            }
        }
        if step % 150 == 0 && step * 100 + 2_000 < next_gap {
            device.tick();
        }
        if step * 100 >= next_gap {
            gaps += 1;
            next_gap += 20_000 + draw(&mut seed, 40_000);
            held.clear();
            let named: Vec<_> = (0..12).map(channel).collect();
            let gap = if gaps % 3 == 0 { Some(named.as_slice()) } else { None };
            assert!(device.catch_up(gap).await);
            device.assert_complete();
        }
    }
    let (rows, known) = device.rows;
    let share = known as f64 * 100.0 / rows as f64;
    println!("figure: {gaps} catch-ups, {rows} rows read, {known} known: {share:.1} %");
    assert!(gaps >= 12 && rows > 150);
    share
}

#[tokio::test(start_paused = true)]
async fn a_catch_up_reads_only_new_rows() {
    let share = known_share(false).await;
    assert!(share < 0.1, "{share:.1} % of the rows were known");
}

#[tokio::test(start_paused = true)]
async fn an_old_server_returns_known_messages_and_none_is_lost() {
    assert!(known_share(true).await > 30.0);
}

#[tokio::test(start_paused = true)]
async fn four_channels_are_read_at_once() {
    let server = Server::new(40);
    for n in 0..40 {
        server.store(&channel(n), Duration::ZERO);
    }
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    device.assert_complete();
    assert_eq!(server.state.lock().most_at_once, limits::CLIENT_READS_MAX);
    assert_eq!(server.lines().len(), 41);
}

#[tokio::test(start_paused = true)]
async fn only_one_read_at_a_time_is_tried_while_the_server_is_down() {
    let server = Server::new(40);
    for n in 0..40 {
        server.store(&channel(n), Duration::ZERO);
    }
    let mut device = Device::of(&server);
    let down_until = Instant::now() + Duration::from_secs(120);
    sleep(Duration::from_millis(1)).await;
    let failing = Arc::clone(&server);
    tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        failing.state.lock().down_until = Some(down_until);
    });
    assert!(device.catch_up(None).await);
    device.assert_complete();
    let calls = server.lines().len();
    println!("figure: {calls} calls for 41 answers through 120 s of 503");
    // 41 answers, 4 calls that were under way, and a probe about every 15 s on average.
    assert!(calls < 41 + 4 + 20, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_one_channel_reads_only_that_channel() {
    let server = Server::new(5);
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    server.lines();
    let missed = server.store(&channel(3), Duration::ZERO);
    assert!(device.catch_up(Some(&[channel(3)])).await);
    let lines = server.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("/scroll?channel_id={}", channel(3))), "{lines:?}");
    let inbox = device.shared.inbox();
    assert!(inbox.timeline(channel(3)).unwrap().ids().contains(&missed.id));
}

#[tokio::test(start_paused = true)]
async fn the_late_mark_is_read_if_it_could_matter() {
    let server = Server::new(2);
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    // An hour passes: the last catch-up is long ago, and the client has been in step since.
    sleep(Duration::from_secs(1_800)).await;
    let late = server.store(&channel(1), Duration::ZERO);
    sleep(Duration::from_secs(1_800)).await;
    device.tick();
    let at = server.time().plus(limits::LATE_AHEAD);
    server.state.lock().late = Some(LateArrivals { reread_from: late.id, until: at });
    server.lines();
    assert!(device.catch_up(Some(&[channel(1)])).await);
    let lines = server.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], format!("/channels/{}", channel(1)));
    let inbox = device.shared.inbox();
    assert!(inbox.timeline(channel(1)).unwrap().ids().contains(&late.id));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_catch_up_continues_where_it_stopped() {
    let server = Server::new(30);
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    for n in 0..30 {
        for _ in 0..150 {
            server.store(&channel(n), Duration::ZERO);
        }
    }
    device.shared.inbox().open_gap(None, device.shared.node_now());
    let mut cuts = 0;
    loop {
        let catch_up = device.shared.clone().catch_up();
        match tokio::time::timeout(Duration::from_millis(90), catch_up).await {
            Ok(read) => break read.unwrap(),
            Err(_) => cuts += 1,
        }
        assert!(cuts < 100, "the catch-up never ends");
    }
    device.assert_complete();
    assert!(device.drain_events());
    let (rows, known) = device.rows;
    println!("figure: interrupted {cuts} times, {rows} rows read, {known} known");
    assert!(cuts > 3 && known * 10 < rows, "{cuts} cuts, {known} of {rows} rows were known");
}

#[tokio::test(start_paused = true)]
async fn g11_if_changes_are_lost_the_older_copies_are_forgotten() {
    let server = Server::new(1);
    let old = server.store(&channel(0), Duration::ZERO);
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    device.tick();
    sleep(Duration::from_secs(40 * 86_400)).await;
    let new = server.store(&channel(0), Duration::ZERO);
    for (has_lost_changes, here) in [(false, vec![old.id, new.id]), (true, vec![new.id])] {
        server.state.lock().has_lost_changes = has_lost_changes;
        assert!(device.catch_up(None).await);
        let ids = device.shared.inbox().timeline(channel(0)).unwrap().ids();
        assert_eq!(ids, here, "{has_lost_changes}");
    }
    // They are not refused when the history is read.
    device.push(&old);
    device.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn g11_what_a_reading_brought_is_not_forgotten_on_its_next_page() {
    let server = Server::new(1);
    let old = server.store(&channel(0), Duration::ZERO);
    let mut device = Device::of(&server);
    assert!(device.catch_up(None).await);
    sleep(Duration::from_secs(3_600)).await;
    device.tick();
    sleep(Duration::from_secs(40 * 86_400)).await;
    for _ in 0..250 {
        server.store(&channel(0), Duration::ZERO);
    }
    server.state.lock().has_lost_changes = true;
    assert!(device.catch_up(None).await);
    let ids = device.shared.inbox().timeline(channel(0)).unwrap().ids();
    assert!(!ids.contains(&old.id));
    assert_eq!(ids.len(), 250);
}
