use model::{ChannelId, MessageText, Timestamp};

use super::*;

fn id(ms: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(ms), 7)
}

fn message(ms: u64) -> Message {
    Message {
        id: id(ms),
        channel_id: ChannelId::mint_group(Timestamp::from_unix_ms(0), 1),
        sender_id: "alice".parse().unwrap(),
        text: MessageText::from_stored(format!("at {ms}")),
    }
}

#[test]
fn a_message_counts_once_and_sorts_by_id_however_it_comes() {
    let mut timeline = Timeline::default();
    assert!(timeline.upsert(message(2), How::Pushed, 10));
    assert!(timeline.upsert(message(1), How::Pushed, 10));
    assert!(!timeline.upsert(message(2), How::Pushed, 10));
    assert!(!timeline.upsert(message(2), How::CaughtUp, 10));
    assert!(timeline.upsert(message(3), How::CaughtUp, 10));
    assert_eq!(timeline.ids(), [id(1), id(2), id(3)]);
    assert_eq!((timeline.pushed_again(), timeline.caught_up_again()), (1, 1));
    assert_eq!(timeline.caught_up(), 2);
}

#[test]
fn a_full_timeline_drops_its_oldest_and_does_not_take_them_for_new() {
    let mut timeline = Timeline::default();
    for ms in 1..=4 {
        assert!(timeline.upsert(message(ms), How::Pushed, 2));
    }
    assert!(!timeline.upsert(message(1), How::CaughtUp, 2));
    assert_eq!((timeline.ids(), timeline.dropped()), (vec![id(3), id(4)], Some(id(2))));
}
