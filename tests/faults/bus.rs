//! Redis or the nodes' subscriptions to it misbehave (faults 9, 13, 15-18).

use std::collections::BTreeSet;
use std::time::Duration;

use tests::proxied::Plan;
use tests::proxy::tcp::{Fault, Flow, Scope};
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::fault_run::FaultRun;
use crate::figures::{complete_at, figure, lost};

const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_redis_that_refuses_hangs_or_is_slow_loses_nothing() {
    let mut run = FaultRun::start(6).await;
    let all = |run: &FaultRun, fault| run.proxied.buses().for_each(|bus| bus.set(fault));
    let refuse = |run: &mut FaultRun| {
        all(run, Fault::REFUSE);
        run.proxied.buses().for_each(tests::proxy::tcp::TcpProxy::reset_all);
    };
    let sound = |run: &mut FaultRun| all(run, Fault::NONE);
    run.during("Redis refuses", A_WHILE, refuse, sound).await;
    let (stop, go) = (
        |run: &mut FaultRun| run.redis.pause(),
        |run: &mut FaultRun| {
            run.redis.resume();
        },
    );
    run.during("Redis hangs", A_WHILE * 4, stop, go).await;
    let wait = |run: &mut FaultRun| {
        run.redis.command(&["CLIENT", "PAUSE", "1500", "ALL"]);
    };
    run.during("CLIENT PAUSE", A_WHILE, wait, |_| {}).await;
    let slow = Flow::Slow(Duration::from_millis(60));
    let slow = |run: &mut FaultRun| all(run, Fault { up: slow, down: slow, ..Fault::NONE });
    run.during("Redis is slow", A_WHILE, slow, sound).await;
    run.settle("9 Redis refuses, hangs 8 s, pauses, is slow", SOON).await;
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_stream_that_is_flushed_trimmed_or_restarted_empty_loses_nothing() {
    let mut run = FaultRun::start(6).await;
    let moment = Duration::from_millis(300);
    let flush = |run: &mut FaultRun| {
        run.redis.command(&["FLUSHALL"]);
    };
    run.during("FLUSHALL", moment, flush, |_| {}).await;
    // The nodes receive nothing while the stream is trimmed to nothing.
    let deaf = Fault { down: Flow::Hold, scope: Scope::Subscribers, ..Fault::NONE };
    let begin = |run: &mut FaultRun| run.proxied.nodes.iter().for_each(|node| node.bus.set(deaf));
    let end = |run: &mut FaultRun| {
        run.redis.command(&["XTRIM", "ink:{w}:stream", "MAXLEN", "0"]);
        for node in &run.proxied.nodes {
            node.bus.reset_all();
            node.bus.set(Fault::NONE);
        }
    };
    run.during("trimmed under a reader", moment, begin, end).await;
    let kill = |run: &mut FaultRun| run.redis.kill();
    let again = |run: &mut FaultRun| run.redis.restart();
    run.during("restarted empty", moment, kill, again).await;
    run.settle("13 FLUSHALL, trimmed while a node receives nothing, restarted empty", SOON).await;
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_subscriber_that_redis_cuts_off_loses_nothing() {
    // What was missed arrives at once: half a megabyte per socket, which no proxy should slow down.
    let mut run = FaultRun::of(6, |plan| Plan { doors: false, ..plan }).await;
    let kill = |run: &mut FaultRun| {
        let killed = run.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, "2", "one link per node");
    };
    run.during("CLIENT KILL TYPE pubsub", A_WHILE / 4, kill, |_| {}).await;

    // The node does not read, so the buffer of its link grows over the limit.
    let limit = "pubsub 65536 0 0";
    run.redis.command(&["CONFIG", "SET", "client-output-buffer-limit", limit]);
    run.fault("output limit");
    let deaf = Fault { down: Flow::Hold, scope: Scope::Subscribers, ..Fault::NONE };
    run.proxied.nodes[0].bus.set(deaf);
    let links = |run: &FaultRun| {
        run.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).matches("id=").count()
    };
    let mut said = 0;
    // Count accepted links: the node may have a new link before the check.
    let cut_off = run.proxied.nodes[0].bus.accepted();
    while links(&run) == 2 && run.proxied.nodes[0].bus.accepted() == cut_off {
        run.say_long(3_500).await;
        said += 1;
        assert!(said < 2_000, "the buffer has no limit");
    }
    run.proxied.nodes[0].bus.set(Fault::NONE);
    run.healed("output limit");
    let what =
        format!("15 CLIENT KILL TYPE pubsub, cut off at the output limit by {said} long texts");
    run.settle(&what, SOON).await;
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_half_open_subscription_is_noticed() {
    half_open(5, Duration::from_secs(10)).await;
}

/// No connection breaks, but a push is lost and no other message follows. The audit must find it.
#[tokio::test(flavor = "multi_thread")]
async fn g4_the_last_message_of_a_quiet_workspace_arrives() {
    let mut run = FaultRun::start(6).await;
    eventually("the relay has seen all", SOON, async || {
        run.proxied.cluster.stack.relay().counts().relayed >= 5
    })
    .await;
    let links = |run: &FaultRun| {
        let list = run.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let ids = list.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned()));
        ids.collect::<BTreeSet<String>>()
    };
    let before = links(&run);
    let lose = Fault { down: Flow::Lose("message 6"), scope: Scope::Subscribers, ..Fault::NONE };
    run.fault("one push is lost");
    run.proxied.nodes.iter().for_each(|node| node.bus.set(lose));
    let id = run.say().await.unwrap();
    let at = Instant::now();
    run.healed("one push is lost");
    let bar = Duration::from_secs(35);
    run.settle("17 the last push of a quiet workspace lost on a sound link", bar).await;
    let took = complete_at(&run.people, &[id]).unwrap() - at;
    assert!(took > Duration::from_secs(1), "the push was not lost: {took:?}");
    figure!("17 the last message of a quiet workspace arrives after {took:.1?} (bar {bar:?})");
    assert_eq!((links(&run), before.len()), (before, 2), "no link broke");
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_lost_subscription_is_noticed_within_seven_seconds() {
    for _ in 0..5 {
        half_open(5, Duration::from_secs(7)).await;
    }
}

