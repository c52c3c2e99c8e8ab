//! Nodes die, freeze, drain, cannot be reached, or run out of files (faults 19, 20, 27-29, 31).

use std::process::Command;
use std::time::Duration;

use client::{Event, OpenError, RawSocket};
use model::{NodeId, limits};
use tests::person::Person;
use tests::proxied::Plan;
use tests::proxy::tcp::Fault;
use tests::{SOON, eventually};
use tokio::time::Instant;

use crate::fault_run::FaultRun;
use crate::figures::{figure, lost, names, strs};

/// The id of the running node at this place.
async fn id_of(run: &FaultRun, place: usize) -> NodeId {
    let fleet = run.proxied.cluster.stack.ports().nodes.fleet().await.unwrap();
    let url = &run.proxied.nodes[place].process.url;
    fleet.into_iter().find(|node| node.lease.url == *url).unwrap().lease.node_id
}

fn on(people: &[Person], node: &NodeId) -> usize {
    people.iter().filter(|person| person.client.node_id().as_ref() == Some(node)).count()
}

fn readies(person: &Person) -> usize {
    person.count(|event| matches!(event, Event::Ready { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_g7_a_node_that_was_frozen_continues_and_loses_nothing() {
    let mut run = FaultRun::start(10).await;
    let zombie = id_of(&run, 0).await;
    let there = on(&run.people, &zombie);
    assert!(there > 0, "the node has clients");
    run.fault("SIGSTOP 20 s");
    run.proxied.nodes[0].process.pause();
    let end = Instant::now() + Duration::from_secs(20);
    run.talk(40).await;
    let late = run.proxied.people(&["user0", "user1"]).await;
    assert_eq!(on(&late, &zombie), 0, "no client is assigned to it");
    run.people.extend(late);
    // Wait until the fault's time is over.
    tokio::time::sleep_until(end).await;
    run.proxied.nodes[0].process.resume();
    run.healed("SIGSTOP 20 s");
    run.talk(5).await;
    run.settle(&format!("19 a node with {there} clients stopped for 20 s"), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_clients_that_cannot_reach_a_node_are_soon_on_another() {
    unreachable(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_an_unreachable_node_costs_ten_seconds() {
    unreachable(Duration::from_secs(10)).await;
}

/// The node renews its lease, but no client can reach it.
async fn unreachable(bar: Duration) {
    let mut run = FaultRun::start(4).await;
    run.fault("unreachable");
    run.proxied.nodes[0].door.set(Fault::BLACK_HOLE);
    let dark = id_of(&run, 0).await;
    let guests: Vec<String> = names(12);
    let channel = run.channel.clone();
    let creator = run.proxied.cluster.api("user0");
    for name in &guests[4..] {
        let add = run.proxied.recorder.change(&creator, &channel, name, checker::Change::Add);
        assert!(add.await);
    }
    let begun = Instant::now();
    let guests = run.proxied.people(&strs(&guests[4..])).await;
    let took = begun.elapsed();
    assert_eq!(on(&guests, &dark), 0);
    assert!(took <= bar, "{took:?}");
    figure!(
        "28 a node that renews its lease and cannot be reached: {} new clients are on another node after {took:.1?} (bar {bar:?})",
        guests.len()
    );
    // Clients on that node hear nothing more, and reconnect after their own deadline.
    run.talk(20).await;
    run.people.extend(guests);
    run.proxied.nodes[0].door.set(Fault::NONE);
    run.healed("unreachable");
    run.settle("28 clients of the unreachable node", limits::SILENCE_MAX + SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_fleet_is_rolled_under_load_and_loses_nothing() {
    rolled(20, false, |plan| plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_certificates_are_replaced_by_rolling_the_fleet_and_nothing_is_lost() {
    let run = rolled(20, false, |plan| Plan { tls: true, ..plan }).await;
    let url = &run.proxied.nodes[0].process.url;
    assert!(url.starts_with("wss://"), "{url}");
    let stranger = RawSocket::open(url, &[], SOON).await.unwrap_err();
    assert!(matches!(stranger, OpenError::Unreachable { .. }), "{stranger:?}");
    eventually("the node counts it", SOON, async || {
        run.proxied.nodes[0].process.metric("inkwire_tls_refusals_total").await > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_fleet_of_four_is_rolled_three_times() {
    for harder in [false, true, true] {
        rolled(60, harder, |plan| Plan { nodes: 4, ..plan }).await;
    }
}

/// Replaces every node under load, by draining it. In the harder run, two at once are killed after
/// a grace period that is too short.
async fn rolled(people: usize, harder: bool, plan: impl FnOnce(Plan) -> Plan) -> FaultRun {
    let mut run = FaultRun::of(people, plan).await;
    let nodes = run.proxied.nodes.len();
    let begun = Instant::now();
    let at_once = if harder { 2 } else { 1 };
    for _ in 0..nodes / at_once {
        run.fault("a node is replaced");
        for _ in 0..at_once {
            run.proxied.add_node().await;
        }
        let mut leaving: Vec<_> = run.proxied.nodes.drain(..at_once).collect();
        leaving.iter().for_each(|node| node.process.terminate());
        run.talk_for(GRACE).await;
        if harder {
            leaving.iter_mut().for_each(|node| node.process.kill());
        } else {
            let gone = &mut leaving[0].process;
            eventually("it exits by itself", SOON * 2, async || gone.has_exited_with(0)).await;
        }
        run.healed("a node is replaced");
        run.talk(3).await;
    }
    let took = begun.elapsed();
    let verdict =
        run.settle(&format!("20 a fleet of {nodes} rolled, harder: {harder}"), SOON).await;
    let rate = peak_readies(&run.people);
    figure!(
        "20 fleet roll: {nodes} nodes in {took:.1?}, {} handshakes by {people} clients, at most {rate} in one second, {} resyncs",
        run.people.iter().map(readies).sum::<usize>() - people,
        verdict.resyncs
    );
    run
}

/// The most sockets that became ready again within one second.
fn peak_readies(people: &[Person]) -> usize {
    let mut times: Vec<Instant> = Vec::new();
    for person in people {
        let again = |event: &Event| matches!(event, Event::Ready { after: Some(_), .. });
        person.look(|log| {
            times.extend(log.iter().filter(|logged| again(&logged.event)).map(|logged| logged.at));
        });
    }
    times.sort_unstable();
    let within = |from: &Instant| {
        times.iter().filter(|at| **at >= *from && **at < *from + Duration::from_secs(1)).count()
    };
    times.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_all_nodes_restart_at_once_and_nothing_is_lost() {
    let mut run = FaultRun::start(20).await;
    run.fault("all nodes are killed");
    let mut gone: Vec<_> = run.proxied.nodes.drain(..).collect();
    gone.iter_mut().for_each(|node| node.process.kill());
    run.talk(10).await;
    for _ in 0..2 {
        run.proxied.add_node().await;
    }
    run.healed("all nodes are killed");
    run.talk(5).await;
    // A client that found no node backs off with full jitter, up to 30 s.
    run.settle("29 all nodes killed and started", limits::CLIENT_BACKOFF.1 + SOON).await;
    let people = &run.people;
    figure!(
        "29 all nodes restart: at most {} of {} clients connected within one second",
        peak_readies(people),
        people.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_an_empty_or_wrong_registry_keeps_no_client_out() {
    let mut run = FaultRun::start(4).await;
    run.fault("the registry is emptied");
    for key in ["leases", "details", "reports", "pending"] {
        run.redis.command(&["DEL", &format!("{{ink:fleet}}:{key}")]);
    }
    let begun = Instant::now();
    let late = run.proxied.people(&["user1", "user2"]).await;
    figure!(
        "27 the registry is emptied: clients that connect then are ready after {:.1?}",
        begun.elapsed()
    );
    run.healed("the registry is emptied");
    run.people.extend(late);

    // A node that does not exist and claims to have no connections is the lightest of all.
    run.fault("the registry is wrong");
    let lie = r#"{"url":"ws://127.0.0.1:1/socket","connections":0,"handshakes_per_second":9999,"draining":false}"#;
    let time = run.redis.command(&["TIME"]);
    let (seconds, _) = time.split_once('\n').unwrap();
    let score = format!("{seconds}000");
    let (leases, details) = ("{ink:fleet}:leases", "{ink:fleet}:details");
    run.redis.command(&["ZADD", leases, &score, "01LIAR"]);
    run.redis.command(&["HSET", details, "01LIAR", lie]);
    let begun = Instant::now();
    let late = run.proxied.people(&["user1", "user2", "user3"]).await;
    figure!(
        "27 the registry is wrong: clients that connect then are ready after {:.1?}",
        begun.elapsed()
    );
    run.people.extend(late);
    run.healed("the registry is wrong");
    run.talk(5).await;
    run.settle("27 registry empty, then wrong", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_node_without_free_files_keeps_its_sockets_and_recovers() {
    const FILES: usize = 80;
    let open_files = u32::try_from(FILES).ok();
    let mut run = FaultRun::of(4, |plan| Plan { nodes: 1, open_files, ..plan }).await;
    let node = &run.proxied.nodes[0].process;
    let base = node.open_files();
    run.fault("no files");
    let mut sockets = Vec::new();
    let begun = Instant::now();
    // A busy machine may also fail to open a socket, so check that all files are in use. A node may
    // inherit one more file from whoever runs the tests.
    let most = loop {
        match RawSocket::open(&node.url, &[], Duration::from_millis(500)).await {
            Ok(socket) => sockets.push(socket),
            Err(_) if node.open_files() >= FILES => break node.open_files(),
            Err(_) => assert!(begun.elapsed() < SOON, "{} sockets, not full", sockets.len()),
        }
        assert!(sockets.len() < FILES, "{FILES} files for {FILES} sockets");
    };
    let opened = sockets.len();
    run.talk(10).await;
    drop(sockets);
    run.healed("no files");
    let guests = run.proxied.people(&["user1"]).await;
    run.people.extend(guests);
    run.talk(5).await;
    run.settle(
        &format!("31 a node with {FILES} files: {opened} sockets opened, {most} files used"),
        SOON,
    )
    .await;
    assert_eq!(lost(&run.people), 0, "its sockets stayed open");
    let node = &run.proxied.nodes[0].process;
    eventually("files are released", SOON * 3, async || node.open_files() <= base + 3).await;
}

/// Tests the check at the end of every scenario: a node that has ended is not at rest.
#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "ended by itself")]
async fn a_node_that_ended_by_itself_is_not_at_rest() {
    let run = FaultRun::of(1, |plan| Plan { nodes: 1, ..plan }).await;
    let node = &run.proxied.nodes[0].process;
    let killed = Command::new("kill").arg("-KILL").arg(node.id().to_string()).status();
    assert!(killed.unwrap().success());
    eventually("the process has ended", SOON, async || !node.is_running()).await;
    run.proxied.at_rest().await;
}

const GRACE: Duration = Duration::from_millis(1_500);
