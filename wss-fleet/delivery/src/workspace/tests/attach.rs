use super::*;

#[test]
fn g5_ready_waits_for_rows_and_for_the_link() {
    let mut fixture = Fixture::linked();
    fixture.input(Input::Lost);
    let alice = fixture.attach_with("alice", None);
    assert!(matches!(fixture.effects[..], [Effect::LoadUser { .. }]));
    assert_eq!(fixture.load("alice", &[]), [], "not before the subscription is confirmed");
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "ready".to_owned())]);
}

#[test]
fn g5_a_known_cursor_replays_exactly_what_was_missed() {
    let (mut fixture, c, other) = (Fixture::linked(), channel(1), channel(2));
    fixture.attach("alice", &[&c]);
    fixture.push(message(&c, 1, "seen"));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    let cursor = fixture.cursor_of_last();
    fixture.push(message(&c, 1, "missed 1"));
    fixture.push(message(&other, 1, "not bob's"));
    fixture.refreshed(&other, 1, &["carol"]);
    fixture.push(message(&c, 1, "missed 2"));
    let bob = fixture.attach_with("bob", Some(cursor.clone()));
    fixture.load("bob", &[&c]);
    let expected = ["ready+", "missed 1", "missed 2"].map(|text| (bob, text.to_owned()));
    assert_eq!(fixture.delivered(), expected);
    let Some(Effect::Ready { frames, .. }) = fixture.effects.first() else { panic!() };
    let ready: serde_json::Value = serde_json::from_slice(&frames[0]).unwrap();
    assert_eq!(ready["cursor"], cursor, "until the replay is through, the client's own is safe");
}

#[test]
fn g9_a_resuming_client_is_told_of_memberships_that_are_younger_than_its_cursor() {
    let (mut fixture, old, new, left) = (Fixture::linked(), channel(1), channel(2), channel(3));
    fixture.attach("alice", &[&old, &new]);
    fixture.push(message(&new, 1, "before bob came back"));
    fixture.refreshed(&new, 1, &["alice"]);
    let cursor = fixture.cursor_of_last();
    fixture.push(message(&new, 2, "after it"));
    fixture.refreshed(&new, 2, &["alice", "bob"]);
    let load = |fixture: &mut Fixture| {
        let registration = fixture.effects.iter().find_map(|effect| match effect {
            Effect::LoadUser { registration, .. } => Some(*registration),
            _ => None,
        });
        let joined = [(&old, 0), (&new, 9_000), (&left, 9_000)];
        let joined = joined.map(|(id, ms)| (id.clone(), Timestamp::from_unix_ms(ms)));
        let channels = vec![old.clone(), new.clone()];
        let loaded = LoadedUser { channels, joined: joined.to_vec(), ..LoadedUser::default() };
        let (user, loaded) = (user("bob"), Some(loaded));
        let registration = registration.unwrap();
        fixture.input(Input::UserLoaded { user, registration, loaded });
    };
    let bob = fixture.attach_with("bob", Some(cursor.clone()));
    load(&mut fixture);
    let told = |socket| {
        ["ready+", "member_added", "after it"].map(|text| (socket, text.to_owned())).to_vec()
    };
    assert_eq!(fixture.delivered(), told(bob), "neither of the old one nor of one that bob left");
    // Another device of a user who is here already.
    let second = fixture.attach_with("bob", Some(cursor));
    assert_eq!(fixture.delivered(), told(second));
    let fresh = fixture.attach_with("bob", None);
    assert_eq!(
        fixture.delivered(),
        [(fresh, "ready".to_owned())],
        "who has nothing misses nothing"
    );
}

#[test]
fn g5_an_unknown_cursor_is_told_and_never_a_close() {
    let mut fixture = Fixture::linked();
    let unknown =
        ["", "garbage", "0-0-0000aaaa", "1-0-0000aaaa", "99999999999999999999-0-0000aaaa"];
    for (n, cursor) in unknown.into_iter().enumerate() {
        let name = format!("user{n}");
        let socket = fixture.attach_with(&name, Some(cursor.to_owned()));
        fixture.load(&name, &[]);
        assert_eq!(fixture.delivered(), [(socket, "ready".to_owned())], "{cursor}");
    }
}

#[test]
fn g5_a_cursor_ahead_of_the_tail_is_another_nodes_lead() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.entry(message(&c, 1, "not here yet"));
    let ahead = fixture.entries.last().unwrap().position.to_string();
    let alice = fixture.attach_with("alice", Some(ahead));
    fixture.load("alice", &[&c]);
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "ready+".to_owned())]);
    let beyond = fixture.attach_with("bob", Some("500-0-0000aaaa".to_owned()));
    fixture.load("bob", &[]);
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(beyond, "ready".to_owned())], "nobody has it");
}

