use model::{ErrorCode, SessionId, SessionPosition};
use protocol::client_frame::SendFrame;
use protocol::signal::Signal;

use super::*;

fn session(n: u64) -> SessionId {
    SessionId::mint(Timestamp::from_unix_ms(n), n.into())
}

fn at(session_number: u64, n: u64) -> SessionPosition {
    SessionPosition { session: session(session_number), n }
}

fn send(channel: &ChannelId, reference: u64) -> ClientFrame {
    ClientFrame::Send(SendFrame {
        reference,
        channel_id: channel.clone(),
        id: MessageId::mint(Timestamp::from_unix_ms(1), reference.into()),
        text: MessageText::parse("hi".to_owned()).unwrap(),
        after: None,
        quote: None,
    })
}

impl Fixture {
    /// The question that the last effects ask the bus.
    fn question(&self) -> Ask {
        let ask = self.effects.iter().find_map(|effect| match effect {
            Effect::Ask(ask) => Some((**ask).clone()),
            _ => None,
        });
        ask.expect("a question")
    }

    fn answer(&mut self, ask: &Ask, answered: Answered) -> Vec<(SocketId, String)> {
        let (socket, number) = (ask.socket, ask.number);
        self.input(Input::Answered { socket, number, answered });
        self.delivered()
    }

    fn joins(&mut self, socket: SocketId, channel: &ChannelId, at: SessionPosition) {
        let join = ClientFrame::Join { channel_id: channel.clone(), after: None };
        self.frame(socket, join);
        let ask = self.question();
        let joined = format!("joined {} missed Some({})", at.n, at.n);
        assert_eq!(self.answer(&ask, Ok(Taken::At(at))), [(socket, joined)]);
    }

    /// Loses the stream, whose place another one takes.
    fn flush(&mut self) {
        self.entries.clear();
        self.now = Timestamp::from_unix_ms(2_000_000);
        self.entry(marker());
        self.input(Input::Lost);
        self.input(Input::Linked);
        self.answer_fill();
        self.answer_fill();
    }

    fn spoken(
        &mut self,
        channel: &ChannelId,
        version: u64,
        at: SessionPosition,
        text: &str,
    ) -> Vec<(SocketId, String)> {
        let id = MessageId::mint(Timestamp::from_unix_ms(9), at.n.into()).into();
        let message = serde_json::to_string(&said(channel, id, text)).unwrap();
        let (channel_id, members_version) = (channel.clone(), version);
        self.input(Input::Spoken(Spoken { channel_id, members_version, at, message }));
        self.delivered()
    }
}

/// Alice and Bob, members of a channel whose view is read.
#[test]
fn g15_what_is_said_goes_to_who_has_joined_and_to_nobody_else() {
    let (mut fixture, c, alice, bob) = two();
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "before"), []);
    fixture.joins(alice, &c, at(1, 1));
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "late"), [], "it was said before she joined");
    assert_eq!(fixture.spoken(&c, 3, at(1, 2), "hi"), [(alice, "said 2 hi".to_owned())]);
    let is_said = |effect: &Effect| matches!(effect, Effect::Deliver { class, .. } if *class == DeliveryClass::Said);
    assert!(fixture.effects.iter().all(is_said));
    fixture.joins(bob, &c, at(1, 2));
    let both = [alice, bob].map(|socket| (socket, "said 3 all".to_owned()));
    let mut heard = fixture.spoken(&c, 3, at(1, 3), "all");
    heard.sort();
    let mut both = both.to_vec();
    both.sort();
    assert_eq!(heard, both);
    fixture.frame(alice, ClientFrame::Leave(c.clone()));
    assert_eq!(fixture.spoken(&c, 3, at(1, 4), "bye"), [(bob, "said 4 bye".to_owned())]);
    fixture.input(Input::Detach(bob));
    fixture.forget_presence();
    assert!(!fixture.workspace.takes_part(&c) && !fixture.workspace.is_waiting());
}

#[test]
fn g15_what_is_said_while_a_client_joins_reaches_it_once() {
    let (mut fixture, c, alice, _) = two();
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: Some(at(1, 2)) });
    let ask = fixture.question();
    // The answer is on its way: at position 5 there.
    for n in 4..8 {
        assert_eq!(fixture.spoken(&c, 3, at(1, n), "x"), []);
    }
    let wanted =
        ["joined 5 missed Some(3)", "said 6 x", "said 7 x"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 5)))), wanted);
}

