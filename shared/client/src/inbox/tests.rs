use model::{ChannelDetails, ChannelType, Contract, MessageText, Replies, Rev, Visibility};

use super::*;

const HOUR_MS: u64 = 3_600_000;
const SECOND_MS: u64 = 1_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(100 * HOUR_MS + ms)
}

fn id(ms: u64) -> MessageId {
    MessageId::mint(at(ms), 7)
}

fn general() -> ChannelId {
    ChannelId::mint_group(at(0), 1)
}

fn random() -> ChannelId {
    ChannelId::mint_group(at(0), 2)
}

fn message(channel: &ChannelId, ms: u64) -> Message {
    Message::new(
        id(ms),
        channel.clone(),
        "alice".parse().unwrap(),
        MessageText::from_stored(format!("at {ms}")),
    )
}

fn channel(id: &ChannelId) -> Channel {
    Channel {
        id: id.clone(),
        workspace_id: "demo".parse().unwrap(),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(Some("general".into())),
        contract: Contract::PersistFirst,
        created_at: at(0),
        created_by: "alice".parse().unwrap(),
        members_version: 1,
        late: None,
    }
}

fn overlap_before(ms: u64) -> Option<MessageId> {
    Some(MessageId::first_of(at(ms).minus(limits::OVERLAP)))
}

fn verified(ms: u64) -> Option<MessageId> {
    Some(MessageId::first_of(at(ms).minus(limits::VERIFIED_OVERLAP)))
}

/// A complete catch-up that began at `ms`.
fn read_all(inbox: &mut Inbox, ms: u64, list: &[&ChannelId]) {
    let (list_gap, _) = inbox.due();
    if let Some(opening) = list_gap {
        let list: Vec<_> = list.iter().map(|id| channel(id)).collect();
        inbox.list_read(opening, &list, at(ms));
    }
    for id in inbox.due().1 {
        let opening = inbox.opening_of(&id).unwrap();
        inbox.channel_read(&id, opening, ChannelRead::default(), at(ms));
    }
    inbox.all_read(list_gap, at(ms));
}

#[test]
fn the_newest_seen_message_may_be_an_own_one() {
    let mut inbox = Inbox::new(10);
    assert_eq!(inbox.newest_seen(general()), None);
    inbox.record_sent(general(), id(5));
    inbox.upsert(message(&general(), 3));
    assert_eq!(inbox.newest_seen(general()), Some(id(5)));
    inbox.upsert(message(&general(), 9));
    assert_eq!(inbox.newest_seen(general()), Some(id(9)));
}

#[test]
fn a_gap_starts_when_the_channel_was_last_in_step_and_later_pushes_do_not_move_it() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), HOUR_MS));
    inbox.record_in_step(at(HOUR_MS + 5));
    inbox.open_gap(None, at(9 * HOUR_MS));
    inbox.upsert(message(&general(), 3 * HOUR_MS));
    inbox.record_in_step(at(3 * HOUR_MS));
    // Opening an open gap again does not move its position.
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(HOUR_MS + 5));
    read_all(&mut inbox, 3 * HOUR_MS, &[&general()]);
    assert!(!inbox.has_gap());
    inbox.record_in_step(at(5 * HOUR_MS));
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(5 * HOUR_MS));
}

#[test]
fn a_gap_of_a_channel_never_in_step_starts_at_its_newest_message() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), HOUR_MS));
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(HOUR_MS));
}

#[test]
fn a_catch_up_starts_no_earlier_than_the_last_complete_one() {
    let mut inbox = Inbox::new(10);
    inbox.add_channel(&general(), at(0));
    inbox.open_gap(None, at(9 * HOUR_MS));
    read_all(&mut inbox, HOUR_MS, &[&general()]);
    // The next gap opens a minute later: the overlap reaches back further than what is verified.
    inbox.record_in_step(at(HOUR_MS + 60 * SECOND_MS));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), verified(HOUR_MS));
    // An hour later the overlap starts later than the verified position.
    read_all(&mut inbox, HOUR_MS, &[&general()]);
    inbox.record_in_step(at(2 * HOUR_MS));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(2 * HOUR_MS));
}

