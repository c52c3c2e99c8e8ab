//! Many sockets: their node is killed (B), or many of them do not read (F).

use std::pin::pin;
use std::time::Duration;

use client::RawSocket;
use futures_util::stream::{self, StreamExt as _};
use model::{MessageId, limits};
use protocol::frame::ServerFrame;
use tests::crowd::{Crowd, Member};
use tests::process::NodeProcess;
use tests::proxied::{Plan, ProxiedCluster};
use tests::record::Sender;
use tests::redis::{Flavor, RedisServer};
use tests::{eventually, percentile};
use tokio::time::Instant;

use crate::figures::{figure, names, strs};

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_killed_nodes_sockets_resume_elsewhere_without_reading_messages() {
    killed(50, 4, 2, Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_killed_node_with_5000_sockets_costs_five_seconds() {
    for survivors in [1, 2] {
        killed(500, 10, survivors, Duration::from_secs(5)).await;
    }
}

/// Kills a node with `users` × `each` sockets, while `survivors` other nodes run.
async fn killed(users: usize, each: usize, survivors: usize, bar: Duration) {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { nodes: 1, doors: false, ..Plan::on(redis.port()) };
    let mut proxied = ProxiedCluster::start(plan).await;
    let names = names(users);
    // A group is created with at most a hundred members.
    let channel = proxied.group(&strs(&names[..names.len().min(100)])).await;
    let api = proxied.cluster.api(&names[0]);
    for name in names.iter().skip(100) {
        proxied.recorder.change(&api, &channel, name, checker::Change::Add).await;
    }
    let speaker = proxied.sender(&names[0]);
    let crowd = Crowd::gather(&proxied.cluster, &strs(&names), each).await;
    let sockets = users * each;
    speaker.says(&channel, "before").await;
    let heard = |count: usize| crowd.look(|one| one.messages.len() >= count).iter().all(|is| *is);
    eventually("all hear", Duration::from_secs(60), async || heard(1)).await;
    for _ in 0..survivors {
        proxied.add_node().await;
    }
    let before = proxied.node_store.counts();
    let killed_at = Instant::now();
    proxied.nodes[0].process.kill();
    for n in 0..5 {
        speaker.says(&channel, &format!("meanwhile {n}")).await;
    }
    eventually(
        "all clients reconnected and have everything",
        Duration::from_secs(90),
        async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            heard(6)
        },
    )
    .await;
    let back = |one: &Member| one.readies.get(1).map(|(at, _)| *at - killed_at);
    let times: Vec<Duration> = crowd.look(back).into_iter().flatten().collect();
    let unresumed = crowd.look(|one| one.readies.iter().skip(1).filter(|(_, is)| !is).count());
    let unresumed: usize = unresumed.iter().sum();
    let unassigned: u32 = crowd.look(|one| one.unassigned).iter().sum();
    let refused: u32 = crowd.look(|one| one.refused).iter().sum();
    let resyncs: u32 = crowd.look(|one| one.resyncs).iter().sum();
    let calls = |table: &str, operation: &str| {
        let now = proxied.node_store.calls(table, operation);
        let fits = |(of, done): &&(String, String)| {
            of.contains(table) && (operation.is_empty() || done == operation)
        };
        let was: u64 = before.iter().filter(|(of, _)| fits(of)).map(|(_, count)| count).sum();
        now - was
    };
    let (messages, members) = (calls("messages", ""), calls("user_channels", "Query"));
    let (p50, p99, last) =
        (percentile(&times, 50), percentile(&times, 99), percentile(&times, 100));
    figure!(
        "B node killed with {sockets} sockets of {users} users, {survivors} left: resumed after the kill p50 {p50:.1?} \
         p99 {p99:.1?} last {last:.1?} (bar for p99: the lease's end at {:?} and {bar:?}); nodes read \
         messages {messages} times, memberships {members} times; {unresumed} not resumed, {resyncs} \
         resyncs; {unassigned} calls of /connect failed, {refused} sockets were refused; most sockets \
         ready within a second: {}",
        limits::LEASE_TTL,
        peak(&times)
    );
    assert_eq!(times.len(), sockets);
    assert_eq!((messages, unresumed, resyncs), (0, 0, 0));
    // One query per user on each node that they reconnect to.
    let most = (users * survivors) as u64;
    assert!(members <= most, "{members} membership queries for {users} users");
    assert!(p99 <= limits::LEASE_TTL + bar, "{p99:?}");
}

/// The most of these times within one second.
fn peak(times: &[Duration]) -> usize {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let within = |from: usize| {
        let end = sorted[from] + Duration::from_secs(1);
        sorted.partition_point(|at| *at < end) - from
    };
    (0..sorted.len()).map(within).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_slow_readers_cost_the_others_nothing() {
    slow_readers(Readers { users: 10, each: 10, messages: 150, bytes: 1_000, ratio: 5.0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_thousand_slow_readers_cost_the_others_nothing() {
    let readers = Readers { users: 100, each: 10, messages: 1_500, bytes: 2_000, ratio: 1.5 };
    slow_readers(readers).await;
}

struct Readers {
    users: usize,
    each: usize,
    messages: usize,
    bytes: usize,
    ratio: f64,
}

/// Sends the same burst to the same sockets twice. In the second, most sockets do not read.
async fn slow_readers(of: Readers) {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { nodes: 1, doors: false, ..Plan::on(redis.port()) };
    let proxied = ProxiedCluster::start(plan).await;
    let names = names(of.users + 10);
    let channel = proxied.group(&strs(&names[..names.len().min(100)])).await;
    let api = proxied.cluster.api(&names[0]);
    for name in names.iter().skip(100) {
        proxied.recorder.change(&api, &channel, name, checker::Change::Add).await;
    }
    let slow = Crowd::gather(&proxied.cluster, &strs(&names[10..]), of.each).await;
    let others = Crowd::gather(&proxied.cluster, &strs(&names[..10]), 2).await;
    let speaker = proxied.sender(&names[0]);
    let node = &proxied.nodes[0].process;
    burst(&speaker, &channel, "warm", of.messages / 3, of.bytes).await;
    let sound =
        lags(&others, &burst(&speaker, &channel, "sound", of.messages, of.bytes).await).await;
    slow.read(false);
    // A crowd that is reading notices the switch at its next turn.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = node.resident_bytes();
    // A client that is cut off reconnects and is slow again. The median of three bursts counts: if
    // the machine is busy elsewhere for a moment, that may spoil one of them.
    let run = async {
        let mut late = Vec::new();
        for round in 0..3 {
            let what = format!("slow {round}");
            let sent = burst(&speaker, &channel, &what, of.messages, of.bytes).await;
            late.push(percentile(&lags(&others, &sent).await, 99));
        }
        late
    };
    let (late, peak) = with_peak(node, run).await;
    let grown = peak.saturating_sub(before) >> 20;
    let cut_off = node.metric("inkwire_slow_consumers_total").await;
    let sound = percentile(&sound, 99);
    let worst = late.iter().max().map_or(0.0, |late| late.as_secs_f64() / sound.as_secs_f64());
    let late = percentile(&late, 50);
    let ratio = late.as_secs_f64() / sound.as_secs_f64();
    figure!(
        "F {} slow readers and a burst of {} texts of {} bytes: the node grew by {grown} MiB (bar \
         64), {cut_off} were cut off; the others' p99 {late:.1?} against {sound:.1?} when all read: \
         x{ratio:.2} (bar x{}; the worst of three bursts x{worst:.2})",
        of.users * of.each,
        of.messages,
        of.bytes,
        of.ratio
    );
    assert!(grown <= 64, "{grown} MiB");
    assert!(ratio <= of.ratio, "{ratio}");
    let ended: usize = others.look(|one| one.ends.len()).iter().sum();
    assert_eq!(ended, 0, "the other sockets stayed open");
}

/// Runs something, and returns the node's peak memory meanwhile.
async fn with_peak<T>(node: &NodeProcess, run: impl Future<Output = T>) -> (T, u64) {
    let mut run = pin!(run);
    let mut peak = 0;
    loop {
        tokio::select! {
            done = &mut run => return (done, peak),
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                peak = peak.max(node.resident_bytes());
            }
        }
    }
}

/// Sends `count` texts, some at a time. Returns each id with the time when its send began.
async fn burst(
    speaker: &Sender,
    channel: &model::ChannelId,
    what: &str,
    count: usize,
    bytes: usize,
) -> Vec<(MessageId, Instant)> {
    let one = |n: usize| async move {
        let text = format!("{what} {n} {}", "x".repeat(bytes));
        let begun = Instant::now();
        Some((speaker.says(channel, &text).await?, begun))
    };
    let sent: Vec<_> = stream::iter(0..count).map(one).buffer_unordered(IN_FLIGHT).collect().await;
    sent.into_iter().flatten().collect()
}

/// Time from each send's start until each client has it. Waits until all clients have everything.
async fn lags(crowd: &Crowd, sent: &[(MessageId, Instant)]) -> Vec<Duration> {
    let lag = |one: &Member, (id, begun): &(MessageId, Instant)| {
        let (_, at) = one.messages.iter().rev().find(|(of, _)| of == id)?;
        Some(*at - *begun)
    };
    let mut lags = Vec::new();
    eventually("all clients have everything", Duration::from_secs(120), async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let all =
            crowd.look(|one| sent.iter().map(|sent| lag(one, sent)).collect::<Option<Vec<_>>>());
        match all.into_iter().collect::<Option<Vec<_>>>() {
            Some(found) => lags = found.concat(),
            None => return false,
        }
        true
    })
    .await;
    lags
}

const IN_FLIGHT: usize = 4;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_an_idle_socket_over_tls_is_small() {
    let plain = idle(false).await;
    let tls = idle(true).await;
    figure!(
        "idle sockets, attached, 1000 of 100 users: {plain} bytes each without TLS, {tls} with TLS \
         (bars {IDLE_BYTES_MAX}, {IDLE_TLS_BYTES_MAX})"
    );
    assert!(plain <= IDLE_BYTES_MAX, "{plain}");
    assert!(tls <= IDLE_TLS_BYTES_MAX, "{tls}");
}

/// Resident bytes per idle socket: how much a node grows from its 100th to its 1,100th socket.
async fn idle(tls: bool) -> u64 {
    let redis = RedisServer::start(Flavor::Redis);
    let plan = Plan { nodes: 1, doors: false, tls, ..Plan::on(redis.port()) };
    let proxied = ProxiedCluster::start(plan).await;
    let node = &proxied.nodes[0].process;
    let trust = proxied.api("user0").trust();
    let mut sockets = Vec::new();
    let mut before = 0;
    for n in 0..1_100 {
        // Whatever exists once, or comes with each shard's first sockets, does not count.
        if n == 100 {
            before = node.resident_bytes();
        }
        let target = proxied.api(&format!("user{}", n % 110)).connect(None).await.unwrap().target;
        let wait = Duration::from_secs(5);
        let mut socket = RawSocket::open_trusting(&target.url, &[], wait, &trust).await.unwrap();
        socket.hello(&target.ticket, None).await.unwrap();
        let ready = |frame: &ServerFrame| matches!(frame, ServerFrame::Ready(_));
        assert!(socket.frame_within(wait, ready).await.is_some());
        sockets.push(socket);
    }
    // Each socket has had a tick, so whatever a tick needs is allocated.
    tokio::time::sleep(limits::TICK + Duration::from_secs(2)).await;
    // Sockets that have closed in the meantime would make the result look small.
    assert_eq!(node.metric("inkwire_sockets").await, 1_100, "all sockets are open");
    let grown = node.resident_bytes().saturating_sub(before);
    drop(sockets);
    grown / 1_000
}

/// Bound for an idle socket, with its session.
const IDLE_BYTES_MAX: u64 = 4 * 1024;
/// The same with TLS, whose library keeps its own buffers.
const IDLE_TLS_BYTES_MAX: u64 = 12 * 1024;