#[test]
fn g15_who_is_removed_hears_nothing_newer_and_a_view_that_is_behind_is_read() {
    let (mut fixture, c, alice, bob) = two();
    fixture.joins(alice, &c, at(1, 0));
    fixture.joins(bob, &c, at(1, 0));
    assert_eq!(fixture.spoken(&c, 4, at(1, 1), "after a change"), [], "never held");
    assert!(fixture.effects.contains(&Effect::ReadAhead(c.clone())));
    assert!(fixture.workspace.awaits_members(&c));
    fixture.spoken(&c, 4, at(1, 2), "again");
    assert!(fixture.effects.is_empty(), "it is being read");
    fixture.refreshed(&c, 4, &["alice"]);
    assert!(!fixture.workspace.awaits_members(&c));
    assert_eq!(fixture.spoken(&c, 4, at(1, 3), "x"), [(alice, "said 3 x".to_owned())]);
    let join = ClientFrame::Join { channel_id: c.clone(), after: None };
    assert_eq!(fixture.frame(bob, join), [(bob, "refused channel_not_found".to_owned())]);
    // It may be news that he is a member, so the store is asked for him.
    assert_eq!(fixture.frame(bob, send(&c, 1)), []);
    let ask = fixture.question();
    assert_eq!(ask.members_version, None);
    let refused = [(bob, "refused channel_not_found".to_owned())];
    assert_eq!(fixture.answer(&ask, Err((ErrorCode::ChannelNotFound, None))), refused);
}

#[test]
fn g13_a_message_that_is_delivered_first_is_accepted_without_a_number() {
    let (mut fixture, c, alice, _) = two();
    fixture.frame(alice, send(&c, 1));
    let ask = fixture.question();
    assert_eq!(ask.members_version, Some(3));
    let accepted = [(alice, "accepted None".to_owned())];
    assert_eq!(fixture.answer(&ask, Ok(Taken::Delivered { replicated: true })), accepted);
}

#[test]
fn g15_a_join_is_answered_once_the_members_are_known() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
    let ask = fixture.question();
    assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 2)))), []);
    assert!(fixture.effects.contains(&Effect::ReadAhead(c.clone())));
    assert_eq!(fixture.spoken(&c, 3, at(1, 3), "x"), []);
    fixture.refreshed(&c, 3, &["alice"]);
    let wanted = ["joined 2 missed Some(2)", "said 3 x"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.delivered(), wanted);
}

#[test]
fn g15_a_client_that_leaves_or_is_ended_while_it_joins_may_ask_again() {
    for is_ended in [false, true] {
        let (mut fixture, c) = (Fixture::linked(), channel(1));
        let alice = fixture.attach("alice", &[&c]);
        fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
        let ask = fixture.question();
        assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 2)))), [], "the members are not read");
        let answer = if is_ended {
            fixture.input(Input::MeetingOver(c.clone()));
            "refused ended"
        } else {
            assert_eq!(fixture.frame(alice, ClientFrame::Leave(c.clone())), [], "in its turn");
            fixture.refreshed(&c, 3, &["alice"]);
            "joined 2 missed Some(2)"
        };
        assert_eq!(fixture.delivered(), [(alice, answer.to_owned())]);
        assert!(!fixture.workspace.takes_part(&c));
        fixture.frame(alice, send(&c, 1));
        assert!(fixture.question().send.is_some());
    }
}

#[test]
fn g15_numbers_that_begin_again_are_told_with_an_unknown_number_missed() {
    let (mut fixture, c, alice, _) = two();
    fixture.joins(alice, &c, at(1, 7));
    let wanted = ["joined 0 missed None", "said 1 x"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.spoken(&c, 3, at(2, 1), "x"), wanted);
    assert_eq!(fixture.spoken(&c, 3, at(1, 8), "late"), [], "of the session before");
    assert_eq!(fixture.spoken(&c, 3, at(2, 2), "y"), [(alice, "said 2 y".to_owned())]);
}

