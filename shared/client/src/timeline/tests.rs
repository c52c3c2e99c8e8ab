use model::{ChannelType, Contract, Late, MessageText};

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(100 * HOUR_MS + ms)
}

fn id(ms: u64) -> MessageId {
    MessageId::mint(at(ms), 7)
}

fn general() -> ChannelId {
    ChannelId::mint_group(at(0), 1)
}

fn message(ms: u64) -> Message {
    Message {
        id: id(ms),
        channel_id: general(),
        sender_id: "alice".parse().unwrap(),
        text: MessageText::from_stored(format!("at {ms}")),
    }
}

fn channel(late: Option<Late>) -> Channel {
    Channel {
        id: general(),
        workspace_id: "demo".parse().unwrap(),
        channel_type: ChannelType::Group,
        name: Some("general".into()),
        contract: Contract::PersistFirst,
        created_at: at(0),
        created_by: "alice".parse().unwrap(),
        members_version: 1,
        late,
    }
}

fn overlap_before(ms: u64) -> CatchUpFrom {
    CatchUpFrom::NewerThan(MessageId::first_of(at(ms).minus(limits::OVERLAP)))
}

#[test]
fn a_message_counts_once_and_sorts_by_id_however_it_comes() {
    let mut inbox = Inbox::new(10);
    assert!(inbox.upsert(message(2), How::Pushed));
    assert!(inbox.upsert(message(1), How::Pushed));
    assert!(!inbox.upsert(message(2), How::Pushed));
    assert!(!inbox.upsert(message(2), How::CaughtUp));
    assert!(inbox.upsert(message(3), How::CaughtUp));
    let timeline = inbox.timeline(&general()).unwrap();
    assert_eq!(timeline.ids(), [id(1), id(2), id(3)]);
    assert_eq!((timeline.pushed_again(), timeline.caught_up_again()), (1, 1));
}

#[test]
fn a_full_timeline_drops_its_oldest_and_does_not_take_them_for_new() {
    let mut inbox = Inbox::new(2);
    for ms in 1..=4 {
        assert!(inbox.upsert(message(ms), How::Pushed));
    }
    assert!(!inbox.upsert(message(1), How::CaughtUp));
    assert_eq!(inbox.timeline(&general()).unwrap().ids(), [id(3), id(4)]);
}

#[test]
fn the_newest_seen_counts_own_messages_too() {
    let mut inbox = Inbox::new(10);
    assert_eq!(inbox.newest_seen(&general()), None);
    inbox.note_sent(&general(), id(5));
    inbox.upsert(message(3), How::Pushed);
    assert_eq!(inbox.newest_seen(&general()), Some(id(5)));
    inbox.upsert(message(9), How::Pushed);
    assert_eq!(inbox.newest_seen(&general()), Some(id(9)));
}

#[test]
fn a_gap_starts_where_the_channel_stood_not_where_pushes_went_on() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(HOUR_MS), How::Pushed);
    inbox.open_gap();
    inbox.upsert(message(3 * HOUR_MS), How::Pushed);
    // A second loss before the gap is closed does not move it.
    inbox.open_gap();
    assert_eq!(inbox.catch_up_from(&channel(None)), overlap_before(HOUR_MS));
    inbox.close_gap(at(3 * HOUR_MS));
    assert!(!inbox.has_gap());
    inbox.open_gap();
    assert_eq!(inbox.catch_up_from(&channel(None)), overlap_before(3 * HOUR_MS));
}

#[test]
fn an_unknown_channel_is_a_first_visit_and_a_known_empty_one_is_not() {
    let mut inbox = Inbox::new(10);
    inbox.open_gap();
    assert_eq!(inbox.catch_up_from(&channel(None)), CatchUpFrom::FirstVisit);
    inbox.note_channel(&general(), at(HOUR_MS));
    assert_eq!(inbox.catch_up_from(&channel(None)), CatchUpFrom::FirstVisit);
    inbox.close_gap(at(HOUR_MS));
    inbox.open_gap();
    assert_eq!(inbox.catch_up_from(&channel(None)), overlap_before(HOUR_MS));
}

#[test]
fn a_late_mark_after_the_last_sync_reaches_back_to_the_late_message() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(5 * HOUR_MS), How::Pushed);
    inbox.close_gap(at(5 * HOUR_MS));
    inbox.open_gap();
    let late = |id_ms, at_ms| Some(Late { id: id(id_ms), at: at(at_ms) });
    let from = inbox.catch_up_from(&channel(late(HOUR_MS, 6 * HOUR_MS)));
    assert_eq!(from, CatchUpFrom::NewerThan(id(HOUR_MS).previous().unwrap()));
    // Before the last sync it was read already; within the overlap it changes nothing.
    for old in [late(HOUR_MS, 4 * HOUR_MS), late(5 * HOUR_MS, 6 * HOUR_MS)] {
        assert_eq!(inbox.catch_up_from(&channel(old)), overlap_before(5 * HOUR_MS));
    }
}
