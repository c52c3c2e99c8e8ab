use std::time::Duration;

use model::{MessageId, UserId};

use super::*;
use crate::ManualClock;

fn bus() -> (MemoryBus, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000)));
    (MemoryBus::new(clock.clone()), clock)
}

fn workspace() -> WorkspaceId {
    WorkspaceId::parse("w").unwrap()
}

fn publication(number: u128) -> Publication {
    let id = MessageId::mint(Timestamp::from_unix_ms(1), number).into();
    Publication::of_revocation(id, UserId::parse("u").unwrap())
}

#[tokio::test]
async fn a_guard_lapses_after_its_time_and_not_before() {
    let (bus, clock) = bus();
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    clock.advance(limits::GUARD_TTL - Duration::from_millis(1));
    let again = bus.publish(&workspace(), &publication(1)).await.unwrap();
    assert_eq!(again, Published::AlreadyPublished);
    clock.advance(Duration::from_millis(1));
    let again = bus.publish(&workspace(), &publication(1)).await.unwrap();
    assert!(matches!(again, Published::Appended(_)));
}

#[tokio::test]
async fn a_stream_without_publications_is_forgotten() {
    let (bus, clock) = bus();
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    clock.advance(limits::STREAM_TTL);
    assert_eq!(bus.entries(&workspace(), None, 10).await.unwrap(), []);
    bus.publish(&workspace(), &publication(2)).await.unwrap();
    assert_eq!(bus.entries(&workspace(), None, 10).await.unwrap()[0].prev, None);
}

#[tokio::test]
async fn ids_rise_while_the_clock_stands_or_goes_back() {
    let (bus, clock) = bus();
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    bus.publish(&workspace(), &publication(2)).await.unwrap();
    clock.set(Timestamp::from_unix_ms(1));
    bus.publish(&workspace(), &publication(3)).await.unwrap();
    let entries = bus.entries(&workspace(), None, 10).await.unwrap();
    let ids: Vec<String> = entries.iter().map(|one| one.position.entry.to_string()).collect();
    assert_eq!(ids, ["1000-0", "1000-1", "1000-2"]);
}

#[tokio::test]
async fn a_dropped_push_shows_as_a_hole_in_the_chain() {
    let (bus, _clock) = bus();
    let mut subscription = bus.subscribe(&workspace()).await.unwrap();
    bus.drop_pushes(1);
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    bus.publish(&workspace(), &publication(2)).await.unwrap();
    let Some(Notice::Entry(entry)) = subscription.next().await else { panic!("no entry") };
    assert_eq!(entry.publication.id, publication(2).id);
    assert!(entry.prev.is_some());
}

#[tokio::test]
async fn a_lost_link_is_told_and_loses_pushes() {
    let (bus, _clock) = bus();
    let mut subscription = bus.subscribe(&workspace()).await.unwrap();
    bus.lose_link();
    assert!(bus.subscribe(&workspace()).await.is_err());
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    bus.restore_link();
    assert_eq!(subscription.next().await, Some(Notice::Lost));
    assert_eq!(subscription.next().await, Some(Notice::Restored));
}

#[tokio::test]
async fn faults_come_as_scripted_and_end() {
    let (bus, _clock) = bus();
    bus.fail_publishes(PublishFault::Refused, 1);
    let refused = bus.publish(&workspace(), &publication(1)).await;
    assert!(matches!(refused, Err(BusError::Refused(_))));
    bus.fail_publishes(PublishFault::AnswerLost, 1);
    let lost = bus.publish(&workspace(), &publication(1)).await;
    assert!(matches!(lost, Err(BusError::Unavailable(_))));
    let after = bus.publish(&workspace(), &publication(1)).await.unwrap();
    assert_eq!(after, Published::AlreadyPublished);
    bus.fail_publishes(PublishFault::Hang, 1);
    let (ws, third) = (workspace(), publication(3));
    let mut hanging = bus.publish(&ws, &third);
    let waker = std::task::Waker::noop();
    assert!(hanging.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    bus.fail_reads(1);
    assert!(bus.entries(&workspace(), None, 1).await.is_err());
    assert_eq!(bus.entries(&workspace(), None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dropped_subscription_is_forgotten_by_the_next_push() {
    let (bus, _clock) = bus();
    let subscription = bus.subscribe(&workspace()).await.unwrap();
    assert_eq!(bus.subscriptions(&workspace()), 1);
    drop(subscription);
    bus.publish(&workspace(), &publication(1)).await.unwrap();
    assert_eq!(bus.subscriptions(&workspace()), 0);
}
