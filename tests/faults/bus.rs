//! Redis or the nodes' subscriptions to it misbehave (faults 9, 13, 15-18).

use std::collections::BTreeSet;
use std::time::Duration;

use tests::proxy::tcp::{Fault, Flow, Scope};
use tests::redis::{Flavor, RedisServer};
use tests::scene::Plan;
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::figures::{complete_at, figure, lost};
use crate::stage::Stage;

const A_WHILE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_redis_that_refuses_hangs_or_is_slow_loses_nothing() {
    let mut stage = Stage::start(6).await;
    let all = |stage: &Stage, fault| stage.scene.buses().for_each(|bus| bus.set(fault));
    let refuse = |stage: &mut Stage| {
        all(stage, Fault::REFUSE);
        stage.scene.buses().for_each(tests::proxy::tcp::TcpProxy::reset_all);
    };
    let sound = |stage: &mut Stage| all(stage, Fault::NONE);
    stage.during("Redis refuses", A_WHILE, refuse, sound).await;
    let (stop, go) = (
        |stage: &mut Stage| stage.redis.pause(),
        |stage: &mut Stage| {
            stage.redis.resume();
        },
    );
    stage.during("Redis hangs", A_WHILE * 4, stop, go).await;
    let wait = |stage: &mut Stage| {
        stage.redis.command(&["CLIENT", "PAUSE", "1500", "ALL"]);
    };
    stage.during("CLIENT PAUSE", A_WHILE, wait, |_| {}).await;
    let slow = Flow::Slow(Duration::from_millis(60));
    let slow = |stage: &mut Stage| all(stage, Fault { up: slow, down: slow, ..Fault::NONE });
    stage.during("Redis is slow", A_WHILE, slow, sound).await;
    stage.settle("9 Redis refuses, hangs 8 s, pauses, is slow", SOON).await;
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_stream_that_is_flushed_trimmed_or_restarted_empty_loses_nothing() {
    let mut stage = Stage::start(6).await;
    let moment = Duration::from_millis(300);
    let flush = |stage: &mut Stage| {
        stage.redis.command(&["FLUSHALL"]);
    };
    stage.during("FLUSHALL", moment, flush, |_| {}).await;
    // The nodes receive nothing while the stream is trimmed to nothing.
    let deaf = Fault { down: Flow::Hold, scope: Scope::Subscribers, ..Fault::NONE };
    let begin = |stage: &mut Stage| stage.scene.nodes.iter().for_each(|node| node.bus.set(deaf));
    let end = |stage: &mut Stage| {
        stage.redis.command(&["XTRIM", "ink:{w}:stream", "MAXLEN", "0"]);
        for node in &stage.scene.nodes {
            node.bus.reset_all();
            node.bus.set(Fault::NONE);
        }
    };
    stage.during("trimmed under a reader", moment, begin, end).await;
    let kill = |stage: &mut Stage| stage.redis.kill();
    let again = |stage: &mut Stage| stage.redis.restart();
    stage.during("restarted empty", moment, kill, again).await;
    stage.settle("13 FLUSHALL, trimmed under a deaf reader, restarted empty", SOON).await;
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_subscriber_that_redis_cuts_off_loses_nothing() {
    // What was missed arrives at once: half a megabyte per socket, which no proxy should slow down.
    let mut stage = Stage::of(6, |plan| Plan { doors: false, ..plan }).await;
    let kill = |stage: &mut Stage| {
        let killed = stage.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(killed, "2", "one link a node");
    };
    stage.during("CLIENT KILL TYPE pubsub", A_WHILE / 4, kill, |_| {}).await;

    // The node does not read, so the buffer of its link grows over the limit.
    let limit = "pubsub 65536 0 0";
    stage.redis.command(&["CONFIG", "SET", "client-output-buffer-limit", limit]);
    stage.fault("output limit");
    let deaf = Fault { down: Flow::Hold, scope: Scope::Subscribers, ..Fault::NONE };
    stage.scene.nodes[0].bus.set(deaf);
    let links = |stage: &Stage| {
        stage.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).matches("id=").count()
    };
    let mut said = 0;
    // Count accepted links: the node may have a new link before the check.
    let cut_off = stage.scene.nodes[0].bus.accepted();
    while links(&stage) == 2 && stage.scene.nodes[0].bus.accepted() == cut_off {
        stage.say_long(3_500).await;
        said += 1;
        assert!(said < 2_000, "the buffer has no limit");
    }
    stage.scene.nodes[0].bus.set(Fault::NONE);
    stage.healed("output limit");
    let what =
        format!("15 CLIENT KILL TYPE pubsub, cut off at the output limit by {said} long texts");
    stage.settle(&what, SOON).await;
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_a_subscription_that_is_open_on_one_side_only_is_noticed() {
    half_open(5, Duration::from_secs(10)).await;
}

/// No connection breaks, but a push is lost and no other message follows. The audit must find it.
#[tokio::test(flavor = "multi_thread")]
async fn g4_the_last_message_of_a_quiet_workspace_arrives() {
    let mut stage = Stage::start(6).await;
    eventually("the relay has seen all", SOON, async || {
        stage.scene.cluster.stack.relay().counts().relayed >= 5
    })
    .await;
    let links = |stage: &Stage| {
        let list = stage.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let ids = list.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned()));
        ids.collect::<BTreeSet<String>>()
    };
    let before = links(&stage);
    let lose = Fault { down: Flow::Lose("message 6"), scope: Scope::Subscribers, ..Fault::NONE };
    stage.fault("one push is lost");
    stage.scene.nodes.iter().for_each(|node| node.bus.set(lose));
    let id = stage.say().await.unwrap();
    let at = Instant::now();
    stage.healed("one push is lost");
    let bar = Duration::from_secs(35);
    stage.settle("17 the last push of a quiet workspace lost on a sound link", bar).await;
    let took = complete_at(&stage.people, &[id]).unwrap() - at;
    assert!(took > Duration::from_secs(1), "the push was not lost: {took:?}");
    figure!("17 the last message of a quiet workspace is there after {took:.1?} (bar {bar:?})");
    assert_eq!((links(&stage), before.len()), (before, 2), "no link broke");
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
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
    let mut stage = Stage::start(6).await;
    eventually("the relay has seen all", SOON, async || {
        stage.scene.cluster.stack.relay().counts().relayed >= 5
    })
    .await;
    let one_way = Fault { down: Flow::Swallow, scope: Scope::Subscribers, ..Fault::NONE };
    stage.fault("half-open subscription");
    stage.scene.nodes.iter().for_each(|node| node.bus.set(one_way));
    let before = stage.acknowledged.len();
    stage.talk(count).await;
    let (ids, at): (Vec<_>, Vec<_>) = stage.acknowledged[before..].iter().copied().unzip();
    // Links on which a push was lost stay dead. New links work.
    stage.scene.nodes.iter().for_each(|node| node.bus.set(Fault::NONE));
    assert_eq!(complete_at(&stage.people, &ids), None, "nothing was pushed");
    stage.healed("half-open subscription");
    stage.talk(20).await;
    stage.settle("16 half-open subscription", bar).await;
    let took = complete_at(&stage.people, &ids).unwrap() - at[0];
    figure!(
        "16 half-open subscription: what was lost on it is there after {took:.1?} (bar {bar:?})"
    );
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_answers_that_redis_gives_in_trouble_lose_nothing() {
    let mut stage = Stage::start(6).await;
    let tell = |words: &'static [&'static str]| {
        move |stage: &mut Stage| {
            stage.redis.command(words);
        }
    };
    stage.during("NOSCRIPT", A_WHILE / 4, tell(&["SCRIPT", "FLUSH"]), |_| {}).await;
    let master = tell(&["REPLICAOF", "NO", "ONE"]);
    let follow = tell(&["REPLICAOF", "127.0.0.1", "1"]);
    stage.during("READONLY", A_WHILE, follow, master).await;
    stage.redis.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    stage.during("MASTERDOWN", A_WHILE, follow, master).await;
    let full = tell(&["CONFIG", "SET", "maxmemory", "1"]);
    let roomy = tell(&["CONFIG", "SET", "maxmemory", "0"]);
    stage.during("OOM", A_WHILE, full, roomy).await;
    stage.redis.command(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let mut endless = None;
    let port = stage.redis.port();
    stage.fault("BUSY");
    endless.replace(std::thread::spawn(move || {
        tests::redis::tell(port, &["EVAL", "while true do end", "0"])
    }));
    stage.talk_for(A_WHILE).await;
    eventually("the script is ended", SOON, async || {
        stage.redis.command(&["SCRIPT", "KILL"]) == "OK"
    })
    .await;
    stage.healed("BUSY");
    let ended = endless.map(std::thread::JoinHandle::join);
    assert!(ended.is_some_and(|ended| ended.is_ok()));
    stage.settle("18 NOSCRIPT, READONLY, MASTERDOWN, OOM, BUSY", SOON).await;
    assert_eq!(lost(&stage.people), 0, "the sockets stayed");
}

/// A primary that was briefly a replica of another server has loaded that server's data: its own
/// stream is gone.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_a_redis_that_is_loading_loses_nothing() {
    let mut stage = Stage::start(6).await;
    let other = RedisServer::start(Flavor::Redis);
    other.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let fill = "for i = 1, 4000 do redis.call('SET', 'other:' .. i, i) end";
    other.command(&["EVAL", fill, "0"]);
    stage.redis.command(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    stage.redis.command(&["CONFIG", "SET", "key-load-delay", "800"]);
    stage.fault("LOADING");
    let port = other.port().to_string();
    stage.redis.command(&["REPLICAOF", "127.0.0.1", &port]);
    eventually("it is loading", SOON, async || {
        stage.redis.command(&["PING"]).starts_with("-LOADING")
    })
    .await;
    stage.talk_for(A_WHILE).await;
    stage.redis.command(&["CONFIG", "SET", "key-load-delay", "0"]);
    eventually("it has loaded", SOON, async || {
        stage.redis.command(&["REPLICAOF", "NO", "ONE"]) == "OK"
    })
    .await;
    stage.healed("LOADING");
    stage.settle("18 LOADING, and then another one's data", SOON).await;
}