#[test]
fn a_gap_in_one_channel_does_not_affect_the_others() {
    let mut inbox = Inbox::new(10);
    for channel in [general(), random()] {
        inbox.add_channel(&channel, at(0));
    }
    inbox.record_in_step(at(HOUR_MS));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    assert_eq!(inbox.due(), (None, vec![general()]));
    inbox.record_in_step(at(2 * HOUR_MS));
    // Two openings add up, and one of all channels includes every channel.
    inbox.open_gap(Some(&[random()]), at(9 * HOUR_MS));
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert!(inbox.due().0.is_some());
    assert_eq!(inbox.due().1.len(), 2);
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(HOUR_MS));
    assert_eq!(inbox.catch_up_from(&random(), None), overlap_before(2 * HOUR_MS));
}

#[test]
fn a_gap_that_opens_again_during_its_catch_up_stays_open() {
    let mut inbox = Inbox::new(10);
    inbox.add_channel(&general(), at(0));
    inbox.record_in_step(at(HOUR_MS));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    let opening = inbox.opening_of(&general()).unwrap();
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    inbox.channel_read(&general(), opening, ChannelRead::default(), at(HOUR_MS + 1));
    inbox.all_read(None, at(HOUR_MS + 1));
    assert!(inbox.has_gap());
    // But the messages that the catch-up verified need not be read again.
    assert_eq!(inbox.catch_up_from(&general(), None), verified(HOUR_MS + 1));
    // The same for a gap in all channels.
    inbox.open_gap(None, at(9 * HOUR_MS));
    let list = inbox.due().0;
    inbox.open_gap(None, at(9 * HOUR_MS));
    inbox.all_read(list, at(HOUR_MS + 2));
    assert!(inbox.due().0.is_some());
}

#[test]
fn an_unknown_channel_is_a_first_visit_and_a_known_empty_one_is_not() {
    let mut inbox = Inbox::new(10);
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), None);
    inbox.add_channel(&general(), at(HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), None);
    read_all(&mut inbox, HOUR_MS, &[&general()]);
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), verified(HOUR_MS));
    // This client does not know the channel before the node names it.
    inbox.open_gap(Some(&[random()]), at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&random(), None), None);
}

#[test]
fn a_channel_that_is_not_listed_is_not_read() {
    let mut inbox = Inbox::new(10);
    inbox.add_channel(&general(), at(0));
    inbox.open_gap(None, at(9 * HOUR_MS));
    read_all(&mut inbox, HOUR_MS, &[&random()]);
    assert!(!inbox.has_gap());
    assert!(inbox.timeline(random()).is_some());
}

#[test]
fn a_late_mark_after_the_time_in_step_moves_the_start_to_the_late_message() {
    let mut inbox = Inbox::new(10);
    inbox.add_channel(&general(), at(0));
    inbox.record_in_step(at(5 * HOUR_MS));
    inbox.open_gap(None, at(9 * HOUR_MS));
    let late = |id_ms, at_ms| Some(LateArrivals { reread_from: id(id_ms), until: at(at_ms) });
    let from = inbox.catch_up_from(&general(), late(HOUR_MS, 6 * HOUR_MS));
    assert_eq!(from, Some(id(HOUR_MS).previous().unwrap()));
    assert!(inbox.needs_late(&general()));
    // A mark changes nothing if it is from before the channel was in step, or within the overlap.
    for old in [late(HOUR_MS, 4 * HOUR_MS), late(5 * HOUR_MS, 6 * HOUR_MS)] {
        assert_eq!(inbox.catch_up_from(&general(), old), overlap_before(5 * HOUR_MS));
    }
}

