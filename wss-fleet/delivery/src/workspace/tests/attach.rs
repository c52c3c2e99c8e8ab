use super::*;

#[test]
fn g5_ready_waits_for_rows_and_for_the_link() {
    let mut rig = Rig::linked();
    rig.input(Input::Lost);
    let alice = rig.attach_with("alice", None);
    assert!(matches!(rig.effects[..], [Effect::LoadUser { .. }]));
    assert_eq!(rig.load("alice", &[]), [], "not before the subscription is confirmed");
    rig.input(Input::Linked);
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "ready".to_owned())]);
}

#[test]
fn g5_a_known_cursor_replays_exactly_what_was_missed() {
    let (mut rig, c, other) = (Rig::linked(), channel(1), channel(2));
    rig.attach("alice", &[&c]);
    rig.push(message(&c, 1, "seen"));
    rig.refreshed(&c, 1, &["alice", "bob"]);
    let cursor = rig.cursor_of_last();
    rig.push(message(&c, 1, "missed 1"));
    rig.push(message(&other, 1, "not bob's"));
    rig.refreshed(&other, 1, &["carol"]);
    rig.push(message(&c, 1, "missed 2"));
    let bob = rig.attach_with("bob", Some(cursor.clone()));
    rig.load("bob", &[&c]);
    let expected = ["ready+", "missed 1", "missed 2"].map(|text| (bob, text.to_owned()));
    assert_eq!(rig.delivered(), expected);
    let Some(Effect::Ready { frames, .. }) = rig.effects.first() else { panic!() };
    let ready: serde_json::Value = serde_json::from_slice(&frames[0]).unwrap();
    assert_eq!(ready["cursor"], cursor, "until the replay is through, the client's own is safe");
}

#[test]
fn g5_an_unknown_cursor_is_told_and_never_a_close() {
    let mut rig = Rig::linked();
    let unknown =
        ["", "garbage", "0-0-0000aaaa", "1-0-0000aaaa", "99999999999999999999-0-0000aaaa"];
    for (n, cursor) in unknown.into_iter().enumerate() {
        let name = format!("user{n}");
        let socket = rig.attach_with(&name, Some(cursor.to_owned()));
        rig.load(&name, &[]);
        assert_eq!(rig.delivered(), [(socket, "ready".to_owned())], "{cursor}");
    }
}

#[test]
fn g5_a_cursor_ahead_of_the_tail_is_another_nodes_lead() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    rig.entry(message(&c, 1, "not here yet"));
    let ahead = rig.entries.last().unwrap().position.to_string();
    let alice = rig.attach_with("alice", Some(ahead));
    rig.load("alice", &[&c]);
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "ready+".to_owned())]);
    let beyond = rig.attach_with("bob", Some("500-0-0000aaaa".to_owned()));
    rig.load("bob", &[]);
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(beyond, "ready".to_owned())], "nobody has it");
}

#[test]
fn g5_no_cursor_goes_beyond_a_held_publication() {
    let (mut rig, a, b) = (Rig::linked(), channel(1), channel(2));
    let alice = rig.attach("alice", &[&a, &b]);
    rig.push(message(&b, 1, "b0"));
    rig.refreshed(&b, 1, &["alice"]);
    let before = rig.cursor_of_last();
    rig.push(message(&a, 1, "held"));
    assert!(matches!(rig.effects[..], [Effect::Refresh(_)]));
    rig.push(message(&b, 1, "b1"));
    assert_eq!(rig.delivered(), [(alice, "b1".to_owned())]);
    assert_eq!(rig.cursor_of_last(), before, "a client that dies now still gets what is held");
    rig.refreshed(&a, 1, &["alice"]);
    assert_eq!(rig.delivered(), [(alice, "held".to_owned())]);
    assert_eq!(rig.cursor_of_last(), rig.entries.last().unwrap().position.to_string());
}

#[test]
fn g5_what_is_held_comes_live_after_the_replay_and_once() {
    let (mut rig, a) = (Rig::linked(), channel(1));
    let start = rig.entries[0].position.to_string();
    rig.attach("alice", &[&a]);
    rig.push(message(&a, 1, "held"));
    let bob = rig.attach_with("bob", Some(start));
    rig.load("bob", &[&a]);
    assert_eq!(rig.delivered(), [(bob, "ready+".to_owned())]);
    rig.refreshed(&a, 1, &["alice", "bob"]);
    assert_eq!(rig.delivered().iter().filter(|(socket, _)| *socket == bob).count(), 1);
}

