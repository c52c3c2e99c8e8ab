//! Holds last while the store is slow, within bounds; what a bound drops is reported once.

use super::*;

fn one_member() -> (Rig, ChannelId, SocketId) {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let alice = rig.attach("alice", &[&c]);
    (rig, c, alice)
}

/// Pushes large messages to a channel until its hold is given up.
fn overflow(rig: &mut Rig, channel: &ChannelId) {
    let large = "x".repeat(1024 * 1024);
    while !rig.workspace.holds.is_lost(channel) {
        let (channel, large) = (channel.clone(), large.clone());
        rig.push(Box::new(move |id| {
            Publication::of_message(&said(&channel, id, ""), 1)
                .with_payload(Payload::Frame(large.clone().into()))
        }));
    }
}

#[test]
fn g6_a_hold_lasts_as_long_as_the_store_is_away_and_then_all_is_delivered() {
    let (mut rig, c, alice) = one_member();
    rig.push(message(&c, 1, "first"));
    assert_eq!(rig.effects, [Effect::Refresh(c.clone())]);
    for n in 0..600 {
        assert_eq!(rig.push(message(&c, 1, &n.to_string())), [], "single flight");
        assert_eq!(rig.after(Duration::from_secs(1)), [], "no resync, no close, no second reading");
    }
    rig.tick();
    assert_eq!(rig.delivered(), [(alice, "tick false".to_owned())]);
    rig.refreshed(&c, 1, &["alice"]);
    assert_eq!(rig.delivered().len(), 601);
    rig.after(Duration::from_millis(250));
    rig.tick();
    assert_eq!(rig.delivered(), [(alice, "tick true".to_owned())]);
}

#[test]
fn g6_what_is_held_is_delivered_though_the_ring_has_forgotten_it() {
    let (mut rig, c, alice) = one_member();
    rig.push(message(&c, 1, "held"));
    let other = channel(2);
    rig.push(message(&other, 1, "of another channel"));
    rig.refreshed(&other, 1, &["bob"]);
    for _ in 0..limits::STREAM_ENTRIES_MAX {
        rig.push(message(&other, 1, "of another channel"));
    }
    rig.refreshed(&c, 1, &["alice"]);
    assert_eq!(rig.delivered(), [(alice, "held".to_owned())]);
    assert!(!rig.workspace.is_waiting());
}

#[test]
fn g6_a_long_text_is_delivered_though_the_ring_has_forgotten_its_link() {
    let (mut rig, c, alice) = one_member();
    rig.push(message(&c, 1, "first"));
    rig.refreshed(&c, 1, &["alice"]);
    rig.push(long_message(&c, 1));
    let Some(Effect::ReadStored { number, id, .. }) = rig.effects.last().cloned() else { panic!() };
    let other = channel(2);
    rig.push(message(&other, 1, "of another channel"));
    rig.refreshed(&other, 1, &["bob"]);
    for _ in 0..limits::STREAM_ENTRIES_MAX {
        rig.push(message(&other, 1, "of another channel"));
    }
    let long = Some(said(&c, id, "long"));
    rig.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    assert_eq!(rig.delivered(), [(alice, "long".to_owned())]);
}

#[test]
fn g5_a_text_that_is_not_stored_is_skipped_and_holds_nothing_up() {
    let (mut rig, c, alice) = one_member();
    rig.push(message(&c, 1, "first"));
    rig.refreshed(&c, 1, &["alice"]);
    rig.push(long_message(&c, 1));
    let Some(Effect::ReadStored { number, id, .. }) = rig.effects.last().cloned() else { panic!() };
    rig.push(message(&c, 1, "next"));
    rig.input(Input::StoredRead { channel: c.clone(), number, id, message: None });
    assert_eq!(rig.delivered(), [(alice, "next".to_owned())]);
}

#[test]
fn g6_beyond_the_bounds_a_channel_is_given_up_and_its_members_are_told_once_it_is_known() {
    let (mut rig, c, alice) = one_member();
    let bob = rig.attach("bob", &[]);
    let before = rig.entries.last().unwrap().position;
    overflow(&mut rig, &c);
    assert!(rig.workspace.held_bytes() <= limits::HELD_BYTES_MAX);
    assert_eq!(rig.resynced(), [], "whose it was is not known yet");
    rig.push(message(&c, 3, "of version 3, dropped as well"));
    assert_eq!(rig.workspace.safe(), Some(before));
    rig.refreshed(&c, 2, &["alice"]);
    assert_eq!(rig.effects, [Effect::Refresh(c.clone())], "version 3 may name others");
    rig.refreshed(&c, 3, &["alice", "bob"]);
    let named = Some(vec![c.clone()]);
    assert_eq!(rig.rereads(), [(alice, named.clone()), (bob, named)]);
    assert_eq!(rig.workspace.safe(), rig.workspace.tail);
    rig.push(message(&c, 3, "next"));
    assert_eq!(rig.delivered().len(), 2);
}

