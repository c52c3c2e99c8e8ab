//! Holds last while the store is slow, within bounds; what a bound drops is reported once.

use super::*;

fn one_member() -> (Fixture, ChannelId, SocketId) {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    (fixture, c, alice)
}

/// Pushes a long message to a channel of alice. Returns the entry and the id of the read it causes.
fn read_of_a_long_message(
    fixture: &mut Fixture,
    channel: &ChannelId,
) -> (EntryNumber, PublicationId) {
    fixture.push(message(channel, 1, "first"));
    fixture.refreshed(channel, 1, &["alice"]);
    fixture.push(long_message(channel, 1));
    let Some(Effect::ReadStored { number, id, .. }) = fixture.effects.last().cloned() else {
        panic!("no read of the long message: {:?}", fixture.effects)
    };
    (number, id)
}

/// Pushes large messages to a channel until its hold is given up.
fn overflow(fixture: &mut Fixture, channel: &ChannelId) {
    let large = "x".repeat(1024 * 1024);
    while !fixture.workspace.holds.is_lost(channel) {
        let (channel, large) = (channel.clone(), large.clone());
        fixture.push(Box::new(move |id| {
            Publication::of_message(&said(&channel, id, ""), 1)
                .with_payload(Payload::Frame(large.clone().into()))
        }));
    }
}

#[test]
fn g6_a_hold_lasts_as_long_as_the_store_is_away_and_then_all_is_delivered() {
    let (mut fixture, c, alice) = one_member();
    fixture.push(message(&c, 1, "first"));
    assert_eq!(fixture.effects, [Effect::Refresh(c.clone())]);
    for n in 0..600 {
        assert_eq!(fixture.push(message(&c, 1, &n.to_string())), [], "single flight");
        assert_eq!(
            fixture.after(Duration::from_secs(1)),
            [],
            "no resync, no close, no second reading"
        );
    }
    fixture.tick();
    assert_eq!(fixture.delivered(), [(alice, "tick false".to_owned())]);
    fixture.refreshed(&c, 1, &["alice"]);
    assert_eq!(fixture.delivered().len(), 601);
    fixture.after(Duration::from_millis(250));
    fixture.tick();
    assert_eq!(fixture.delivered(), [(alice, "tick true".to_owned())]);
}

#[test]
fn g6_what_is_held_is_delivered_though_the_ring_has_forgotten_it() {
    let (mut fixture, c, alice) = one_member();
    fixture.push(message(&c, 1, "held"));
    let other = channel(2);
    fixture.push(message(&other, 1, "of another channel"));
    fixture.refreshed(&other, 1, &["bob"]);
    for _ in 0..limits::STREAM_ENTRIES_MAX {
        fixture.push(message(&other, 1, "of another channel"));
    }
    fixture.refreshed(&c, 1, &["alice"]);
    assert_eq!(fixture.delivered(), [(alice, "held".to_owned())]);
    fixture.forget_presence();
    assert!(!fixture.workspace.is_waiting());
}

#[test]
fn g6_a_long_text_is_delivered_though_the_ring_has_forgotten_its_link() {
    let (mut fixture, c, alice) = one_member();
    let (number, id) = read_of_a_long_message(&mut fixture, &c);
    let other = channel(2);
    fixture.push(message(&other, 1, "of another channel"));
    fixture.refreshed(&other, 1, &["bob"]);
    for _ in 0..limits::STREAM_ENTRIES_MAX {
        fixture.push(message(&other, 1, "of another channel"));
    }
    let long = Some(said(&c, id, "long"));
    fixture.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    assert_eq!(fixture.delivered(), [(alice, "long".to_owned())]);
}

#[test]
fn g5_a_text_that_is_not_stored_is_skipped_and_holds_nothing_up() {
    let (mut fixture, c, alice) = one_member();
    let (number, id) = read_of_a_long_message(&mut fixture, &c);
    fixture.push(message(&c, 1, "next"));
    fixture.input(Input::StoredRead { channel: c.clone(), number, id, message: None });
    assert_eq!(fixture.delivered(), [(alice, "next".to_owned())]);
}

#[test]
fn g6_beyond_the_bounds_a_channel_is_given_up_and_its_members_are_told_once_it_is_known() {
    let (mut fixture, c, alice) = one_member();
    let bob = fixture.attach("bob", &[]);
    let before = fixture.entries.last().unwrap().position;
    overflow(&mut fixture, &c);
    assert!(fixture.workspace.held_bytes() <= limits::HELD_BYTES_MAX);
    assert_eq!(fixture.resynced(), [], "whose it was is not known yet");
    fixture.push(message(&c, 3, "of version 3, dropped as well"));
    assert_eq!(fixture.workspace.safe(), Some(before));
    fixture.refreshed(&c, 2, &["alice"]);
    assert_eq!(fixture.effects, [Effect::Refresh(c.clone())], "version 3 may name others");
    fixture.refreshed(&c, 3, &["alice", "bob"]);
    let named = Some(vec![c.clone()]);
    assert_eq!(fixture.rereads(), [(alice, named.clone()), (bob, named)]);
    assert_eq!(fixture.workspace.safe(), fixture.workspace.tail);
    fixture.push(message(&c, 3, "next"));
    assert_eq!(fixture.delivered().len(), 2);
}

