use model::SessionId;

use super::*;

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
}

fn id(n: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(n), n.into())
}

fn at(n: u64) -> SessionPosition {
    SessionPosition { session: SessionId::mint(Timestamp::from_unix_ms(1), 1), n }
}

#[test]
fn g15_a_hole_is_counted_and_what_was_heard_is_not_heard_again() {
    let mut meetings = Meetings::default();
    assert_eq!(meetings.heard(&channel(), 1, id(1)), None, "it has not joined");
    meetings.on_frame(&joined(at(4), None));
    assert_eq!(meetings.heard(&channel(), 4, id(4)), None, "said before it joined");
    assert_eq!(meetings.heard(&channel(), 5, id(5)), Some(0));
    assert_eq!(meetings.heard(&channel(), 8, id(8)), Some(2));
    assert_eq!(meetings.heard(&channel(), 8, id(8)), None);
    assert_eq!(meetings.heard(&channel(), 9, id(8)), None, "said again by its sender");
}

#[test]
fn g15_a_new_socket_joins_where_the_last_one_was() {
    let (mut meetings, wanted) = (Meetings::default(), BTreeSet::from([channel()]));
    let join = |after| ClientFrame::Join { channel_id: channel(), after };
    assert_eq!(meetings.frames(&wanted), [join(None)]);
    assert_eq!(meetings.frames(&wanted), []);
    meetings.on_frame(&joined(at(4), None));
    meetings.heard(&channel(), 5, id(5));
    meetings.disconnected();
    assert_eq!(meetings.frames(&wanted), [join(Some(at(5)))]);
    assert_eq!(meetings.frames(&BTreeSet::new()), [ClientFrame::Leave(channel())]);
    assert_eq!(meetings.frames(&wanted), [join(None)], "it left");
    meetings.ended(&channel());
    meetings.disconnected();
    assert_eq!(meetings.frames(&wanted), [], "it is over");
    assert_eq!(meetings.frames(&BTreeSet::new()), []);
    assert_eq!(meetings.frames(&wanted), [join(None)], "the program tries again");
}

fn joined(at: SessionPosition, missed: Option<u64>) -> ServerFrame {
    ServerFrame::Joined { channel_id: channel(), at, missed }
}

fn said(n: u64) -> ServerFrame {
    let text = MessageText::parse(format!("text {n}")).unwrap();
    let message = Message::new(id(n), channel(), "alice".parse().unwrap(), text);
    ServerFrame::Said { n, message }
}

/// The numbers of what was said, with those missing before each, and the joins.
fn told(events: Vec<Event>) -> Vec<String> {
    let one = |event: Event| {
        if let Event::Joined { at, missed, .. } = event {
            return format!("joined at {} missed {missed:?}", at.n);
        }
        let Event::Said { n, missing, .. } = event else { panic!("{event:?}") };
        if missing == 0 { n.to_string() } else { format!("{n} after {missing} missing") }
    };
    events.into_iter().map(one).collect()
}

/// A client that has heard a channel up to a number, and moves.
fn moving_at(n: u64) -> (Meetings, BTreeSet<ChannelId>) {
    let (mut meetings, wanted) = (Meetings::default(), BTreeSet::from([channel()]));
    assert!(meetings.has_moved());
    meetings.frames(&wanted);
    meetings.on_frame(&joined(at(n), Some(0)));
    meetings.moves();
    let join = ClientFrame::Join { channel_id: channel(), after: Some(at(n)) };
    assert_eq!(meetings.frames(&wanted), [join]);
    assert!(!meetings.has_moved(), "the new socket has not joined");
    (meetings, wanted)
}

#[test]
fn g15_a_move_loses_nothing_and_doubles_nothing_whichever_socket_is_faster() {
    // Both sockets bring 4 to 8 in order. The new one joins after 5.
    let (old, new) = ([said(4), said(5), said(6), said(7), said(8)], [said(6), said(7), said(8)]);
    for order in 0..1_u32 << (old.len() + new.len() + 1) {
        let (mut meetings, _) = moving_at(3);
        let (mut old, mut new) = (old.iter(), new.iter());
        let (mut has_joined, mut heard) = (false, Vec::new());
        for step in 0..old.len() + new.len() + 1 {
            if order & (1 << step) == 0 {
                heard.extend(old.next().map(|frame| meetings.on_old_frame(frame)));
            } else if has_joined {
                heard.extend(new.next().map(|frame| meetings.on_frame(frame)));
            } else {
                has_joined = true;
                heard.push(meetings.on_frame(&joined(at(5), Some(2))));
            }
        }
        if !has_joined {
            heard.push(meetings.on_frame(&joined(at(5), Some(2))));
        }
        heard.extend(old.map(|frame| meetings.on_old_frame(frame)));
        heard.extend(new.map(|frame| meetings.on_frame(frame)));
        assert!(meetings.has_moved());
        heard.push(meetings.moved());
        let heard = told(heard.into_iter().flatten().collect());
        assert_eq!(heard, ["4", "5", "6", "7", "8"], "order {order:b}");
    }
}