#[test]
fn a_late_mark_does_not_move_the_start_before_the_last_complete_catch_up() {
    let mut inbox = Inbox::new(10);
    inbox.add_channel(&general(), at(0));
    inbox.open_gap(None, at(9 * HOUR_MS));
    read_all(&mut inbox, 5 * HOUR_MS, &[&general()]);
    inbox.open_gap(None, at(9 * HOUR_MS));
    // The message was already stored when the catch-up began, whenever it is published.
    let late = |id_ms| Some(LateArrivals { reread_from: id(id_ms), until: at(6 * HOUR_MS) });
    assert_eq!(inbox.catch_up_from(&general(), late(HOUR_MS)), verified(5 * HOUR_MS));
    assert!(!inbox.needs_late(&general()));
    // A message stored hours later has an id after the verified position.
    read_all(&mut inbox, 5 * HOUR_MS, &[&general()]);
    inbox.record_in_step(at(9 * HOUR_MS));
    inbox.open_gap(None, at(9 * HOUR_MS));
    let late = Some(LateArrivals { reread_from: id(6 * HOUR_MS), until: at(10 * HOUR_MS) });
    let from = inbox.catch_up_from(&general(), late);
    assert_eq!(from, Some(id(6 * HOUR_MS).previous().unwrap()));
}

#[test]
fn known_messages_are_the_pushed_ones_and_the_read_ones() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), 1_000));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    inbox.upsert(message(&general(), 19_000));
    inbox.upsert(message(&general(), 12_000));
    let known = |offset, ms: &[u64]| {
        let revs: Vec<Rev> = ms.iter().map(|ms| Rev::of(id(*ms))).collect();
        KnownMessages::of(Some(offset), &revs)
    };
    let after = |ms| inbox.known_after(general(), id(ms));
    assert_eq!(after(0), known(id(0), &[1_000, 12_000, 19_000]));
    assert_eq!(after(12_000), known(id(12_000), &[19_000]));
    assert_eq!(after(19_000), None);
}

#[test]
fn messages_older_than_dropped_ones_are_not_read() {
    let mut inbox = Inbox::new(2);
    for ms in [HOUR_MS, HOUR_MS + 1, HOUR_MS + 2] {
        inbox.upsert(message(&general(), ms));
    }
    inbox.record_in_step(at(HOUR_MS + 3));
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), Some(id(HOUR_MS)));
}

#[test]
fn g9_a_channel_that_was_left_starts_afresh_when_the_user_is_back() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), 5));
    inbox.upsert(message(&random(), 5));
    inbox.leave_channel(&general());
    assert!(inbox.has_left(&general()) && !inbox.has_left(&random()));
    inbox.open_gap(None, at(9 * HOUR_MS));
    let opening = inbox.due().0.unwrap();
    let list = [channel(&general()), channel(&random())];
    assert_eq!(inbox.list_read(opening, &list, at(9)), [general()]);
    assert!(inbox.timeline(general()).unwrap().is_empty(), "its copies may be outdated");
    assert_eq!(inbox.catch_up_from(&general(), None), None, "its newest page is read");
    assert_eq!(inbox.timeline(random()).unwrap().len(), 1);
    // Who is not on the list has left, too.
    inbox.open_gap(None, at(9 * HOUR_MS));
    let opening = inbox.due().0.unwrap();
    assert_eq!(inbox.list_read(opening, &list[..1], at(9)), []);
    assert!(inbox.has_left(&random()));
    inbox.restart_channel(&random(), at(10));
    assert!(inbox.timeline(random()).unwrap().is_empty());
    assert_eq!(inbox.due().1, [general(), random()]);
}

#[test]
fn g13_a_device_forgets_nothing_of_a_channel_when_the_user_is_back() {
    let mut inbox = Inbox::new(10);
    let acked = Channel { contract: Contract::DeliverUntilAcked, ..channel(&general()) };
    inbox.upsert(message(&general(), 5));
    inbox.leave_channel(&general());
    inbox.open_gap(None, at(9 * HOUR_MS));
    let opening = inbox.due().0.unwrap();
    assert_eq!(inbox.list_read(opening, &[acked], at(9)), [general()]);
    inbox.restart_channel(&general(), at(10));
    assert_eq!(inbox.timeline(general()).unwrap().ids(), [id(5)]);
    assert_eq!(inbox.catch_up_from(&general(), None), None, "its newest page is read");
}