#[test]
fn g4_an_incident_is_one_resync_a_socket_however_many_channels_it_cost() {
    let mut fixture = Fixture::linked();
    let channels: Vec<ChannelId> = (1..=8).map(channel).collect();
    let alice = fixture.attach("alice", &channels.iter().collect::<Vec<_>>());
    let bob = fixture.attach("bob", &[]);
    let before = fixture.workspace.safe();
    for channel in &channels {
        overflow(&mut fixture, channel);
    }
    for channel in &channels[..7] {
        fixture.refreshed(channel, 1, &["alice"]);
        assert_eq!(fixture.resynced(), [], "more channels may follow");
        assert_eq!(fixture.workspace.safe(), before, "a client that dies now resumes before it");
    }
    fixture.refreshed(&channels[7], 1, &["alice"]);
    let mut named = channels.clone();
    named.sort();
    assert_eq!(
        fixture.rereads(),
        [(alice, Some(named))],
        "and bob, whom it does not concern, nothing"
    );
    assert_ne!(fixture.workspace.safe(), before);
    assert!(!fixture.resynced().contains(&bob));
}

#[test]
fn g4_an_incident_without_an_end_is_told_in_parts() {
    let mut fixture = Fixture::linked();
    let (a, b) = (channel(1), channel(2));
    let alice = fixture.attach("alice", &[&a, &b]);
    overflow(&mut fixture, &a);
    overflow(&mut fixture, &b);
    fixture.refreshed(&a, 1, &["alice"]);
    let soon = limits::RESYNC_JOIN_MAX - Duration::from_millis(1);
    assert_eq!(fixture.after(soon), []);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.rereads(), [(alice, Some(vec![a]))]);
    assert!(fixture.workspace.is_waiting(), "the other one is still lost");
    fixture.refreshed(&b, 1, &["alice"]);
    assert_eq!(fixture.rereads(), [(alice, Some(vec![b]))]);
}

#[test]
fn g4_the_delays_of_a_resync_grow_with_the_number_of_sockets() {
    let mut fixture = Fixture::linked();
    let c = channel(1);
    let names: Vec<String> = (0..1_000).map(|n| format!("user{n}")).collect();
    for name in &names {
        fixture.attach(name, &[&c]);
    }
    overflow(&mut fixture, &c);
    fixture.refreshed(&c, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut delays = Vec::new();
    for effect in &fixture.effects {
        if let Effect::Deliver { frame, to, .. } = effect
            && let Some(ServerFrame::Resync { delay_ms, .. }) =
                ServerFrame::decode(std::str::from_utf8(frame).unwrap())
        {
            delays.extend(to.sockets().map(|_| delay_ms));
        }
    }
    assert_eq!(delays.len(), 1_000);
    let window = 1_000 * 1_000 / limits::RESYNCS_PER_SECOND;
    assert!(delays.iter().all(|delay| *delay < window));
    let first = delays.iter().filter(|delay| **delay < window / 2).count();
    assert!((450..=550).contains(&first), "{first} in the first half");
}

#[test]
fn g6_a_lost_channel_is_replayed_to_nobody_until_its_members_are_known() {
    let (mut fixture, c, _) = one_member();
    let cursor = fixture.entries.last().unwrap().position.to_string();
    overflow(&mut fixture, &c);
    fixture.push(message(&c, 1, "who may see this?"));
    let bob = fixture.attach_with("bob", Some(cursor));
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [(bob, "ready".to_owned())], "not resumed");
}

#[test]
fn g4_a_fork_keeps_what_is_held_before_it_and_drops_what_came_after() {
    let (mut fixture, c, alice) = one_member();
    fixture.push(message(&c, 1, "held before the fork"));
    let common = fixture.entries.len();
    fixture.push(message(&c, 1, "held, and taken back"));
    fixture.entries.truncate(common);
    fixture.entry(marker());
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.answer_fill();
    assert_eq!(fixture.resynced(), [], "the relay publishes it again");
    fixture.refreshed(&c, 1, &["alice"]);
    assert_eq!(fixture.delivered(), [(alice, "held before the fork".to_owned())]);
    fixture.forget_presence();
    assert!(!fixture.workspace.is_waiting());
}

#[test]
fn channels_of_the_streams_past_are_read_ahead_when_a_member_comes() {
    let mut fixture = Fixture::unlinked();
    let (busy, quiet, new) = (channel(1), channel(2), channel(3));
    fixture.entry(message(&busy, 1, "before anybody came"));
    fixture.entry(change(&new, 1, ChannelChange::Created, "alice"));
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.attach_with("alice", None);
    fixture.load("alice", &[&busy, &quiet, &new]);
    assert!(fixture.effects.contains(&Effect::ReadAhead(busy.clone())), "{:?}", fixture.effects);
    assert!(!fixture.effects.contains(&Effect::ReadAhead(quiet)));
    assert!(!fixture.effects.contains(&Effect::ReadAhead(new)), "nobody spoke there");
    fixture.refreshed(&busy, 1, &["alice", "bob"]);
    fixture.attach_with("bob", None);
    fixture.load("bob", &[&busy]);
    assert!(!fixture.effects.contains(&Effect::ReadAhead(busy.clone())), "once");
    fixture.push(message(&busy, 1, "at once"));
    assert_eq!(fixture.delivered().len(), 2, "nothing is read for it");
}

#[test]
fn a_socket_that_cannot_be_attached_soon_is_refused() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach_with("alice", None);
    assert_eq!(fixture.after(limits::ATTACH_WAIT_MAX - Duration::from_millis(1)), []);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.effects, [Effect::Refuse { socket: alice }]);
    assert!(fixture.workspace.is_idle());
}
