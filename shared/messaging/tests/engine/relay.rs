use std::time::Duration;

use memory::{MemoryStore, PublishFault, Replicas};
use messaging::ports::{
    Appended, Cause, ChannelStore, LogEntry, MessageStore, PageQuery, Redirect, StoredMessage,
};
use messaging::relay::{Outcome, Record, Relay};
use model::{
    ChannelId, Message, MessageId, MessageText, PublicationId, TextDigest, Timestamp, limits,
};

use crate::fixture::{Fixture, user};

/// A fixture whose sends publish nothing, and a relay over the same ports.
fn fixture() -> (Fixture, Relay) {
    let fixture = Fixture::new();
    fixture.app.publisher().switch(false);
    let relay = Relay::new(fixture.store.clone(), fixture.bus.clone(), fixture.clock.clone());
    (fixture, relay)
}

/// A channel's log as stream records.
async fn records(store: &MemoryStore, channel: &ChannelId) -> Vec<Record> {
    let query = PageQuery {
        log: channel.clone().into(),
        lowest: MessageId::MIN,
        highest: MessageId::last_of(Timestamp::MAX),
        newest_first: false,
        limit: 100,
        strong: true,
    };
    let page = store.page(&query).await.unwrap();
    page.entries.into_iter().map(Record::Stored).collect()
}

async fn published(fixture: &Fixture) -> Vec<PublicationId> {
    fixture.published().await.iter().map(|entry| entry.publication.id).collect()
}

fn poison() -> Record {
    let cause: Cause = "no well-formed attribute".into();
    Record::Poisoned(cause)
}

/// Stores a message as if it had been sent some time ago.
async fn stored_ago(fixture: &Fixture, channel: &ChannelId, ago: Duration, n: u128) -> MessageId {
    use messaging::ports::Clock;
    let message = Message::new(
        MessageId::mint(fixture.clock.now().minus(ago), n),
        channel.clone(),
        user("alice"),
        MessageText::parse("late".to_owned()).unwrap(),
    );
    let id = message.id;
    let appended = fixture.store.append(&StoredMessage::new(message, 1)).await.unwrap();
    assert_eq!(appended, Appended::Stored);
    id
}

async fn mark(fixture: &Fixture, channel: &ChannelId) -> Option<model::LateArrivals> {
    fixture.store.channels(std::slice::from_ref(channel)).await.unwrap()[0].late
}

#[tokio::test]
async fn g3_what_no_send_published_the_relay_publishes_in_order_and_once() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let mut sent: Vec<PublicationId> = Vec::new();
    for n in 0..20 {
        fixture.clock.advance(Duration::from_millis(1));
        sent.push(fixture.post("alice", &channel, &n.to_string()).await.message.id.into());
    }
    assert_eq!(published(&fixture).await, []);
    let records = records(&fixture.store, &channel).await;
    for _ in 0..3 {
        assert_eq!(relay.relay(&records).await, Outcome::Relayed);
        assert_eq!(published(&fixture).await, sent);
    }
    let counts = relay.counts();
    assert_eq!((counts.relayed, counts.appended, counts.lag_ms), (60, 20, 19));
    // The same as from its send: text, sender, and the version that the send read (G6).
    let sent_now = fixture.published().await;
    fixture.app.publisher().switch(true);
    fixture.bus.flush(&crate::fixture::workspace());
    for (entry, record) in sent_now.iter().zip(&records) {
        let Record::Stored(LogEntry::Message(stored)) = record else { panic!("a message") };
        let id = Some(stored.message.id);
        fixture.send("alice", &channel, stored.message.text.as_str(), id, None).await.unwrap();
        let by_send = fixture.published().await.pop().unwrap();
        let relayed = (*entry.publication).clone();
        assert_eq!(relayed.origin().trace, stored.message.id.into(), "the store keeps no trace");
        // The store does not keep where the call began.
        assert_eq!(*by_send.publication, relayed.with_origin(crate::fixture::origin()));
    }
}

#[tokio::test]
async fn g3_what_the_send_published_is_a_no_op_for_the_relay() {
    let (fixture, relay) = fixture();
    fixture.app.publisher().switch(true);
    let channel = fixture.group("alice", &[]).await.id;
    fixture.post("alice", &channel, "hi").await;
    let before = published(&fixture).await;
    // The script ran, but its answer was lost.
    fixture.bus.fail_publishes(PublishFault::AnswerLost, 1);
    fixture.post("alice", &channel, "ho").await;
    assert_eq!(published(&fixture).await.len(), before.len() + 1);
    assert_eq!(relay.relay(&records(&fixture.store, &channel).await).await, Outcome::Relayed);
    assert_eq!(published(&fixture).await.len(), before.len() + 1);
    assert_eq!((relay.counts().relayed, relay.counts().appended), (2, 0));
}