#[test]
fn g15_each_participant_is_told_that_numbers_begin_again() {
    let (mut fixture, c, alice, bob) = two();
    fixture.joins(alice, &c, at(1, 7));
    fixture.joins(bob, &c, at(2, 0));
    let to_alice = ["joined 0 missed None", "said 1 x"].map(|text| (alice, text.to_owned()));
    let to_bob = (bob, "said 1 x".to_owned());
    let mut heard = fixture.spoken(&c, 3, at(2, 1), "x");
    heard.sort_by_key(|(socket, _)| socket.serial);
    let wanted: Vec<_> = to_alice.into_iter().chain([to_bob]).collect();
    assert_eq!(heard, wanted, "Bob's answer said it to Bob only");
    // Alice is no member when they begin again once more.
    fixture.refreshed(&c, 4, &["bob"]);
    let to_bob = ["joined 0 missed None", "said 1 y"].map(|text| (bob, text.to_owned()));
    assert_eq!(fixture.spoken(&c, 4, at(3, 1), "y"), to_bob);
    fixture.refreshed(&c, 5, &["alice", "bob"]);
    let to_alice = ["joined 1 missed None", "said 2 z"].map(|text| (alice, text.to_owned()));
    let mut heard = fixture.spoken(&c, 5, at(3, 2), "z");
    heard.retain(|(socket, _)| *socket == alice);
    assert_eq!(heard, to_alice);
}

#[test]
fn g15_who_is_removed_while_they_join_hears_nothing() {
    let (mut fixture, c, alice, _) = two();
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
    let ask = fixture.question();
    fixture.refreshed(&c, 4, &["bob"]);
    assert_eq!(fixture.spoken(&c, 4, at(1, 1), "she is gone"), []);
    let refused = [(alice, "refused channel_not_found".to_owned())];
    assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 0)))), refused);
    assert!(!fixture.workspace.takes_part(&c));
}

#[test]
fn g15_what_is_said_while_a_client_joins_needs_a_view_that_is_new_enough() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
    let ask = fixture.question();
    fixture.answer(&ask, Ok(Taken::At(at(1, 0))));
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "x"), []);
    assert_eq!(fixture.spoken(&c, 4, at(1, 2), "after a change"), []);
    fixture.refreshed(&c, 3, &["alice"]);
    let wanted = ["joined 0 missed Some(0)", "said 1 x"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.delivered(), wanted);
    assert!(fixture.effects.contains(&Effect::ReadAhead(c.clone())));
}

#[test]
fn g15_participants_hear_again_after_all_views_were_forgotten() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.refreshed(&c, 3, &["alice"]);
    fixture.joins(alice, &c, at(1, 0));
    // There are too many channels to read them all at once.
    fixture.flush();
    let many: Vec<ChannelId> =
        (0..=limits::BACKFILL_CHANNELS_MAX as u64).map(|n| channel(10 + n)).collect();
    fixture.load("alice", &many.iter().chain([&c]).collect::<Vec<_>>());
    assert!(fixture.workspace.is_fresh());
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "x"), [], "nobody knows the members");
    assert!(fixture.effects.contains(&Effect::ReadAhead(c.clone())));
    fixture.refreshed(&c, 3, &["alice"]);
    assert_eq!(fixture.spoken(&c, 3, at(1, 2), "y"), [(alice, "said 2 y".to_owned())]);
}

#[test]
fn g15_who_is_refused_by_a_view_that_is_behind_may_join_soon_after() {
    let (mut fixture, c, alice, _) = two();
    fixture.refreshed(&c, 4, &["bob"]);
    // She is a member again, and no node was told.
    let join = ClientFrame::Join { channel_id: c.clone(), after: None };
    let refused = [(alice, "refused channel_not_found".to_owned())];
    assert_eq!(fixture.frame(alice, join.clone()), refused);
    assert!(fixture.effects.contains(&Effect::ReadAhead(c.clone())));
    assert_eq!(fixture.frame(alice, join), refused);
    assert!(!fixture.effects.contains(&Effect::ReadAhead(c.clone())), "it is being read");
    fixture.refreshed(&c, 5, &["alice", "bob"]);
    fixture.joins(alice, &c, at(1, 0));
}

#[test]
fn g15_a_session_that_begins_while_a_client_joins_is_told() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
    let ask = fixture.question();
    fixture.answer(&ask, Ok(Taken::At(at(1, 8))));
    for n in 6..8 {
        assert_eq!(fixture.spoken(&c, 3, at(2, n), "x"), []);
    }
    fixture.refreshed(&c, 3, &["alice"]);
    let wanted = ["joined 8 missed Some(8)", "joined 5 missed None", "said 6 x", "said 7 x"];
    assert_eq!(fixture.delivered(), wanted.map(|text| (alice, text.to_owned())));
}

