//! Clients that are slow, resume with odd cursors, are cut off at any byte, or are removed and
//! added (faults 21, 22, 24-26, 30).

use std::time::Duration;

use checker::Change;
use client::{RawSocket, Received, Target};
use protocol::frame::ServerFrame;
use tests::failover::Pair;
use tests::proxy::http::{Rule, StoreFault};
use tests::proxy::tcp::{Fault, Flow};
use tests::scene::{Plan, Scene};
use tests::{SOON, eventually};

use crate::figures::figure;
use crate::stage::Stage;

async fn attach(target: &Target, cursor: Option<&str>) -> Option<(RawSocket, String, bool)> {
    let mut socket = RawSocket::open(&target.url, &[], SOON).await.ok()?;
    socket.hello(&target.ticket, cursor).await.ok()?;
    match socket.receive_within(SOON).await {
        Some(Received::Frame(ServerFrame::Ready(ready))) => {
            Some((socket, ready.cursor, ready.resumed))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_socket_cut_at_any_byte_loses_nothing() {
    cut_at_every(5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_socket_cut_at_every_byte_loses_nothing() {
    cut_at_every(1).await;
}

async fn cut_at_every(step: usize) {
    let mut stage = Stage::with_nodes(2, 1).await;
    let api = stage.scene.cluster.api("user1");
    let target = api.connect(None).await.unwrap().target;
    let (first, mut cursor, _) = attach(&target, None).await.unwrap();
    drop(first);
    stage.say_long(40).await;
    let last = stage.say().await.unwrap();
    let (mut seen, mut resumed_all, mut cuts) = (std::collections::BTreeSet::new(), true, 0);
    // Far enough for the upgrade, `ready` and both messages.
    for bytes in (1..).step_by(step) {
        assert!(bytes < 3_000, "the last message never came");
        let door = &stage.scene.nodes[0].door;
        door.set(Fault { cut_after: Some(bytes), ..Fault::NONE });
        let target = api.connect(None).await.unwrap().target;
        cuts += 1;
        let Some((mut socket, _, resumed)) = attach(&target, Some(&cursor)).await else { continue };
        resumed_all &= resumed;
        while let Some(Received::Frame(frame)) = socket.receive_within(SOON).await {
            if let ServerFrame::Message { message, cursor: at } = frame {
                assert!(seen.insert(message.id), "resumed behind it");
                cursor = at;
            }
        }
        if seen.contains(&last) {
            break;
        }
    }
    stage.scene.nodes[0].door.set(Fault::NONE);
    assert!(resumed_all && seen.len() == 2, "{seen:?}");
    figure!(
        "24 the socket cut {cuts} times, {step} bytes later each time: both messages came once, every attach resumed"
    );
    stage.settle("24 sockets cut at every byte", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_client_that_stops_reading_is_cut_off() {
    let mut stage = Stage::with_nodes(3, 1).await;
    let target = stage.scene.cluster.api("user2").connect(None).await.unwrap().target;
    let (slow, cursor, _) = attach(&target, None).await.unwrap();
    let node = &stage.scene.nodes[0].process;
    let before = node.resident_bytes();
    stage.fault("a client does not read");
    let mut said = 0;
    while stage.scene.nodes[0].process.metric("inkwire_slow_consumers_total").await == 0 {
        for _ in 0..100 {
            stage.say_long(4_000).await;
        }
        said += 100;
        assert!(said < 4_000, "it is never cut off");
    }
    stage.healed("a client does not read");
    let grown = stage.scene.nodes[0].process.resident_bytes().saturating_sub(before) / 1024;
    drop(slow);
    let target = stage.scene.cluster.api("user2").connect(None).await.unwrap().target;
    let (_socket, _, resumed) = attach(&target, Some(&cursor)).await.unwrap();
    figure!(
        "21 a client that stops reading is cut off after {said} texts of 4 KB; the node grew by {grown} KiB; it comes back resumed: {resumed}"
    );
    stage.settle("21 a client that stops reading", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g5_cursors_of_a_lost_tail_are_unknown_and_never_wrong() {
    let pair = Pair::start().await;
    let mut scene = Scene::start(Plan { nodes: 1, ..Plan::on(pair.old.port()) }).await;
    let channel = scene.group(&["user0", "user1"]).await;
    let people = scene.people(&["user0", "user1"]).await;
    let speaker = scene.sender("user0");
    let api = scene.cluster.api("user1");
    let cursor_now = async || {
        let target = api.connect(None).await.unwrap().target;
        attach(&target, None).await.unwrap().1
    };
    speaker.says(&channel, "old").await;
    let old = cursor_now().await;
    pair.in_step().await;
    pair.stop_replication();
    scene.recorder.fault("failover");
    speaker.says(&channel, "tail").await;
    people[1].hears(&channel, "tail").await;
    let forked = cursor_now().await;
    assert_ne!(old, forked);
    pair.promote().await;
    scene.switch_name(pair.new.port());
    scene.buses().for_each(tests::proxy::tcp::TcpProxy::reset_all);
    // A new node, which never saw the tail.
    let dead = people[0].client.node_id();
    let mut gone = scene.nodes.remove(0);
    gone.process.kill();
    scene.add_node().await;
    scene.recorder.healed("failover");
    speaker.says(&channel, "after").await;
    let mut outcome = Vec::new();
    for (kind, cursor) in
        [("old", &*old), ("forked", &*forked), ("garbage", "1-2-3"), ("foreign", "1-0-0000abcd")]
    {
        let target = api.connect(dead.as_ref()).await.unwrap().target;
        let (_socket, _, resumed) = attach(&target, Some(cursor)).await.unwrap();
        outcome.push(format!("{kind}: {resumed}"));
        assert_eq!(resumed, kind == "old", "{kind}");
    }
    let verdict = scene.settled(&people, SOON * 2).await;
    figure!("22 cursors after a lost tail, resumed? {}; {verdict}", outcome.join(", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn g6_removals_race_sends_and_stale_reads_and_nothing_leaks() {
    races(5).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_two_thousand_removals_race_sends() {
    races(500).await;
}

/// Removes, adds and removes a member while messages are sent and clients replay. Reads that are
/// not strongly consistent may be stale.
async fn races(rounds: usize) {
    let mut stage = Stage::start(6).await;
    stage.fault("stale reads");
    let stale = || vec![Rule::all(StoreFault::Stale).share(80)];
    stage.scene.store.set(stale());
    stage.scene.node_store.set(stale());
    let creator = stage.scene.cluster.api("user0");
    let (channel, recorder) = (stage.channel.clone(), std::sync::Arc::clone(&stage.scene.recorder));
    let speaker = stage.speaker.clone();
    let out = tokio::sync::watch::channel(false);
    let talk = async {
        let mut n = 0;
        while !*out.1.borrow() {
            speaker.says(&channel, &format!("racing {n}")).await;
            n += 1;
        }
        n
    };
    let race = async {
        for round in 0..rounds {
            for name in ["user4", "user5"] {
                let person = if name == "user4" { &stage.people[4] } else { &stage.people[5] };
                // The client replays while its membership changes.
                person.client.cut();
                for change in [Change::Remove, Change::Add, Change::Remove] {
                    recorder.change(&creator, &channel, name, change).await;
                }
                speaker.says(&channel, &format!("without {name} {round}")).await;
                recorder.change(&creator, &channel, name, Change::Add).await;
            }
        }
        out.0.send_replace(true);
    };
    let (sent, ()) = tokio::join!(talk, race);
    stage.scene.store.set(Vec::new());
    stage.scene.node_store.set(Vec::new());
    stage.healed("stale reads");
    let verdict = stage.scene.settled(&stage.people, SOON).await;
    assert_eq!(verdict.leaked, 0);
    figure!("25, 26 removals race {sent} sends under stale reads and reconnects: {verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_ticket_is_good_once_and_for_one_start_of_a_node() {
    let mut stage = Stage::with_nodes(2, 1).await;
    let api = stage.scene.cluster.api("user1");
    let target = api.connect(None).await.unwrap().target;
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let target = target.clone();
        uses.spawn(async move { attach(&target, None).await.is_some() });
    }
    let good = uses.join_all().await.into_iter().filter(|good| *good).count();
    assert_eq!(good, 1);
    let unused = api.connect(None).await.unwrap().target;
    stage.fault("the node is replaced");
    stage.scene.nodes[0].process.kill();
    stage.scene.nodes.clear();
    stage.scene.add_node().await;
    stage.healed("the node is replaced");
    let elsewhere = Target { url: stage.scene.nodes[0].process.url.clone(), ..unused };
    assert!(attach(&elsewhere, None).await.is_none(), "a ticket of another start");
    figure!(
        "30 one ticket used 1000 times at once opens {good} socket; after the node's restart none"
    );
    stage.settle("30 tickets", SOON * 2).await;
}

/// A client that is still receiving over a slow link is not cut off.
#[tokio::test(flavor = "multi_thread")]
async fn g5_a_slow_link_delays_and_loses_nothing() {
    let mut stage = Stage::with_nodes(3, 1).await;
    let slow = Flow::Slow(Duration::from_millis(100));
    let begin = |stage: &mut Stage| {
        stage.scene.nodes[0].door.set(Fault { up: slow, down: slow, ..Fault::NONE });
    };
    let end = |stage: &mut Stage| stage.scene.nodes[0].door.set(Fault::NONE);
    stage.during("slow link", Duration::from_secs(2), begin, end).await;
    eventually("all is there", SOON, async || {
        stage
            .people
            .iter()
            .all(|person| person.client.timeline(&stage.channel).len() >= stage.acknowledged.len())
    })
    .await;
    stage.settle("21 a link that takes 100 ms a piece", SOON).await;
}
