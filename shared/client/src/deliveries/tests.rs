use super::*;
use crate::error::ApiError;
use crate::fake_server::{at, general};

fn words(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// An outbox with a socket, and the time.
struct Desk {
    outbox: Deliveries,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        let mut outbox = Deliveries::new(DeliveryWaits::default(), Backoff::seeded(1), now);
        outbox.socket_opened();
        Self { outbox, now }
    }

    fn add(&mut self, text: &str) -> MessageId {
        self.add_to(&general(), text)
    }

    fn add_to(&mut self, channel: &ChannelId, text: &str) -> MessageId {
        self.outbox.add(channel, words(text), None, (at(5), 7)).unwrap()
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn sends(&mut self) -> Vec<SendFrame> {
        self.outbox.sends(self.now)
    }

    fn sent(&mut self) -> Vec<MessageId> {
        self.sends().into_iter().map(|send| send.id).collect()
    }

    fn posts(&mut self) -> Vec<MessageId> {
        self.outbox.posts(self.now).into_iter().map(|post| post.key.1).collect()
    }

    fn accept_all(&mut self) {
        let references: Vec<u64> = self.outbox.asked.keys().copied().collect();
        for reference in references {
            assert!(self.outbox.on_accepted(reference, true, self.now));
        }
    }

    fn refuse(&mut self, reference: u64, code: ErrorCode) {
        let refused = Refused { reference: Some(reference), ..Refused::of(code) };
        assert!(self.outbox.on_refused(&refused, self.now));
    }

    fn posted(&mut self, id: MessageId, posted: Posted) {
        self.outbox.on_posted((general(), id), posted, self.now);
    }

    fn changes(&mut self) -> Vec<(MessageId, DeliveryState)> {
        self.outbox.take_changes().into_iter().map(|((_, id), state)| (id, state)).collect()
    }

    fn states(&self) -> Vec<DeliveryState> {
        self.outbox.list().into_iter().map(|delivery| delivery.state).collect()
    }
}

fn accepted() -> DeliveryState {
    DeliveryState::Accepted { replicated: true }
}

fn failed(code: &str) -> DeliveryState {
    DeliveryState::Failed { code: code.to_owned() }
}

#[test]
fn a_message_is_kept_until_it_is_archived() {
    let mut desk = Desk::new();
    let id = desk.add("hi");
    assert_eq!(desk.sent(), [id]);
    assert_eq!(desk.sent(), [], "it is under way");
    desk.accept_all();
    assert_eq!(desk.states(), [accepted()]);
    let other = ChannelId::mint_group(at(0), 2);
    desk.outbox.on_archived(&other, &[id]);
    assert_eq!(desk.states(), [accepted()], "another channel's");
    desk.outbox.on_archived(&general(), &[id]);
    assert_eq!(desk.states(), []);
    assert_eq!(desk.outbox.due_at(), None);
    let changes = [DeliveryState::Queued, accepted(), DeliveryState::Archived];
    assert_eq!(desk.changes(), changes.map(|state| (id, state)));
}

#[test]
fn ids_increase_in_a_channel_and_sort_after_what_was_seen() {
    let mut desk = Desk::new();
    let first = desk.add("one");
    let again = desk.add("two");
    assert!(again > first && again.time() == first.time(), "in the same millisecond");
    // The server's clock was corrected backwards.
    let earlier = desk.outbox.add(&general(), words("three"), None, (at(1), 7)).unwrap();
    assert!(earlier > again);
    let seen = MessageId::mint(at(9), u128::MAX);
    let after = desk.outbox.add(&general(), words("four"), Some(seen), (at(8), 7)).unwrap();
    assert!(after > seen);
    let later = desk.outbox.add(&general(), words("five"), Some(seen), (at(20), 7)).unwrap();
    assert_eq!(later, MessageId::mint(at(20), 7));
}

#[test]
fn at_most_eight_are_unanswered_and_each_channel_keeps_its_order() {
    let mut desk = Desk::new();
    let ids: Vec<_> = (0..10).map(|n| desk.add(&n.to_string())).collect();
    assert_eq!(desk.sent(), ids[..8]);
    assert_eq!(desk.sent(), []);
    desk.accept_all();
    assert_eq!(desk.sent(), ids[8..]);
}

#[test]
fn what_is_not_archived_in_a_minute_is_sent_again_once_and_then_posted() {
    let mut desk = Desk::new();
    let id = desk.add("hi");
    desk.sent();
    desk.accept_all();
    desk.pass(59);
    assert_eq!((desk.posts(), desk.sent()), (vec![], vec![]));
    desk.pass(1);
    assert_eq!(desk.outbox.due_at(), Some(desk.now));
    assert_eq!((desk.posts(), desk.sent()), (vec![], vec![id]));
    desk.accept_all();
    desk.pass(60);
    assert_eq!((desk.posts(), desk.sent()), (vec![id], vec![]));
    assert_eq!(desk.posts(), [], "it is under way");
    // Each wait is twice as long, up to ten minutes, and half as much again by chance.
    for least in [60, 120, 240, 480, 600, 600] {
        desk.posted(id, Posted::Later(None));
        let wait = desk.outbox.due_at().unwrap() - desk.now;
        assert!(wait >= Duration::from_secs(least), "{wait:?} of {least} s");
        assert!(wait <= Duration::from_secs(least * 3 / 2), "{wait:?} of {least} s");
        desk.pass(least - 1);
        assert_eq!(desk.posts(), []);
        desk.pass(least);
        assert_eq!((desk.posts(), desk.sent()), (vec![id], vec![]));
    }
    desk.posted(id, Posted::Stored);
    assert_eq!(desk.states(), []);
    assert_eq!(desk.changes().last(), Some(&(id, DeliveryState::Archived)));
}

#[test]
fn an_answer_that_never_comes_counts_as_not_archived() {
    let mut desk = Desk::new();
    let id = desk.add("hi");
    let first = desk.sends()[0].reference;
    desk.pass(60);
    assert_eq!(desk.posts(), []);
    let second = desk.sends();
    assert_eq!((second[0].id, second.len()), (id, 1));
    assert_ne!(second[0].reference, first);
    assert!(desk.outbox.on_accepted(first, false, desk.now), "the late answer of the first");
    assert_eq!(desk.states(), [DeliveryState::Queued]);
    desk.accept_all();
    assert_eq!(desk.states(), [accepted()]);
}

#[test]
fn what_a_lost_socket_did_not_answer_is_sent_on_the_next_one() {
    let mut desk = Desk::new();
    let ids = [desk.add("one"), desk.add("two")];
    let sends = desk.sends();
    desk.outbox.on_accepted(sends[0].reference, true, desk.now);
    desk.outbox.socket_lost(desk.now);
    assert_eq!((desk.sent(), desk.posts()), (vec![], vec![]));
    desk.pass(9);
    assert_eq!(desk.posts(), []);
    desk.outbox.socket_opened();
    assert_eq!(desk.sent(), ids[1..], "the first was accepted");
}

#[test]
fn after_ten_seconds_without_a_socket_messages_are_posted_one_at_a_time() {
    let mut desk = Desk::new();
    desk.outbox.socket_lost(desk.now);
    let ids = [desk.add("one"), desk.add("two"), desk.add("three")];
    assert_eq!(desk.outbox.due_at(), Some(desk.now + Duration::from_secs(10)));
    desk.pass(10);
    assert_eq!(desk.posts(), ids[..1]);
    assert_eq!((desk.posts(), desk.outbox.due_at()), (vec![], None), "until the call ends");
    desk.posted(ids[0], Posted::Stored);
    assert_eq!(desk.posts(), ids[1..2]);
    desk.posted(ids[1], Posted::Later(Some(Duration::from_secs(5))));
    let wait = desk.outbox.due_at().unwrap();
    assert_eq!(wait, desk.now, "the third is due");
    // A socket at last: what nobody has goes that way.
    desk.outbox.socket_opened();
    assert_eq!((desk.sent(), desk.posts()), (ids[1..].to_vec(), vec![]));
}

#[test]
fn an_offline_client_posts_nothing() {
    let mut desk = Desk::new();
    desk.outbox.socket_lost(desk.now);
    let id = desk.add("hi");
    desk.pass(10);
    assert_eq!(desk.posts(), [id]);
    desk.outbox.set_online(false, desk.now);
    desk.pass(100);
    assert_eq!((desk.posts(), desk.outbox.due_at()), (vec![], None));
    // The call was dropped: its answer says nothing.
    desk.posted(id, Posted::Later(None));
    desk.outbox.set_online(true, desk.now);
    assert_eq!(desk.posts(), [id]);
}

#[test]
fn a_node_that_cannot_take_it_now_makes_a_call_of_it() {
    let mut desk = Desk::new();
    let id = desk.add("hi");
    let reference = desk.sends()[0].reference;
    desk.refuse(reference, ErrorCode::Unavailable);
    assert_eq!(desk.sent(), []);
    assert_eq!(desk.posts(), [id]);
    desk.posted(id, Posted::Later(Some(Duration::from_secs(7))));
    assert_eq!(desk.posts(), []);
    desk.pass(6);
    assert_eq!(desk.posts(), [], "the server asked for seven seconds");
    desk.pass(2);
    assert_eq!(desk.posts(), [id]);
}

#[test]
fn a_sender_that_is_too_fast_waits_and_sends_again() {
    let mut desk = Desk::new();
    let ids = [desk.add("one"), desk.add("two")];
    let sends = desk.sends();
    desk.refuse(sends[0].reference, ErrorCode::RateLimited);
    let third = desk.add("three");
    assert_eq!(desk.sent(), [], "nothing goes past it");
    let until = desk.outbox.due_at().unwrap();
    assert_eq!(until, desk.now + PAUSE);
    desk.now = until;
    assert_eq!(desk.posts(), []);
    assert_eq!(desk.sent(), [ids[0], third]);
}

#[test]
fn a_final_refusal_keeps_the_text_for_the_program() {
    for code in [
        ErrorCode::IdOutOfRange,
        ErrorCode::IdConflict,
        ErrorCode::ChannelNotFound,
        ErrorCode::ChannelArchived,
        ErrorCode::MessageTooLong,
        ErrorCode::WrongContract,
    ] {
        let mut desk = Desk::new();
        let id = desk.add("hi");
        assert_eq!(desk.outbox.discard(&general(), id), None, "it is being sent");
        let reference = desk.sends()[0].reference;
        desk.refuse(reference, code);
        desk.pass(10_000);
        assert_eq!((desk.posts(), desk.sent(), desk.outbox.due_at()), (vec![], vec![], None));
        assert_eq!(desk.states(), [failed(code.as_str())]);
        assert_eq!(desk.outbox.discard(&general(), id), Some(words("hi")));
        assert_eq!(desk.states(), []);
    }
}

#[test]
fn a_call_that_is_refused_for_good_fails_the_message() {
    let mut desk = Desk::new();
    let id = desk.add("hi");
    let reference = desk.sends()[0].reference;
    desk.refuse(reference, ErrorCode::Unavailable);
    desk.posts();
    desk.posted(id, Posted::Failed("id_out_of_range".to_owned()));
    assert_eq!(desk.states(), [failed("id_out_of_range")]);
}

#[test]
fn errors_of_calls_are_final_only_if_inkwire_says_so() {
    let refused = |status: u16, code: &str| {
        let problem = serde_json::json!({ "status": status, "code": code });
        ApiError::Refused { status, problem: serde_json::from_value(problem).unwrap() }
    };
    let is_final = |error| matches!(Posted::of_error(&error), Posted::Failed(_));
    assert!(is_final(refused(422, "id_out_of_range")));
    assert!(is_final(refused(404, "channel_not_found")));
    assert!(!is_final(refused(401, "token_expired")));
    assert!(!is_final(refused(503, "unavailable")));
    assert!(!is_final(refused(429, "channel_busy")));
    assert!(!is_final(ApiError::BadAnswer { status: 404, retry_after: None }));
}

#[test]
fn a_full_outbox_takes_nothing() {
    let mut desk = Desk::new();
    for _ in 0..KEPT_MAX {
        desk.add("hi");
    }
    let full = desk.outbox.add(&general(), words("hi"), None, (at(5), 7));
    assert_eq!(full, Err(OutboxFull));
}

#[test]
fn numbers_below_are_of_others() {
    let mut desk = Desk::new();
    assert!(!desk.outbox.on_accepted(1, true, desk.now));
    let refused = Refused { reference: Some(1), ..Refused::of(ErrorCode::Unavailable) };
    assert!(!desk.outbox.on_refused(&refused, desk.now));
}

#[test]
fn two_clients_that_have_seen_the_same_message_mint_different_ids() {
    let seen = MessageId::last_of(at(5)).previous().unwrap();
    let mint = |random: u128| {
        let minting = (at(5), random << 64);
        Desk::new().outbox.add(&general(), words("hi"), Some(seen), minting).unwrap()
    };
    let (one, other) = (mint(1), mint(2));
    assert!(one > seen && other > seen && one != other, "{one} {other}");
}

/// A device whose clock was minutes ahead minted one: its time is no bound for what is sent later.
#[test]
fn an_id_that_is_refused_as_out_of_range_does_not_spoil_later_ones() {
    let mut desk = Desk::new();
    let before = desk.add("in time");
    let ahead = desk.outbox.add(&general(), words("ahead"), None, (at(200_000), 7)).unwrap();
    let sends = desk.sends();
    desk.refuse(sends[1].reference, ErrorCode::IdOutOfRange);
    let later = desk.outbox.add(&general(), words("later"), None, (at(6), 7)).unwrap();
    assert!(before < later && later < ahead, "{before} {later} {ahead}");
    assert_eq!(later.time(), at(6));
}

#[test]
fn an_old_id_that_is_refused_as_out_of_range_lets_no_later_one_sort_lower() {
    let mut desk = Desk::new();
    desk.add("too old");
    let newest = desk.outbox.add(&general(), words("newest"), None, (at(6), 9)).unwrap();
    let sends = desk.sends();
    desk.outbox.on_archived(&general(), &[newest]);
    desk.refuse(sends[0].reference, ErrorCode::IdOutOfRange);
    let later = desk.outbox.add(&general(), words("later"), None, (at(6), 7)).unwrap();
    assert!(later > newest, "{later} {newest}");
}
