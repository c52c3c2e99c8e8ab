//! Clients that are slow, resume with odd cursors, are cut off at any byte, or are removed and
//! added (faults 21, 22, 24-26, 30).

use std::time::Duration;

use checker::Change;
use client::{RawSocket, Received, Target};
use protocol::frame::ServerFrame;
use tests::failover::RedisPair;
use tests::proxied::{Plan, ProxiedCluster};
use tests::proxy::http::{Rule, StoreFault};
use tests::proxy::tcp::{Fault, Flow};
use tests::{SOON, eventually};

use crate::fault_run::FaultRun;
use crate::figures::figure;

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
    let mut run = FaultRun::with_nodes(2, 1).await;
    let api = run.proxied.cluster.api("user1");
    let target = api.connect(None).await.unwrap().target;
    let (first, mut cursor, _) = attach(&target, None).await.unwrap();
    drop(first);
    run.say_long(40).await;
    let last = run.say().await.unwrap();
    let (mut seen, mut resumed_all, mut cuts) = (std::collections::BTreeSet::new(), true, 0);
    // Far enough for the upgrade, `ready` and both messages.
    for bytes in (1..).step_by(step) {
        assert!(bytes < 3_000, "the last message never arrived");
        let door = &run.proxied.nodes[0].door;
        door.set(Fault { cut_after: Some(bytes), ..Fault::NONE });
        let target = api.connect(None).await.unwrap().target;
        cuts += 1;
        let Some((mut socket, _, resumed)) = attach(&target, Some(&cursor)).await else { continue };
        resumed_all &= resumed;
        while let Some(Received::Frame(frame)) = socket.receive_within(SOON).await {
            if let ServerFrame::Message { message, cursor: at, .. } = frame {
                assert!(seen.insert(message.id), "delivered again after a resume");
                cursor = at;
            }
        }
        if seen.contains(&last) {
            break;
        }
    }
    run.proxied.nodes[0].door.set(Fault::NONE);
    assert!(resumed_all && seen.len() == 2, "{seen:?}");
    figure!(
        "24 the socket cut {cuts} times, {step} bytes later each time: both messages arrived once, every attach resumed"
    );
    run.settle("24 sockets cut at every byte", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_client_that_stops_reading_is_cut_off() {
    let mut run = FaultRun::with_nodes(3, 1).await;
    let target = run.proxied.cluster.api("user2").connect(None).await.unwrap().target;
    let (slow, cursor, _) = attach(&target, None).await.unwrap();
    let node = &run.proxied.nodes[0].process;
    let before = node.resident_bytes();
    run.fault("a client does not read");
    let mut said = 0;
    while run.proxied.nodes[0].process.metric("inkwire_slow_consumers_total").await == 0 {
        for _ in 0..100 {
            run.say_long(4_000).await;
        }
        said += 100;
        assert!(said < 4_000, "it was never cut off");
    }
    run.healed("a client does not read");
    let grown = run.proxied.nodes[0].process.resident_bytes().saturating_sub(before) / 1024;
    drop(slow);
    let target = run.proxied.cluster.api("user2").connect(None).await.unwrap().target;
    let (_socket, _, resumed) = attach(&target, Some(&cursor)).await.unwrap();
    figure!(
        "21 a client that stops reading is cut off after {said} texts of 4 KB; the node grew by {grown} KiB; after its reconnect it resumed: {resumed}"
    );
    run.settle("21 a client that stops reading", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g5_cursors_of_a_lost_tail_are_unknown_and_never_wrong() {
    let pair = RedisPair::start().await;
    let mut proxied = ProxiedCluster::start(Plan { nodes: 1, ..Plan::on(pair.old.port()) }).await;
    let channel = proxied.group(&["user0", "user1"]).await;
    let people = proxied.people(&["user0", "user1"]).await;
    let speaker = proxied.sender("user0");
    let api = proxied.cluster.api("user1");
    let cursor_now = async || {
        let target = api.connect(None).await.unwrap().target;
        attach(&target, None).await.unwrap().1
    };
    speaker.says(&channel, "old").await;
    let old = cursor_now().await;
    pair.in_step().await;
    pair.stop_replication();
    proxied.recorder.fault("failover");
    speaker.says(&channel, "tail").await;
    people[1].hears(&channel, "tail").await;
    let forked = cursor_now().await;
    assert_ne!(old, forked);
    pair.promote().await;
    proxied.switch_name(pair.new.port());
    proxied.buses().for_each(tests::proxy::tcp::TcpProxy::reset_all);
    // A new node, which never saw the tail.
    let dead = people[0].client.node_id();
    let mut gone = proxied.nodes.remove(0);
    gone.process.kill();
    proxied.add_node().await;
    proxied.recorder.healed("failover");
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
    let verdict = proxied.settled(&people, SOON * 2).await;
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
    let mut run = FaultRun::start(6).await;
    run.fault("stale reads");
    let stale = || vec![Rule::all(StoreFault::Stale).share(80)];
    run.proxied.store.set(stale());
    run.proxied.node_store.set(stale());
    let creator = run.proxied.cluster.api("user0");
    let (channel, recorder) = (run.channel.clone(), std::sync::Arc::clone(&run.proxied.recorder));
    let speaker = run.speaker.clone();
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
                let person = if name == "user4" { &run.people[4] } else { &run.people[5] };
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
    run.proxied.store.set(Vec::new());
    run.proxied.node_store.set(Vec::new());
    run.healed("stale reads");
    let verdict = run.proxied.settled(&run.people, SOON).await;
    assert_eq!(verdict.leaked, 0);
    figure!("25, 26 removals race {sent} sends under stale reads and reconnects: {verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_ticket_is_valid_once_and_for_one_start_of_a_node() {
    let mut run = FaultRun::with_nodes(2, 1).await;
    let api = run.proxied.cluster.api("user1");
    let target = api.connect(None).await.unwrap().target;
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let target = target.clone();
        uses.spawn(async move { attach(&target, None).await.is_some() });
    }
    let good = uses.join_all().await.into_iter().filter(|good| *good).count();
    assert_eq!(good, 1);
    let unused = api.connect(None).await.unwrap().target;
    run.fault("the node is replaced");
    run.proxied.nodes[0].process.kill();
    run.proxied.nodes.clear();
    run.proxied.add_node().await;
    run.healed("the node is replaced");
    let elsewhere = Target { url: run.proxied.nodes[0].process.url.clone(), ..unused };
    assert!(attach(&elsewhere, None).await.is_none(), "a ticket of another start");
    figure!(
        "30 one ticket used 1000 times at once opens {good} socket; after the node's restart none"
    );
    run.settle("30 tickets", SOON * 2).await;
}

/// A client that is still receiving over a slow link is not cut off.
#[tokio::test(flavor = "multi_thread")]
async fn g5_a_slow_link_delays_and_loses_nothing() {
    let mut run = FaultRun::with_nodes(3, 1).await;
    let slow = Flow::Slow(Duration::from_millis(100));
    let begin = |run: &mut FaultRun| {
        run.proxied.nodes[0].door.set(Fault { up: slow, down: slow, ..Fault::NONE });
    };
    let end = |run: &mut FaultRun| run.proxied.nodes[0].door.set(Fault::NONE);
    run.during("slow link", Duration::from_secs(2), begin, end).await;
    eventually("everything arrived", SOON, async || {
        run.people
            .iter()
            .all(|person| person.client.timeline(&run.channel).len() >= run.acknowledged.len())
    })
    .await;
    run.settle("21 a link that takes 100 ms a piece", SOON).await;
}