#[test]
fn g15_a_join_is_answered_however_the_members_become_known() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.flush();
    fixture.load("alice", &[&c]);
    let Some(Effect::ReadHistory { id, .. }) = fixture.effects.first().cloned() else { panic!() };
    fixture.frame(alice, ClientFrame::Join { channel_id: c.clone(), after: None });
    let ask = fixture.question();
    assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 2)))), []);
    // The members come with the history, so nobody reads them once more.
    let members = ChannelMembers { version: 3, members: vec![member("alice", 0)] };
    let history = Some(History { messages: Vec::new(), members });
    fixture.input(Input::HistoryRead { id, channel: c.clone(), history });
    assert!(!fixture.workspace.awaits_members(&c));
    let joined = (alice, "joined 2 missed Some(2)".to_owned());
    assert!(fixture.delivered().contains(&joined), "{:?}", fixture.delivered());
    assert_eq!(fixture.spoken(&c, 3, at(1, 3), "x"), [(alice, "said 3 x".to_owned())]);
}

#[test]
fn g15_nothing_is_heard_through_a_view_that_lags() {
    let (mut fixture, c, alice, bob) = two();
    fixture.joins(alice, &c, at(1, 0));
    fixture.joins(bob, &c, at(1, 0));
    let removal = |version| change(&c, version, ChannelChange::MemberRemoved, "bob");
    // The removal is in the stream, which is still being read.
    fixture.entry(removal(4));
    fixture.input(Input::Lost);
    fixture.input(Input::Linked);
    let filling = fixture.effects.clone();
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "he is gone"), []);
    fixture.effects = filling;
    fixture.answer_fill();
    assert_eq!(fixture.spoken(&c, 3, at(1, 2), "x"), [(alice, "said 2 x".to_owned())]);
    // It is held until the members are read, because it is not the next change.
    fixture.refreshed(&c, 4, &["alice", "bob"]);
    fixture.push(removal(6));
    assert_eq!(fixture.spoken(&c, 4, at(1, 3), "he is gone"), []);
    fixture.refreshed(&c, 6, &["alice"]);
    assert_eq!(fixture.spoken(&c, 6, at(1, 4), "y"), [(alice, "said 4 y".to_owned())]);
}

#[test]
fn answers_come_in_the_order_of_the_questions_and_too_many_are_refused() {
    let (mut fixture, c, alice, _) = two();
    fixture.frame(alice, send(&c, 1));
    let first = fixture.question();
    for reference in 2..=8 {
        assert_eq!(fixture.frame(alice, send(&c, reference)), []);
    }
    // The ninth, and one that cannot be read: they wait for their turn, too.
    assert_eq!(fixture.frame(alice, send(&c, 9)), []);
    let (code, field) = (ErrorCode::EmptyMessage, "message".to_owned());
    assert_eq!(fixture.frame(alice, ClientFrame::BadSend { reference: 10, code, field }), []);
    let mut ask = first;
    for n in 1..8 {
        let accepted = (alice, format!("accepted Some({n})"));
        assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, n)))), [accepted]);
        ask = fixture.question();
        assert_eq!(ask.send.as_ref().map(|send| send.reference), Some(n + 1));
    }
    let unavailable = fixture.answer(&ask, Err((ErrorCode::Unavailable, None)));
    let wanted = ["refused unavailable", "refused rate_limited", "refused empty_message"];
    assert_eq!(unavailable, wanted.map(|text| (alice, text.to_owned())));
    // An answer that comes twice, or for a socket that is gone, is nobody's.
    assert_eq!(fixture.answer(&ask, Ok(Taken::At(at(1, 9)))), []);
}

#[test]
fn g15_a_meeting_that_is_over_is_left_by_everybody() {
    let (mut fixture, c, alice, bob) = two();
    fixture.joins(alice, &c, at(1, 0));
    fixture.joins(bob, &c, at(1, 0));
    fixture.tick();
    assert!(fixture.effects.contains(&Effect::KeepMeeting(c.clone())));
    fixture.tick();
    assert!(!fixture.effects.contains(&Effect::KeepMeeting(c.clone())), "once a minute");
    fixture.input(Input::MeetingOver(c.clone()));
    let mut told = fixture.delivered();
    told.sort();
    assert_eq!(told, [alice, bob].map(|socket| (socket, "ended".to_owned())));
    assert_eq!(fixture.spoken(&c, 3, at(1, 1), "x"), []);
    fixture.joins(alice, &c, at(1, 1));
    // Somebody ended it: the frame of that comes with the stream.
    fixture.input(Input::Signal(Signal::Ended { channel_id: c.clone() }));
    assert!(fixture.effects.is_empty() && !fixture.workspace.takes_part(&c));
}
