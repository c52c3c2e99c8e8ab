//! The store misbehaves (faults 1, 2, 5, 6).

use std::time::Duration;

use checker::SendId;
use futures_util::future::join_all;
use tests::SOON;
use tests::proxy::http::{Rule, StoreFault};

use crate::fault_run::FaultRun;
use crate::figures::figure;

#[tokio::test(flavor = "multi_thread")]
async fn g1_a_put_whose_answer_is_lost_or_that_arrives_twice_is_one_message() {
    let mut run = FaultRun::start(4).await;
    for fault in [StoreFault::LoseAnswer, StoreFault::Twice] {
        run.fault("answers are lost, or puts arrive twice");
        run.proxied.store.set(vec![Rule::all(fault).of(&["PutItem"]).share(50)]);
        run.talk(60).await;
        run.proxied.store.set(Vec::new());
        run.healed("answers are lost, or puts arrive twice");
    }
    let injected = run.proxied.store.injected();
    assert!(injected >= 40, "{injected}");
    run.settle(
        &format!("1 put committed and its answer lost, or put twice: {injected} times"),
        SOON,
    )
    .await;
}

/// All attempts within the window take longer than the client waits. The attempt after the window
/// succeeds and leaves a redirect, which the earlier ones meet when they arrive.
#[tokio::test(flavor = "multi_thread")]
async fn g1_a_first_attempt_that_lands_after_its_redirect_makes_no_second_message() {
    let mut run = FaultRun::start(4).await;
    run.fault("puts take 20 s");
    let slow = StoreFault::Delay(Duration::from_secs(20));
    run.proxied.store.set(vec![Rule::all(slow).of(&["PutItem"])]);
    let late = run.proxied.store.injected();
    let id = run.say().await;
    assert!(id.is_some(), "the attempt after the window is stored");
    run.proxied.store.set(Vec::new());
    let held = run.proxied.store.injected() - late;
    // Wait until the last delayed attempt has arrived.
    tokio::time::sleep(Duration::from_secs(20)).await;
    run.healed("puts take 20 s");
    run.settle(&format!("2 {held} attempts land after the redirect of a later one"), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_one_id_of_two_senders_or_two_texts_is_one_message() {
    let run = FaultRun::start(4).await;
    let other = run.proxied.sender(&run.names[1]);
    let channel = run.channel.clone();
    let mut conflicts = 0;
    for n in 0..20 {
        let mine = run.speaker.draft(&channel, &format!("mine {n}"));
        let theirs = client::Draft { text: format!("theirs {n}"), ..mine.clone() };
        let (one, two) = tokio::join!(run.speaker.sends(&mine), other.sends(&theirs));
        assert!(one.is_some() != two.is_some(), "one of two senders");
        let again = client::Draft { text: format!("another text {n}"), ..mine };
        assert_eq!(run.speaker.sends(&again).await, None, "another text");
        conflicts += 2;
    }
    let draft = run.speaker.draft(&channel, "fifty times");
    let send = SendId(u64::MAX);
    let tries = (0..50).map(|_| run.speaker.sends_as(send, &draft));
    let ids = join_all(tries).await;
    assert!(ids.iter().all(|id| *id == ids[0] && id.is_some()));
    figure!("5 one id twice: {conflicts} conflicts refused, 50 parallel retries are one message");
    run.settle("5 one id of two senders, of two texts, 50 times at once", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_a_store_that_throttles_fails_and_blacks_out_loses_nothing() {
    troubled_store(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_a_store_that_is_down_for_ten_seconds_loses_nothing() {
    troubled_store(Duration::from_secs(10)).await;
}

async fn troubled_store(black_out: Duration) {
    let mut run = FaultRun::start(4).await;
    let kind = "throttling and 500s";
    run.fault(kind);
    let trouble = || {
        vec![
            Rule::all(StoreFault::Throttle).share(30),
            Rule::all(StoreFault::ServerError).share(10),
        ]
    };
    run.proxied.store.set(trouble());
    run.proxied.node_store.set(trouble());
    // A client connects during the fault.
    let guest = run.proxied.recorder.follow(&run.names[3], run.proxied.cluster.api(&run.names[3]));
    run.talk(60).await;
    run.healed(kind);
    run.fault("the store is down");
    let gone = || vec![Rule::all(StoreFault::Refuse)];
    run.proxied.store.set(gone());
    run.proxied.node_store.set(gone());
    let (channel, speaker) = (run.channel.clone(), run.speaker.clone());
    let said: Vec<String> = (0..20).map(|n| format!("into the dark {n}")).collect();
    let says = join_all(said.iter().map(|text| speaker.says(&channel, text)));
    let heals = async {
        tokio::time::sleep(black_out).await;
        run.proxied.store.set(Vec::new());
        run.proxied.node_store.set(Vec::new());
        run.healed("the store is down");
    };
    let (ids, ()) = tokio::join!(says, heals);
    let stored = ids.iter().flatten().count();
    run.people.push(guest);
    let injected = run.proxied.store.injected() + run.proxied.node_store.injected();
    let what = format!(
        "6 throttled 30 %, 500s 10 %, down for {black_out:?}: {injected} calls failed, {stored} of 20 sends succeeded during the outage"
    );
    run.settle(&what, SOON * 2).await;
}