/// Pushes to both nodes vanish, but no connection ends.
async fn half_open(count: usize, bar: Duration) {
    let mut run = FaultRun::start(6).await;
    eventually("the relay has seen all", SOON, async || {
        run.proxied.cluster.stack.relay().counts().relayed >= 5
    })
    .await;
    let one_way = Fault { down: Flow::Swallow, scope: Scope::Subscribers, ..Fault::NONE };
    run.fault("half-open subscription");
    run.proxied.nodes.iter().for_each(|node| node.bus.set(one_way));
    let before = run.acknowledged.len();
    run.talk(count).await;
    let (ids, at): (Vec<_>, Vec<_>) = run.acknowledged[before..].iter().copied().unzip();
    // Links on which a push was lost stay dead. New links work.
    run.proxied.nodes.iter().for_each(|node| node.bus.set(Fault::NONE));
    assert_eq!(complete_at(&run.people, &ids), None, "nothing was pushed");
    run.healed("half-open subscription");
    run.talk(20).await;
    run.settle("16 half-open subscription", bar).await;
    let took = complete_at(&run.people, &ids).unwrap() - at[0];
    figure!("16 half-open subscription: lost messages arrive after {took:.1?} (bar {bar:?})");
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_error_answers_of_redis_lose_nothing() {
    let mut run = FaultRun::start(6).await;
    let command = |words: &'static [&'static str]| {
        move |run: &mut FaultRun| {
            run.redis.command(words);
        }
    };
    run.during("NOSCRIPT", A_WHILE / 4, command(&["SCRIPT", "FLUSH"]), |_| {}).await;
    let master = command(&["REPLICAOF", "NO", "ONE"]);
    let follow = command(&["REPLICAOF", "127.0.0.1", "1"]);
    run.during("READONLY", A_WHILE, follow, master).await;
    run.redis.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    run.during("MASTERDOWN", A_WHILE, follow, master).await;
    let full = command(&["CONFIG", "SET", "maxmemory", "1"]);
    let roomy = command(&["CONFIG", "SET", "maxmemory", "0"]);
    run.during("OOM", A_WHILE, full, roomy).await;
    run.redis.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let mut endless = None;
    let port = run.redis.port();
    run.fault("BUSY");
    endless.replace(std::thread::spawn(move || {
        tests::redis::execute(port, &["EVAL", "while true do end", "0"])
    }));
    run.talk_for(A_WHILE).await;
    eventually("the script is ended", SOON, async || {
        run.redis.command(&["SCRIPT", "KILL"]) == "OK"
    })
    .await;
    run.healed("BUSY");
    let ended = endless.map(std::thread::JoinHandle::join);
    assert!(ended.is_some_and(|ended| ended.is_ok()));
    run.settle("18 NOSCRIPT, READONLY, MASTERDOWN, OOM, BUSY", SOON).await;
    assert_eq!(lost(&run.people), 0, "no socket was closed");
}

/// A primary that was briefly a replica of another server has loaded that server's data: its own
/// stream is gone.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_redis_that_is_loading_loses_nothing() {
    let mut run = FaultRun::start(6).await;
    let other = RedisServer::start(Flavor::Redis);
    other.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let fill = "for i = 1, 4000 do redis.call('SET', 'other:' .. i, i) end";
    other.command(&["EVAL", fill, "0"]);
    run.redis.command(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    run.redis.command(&["CONFIG", "SET", "key-load-delay", "800"]);
    run.fault("LOADING");
    let port = other.port().to_string();
    run.redis.command(&["REPLICAOF", "127.0.0.1", &port]);
    eventually("it is loading", SOON, async || {
        run.redis.command(&["PING"]).starts_with("-LOADING")
    })
    .await;
    run.talk_for(A_WHILE).await;
    run.redis.command(&["CONFIG", "SET", "key-load-delay", "0"]);
    eventually("it has loaded", SOON, async || {
        run.redis.command(&["REPLICAOF", "NO", "ONE"]) == "OK"
    })
    .await;
    run.healed("LOADING");
    run.settle("18 LOADING, then another server's data", SOON).await;
}
