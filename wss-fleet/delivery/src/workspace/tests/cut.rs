use std::collections::BTreeSet;

use super::*;

/// Alice and Bob are in the channel; the view has version 1.
fn two_members() -> (Fixture, ChannelId, SocketId, SocketId) {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    let bob = fixture.attach("bob", &[&c]);
    fixture.push(message(&c, 1, "hi"));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    assert_eq!(fixture.delivered().len(), 2);
    (fixture, c, alice, bob)
}

#[test]
fn g6_a_view_of_the_same_version_asks_nobody() {
    let (mut fixture, c, ..) = two_members();
    fixture.push(message(&c, 1, "again"));
    assert!(matches!(fixture.effects[..], [Effect::Deliver { .. }]));
}

#[test]
fn g6_the_next_versions_change_is_a_delta() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.push(change(&c, 2, ChannelChange::MemberRemoved, "bob"));
    let delivered = fixture.delivered();
    assert_eq!(delivered.len(), 2, "the removed one gets it too: {delivered:?}");
    assert!(delivered.contains(&(bob, "member_removed".to_owned())));
    fixture.push(message(&c, 2, "without bob"));
    assert_eq!(fixture.delivered(), [(alice, "without bob".to_owned())]);
    fixture.push(change(&c, 3, ChannelChange::MemberAdded, "bob"));
    fixture.push(message(&c, 3, "with bob"));
    assert_eq!(fixture.delivered().len(), 2);
}

#[test]
fn g6_members_who_are_added_at_once_are_one_delta() {
    let (mut fixture, c, alice, bob) = two_members();
    let carol = fixture.attach("carol", &[]);
    fixture.attach("eve", &[]);
    fixture.push(changes(&c, 2, ChannelChange::MembersAdded, &["carol", "zoe"], &[]));
    let sockets = BTreeSet::from([alice, bob, carol]);
    let all = |text: &str| sockets.iter().map(|socket| (*socket, text.to_owned())).collect();
    assert_eq!(BTreeSet::from_iter(fixture.delivered()), all("members_added"));
    fixture.push(message(&c, 2, "hello carol"));
    assert_eq!(
        BTreeSet::from_iter(fixture.delivered()),
        all("hello carol"),
        "the store is not asked"
    );
}

#[test]
fn g6_a_message_newer_than_the_view_waits_for_the_rows() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.push(message(&c, 2, "after the removal"));
    assert_eq!(fixture.effects, [Effect::Refresh(c.clone())]);
    fixture.push(message(&c, 2, "and another"));
    assert_eq!(fixture.effects, [], "single flight");
    fixture.refreshed(&c, 2, &["alice"]);
    let expected = [(bob, "member_removed"), (alice, "after the removal"), (alice, "and another")];
    assert_eq!(fixture.delivered(), expected.map(|(socket, text)| (socket, text.to_owned())));
}

#[test]
fn g9_who_was_removed_and_added_again_unheard_is_told_when_their_row_is_read() {
    let (mut fixture, c, alice, bob) = two_members();
    let day = u64::try_from(limits::STREAM_TTL.as_millis()).unwrap();
    fixture.now = Timestamp::from_unix_ms(2 * day);
    // Neither the removal nor the addition was published: only a later version shows them.
    fixture.push(message(&c, 3, "hello again"));
    fixture.refreshed_since(&c, 3, &["alice", "bob"], 2 * day - 60_000);
    let told = [alice, bob].map(|socket| (socket, "member_added".to_owned()));
    let mut delivered = fixture.delivered();
    let heard = delivered.split_off(2);
    delivered.sort();
    assert_eq!(delivered, told);
    assert_eq!(heard, [alice, bob].map(|socket| (socket, "hello again".to_owned())));
    // They know it now.
    fixture.push(message(&c, 4, "and again"));
    fixture.refreshed_since(&c, 4, &["alice", "bob"], 2 * day - 60_000);
    assert_eq!(fixture.delivered(), [alice, bob].map(|socket| (socket, "and again".to_owned())));
    // Whoever joined long ago is no news to a node that has their rows.
    let (mut fixture, c, alice, bob) = two_members();
    fixture.now = Timestamp::from_unix_ms(2 * day);
    fixture.push(message(&c, 3, "hello"));
    fixture.refreshed_since(&c, 3, &["alice", "bob"], day - 1);
    assert_eq!(fixture.delivered(), [alice, bob].map(|socket| (socket, "hello".to_owned())));
}

#[test]
fn g6_a_change_that_skips_a_version_is_no_delta() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.push(change(&c, 3, ChannelChange::MemberAdded, "carol"));
    assert_eq!(fixture.effects, [Effect::Refresh(c.clone())], "version 2 removed somebody");
    fixture.refreshed(&c, 3, &["alice", "carol"]);
    let expected = [(bob, "member_removed"), (alice, "member_added")];
    assert_eq!(fixture.delivered(), expected.map(|(socket, text)| (socket, text.to_owned())));
}