#[test]
fn g5_no_cursor_goes_beyond_a_held_publication() {
    let (mut fixture, a, b) = (Fixture::linked(), channel(1), channel(2));
    let alice = fixture.attach("alice", &[&a, &b]);
    fixture.push(message(&b, 1, "b0"));
    fixture.refreshed(&b, 1, &["alice"]);
    let before = fixture.cursor_of_last();
    fixture.push(message(&a, 1, "held"));
    assert!(matches!(fixture.effects[..], [Effect::Refresh(_)]));
    fixture.push(message(&b, 1, "b1"));
    assert_eq!(fixture.delivered(), [(alice, "b1".to_owned())]);
    assert_eq!(fixture.cursor_of_last(), before, "a client that dies now still gets what is held");
    fixture.refreshed(&a, 1, &["alice"]);
    assert_eq!(fixture.delivered(), [(alice, "held".to_owned())]);
    assert_eq!(fixture.cursor_of_last(), fixture.entries.last().unwrap().position.to_string());
}

#[test]
fn g5_what_is_held_comes_live_after_the_replay_and_once() {
    let (mut fixture, a) = (Fixture::linked(), channel(1));
    let start = fixture.entries[0].position.to_string();
    fixture.attach("alice", &[&a]);
    fixture.push(message(&a, 1, "held"));
    let bob = fixture.attach_with("bob", Some(start));
    fixture.load("bob", &[&a]);
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())]);
    fixture.refreshed(&a, 1, &["alice", "bob"]);
    assert_eq!(fixture.delivered().iter().filter(|(socket, _)| *socket == bob).count(), 1);
}

#[test]
fn g5_a_long_text_is_read_once_for_live_and_replay() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let start = fixture.entries[0].position.to_string();
    let alice = fixture.attach("alice", &[&c]);
    fixture.push(long_message(&c, 1));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    let (number, id) = match fixture.effects[..] {
        [Effect::ReadStored { number, id, .. }] => (number, id),
        _ => panic!("{:?}", fixture.effects),
    };
    let other = MessageId::mint(fixture.now, 1).into();
    let message = Some(said(&c, other, "of another link"));
    let foreign = Input::StoredRead { channel: c.clone(), number, id: other, message };
    assert_eq!(fixture.input(foreign), []);
    let bob = fixture.attach_with("bob", Some(start));
    assert!(
        fixture
            .load("bob", &[&c])
            .iter()
            .all(|effect| !matches!(effect, Effect::ReadStored { .. }))
    );
    let long = Some(said(&c, id, "long"));
    fixture.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    let delivered = fixture.delivered();
    assert!(delivered.contains(&(alice, "long".to_owned())));
    assert_eq!(
        delivered.iter().filter(|one| **one == (bob, "long".to_owned())).count(),
        1,
        "{delivered:?}"
    );
}

#[test]
fn g8_a_revoked_user_is_closed_and_does_not_come_back() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.push(Box::new(|id| Publication::of_revocation(id, user("alice"))));
    assert_eq!(fixture.effects, [Effect::Close { socket: alice, code: CloseCode::Revoked }]);
    fixture.push(message(&c, 1, "later"));
    assert_eq!(fixture.delivered(), []);
    let again = fixture.attach_with("alice", None);
    let registration = match fixture.effects[..] {
        [Effect::LoadUser { registration, .. }] => registration,
        _ => panic!("{:?}", fixture.effects),
    };
    let loaded = Some(LoadedUser { is_revoked: true, channels: vec![c], joined: Vec::new() });
    fixture.input(Input::UserLoaded { user: user("alice"), registration, loaded });
    assert_eq!(fixture.effects, [Effect::Close { socket: again, code: CloseCode::Revoked }]);
}

#[test]
fn g8_the_eleventh_socket_of_a_user_closes_the_oldest() {
    let mut fixture = Fixture::linked();
    let first = fixture.attach("alice", &[]);
    for _ in 0..9 {
        fixture.attach_with("alice", None);
    }
    fixture.attach_with("alice", None);
    let close = Effect::Close { socket: first, code: CloseCode::TooManySockets };
    assert_eq!(fixture.effects[0], close);
}

#[test]
fn rows_read_for_an_earlier_registration_are_not_taken() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let first = fixture.attach_with("alice", None);
    let stale = fixture.effects.clone();
    fixture.input(Input::Detach(first));
    fixture.attach_with("alice", None);
    fixture.effects = stale;
    assert_eq!(fixture.load("alice", &[&c]), []);
}

#[test]
fn ticks_carry_the_cursor_and_whether_the_path_is_whole() {
    let mut fixture = Fixture::linked();
    fixture.attach("alice", &[]);
    fixture.tick();
    assert_eq!(
        text_of(match &fixture.effects[0] {
            Effect::Deliver { frame, .. } => frame,
            _ => panic!(),
        }),
        "tick true"
    );
    assert_eq!(fixture.cursor_of_last(), fixture.entries[0].position.to_string());
    fixture.input(Input::Lost);
    fixture.tick();
    assert_eq!(fixture.delivered()[0].1, "tick false");
}