#[tokio::test]
async fn g3_a_poisoned_record_is_skipped_and_holds_nothing_up() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    fixture.post("alice", &channel, "one").await;
    fixture.clock.advance(Duration::from_millis(1));
    fixture.post("alice", &channel, "two").await;
    let mut records = records(&fixture.store, &channel).await;
    records.insert(1, poison());
    records.insert(0, poison());
    records.insert(2, Record::Other);
    // A message whose channel does not exist counts as unreadable.
    let nowhere = Message::new(
        MessageId::mint(Timestamp::from_unix_ms(1_800_000_000_000), 9),
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1),
        user("alice"),
        MessageText::parse("x".to_owned()).unwrap(),
    );
    let nowhere = StoredMessage::new(nowhere, 1);
    records.insert(3, Record::Stored(LogEntry::Message(nowhere)));
    assert_eq!(relay.relay(&records).await, Outcome::Relayed);
    assert_eq!(published(&fixture).await.len(), 2);
    assert_eq!(relay.counts().poisoned, 3);
}

#[tokio::test]
async fn g3_a_redirect_is_passed_over_and_its_message_published() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    let id = fixture.id_at(-60_000, 1);
    let posted = fixture.send("alice", &channel, "hi", Some(id), None).await.unwrap();
    assert_ne!(posted.message.id, id);
    let records = records(&fixture.store, &channel).await;
    let is_redirect = |record: &&Record| {
        matches!(record, Record::Stored(LogEntry::Redirect(Redirect { digest, .. }))
            if *digest == TextDigest(posted.message.text.digest().0))
    };
    assert_eq!((records.len(), records.iter().filter(is_redirect).count()), (2, 1));
    assert_eq!(relay.relay(&records).await, Outcome::Relayed);
    assert_eq!(published(&fixture).await, [posted.message.id.into()]);
}

#[tokio::test(start_paused = true)]
async fn g3_a_broken_connection_runs_the_whole_batch_again() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    for n in 0..5 {
        fixture.clock.advance(Duration::from_millis(1));
        fixture.post("alice", &channel, &n.to_string()).await;
    }
    let records = records(&fixture.store, &channel).await;
    fixture.bus.break_replays(3, 1);
    assert_eq!(relay.relay(&records).await, Outcome::Relayed);
    assert_eq!(fixture.bus.replays(), 2);
    assert_eq!(published(&fixture).await.len(), 5, "each once");
    assert_eq!((relay.counts().relayed, relay.counts().reruns), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn g3_a_bus_that_is_gone_holds_the_batch_within_bounds() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    fixture.post("alice", &channel, "hi").await;
    let mut records = records(&fixture.store, &channel).await;
    records.insert(0, Record::Other);
    fixture.bus.break_replays(0, 1_000);
    let begun = tokio::time::Instant::now();
    assert_eq!(relay.relay(&records).await, Outcome::HeldAt(1));
    assert_eq!(fixture.bus.replays(), u64::from(limits::RELAY_RUNS_MAX));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    fixture.bus.break_replays(0, 0);
    assert_eq!(relay.relay(&records).await, Outcome::Relayed);
    assert_eq!(published(&fixture).await.len(), 1);
}