#[test]
fn g5_a_long_text_is_read_once_for_live_and_replay() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let start = rig.entries[0].position.to_string();
    let alice = rig.attach("alice", &[&c]);
    rig.push(long_message(&c, 1));
    rig.refreshed(&c, 1, &["alice", "bob"]);
    let (number, id) = match rig.effects[..] {
        [Effect::ReadStored { number, id, .. }] => (number, id),
        _ => panic!("{:?}", rig.effects),
    };
    let other = MessageId::mint(rig.now, 1).into();
    let message = Some(said(&c, other, "of another link"));
    let foreign = Input::StoredRead { channel: c.clone(), number, id: other, message };
    assert_eq!(rig.input(foreign), []);
    let bob = rig.attach_with("bob", Some(start));
    assert!(
        rig.load("bob", &[&c]).iter().all(|effect| !matches!(effect, Effect::ReadStored { .. }))
    );
    let long = Some(said(&c, id, "long"));
    rig.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    let delivered = rig.delivered();
    assert!(delivered.contains(&(alice, "long".to_owned())));
    assert_eq!(
        delivered.iter().filter(|one| **one == (bob, "long".to_owned())).count(),
        1,
        "{delivered:?}"
    );
}

#[test]
fn g8_a_revoked_user_is_closed_and_does_not_come_back() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let alice = rig.attach("alice", &[&c]);
    rig.push(Box::new(|id| Publication::of_revocation(id, user("alice"))));
    assert_eq!(rig.effects, [Effect::Close { socket: alice, code: CloseCode::Revoked }]);
    rig.push(message(&c, 1, "later"));
    assert_eq!(rig.delivered(), []);
    let again = rig.attach_with("alice", None);
    let registration = match rig.effects[..] {
        [Effect::LoadUser { registration, .. }] => registration,
        _ => panic!("{:?}", rig.effects),
    };
    let loaded = Some(LoadedUser { is_revoked: true, channels: vec![c] });
    rig.input(Input::UserLoaded { user: user("alice"), registration, loaded });
    assert_eq!(rig.effects, [Effect::Close { socket: again, code: CloseCode::Revoked }]);
}

#[test]
fn g8_the_eleventh_socket_of_a_user_closes_the_oldest() {
    let mut rig = Rig::linked();
    let first = rig.attach("alice", &[]);
    for _ in 0..9 {
        rig.attach_with("alice", None);
    }
    rig.attach_with("alice", None);
    let close = Effect::Close { socket: first, code: CloseCode::TooManySockets };
    assert_eq!(rig.effects[0], close);
}

#[test]
fn rows_read_for_an_earlier_registration_are_not_taken() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let first = rig.attach_with("alice", None);
    let stale = rig.effects.clone();
    rig.input(Input::Detach(first));
    rig.attach_with("alice", None);
    rig.effects = stale;
    assert_eq!(rig.load("alice", &[&c]), []);
}

#[test]
fn ticks_carry_the_cursor_and_whether_the_path_is_whole() {
    let mut rig = Rig::linked();
    rig.attach("alice", &[]);
    rig.tick();
    assert_eq!(
        text_of(match &rig.effects[0] {
            Effect::Deliver { frame, .. } => frame,
            _ => panic!(),
        }),
        "tick true"
    );
    assert_eq!(rig.cursor_of_last(), rig.entries[0].position.to_string());
    rig.input(Input::Lost);
    rig.tick();
    assert_eq!(rig.delivered()[0].1, "tick false");
}

#[test]
fn g6_rows_are_read_after_the_history_that_they_judge() {
    let mut rig = Rig::unlinked();
    rig.entry(marker());
    let start = rig.entries[0].position.to_string();
    let bob = rig.attach_with("bob", Some(start));
    assert_eq!(rig.effects, [], "rows read now could be older than what the fill will read");
    let c = channel(1);
    rig.entry(message(&c, 2, "after bob was removed"));
    rig.input(Input::Linked);
    rig.answer_fill();
    assert!(matches!(rig.effects[..], [Effect::LoadUser { .. }]), "{:?}", rig.effects);
    rig.load("bob", &[]);
    assert_eq!(rig.delivered(), [(bob, "ready+".to_owned())]);
}

#[test]
fn g8_who_is_here_is_read_anew_after_a_hole() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let alice = rig.attach("alice", &[&c]);
    rig.entries.clear();
    let mut fresh = rig.entry(marker());
    fresh.position.entry.ms = 900;
    *rig.entries.last_mut().unwrap() = fresh.clone();
    rig.input(Input::Entry(fresh));
    rig.answer_fill();
    rig.answer_fill();
    let registration = rig.effects.iter().find_map(|effect| match effect {
        Effect::LoadUser { registration, .. } => Some(*registration),
        _ => None,
    });
    let loaded = Some(LoadedUser { is_revoked: true, channels: Vec::new() });
    let (user, registration) = (user("alice"), registration.unwrap());
    rig.input(Input::UserLoaded { user, registration, loaded });
    assert_eq!(rig.effects, [Effect::Close { socket: alice, code: CloseCode::Revoked }]);
}