#[test]
fn g6_an_old_change_does_not_undo_a_newer_view() {
    let (mut fixture, c, alice, _) = two_members();
    fixture.push(message(&c, 3, "of version 3"));
    fixture.refreshed(&c, 3, &["alice"]);
    fixture.push(change(&c, 2, ChannelChange::MemberAdded, "bob"));
    fixture.push(message(&c, 3, "next"));
    assert_eq!(fixture.delivered(), [(alice, "next".to_owned())]);
}

#[test]
fn g6_a_refresh_since_the_registration_wins_over_the_attachs_rows() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.input(Input::Detach(bob));
    // Bob's rows are read while he still is a member. Then he is removed, and the node receives the
    // removal before the rows.
    let bob = fixture.attach_with("bob", None);
    let load = fixture.effects.clone();
    fixture.push(change(&c, 2, ChannelChange::MemberRemoved, "bob"));
    fixture.effects = load;
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [(bob, "ready".to_owned())]);
    fixture.push(message(&c, 2, "without bob"));
    assert_eq!(fixture.delivered(), [(alice, "without bob".to_owned())]);
}

#[test]
fn g6_a_channel_without_a_view_is_of_version_zero() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[]);
    // Alice was added, but that publication was lost: only the message's version shows it.
    fixture.push(message(&c, 4, "hello alice"));
    assert_eq!(fixture.effects, [Effect::Refresh(c.clone())]);
    fixture.refreshed(&c, 4, &["alice"]);
    let expected = ["member_added", "hello alice"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.delivered(), expected, "she is told, as by the lost publication");
}

#[test]
fn g6_a_new_channel_brings_its_members_along() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[]);
    fixture.attach("bob", &[]);
    fixture.push(changes(&c, 1, ChannelChange::Created, &["alice"], &["alice", "zoe"]));
    assert_eq!(fixture.delivered(), [(alice, "created".to_owned())]);
    fixture.push(message(&c, 1, "first"));
    assert_eq!(fixture.delivered(), [(alice, "first".to_owned())], "without asking the store");
}

#[test]
fn g6_a_view_that_the_store_refuses_fails_closed_and_tells_all() {
    let (mut fixture, c, alice, bob) = two_members();
    let zoe = fixture.attach("zoe", &[]);
    let cursor = fixture.cursor_of_last();
    // Zoe was added at version 2; the view has version 1 and does not name her.
    fixture.push(message(&c, 2, "never delivered"));
    fixture.input(Input::Refreshed { channel: c.clone(), members: None });
    let named = Some(vec![c.clone()]);
    let expected = [(alice, named.clone()), (bob, named.clone()), (zoe, named)];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(fixture.rereads(), expected);
    fixture.forget_presence();
    assert!(!fixture.workspace.is_waiting());
    let again = fixture.attach_with("bob", Some(cursor));
    assert_eq!(
        fixture.delivered(),
        [(again, "ready".to_owned())],
        "not resumed, and nothing leaked"
    );
    fixture.refreshed(&c, 2, &["alice"]);
    fixture.push(message(&c, 2, "next"));
    assert_eq!(fixture.delivered(), [(alice, "next".to_owned())]);
}

#[test]
fn g6_a_user_who_left_the_node_is_in_no_view() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.input(Input::Detach(bob));
    fixture.push(message(&c, 1, "to alice"));
    assert_eq!(fixture.delivered(), [(alice, "to alice".to_owned())]);
    fixture.input(Input::Detach(alice));
    assert!(fixture.workspace.is_idle());
    assert_eq!(fixture.push(message(&c, 1, "to nobody")), []);
}

#[test]
fn a_channel_that_is_not_there_has_no_members_and_breaks_nothing() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.attach("alice", &[]);
    fixture.push(message(&c, 1, "of a channel of another stack"));
    fixture.refreshed(&c, u64::MAX, &[]);
    fixture.push(change(&c, 2, ChannelChange::MemberAdded, "zoe"));
    fixture.push(change(&c, u64::MAX, ChannelChange::MemberAdded, "zoe"));
    assert_eq!(fixture.delivered(), []);
}

#[test]
fn g6_a_change_about_another_does_not_shut_out_who_is_loading() {
    let (mut fixture, c, alice, bob) = two_members();
    fixture.input(Input::Detach(bob));
    let bob = fixture.attach_with("bob", None);
    let load = fixture.effects.clone();
    fixture.push(change(&c, 2, ChannelChange::MemberAdded, "carol"));
    fixture.effects = load;
    fixture.load("bob", &[&c]);
    fixture.push(message(&c, 2, "to both"));
    let mut delivered = fixture.delivered();
    delivered.sort();
    let mut expected = [alice, bob].map(|socket| (socket, "to both".to_owned()));
    expected.sort();
    assert_eq!(delivered, expected);
}
