use model::{ChannelId, MessageText, Rev, Timestamp};

use super::*;

fn id(ms: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(ms), 7)
}

fn message(ms: u64) -> Message {
    Message::new(
        id(ms),
        ChannelId::mint_group(Timestamp::from_unix_ms(0), 1),
        "alice".parse().unwrap(),
        MessageText::from_stored(format!("at {ms}")),
    )
}

#[test]
fn duplicates_are_removed_and_messages_are_sorted_by_id() {
    let mut timeline = Timeline::default();
    assert!(timeline.upsert(message(2), 10));
    assert!(timeline.upsert(message(1), 10));
    assert!(!timeline.upsert(message(2), 10));
    assert!(timeline.upsert(message(3), 10));
    assert_eq!(timeline.ids(), [id(1), id(2), id(3)]);
}

#[test]
fn a_full_timeline_drops_its_oldest_messages_and_ignores_their_duplicates() {
    let mut timeline = Timeline::default();
    for ms in 1..=4 {
        assert!(timeline.upsert(message(ms), 2));
    }
    assert!(!timeline.upsert(message(1), 2));
    assert_eq!((timeline.ids(), timeline.dropped), (vec![id(3), id(4)], Some(id(2))));
}

#[test]
fn the_greatest_revision_stays_in_any_order_of_arrival() {
    let copy = |rev: &str, text: &str| Message {
        rev: Rev::parse(rev).unwrap(),
        text: MessageText::from_stored(text.to_owned()),
        ..message(1)
    };
    let copies = [copy("1", "sent"), copy("2", "edited"), copy("3", "edited again")];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut timeline = Timeline::default();
        for n in order {
            let newest = timeline.messages().next().map(|here| here.rev.clone());
            let fresh = timeline.upsert(copies[n].clone(), 10);
            assert_eq!(fresh, newest < Some(copies[n].rev.clone()), "{order:?}");
        }
        let here: Vec<_> = timeline.messages().map(|here| here.text.as_str()).collect();
        assert_eq!(here, ["edited again"], "{order:?}");
        // Late duplicates, as a relay or a page brings them.
        assert!(!timeline.upsert(copies[0].clone(), 10));
        assert!(!timeline.upsert(copies[2].clone(), 10));
        assert_eq!(timeline.messages().next().unwrap().rev, copies[2].rev);
    }
}