#[test]
fn g6_rows_are_read_after_the_history_that_they_judge() {
    let mut fixture = Fixture::unlinked();
    fixture.entry(marker());
    let start = fixture.entries[0].position.to_string();
    let bob = fixture.attach_with("bob", Some(start));
    assert_eq!(fixture.effects, [], "rows read now could be older than what the fill will read");
    let c = channel(1);
    fixture.entry(message(&c, 2, "after bob was removed"));
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert!(matches!(fixture.effects[..], [Effect::LoadUser { .. }]), "{:?}", fixture.effects);
    fixture.load("bob", &[]);
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())]);
}

#[test]
fn g8_who_is_here_is_read_anew_after_a_hole() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.entries.clear();
    let mut fresh = fixture.entry(marker());
    fresh.position.entry.ms = 900;
    *fixture.entries.last_mut().unwrap() = fresh.clone();
    fixture.input(Input::Entry(fresh));
    fixture.answer_fill();
    fixture.answer_fill();
    let registration = fixture.effects.iter().find_map(|effect| match effect {
        Effect::LoadUser { registration, .. } => Some(*registration),
        _ => None,
    });
    let loaded = Some(LoadedUser { is_revoked: true, ..LoadedUser::default() });
    let (user, registration) = (user("alice"), registration.unwrap());
    fixture.input(Input::UserLoaded { user, registration, loaded });
    assert_eq!(fixture.effects, [Effect::Close { socket: alice, code: CloseCode::Revoked }]);
}

#[test]
fn g9_a_resuming_client_is_not_told_of_a_membership_whose_entry_is_in_the_ring() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.attach("alice", &[&c]);
    fixture.push(change(&c, 2, ChannelChange::MemberAdded, "bob"));
    fixture.refreshed(&c, 2, &["alice", "bob"]);
    let cursor = fixture.cursor_of_last();
    let bob = fixture.attach_with("bob", Some(cursor));
    let registration = fixture.effects.iter().find_map(|effect| match effect {
        Effect::LoadUser { registration, .. } => Some(*registration),
        _ => None,
    });
    let joined = vec![(c.clone(), Timestamp::from_unix_ms(1))];
    let loaded = Some(LoadedUser { channels: vec![c], joined, ..LoadedUser::default() });
    let registration = registration.unwrap();
    fixture.input(Input::UserLoaded { user: user("bob"), registration, loaded });
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())]);
}

#[test]
fn who_handles_going_and_is_attached_can_be_handed_over() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach("alice", &[]);
    let bob = fixture.attach("bob", &[]);
    let again = fixture.attach("alice", &[]);
    let carol = fixture.attach_with("carol", None);
    let movable = |socket: SocketId, name: &str| Movable {
        socket,
        user: user(name),
        ends_at: ends_at(socket.serial),
        is_invisible: false,
        device: Some(format!("of-{name}").parse().unwrap()),
    };
    let expected = |of: &[(SocketId, &str)]| {
        let mut all: Vec<_> = of.iter().map(|(socket, name)| movable(*socket, name)).collect();
        all.sort_unstable_by_key(|one| one.socket);
        all
    };
    // Bob's client, the second one, does not list `going`, and carol's rows are not read yet.
    let now = expected(&[(alice, "alice"), (again, "alice")]);
    assert_eq!(fixture.workspace.movable(), now);
    fixture.load("carol", &[]);
    fixture.input(Input::Detach(alice));
    assert_eq!(fixture.workspace.movable(), expected(&[(again, "alice"), (carol, "carol")]));
    assert!(fixture.workspace.movable().iter().all(|one| one.socket != bob));
}

#[test]
fn g8_a_socket_lasts_as_long_as_a_newer_token_of_the_same_user_and_workspace() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach("alice", &[]);
    let until = ends_at(alice.serial);
    let later = until.plus(Duration::from_secs(60));
    let ticket = |workspace: &str, name: &str| Renewal {
        workspace: workspace.parse().unwrap(),
        user: user(name),
        ends_at: later,
        is_invisible: false,
    };
    let own = fixture.workspace.id.as_str().to_owned();
    for (ticket, answer) in [
        (None, "refused invalid_token"),
        (Some(ticket(&own, "bob")), "refused forbidden"),
        (Some(ticket("elsewhere", "alice")), "refused forbidden"),
    ] {
        fixture.input(Input::Renew { socket: alice, reference: None, ticket });
        assert_eq!(fixture.delivered(), [(alice, answer.to_owned())]);
        assert_eq!(fixture.workspace.ends_at(alice), Some(until));
    }
    let ticket = Some(ticket(&own, "alice"));
    fixture.input(Input::Renew { socket: alice, reference: Some(7), ticket: ticket.clone() });
    assert_eq!(fixture.delivered(), [(alice, format!("renewed {}", later.unix_ms()))]);
    assert_eq!(fixture.workspace.ends_at(alice), Some(later));
    assert_eq!(fixture.workspace.movable()[0].ends_at, later, "for a ticket to another node");
    // Not before its `ready`.
    let bob = fixture.attach_with("bob", None);
    fixture.input(Input::Renew { socket: bob, reference: None, ticket });
    assert_eq!(fixture.effects, [Effect::Close { socket: bob, code: CloseCode::BadFrame }]);
    assert_eq!(fixture.workspace.ends_at(bob), None);
}