#[test]
fn g9_a_new_channel_whose_gap_opens_again_is_read_from_when_it_became_known() {
    let mut inbox = Inbox::new(10);
    inbox.restart_channel(&general(), at(HOUR_MS));
    inbox.upsert(message(&general(), HOUR_MS + 1));
    assert!(inbox.is_new(&general()));
    assert_eq!(inbox.catch_up_from(&general(), None), None, "nothing was missed yet");
    // From now on changes are missed, also of what was pushed or read meanwhile. It may be older
    // than the newest page.
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert!(inbox.is_new(&general()), "its newest page is still to be read");
    assert_eq!(inbox.catch_up_from(&general(), None), overlap_before(HOUR_MS));
    // A complete reading, during which the gap opened once more.
    let opening = inbox.opening_of(&general()).unwrap();
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    inbox.channel_read(&general(), opening, ChannelRead::default(), at(2 * HOUR_MS));
    assert!(!inbox.is_new(&general()));
    assert_eq!(inbox.catch_up_from(&general(), None), verified(2 * HOUR_MS));
    // A channel that a change of an old message made known is as young as the change.
    let changed = Message { rev: Rev::of(id(3 * HOUR_MS)), ..message(&random(), 0) };
    inbox.upsert(changed);
    inbox.open_gap(None, at(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&random(), None), overlap_before(3 * HOUR_MS));
}

#[test]
fn g9_a_newest_page_says_nothing_about_older_copies() {
    let read = |unread_before: Option<MessageId>| {
        let mut inbox = Inbox::new(10);
        inbox.restart_channel(&general(), at(HOUR_MS));
        inbox.upsert(message(&general(), HOUR_MS + 1));
        inbox.upsert(message(&general(), HOUR_MS + 2));
        inbox.record_in_step(at(HOUR_MS + 3));
        // The socket is lost. Eight hours later the newest page is read, before another socket says
        // whether it resumed.
        let opening = inbox.opening_of(&general()).unwrap();
        let page = ChannelRead { unread_before, ..ChannelRead::default() };
        inbox.upsert_read(message(&general(), 9 * HOUR_MS), opening);
        inbox.channel_read(&general(), opening, page, at(9 * HOUR_MS));
        inbox.open_gap(None, at(9 * HOUR_MS));
        inbox.catch_up_from(&general(), None)
    };
    assert_eq!(
        read(Some(id(9 * HOUR_MS))),
        verified(HOUR_MS + 1),
        "what was pushed may have changed"
    );
    assert_eq!(read(Some(id(HOUR_MS + 2))), verified(HOUR_MS + 1));
    assert_eq!(read(Some(id(HOUR_MS + 1))), verified(9 * HOUR_MS), "nothing here is older");
    assert_eq!(read(None), verified(9 * HOUR_MS), "all was read");
}

#[test]
fn g11_a_catch_up_of_one_channel_says_nothing_about_another() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), 1));
    inbox.upsert(message(&random(), 1));
    inbox.record_in_step(at(HOUR_MS));
    // A catch-up of one channel is over while the frames of the other one are on their way.
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    let opening = inbox.opening_of(&general()).unwrap();
    inbox.channel_read(&general(), opening, ChannelRead::default(), at(9 * HOUR_MS));
    assert!(inbox.all_read(None, at(9 * HOUR_MS)), "no gap is left");
    // They are lost with their socket.
    inbox.open_gap(None, at(10 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), verified(9 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&random(), None), overlap_before(HOUR_MS));
}

#[test]
fn g9_a_copy_that_is_pushed_late_is_verified_as_of_its_own_revision() {
    let mut inbox = Inbox::new(10);
    inbox.upsert(message(&general(), HOUR_MS));
    inbox.record_in_step(at(HOUR_MS));
    inbox.open_gap(Some(&[general()]), at(9 * HOUR_MS));
    let opening = inbox.opening_of(&general()).unwrap();
    inbox.channel_read(&general(), opening, ChannelRead::default(), at(9 * HOUR_MS));
    // A node that is late pushes a change of a message that is older than anything here.
    inbox.upsert(Message { rev: Rev::of(id(2 * HOUR_MS)), ..message(&general(), 5) });
    inbox.upsert(message(&general(), 9 * HOUR_MS + 1));
    inbox.open_gap(Some(&[general()]), at(10 * HOUR_MS));
    assert_eq!(inbox.catch_up_from(&general(), None), verified(2 * HOUR_MS));
}