#[test]
fn g4_an_incident_is_one_resync_a_socket_however_many_channels_it_cost() {
    let mut rig = Rig::linked();
    let channels: Vec<ChannelId> = (1..=8).map(channel).collect();
    let alice = rig.attach("alice", &channels.iter().collect::<Vec<_>>());
    let bob = rig.attach("bob", &[]);
    let before = rig.workspace.safe();
    for channel in &channels {
        overflow(&mut rig, channel);
    }
    for channel in &channels[..7] {
        rig.refreshed(channel, 1, &["alice"]);
        assert_eq!(rig.resynced(), [], "more channels may follow");
        assert_eq!(rig.workspace.safe(), before, "a client that dies now resumes before it");
    }
    rig.refreshed(&channels[7], 1, &["alice"]);
    let mut named = channels.clone();
    named.sort();
    assert_eq!(rig.rereads(), [(alice, Some(named))], "and bob, whom it does not concern, nothing");
    assert_ne!(rig.workspace.safe(), before);
    assert!(!rig.resynced().contains(&bob));
}

#[test]
fn g4_an_incident_without_an_end_is_told_in_parts() {
    let mut rig = Rig::linked();
    let (a, b) = (channel(1), channel(2));
    let alice = rig.attach("alice", &[&a, &b]);
    overflow(&mut rig, &a);
    overflow(&mut rig, &b);
    rig.refreshed(&a, 1, &["alice"]);
    let soon = limits::RESYNC_JOIN_MAX - Duration::from_millis(1);
    assert_eq!(rig.after(soon), []);
    rig.after(Duration::from_millis(1));
    assert_eq!(rig.rereads(), [(alice, Some(vec![a]))]);
    assert!(rig.workspace.is_waiting(), "the other one is still lost");
    rig.refreshed(&b, 1, &["alice"]);
    assert_eq!(rig.rereads(), [(alice, Some(vec![b]))]);
}

#[test]
fn g4_the_delays_of_a_resync_grow_with_the_number_of_sockets() {
    let mut rig = Rig::linked();
    let c = channel(1);
    let names: Vec<String> = (0..1_000).map(|n| format!("user{n}")).collect();
    for name in &names {
        rig.attach(name, &[&c]);
    }
    overflow(&mut rig, &c);
    rig.refreshed(&c, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut delays = Vec::new();
    for effect in &rig.effects {
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
    let (mut rig, c, _) = one_member();
    let cursor = rig.entries.last().unwrap().position.to_string();
    overflow(&mut rig, &c);
    rig.push(message(&c, 1, "who may see this?"));
    let bob = rig.attach_with("bob", Some(cursor));
    rig.load("bob", &[&c]);
    assert_eq!(rig.delivered(), [(bob, "ready".to_owned())], "not resumed");
}

#[test]
fn g4_a_fork_keeps_what_is_held_before_it_and_drops_what_came_after() {
    let (mut rig, c, alice) = one_member();
    rig.push(message(&c, 1, "held before the fork"));
    let common = rig.entries.len();
    rig.push(message(&c, 1, "held, and taken back"));
    rig.entries.truncate(common);
    rig.entry(marker());
    rig.input(Input::Linked);
    rig.answer_fill();
    rig.answer_fill();
    assert_eq!(rig.resynced(), [], "the relay publishes it again");
    rig.refreshed(&c, 1, &["alice"]);
    assert_eq!(rig.delivered(), [(alice, "held before the fork".to_owned())]);
    assert!(!rig.workspace.is_waiting());
}

#[test]
fn channels_of_the_streams_past_are_read_ahead_when_a_member_comes() {
    let mut rig = Rig::unlinked();
    let (busy, quiet, new) = (channel(1), channel(2), channel(3));
    rig.entry(message(&busy, 1, "before anybody came"));
    rig.entry(change(&new, 1, ChannelChange::Created, "alice"));
    rig.input(Input::Linked);
    rig.answer_fill();
    rig.attach_with("alice", None);
    rig.load("alice", &[&busy, &quiet, &new]);
    assert!(rig.effects.contains(&Effect::ReadAhead(busy.clone())), "{:?}", rig.effects);
    assert!(!rig.effects.contains(&Effect::ReadAhead(quiet)));
    assert!(!rig.effects.contains(&Effect::ReadAhead(new)), "nobody spoke there");
    rig.refreshed(&busy, 1, &["alice", "bob"]);
    rig.attach_with("bob", None);
    rig.load("bob", &[&busy]);
    assert!(!rig.effects.contains(&Effect::ReadAhead(busy.clone())), "once");
    rig.push(message(&busy, 1, "at once"));
    assert_eq!(rig.delivered().len(), 2, "nothing is read for it");
}

#[test]
fn a_socket_that_cannot_be_attached_soon_is_refused() {
    let mut rig = Rig::linked();
    let alice = rig.attach_with("alice", None);
    assert_eq!(rig.after(limits::ATTACH_WAIT_MAX - Duration::from_millis(1)), []);
    rig.after(Duration::from_millis(1));
    assert_eq!(rig.effects, [Effect::Refuse { socket: alice }]);
    assert!(rig.workspace.is_idle());
}
