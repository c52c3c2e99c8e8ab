use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use memory::PublishFault;
use messaging::Refusal;
use messaging::counters::Counter;
use messaging::send::{PostMessageError, Posted};
use model::{ChannelId, ErrorCode, MessageId, limits};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, caller, stranger};

fn code(result: Result<Posted, PostMessageError>) -> ErrorCode {
    result.map(|posted| posted.message.id).unwrap_err().code()
}

#[tokio::test]
async fn g1_a_retry_inside_the_window_is_one_message() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let id = Some(fixture.id_at(-500, 1));
    let first = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    let retry = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    assert_eq!((first.duplicate, retry.duplicate), (false, true));
    assert_eq!(first.message, retry.message);
    assert_eq!(Some(first.message.id), id);
    assert_eq!(fixture.published().await.len(), 2, "the channel's creation and one message");
}

#[tokio::test]
async fn g1_a_retry_is_the_same_message_however_late() {
    for offset_ms in [-400, -11_000, -3_600_000, 1_500, 300_000] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        let id = Some(fixture.id_at(offset_ms, 1));
        let first = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
        for wait in [3, 15, 3_600, 80_000] {
            fixture.clock.advance(Duration::from_secs(wait));
            let retry = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
            assert!(retry.duplicate, "{offset_ms} ms, {wait} s later");
            assert_eq!(retry.message, first.message, "{offset_ms} ms, {wait} s later");
        }
    }
}

#[tokio::test]
async fn g1_a_stored_id_is_a_duplicate_even_after_24_hours() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let id = Some(fixture.id_at(0, 1));
    let first = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    fixture.clock.advance(Duration::from_secs(25 * 3600));
    let retry = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    assert!(retry.duplicate);
    assert_eq!(retry.message, first.message);
}

#[tokio::test]
async fn g1_another_sender_or_text_is_a_conflict_in_both_windows() {
    for offset_ms in [0, -60_000] {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &["bob"]).await.id;
        let id = Some(fixture.id_at(offset_ms, 1));
        fixture.send("alice", &channel, "hi", id, None).await.unwrap();
        let other_text = fixture.send("alice", &channel, "ho", id, None).await;
        assert_eq!(code(other_text), ErrorCode::IdConflict);
        let other_sender = fixture.send("bob", &channel, "hi", id, None).await;
        assert_eq!(code(other_sender), ErrorCode::IdConflict);
    }
}

#[tokio::test]
async fn g1_the_window_decides_the_cost_and_never_the_outcome() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for (n, (offset_ms, own_id)) in [
        (-10_000, true),
        (-10_001, false),
        (1_000, true),
        (1_001, false),
        (-86_400_000, false),
        (600_000, false),
    ]
    .into_iter()
    .enumerate()
    {
        let id = fixture.id_at(offset_ms, n as u128 + 1);
        let posted = fixture.send("alice", &channel, "hi", Some(id), None).await.unwrap();
        assert_eq!(posted.message.id == id, own_id, "{offset_ms}");
        assert!(!posted.duplicate);
    }
    for offset_ms in [-86_400_001, 600_001] {
        let refused =
            fixture.send("alice", &channel, "hi", Some(fixture.id_at(offset_ms, 9)), None).await;
        assert_eq!(code(refused), ErrorCode::IdOutOfRange, "{offset_ms}");
    }
}

#[tokio::test]
async fn g1_fifty_parallel_retries_of_one_id_are_one_message() {
    let fixture = Arc::new(Fixture::new());
    let channel = fixture.group("alice", &[]).await.id;
    let id = Some(fixture.id_at(0, 1));
    let posted = in_parallel(&fixture, &channel, 50, id).await;
    assert_eq!(posted.iter().filter(|posted| posted.duplicate).count(), 49);
    assert!(posted.iter().all(|one| Some(one.message.id) == id));
}

#[tokio::test]
async fn g1_a_first_attempt_that_lands_after_its_redirect_meets_it() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let id = fixture.id_at(-9_000, 1);
    fixture.clock.advance(Duration::from_secs(2));
    // The retry comes 11 s after the id's time and is redirected. Then another server, whose clock
    // is a little behind, still accepts the first attempt's id as it is.
    let retry = fixture.send("alice", &channel, "hi", Some(id), None).await.unwrap();
    assert_ne!(retry.message.id, id);
    let now = messaging::ports::Clock::now(fixture.clock.as_ref());
    fixture.clock.set(now.minus(Duration::from_millis(1_500)));
    let first = fixture.send("alice", &channel, "hi", Some(id), None).await.unwrap();
    assert!(first.duplicate);
    assert_eq!(first.message, retry.message);
}

#[tokio::test]
async fn g2_a_reply_sorts_after_what_its_sender_had_seen() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for (n, ahead_ms) in [-5_000, 0, 900, 9_999].into_iter().enumerate() {
        let n = 10 * n as u128;
        let seen = fixture.id_at(ahead_ms, u128::MAX);
        for id in [None, Some(fixture.id_at(-200, n + 3)), Some(fixture.id_at(ahead_ms - 1, n + 4))]
        {
            let text = format!("{ahead_ms} {id:?}");
            let posted = fixture.send("alice", &channel, &text, id, Some(seen)).await.unwrap();
            assert!(posted.message.id > seen, "{text}");
            assert!(posted.message.id.time() <= posted.server_time.plus(limits::NEWEST_AHEAD));
        }
    }
    let too_far = fixture.send("alice", &channel, "x", None, Some(fixture.id_at(10_001, 0))).await;
    assert_eq!(code(too_far), ErrorCode::IdOutOfRange);
}