#[tokio::test]
async fn g3_a_message_that_the_bus_refuses_holds_itself_and_what_is_behind_it() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    for n in 0..5 {
        fixture.clock.advance(Duration::from_millis(1));
        fixture.post("alice", &channel, &n.to_string()).await;
    }
    let mut records = records(&fixture.store, &channel).await;
    records.insert(0, poison());
    fixture.bus.refuse_replays(2, 1);
    assert_eq!(relay.relay(&records).await, Outcome::HeldAt(3));
    assert_eq!(relay.relay(&records[3..]).await, Outcome::Relayed);
    assert_eq!(published(&fixture).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn g3_a_batch_is_relayed_when_a_replica_has_it_or_none_is_there_to_have_it() {
    let acknowledges = Replicas { configured: 1, attached: 1, lag: false };
    let none = Replicas::default();
    let lags = Replicas { lag: true, ..acknowledges };
    let lags_unexpectedly = Replicas { configured: 0, ..lags };
    let absent = Replicas { configured: 1, attached: 0, lag: false };
    for (replicas, outcome, runs, alone, waits) in [
        (none, Outcome::Relayed, 1, 0, Duration::ZERO),
        (acknowledges, Outcome::Relayed, 1, 0, Duration::ZERO),
        (lags, Outcome::HeldAt(0), 2, 0, Duration::ZERO),
        (lags_unexpectedly, Outcome::HeldAt(0), 2, 0, Duration::ZERO),
        (absent, Outcome::Relayed, 2, 1, limits::REPLICA_ABSENT_WAIT),
    ] {
        let (fixture, relay) = fixture();
        let channel = fixture.group("alice", &[]).await.id;
        fixture.post("alice", &channel, "hi").await;
        let records = records(&fixture.store, &channel).await;
        fixture.bus.set_replicas(replicas);
        let begun = tokio::time::Instant::now();
        assert_eq!(relay.relay(&records).await, outcome, "{replicas:?}");
        assert!(begun.elapsed() >= waits && begun.elapsed() < waits + Duration::from_secs(1));
        assert_eq!((fixture.bus.replays(), relay.counts().alone), (runs, alone), "{replicas:?}");
        // It is published in any case: only the checkpoint waits.
        assert_eq!(published(&fixture).await.len(), 1);
    }
}

/// A promoted primary has no replica for minutes. After one wait, the relay only checks.
#[tokio::test(start_paused = true)]
async fn g3_a_replica_that_stays_away_is_waited_for_once_a_minute() {
    let (fixture, relay) = fixture();
    let channel = fixture.group("alice", &[]).await.id;
    fixture.post("alice", &channel, "hi").await;
    let records = records(&fixture.store, &channel).await;
    fixture.bus.set_replicas(Replicas { configured: 1, attached: 0, lag: false });
    let mut waited = Vec::new();
    for pause in [Duration::ZERO, Duration::ZERO, limits::REPLICA_ABSENT_MEMORY] {
        fixture.clock.advance(pause);
        let begun = tokio::time::Instant::now();
        assert_eq!(relay.relay(&records).await, Outcome::Relayed);
        waited.push(begun.elapsed() >= limits::REPLICA_ABSENT_WAIT);
    }
    assert_eq!(waited, [true, false, true]);
    assert_eq!((fixture.bus.replays(), relay.counts().alone), (6, 3), "asked twice each time");
}

#[tokio::test]
async fn g3_a_message_relayed_late_marks_its_channel_once_an_incident_with_the_lowest_id() {
    let (fixture, relay) = fixture();
    let (channel, punctual) =
        (fixture.group("alice", &[]).await.id, fixture.group("alice", &[]).await.id);
    let ago = |seconds| limits::OVERLAP + Duration::from_secs(seconds);
    let higher = stored_ago(&fixture, &channel, ago(1), 1).await;
    let lowest = stored_ago(&fixture, &channel, ago(60), 2).await;
    stored_ago(&fixture, &punctual, limits::LATE_AGE, 3).await;
    let late = records(&fixture.store, &channel).await;
    let newest_first: Vec<Record> = late.into_iter().rev().collect();
    assert_eq!(relay.relay(&newest_first).await, Outcome::Relayed);
    assert_eq!(relay.relay(&records(&fixture.store, &punctual).await).await, Outcome::Relayed);
    let marked = mark(&fixture, &channel).await.unwrap();
    assert!(higher > lowest && marked.reread_from == lowest, "the lowest of both");
    assert_eq!(mark(&fixture, &punctual).await, None);
    assert_eq!(relay.counts().late, 2);
    // More of the same incident causes no further write. The mark's end stays in the future, so it
    // covers whatever is published until then.
    for seconds in 0..8 {
        fixture.clock.advance(Duration::from_secs(60));
        stored_ago(&fixture, &channel, ago(0), 10 + seconds).await;
        relay.relay(&records(&fixture.store, &channel).await).await;
        let now = messaging::ports::Clock::now(fixture.clock.as_ref());
        assert!(mark(&fixture, &channel).await == Some(marked) && marked.until > now);
    }
    assert_eq!(fixture.store.calls()["mark_late"], 1);
    // Another environment finds the mark and writes nothing either.
    let other = Relay::new(fixture.store.clone(), fixture.bus.clone(), fixture.clock.clone());
    other.relay(&records(&fixture.store, &channel).await).await;
    assert_eq!(
        (mark(&fixture, &channel).await, fixture.store.calls()["mark_late"]),
        (Some(marked), 1)
    );
    // A lower id moves the mark; a later incident replaces it.
    let lower = stored_ago(&fixture, &channel, Duration::from_secs(7_200), 30).await;
    other.relay(&records(&fixture.store, &channel).await).await;
    assert_eq!(mark(&fixture, &channel).await.unwrap().reread_from, lower);
    relay.relay(&records(&fixture.store, &channel).await).await;
    assert_eq!(
        mark(&fixture, &channel).await.unwrap().reread_from,
        lower,
        "not raised by who did not know"
    );
    fixture.clock.advance(limits::OVERLAP * 3);
    let next = stored_ago(&fixture, &channel, ago(5), 40).await;
    let last = records(&fixture.store, &channel).await.into_iter().filter(|record| {
        matches!(record, Record::Stored(LogEntry::Message(stored)) if stored.message.id == next)
    });
    relay.relay(&last.collect::<Vec<_>>()).await;
    assert_eq!(mark(&fixture, &channel).await.unwrap().reread_from, next);
}

#[tokio::test]
async fn g3_a_channel_is_read_once_for_the_life_of_an_environment() {
    let (fixture, relay) = fixture();
    let channels = [fixture.group("alice", &[]).await.id, fixture.group("alice", &[]).await.id];
    for channel in &channels {
        fixture.post("alice", channel, "hi").await;
    }
    let reads = || fixture.store.calls().get("channels").copied().unwrap_or(0);
    let before = reads();
    let mut all = Vec::new();
    for channel in &channels {
        all.extend(records(&fixture.store, channel).await);
    }
    for _ in 0..5 {
        assert_eq!(relay.relay(&all).await, Outcome::Relayed);
    }
    assert_eq!(reads() - before, 1, "both in one read");
}