#[test]
fn g15_an_old_socket_that_ends_too_early_is_told_to_the_program() {
    // It brought nothing after 3, and the new one joined after 5.
    let (mut meetings, _) = moving_at(3);
    assert_eq!(told(meetings.on_frame(&joined(at(5), Some(2)))), [""; 0]);
    assert_eq!(told(meetings.on_frame(&said(6))), [""; 0], "held");
    assert!(!meetings.has_moved());
    assert_eq!(told(meetings.moved()), ["6 after 2 missing"]);
    let (mut meetings, _) = moving_at(3);
    meetings.on_frame(&joined(at(5), Some(2)));
    assert_eq!(told(meetings.moved()), ["joined at 5 missed Some(2)"]);
    assert_eq!(told(meetings.on_frame(&said(6))), ["6"]);
    // The join is not answered yet.
    let (mut meetings, _) = moving_at(3);
    assert_eq!(told(meetings.on_old_frame(&said(4))), ["4"]);
    assert_eq!(told(meetings.moved()), [""; 0]);
    assert_eq!(told(meetings.on_frame(&joined(at(5), Some(2)))), ["joined at 5 missed Some(1)"]);
    // Both end.
    let (mut meetings, wanted) = moving_at(3);
    meetings.on_frame(&joined(at(5), Some(2)));
    meetings.on_frame(&said(6));
    assert_eq!(told(meetings.disconnected()), ["6 after 2 missing"]);
    let join = ClientFrame::Join { channel_id: channel(), after: Some(at(6)) };
    assert_eq!(meetings.frames(&wanted), [join]);
}

#[test]
fn g15_a_session_that_begins_during_a_move_is_heard_from_its_beginning() {
    let next = |n| SessionPosition { session: SessionId::mint(Timestamp::from_unix_ms(2), 1), n };
    // The new socket joins the next session.
    let (mut meetings, _) = moving_at(3);
    assert_eq!(told(meetings.on_frame(&joined(next(2), None))), ["joined at 2 missed None"]);
    assert!(meetings.has_moved());
    assert_eq!(told(meetings.on_old_frame(&said(3))), [""; 0], "of whichever session");
    assert_eq!(told(meetings.on_frame(&said(3))), ["3"]);
    // It begins after the new one has joined.
    let (mut meetings, _) = moving_at(3);
    meetings.on_frame(&joined(at(5), Some(2)));
    meetings.on_frame(&said(6));
    assert_eq!(told(meetings.on_old_frame(&joined(next(0), None))), ["joined at 0 missed None"]);
    assert!(meetings.has_moved());
    assert_eq!(told(meetings.on_frame(&joined(next(0), None))), ["joined at 0 missed Some(0)"]);
    assert_eq!(told(meetings.on_frame(&said(1))), ["1"]);
}

#[test]
fn a_channel_that_ends_or_is_left_during_a_move_keeps_no_socket_open() {
    let ended = ServerFrame::Ended { cursor: None, channel_id: channel() };
    let (mut meetings, wanted) = moving_at(3);
    assert_eq!(meetings.on_old_frame(&ended).len(), 1);
    assert!(meetings.has_moved());
    assert_eq!(meetings.on_frame(&ended).len(), 0, "told once");
    assert_eq!(meetings.frames(&wanted), []);
    let (mut meetings, _) = moving_at(3);
    assert_eq!(meetings.frames(&BTreeSet::new()), [ClientFrame::Leave(channel())]);
    assert!(meetings.has_moved());
}

#[test]
fn a_send_is_answered_on_the_socket_that_it_was_sent_on() {
    let saying = || {
        let (answer, answered) = oneshot::channel();
        let text = MessageText::parse("hi".to_owned()).unwrap();
        (Saying { channel_id: channel(), id: id(1), text, answer }, answered)
    };
    let accepted = |reference| ServerFrame::Accepted {
        reference,
        id: id(1),
        n: Some(1),
        replicated: false,
        server_time: Timestamp::from_unix_ms(1),
    };
    let mut meetings = Meetings::default();
    let (first, mut first_answered) = saying();
    let (second, mut second_answered) = saying();
    let (third, mut third_answered) = saying();
    meetings.say(first);
    meetings.say(second);
    meetings.moves();
    meetings.say(third);
    assert!(!meetings.has_moved());
    meetings.on_old_frame(&accepted(1));
    assert!(first_answered.try_recv().unwrap().is_ok());
    assert!(!meetings.has_moved());
    meetings.moved();
    assert_eq!(second_answered.try_recv().unwrap(), Err(SayError::Unknown(id(1))));
    meetings.on_frame(&accepted(3));
    assert!(third_answered.try_recv().unwrap().is_ok());
}

#[test]
fn no_more_channels_are_joined_at_once_than_a_node_answers() {
    let channels: Vec<ChannelId> =
        (0..20).map(|n| ChannelId::mint_group(Timestamp::from_unix_ms(n), 1)).collect();
    let wanted: BTreeSet<ChannelId> = channels.iter().cloned().collect();
    let mut meetings = Meetings::default();
    assert_eq!(meetings.frames(&wanted).len(), limits::UNANSWERED_MAX);
    assert_eq!(meetings.frames(&wanted), []);
    let answered = ServerFrame::Joined { channel_id: channels[0].clone(), at: at(1), missed: None };
    meetings.on_frame(&answered);
    assert_eq!(meetings.frames(&wanted).len(), 1);
}