#[tokio::test]
async fn g3_what_is_stored_is_answered_whatever_the_bus_says() {
    for fault in [PublishFault::Refused, PublishFault::Hang] {
        tokio::time::pause();
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        fixture.bus.fail_publishes(fault, 1);
        let before = tokio::time::Instant::now();
        let id = Some(fixture.id_at(0, 1));
        let posted = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
        assert!(before.elapsed() <= limits::PUBLISH_DEADLINE + Duration::from_millis(5));
        assert_eq!(fixture.published().await.len(), 1, "the creation alone");
        let counted = fixture.app.counters().take();
        assert!(counted.contains(&(Counter::PublishFailed, 1)), "{counted:?}");
        // The retry publishes what the first attempt could not.
        let retry = fixture.send("alice", &channel, "hi", id, None).await.unwrap();
        assert!(retry.duplicate);
        let last = fixture.published().await.pop().unwrap();
        assert_eq!(last.publication.id, posted.message.id.into());
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn g3_after_three_timeouts_publishing_pauses_for_five_seconds() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    fixture.bus.fail_publishes(PublishFault::Hang, 100);
    let timed = async |text: &str| {
        let before = tokio::time::Instant::now();
        fixture.post("alice", &channel, text).await;
        before.elapsed()
    };
    for text in ["1", "2", "3"] {
        assert!(timed(text).await >= limits::PUBLISH_DEADLINE);
    }
    assert!(timed("4").await < Duration::from_millis(5), "not tried");
    fixture.clock.advance(limits::PUBLISH_PAUSE);
    assert!(timed("5").await >= limits::PUBLISH_DEADLINE, "tried again");
}

#[tokio::test]
async fn g3_nothing_is_published_that_is_not_stored() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let before = fixture.published().await.len();
    assert!(fixture.send("mallory", &channel, "hi", None, None).await.is_err());
    let far = Some(fixture.id_at(-86_400_001, 1));
    assert!(fixture.send("alice", &channel, "hi", far, None).await.is_err());
    assert_eq!(fixture.published().await.len(), before);
}

#[tokio::test]
async fn g8_tenants_and_non_members_get_one_answer() {
    use messaging::send::post_message;
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    let text = model::MessageText::parse("hi".to_owned()).unwrap();
    let absent = ChannelId::mint_group(model::Timestamp::from_unix_ms(1), 1);
    for (caller, channel_id) in [
        (caller("mallory"), channel.clone()),
        (stranger("alice"), channel),
        (caller("alice"), absent),
    ] {
        let new = model::NewMessage {
            log: channel_id.into(),
            text: text.clone(),
            mentions: model::Mentions::default(),
            attachments: Vec::new(),
            id: None,
            after: None,
            quote: None,
        };
        let posted = post_message(&fixture.app, &caller, &new, crate::fixture::origin()).await;
        assert_eq!(code(posted), ErrorCode::ChannelNotFound);
    }
}

#[tokio::test]
async fn a_thousand_sends_in_one_millisecond_are_a_thousand_messages() {
    let fixture = Arc::new(Fixture::new());
    let channel = fixture.group("alice", &[]).await.id;
    let posted = in_parallel(&fixture, &channel, 1_000, None).await;
    let ids: BTreeSet<MessageId> = posted.iter().map(|posted| posted.message.id).collect();
    assert_eq!(ids.len(), 1_000);
}

async fn in_parallel(
    fixture: &Arc<Fixture>,
    channel: &ChannelId,
    count: usize,
    id: Option<MessageId>,
) -> Vec<Posted> {
    let mut sends = JoinSet::new();
    for _ in 0..count {
        let (fixture, channel) = (Arc::clone(fixture), channel.clone());
        sends.spawn(async move { fixture.send("alice", &channel, "hi", id, None).await.unwrap() });
    }
    sends.join_all().await
}

#[tokio::test]
async fn g3_one_id_in_two_channels_is_two_messages_and_both_are_published() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.group("alice", &[]).await.id, fixture.group("alice", &[]).await.id);
    let before = fixture.published().await.len();
    let id = Some(fixture.id_at(0, 1));
    for channel in [&one, &other] {
        let posted = fixture.send("alice", channel, "shared", id, None).await.unwrap();
        assert!(!posted.duplicate);
    }
    assert_eq!(fixture.published().await.len() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn what_sends_did_is_counted_by_guarantee() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    fixture.app.counters().take();
    let id = Some(fixture.id_at(0, 1));
    for _ in 0..2 {
        fixture.send("alice", &channel, "hi", id, None).await.unwrap();
    }
    let taken = fixture.app.counters().take();
    assert_eq!(taken, [(Counter::Stored, 1), (Counter::Duplicate, 1), (Counter::Published, 2)]);
    fixture.bus.fail_publishes(PublishFault::Refused, 1);
    fixture.post("alice", &channel, "refused").await;
    assert_eq!(fixture.app.counters().take(), [(Counter::Stored, 1), (Counter::PublishFailed, 1)]);
    fixture.bus.fail_publishes(PublishFault::Hang, u64::from(limits::PUBLISH_TIMEOUTS_MAX));
    for _ in 0..=limits::PUBLISH_TIMEOUTS_MAX {
        fixture.post("alice", &channel, "not in time, then not at all").await;
    }
    let timeouts = u64::from(limits::PUBLISH_TIMEOUTS_MAX);
    let expected = [
        (Counter::Stored, timeouts + 1),
        (Counter::PublishFailed, timeouts + 1),
        (Counter::PublishTimedOut, timeouts),
        (Counter::PublishSkipped, 1),
    ];
    assert_eq!(fixture.app.counters().take(), expected);
}

#[tokio::test]
async fn a_publication_carries_where_its_message_began() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    fixture.post("alice", &channel, "hi").await;
    let entry = fixture.published().await.pop().unwrap();
    assert_eq!(entry.publication.origin(), crate::fixture::origin());
}