#[test]
fn g9_what_was_asked_for_before_a_channel_started_afresh_is_not_kept() {
    let mut inbox = Inbox::new(10);
    inbox.restart_channel(&general(), at(HOUR_MS));
    let before = inbox.opening_of(&general()).unwrap();
    // The user is removed and added again while the page is read.
    inbox.restart_channel(&general(), at(HOUR_MS + 5));
    assert_eq!(inbox.upsert_read(message(&general(), 1), before), None);
    inbox.channel_read(&general(), before, ChannelRead::default(), at(HOUR_MS));
    assert!(inbox.timeline(general()).unwrap().is_empty(), "it may have changed in between");
    assert!(inbox.is_new(&general()), "its newest page is still to be read");
    let after = inbox.opening_of(&general()).unwrap();
    assert_eq!(inbox.upsert_read(message(&general(), 1), after), Some(true));
    inbox.channel_read(&general(), after, ChannelRead::default(), at(HOUR_MS + 6));
    assert!(!inbox.has_gap());
}

#[test]
fn g11_a_thread_is_read_once_more_if_its_root_is_pushed_around_a_catch_up() {
    for is_during in [true, false] {
        let mut inbox = Inbox::new(10);
        inbox.upsert(message(&general(), HOUR_MS));
        inbox.record_in_step(at(HOUR_MS));
        inbox.open_gap(Some(&[general()]), at(2 * HOUR_MS));
        let (opening, late) = (inbox.opening_of(&general()).unwrap(), None);
        let threads_from = inbox.threads_from(&general(), late);
        let counted = |rev: u64| Message {
            rev: Rev::of(id(rev)),
            replies: Some(Box::new(Replies { count: 1, last: id(HOUR_MS + 1), users: Vec::new() })),
            ..message(&general(), HOUR_MS)
        };
        let read = ChannelRead { unread_before: None, threads_from };
        if is_during {
            inbox.upsert(counted(2 * HOUR_MS));
            inbox.channel_read(&general(), opening, read, at(2 * HOUR_MS));
        } else {
            inbox.channel_read(&general(), opening, read, at(2 * HOUR_MS));
            inbox.upsert(counted(2 * HOUR_MS));
        }
        let thread = LogId::new(general(), Some(id(HOUR_MS)));
        assert_eq!(inbox.threads_due(), [(thread.clone(), threads_from.unwrap())], "{is_during}");
        inbox.thread_read(&thread);
        inbox.upsert(counted(3 * HOUR_MS));
        assert_eq!(inbox.threads_due(), [], "once is enough");
    }
}

#[test]
fn g11_a_summary_that_counts_a_reply_which_is_not_here_makes_its_thread_due() {
    let (root, hour) = (id(HOUR_MS), HOUR_MS);
    let reply = |ms: u64| Message { thread: Some(root), ..message(&general(), ms) };
    let counted = |count: u64, last: u64| Message {
        rev: Rev::of(id(9 * HOUR_MS + last)),
        replies: Some(Box::new(Replies { count, last: id(last), users: Vec::new() })),
        ..message(&general(), hour)
    };
    let bare = || message(&general(), hour);
    let (first, second) = (3 * hour, 4 * hour);
    // What is pushed, and before which reply the thread is then to be read.
    let cases = [
        ("all are here", vec![bare(), reply(first), reply(second), counted(2, second)], None),
        ("the root is not here", vec![reply(first), counted(7, first)], None),
        ("the last is missing", vec![bare(), reply(first), counted(2, second)], Some(2 * hour)),
        ("another is missing", vec![bare(), reply(second), counted(2, second)], Some(2 * hour)),
        ("nothing is here", vec![counted(1, first)], Some(first)),
        (
            "another was deleted since",
            vec![bare(), reply(first), counted(1, first), reply(second), counted(1, second)],
            None,
        ),
        ("all are older than this client", vec![bare(), counted(3, hour + 1)], None),
    ];
    for (what, pushed, before) in cases {
        let mut inbox = Inbox::new(10);
        inbox.add_channel(&general(), at(2 * hour));
        for message in pushed {
            inbox.upsert(message);
        }
        let due = before.map(|ms| (LogId::new(general(), Some(root)), overlap_before(ms).unwrap()));
        assert_eq!(inbox.threads_due(), Vec::from_iter(due), "{what}");
    }
}
