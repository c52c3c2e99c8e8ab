use protocol::publication::{ChannelRecipients, Recipients, Subject};

use super::*;

fn linked_with_alice() -> (Rig, ChannelId, SocketId) {
    let (mut rig, c) = (Rig::linked(), channel(1));
    let alice = rig.attach("alice", &[&c]);
    rig.push(message(&c, 1, "first"));
    rig.refreshed(&c, 1, &["alice"]);
    assert_eq!(rig.delivered(), [(alice, "first".to_owned())]);
    (rig, c, alice)
}

#[test]
fn g4_a_link_that_follows_the_tail_is_delivered() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.push(message(&c, 1, "second"));
    assert_eq!(rig.delivered(), [(alice, "second".to_owned())]);
    let last = rig.entries.last().unwrap().position.to_string();
    assert_eq!(rig.cursor_of_last(), last);
}

#[test]
fn g4_a_known_link_is_dropped() {
    let (mut rig, c, _) = linked_with_alice();
    rig.push(message(&c, 1, "second"));
    let again = rig.entries.last().unwrap().clone();
    assert_eq!(rig.input(Input::Entry(again)), []);
}

#[test]
fn g4_a_hole_is_filled_from_the_stream_in_order() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.entry(message(&c, 1, "missed 1"));
    rig.entry(message(&c, 1, "missed 2"));
    rig.push(message(&c, 1, "third"));
    assert!(matches!(rig.effects[..], [Effect::Fill { from: Some(_), .. }]));
    rig.entry(message(&c, 1, "fourth"));
    rig.answer_fill();
    let expected = ["missed 1", "missed 2", "third", "fourth"].map(|text| (alice, text.to_owned()));
    assert_eq!(rig.delivered(), expected);
}

#[test]
fn g5_what_a_repair_brings_is_no_clients_fault() {
    let (mut rig, c, _) = linked_with_alice();
    rig.push(message(&c, 1, "pushed"));
    assert_eq!(live(&rig), [true]);
    rig.entry(message(&c, 1, "missed"));
    rig.push(message(&c, 1, "waits for what was missed"));
    rig.answer_fill();
    assert_eq!(live(&rig), [false, false]);
    rig.push(message(&c, 1, "pushed"));
    assert_eq!(live(&rig), [true]);
}

#[test]
fn g5_what_waited_for_its_view_or_its_text_is_no_clients_fault() {
    let (mut rig, c, _) = linked_with_alice();
    rig.push(message(&c, 2, "of a newer view"));
    rig.push(message(&c, 2, "behind it"));
    assert!(live(&rig).is_empty());
    rig.refreshed(&c, 2, &["alice"]);
    assert_eq!(live(&rig), [false, false], "all at once");
    rig.push(long_message(&c, 2));
    rig.push(message(&c, 2, "behind a long text"));
    let last = rig.entries.len() - 2;
    let id = rig.entries[last].publication.id;
    let number = rig
        .workspace
        .ring
        .from(EntryNumber::default())
        .find(|(_, link)| link.publication.id == id)
        .unwrap()
        .0;
    let long = Some(said(&c, id, "long"));
    rig.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    assert_eq!(live(&rig), [false, false]);
    rig.push(message(&c, 2, "pushed"));
    assert_eq!(live(&rig), [true]);
}

fn live(rig: &Rig) -> Vec<bool> {
    let live = |effect: &Effect| match effect {
        Effect::Deliver { class, .. } => Some(*class == DeliveryClass::Live),
        _ => None,
    };
    rig.effects.iter().filter_map(live).collect()
}

#[test]
fn g4_a_lost_last_message_is_found_when_the_link_is_back() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.input(Input::Lost);
    assert!(!rig.workspace.is_fresh());
    rig.entry(message(&c, 1, "missed"));
    rig.input(Input::Linked);
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "missed".to_owned())]);
    assert!(rig.workspace.is_fresh());
}

#[test]
fn g4_the_answer_to_a_superseded_fill_is_not_taken() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.input(Input::Linked);
    let stale = match rig.effects[..] {
        [Effect::Fill { id, .. }] => id,
        _ => panic!("{:?}", rig.effects),
    };
    let before = vec![rig.entries.last().unwrap().clone()];
    rig.entry(message(&c, 1, "dropped by a gap"));
    rig.input(Input::Linked);
    let effects = rig.effects.clone();
    assert_eq!(rig.input(Input::Filled { id: stale, entries: before }), []);
    rig.effects = effects;
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "dropped by a gap".to_owned())]);
}

#[test]
fn g4_a_forked_stream_goes_on_from_the_newest_common_link() {
    let (mut rig, c, alice) = linked_with_alice();
    let common = rig.entries.len();
    rig.push(message(&c, 1, "lost with the old primary"));
    rig.entries.truncate(common);
    let fork = rig.entry(message(&c, 1, "of the new primary"));
    // The new primary used the same entry id again: the history distinguishes the two.
    rig.input(Input::Entry(fork));
    rig.answer_fill();
    assert!(matches!(rig.effects[..], [Effect::Fill { from: None, .. }]), "{:?}", rig.effects);
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "of the new primary".to_owned())]);
}

#[test]
fn g4_a_publication_that_is_in_both_histories_is_no_common_link() {
    let (mut rig, c, _) = linked_with_alice();
    let common = rig.entries.len();
    rig.push(message(&c, 1, "lost, and published again later"));
    rig.push(message(&c, 1, "lost, and published again at the same place"));
    let mut lost = rig.entries.split_off(common);
    // The new primary's clock is behind, so the second message gets its old entry id again.
    rig.entry(message(&c, 1, "of the new primary"));
    for mut again in [lost.pop().unwrap(), lost.pop().unwrap()] {
        let (n, prev) = (rig.entries.len() as u64 + 1, rig.entries.last().unwrap().position);
        again.position = position(n, Some(prev), again.publication.id);
        again.prev = Some(prev);
        rig.entries.push(again);
    }
    rig.input(Input::Linked);
    rig.answer_fill();
    rig.answer_fill();
    let delivered: Vec<String> = rig.delivered().into_iter().map(|(_, text)| text).collect();
    assert!(delivered.contains(&"of the new primary".to_owned()), "{delivered:?}");
}

#[test]
fn g4_a_link_of_a_later_version_tells_everybody_to_read_again() {
    let (mut rig, c, alice) = linked_with_alice();
    let before = rig.entries.last().unwrap().position.to_string();
    rig.push(unknown());
    assert_eq!(rig.rereads(), [(alice, None)]);
    rig.push(message(&c, 1, "next"));
    assert_eq!(rig.delivered(), [(alice, "next".to_owned())]);
    assert_eq!(rig.cursor_of_last(), rig.entries.last().unwrap().position.to_string());
    rig.attach_with("alice", Some(before));
    assert_eq!(rig.delivered()[0].1, "ready", "nobody knows whether it was for her");
}

#[test]
fn g4_many_links_of_a_later_version_are_told_together() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.push(unknown());
    let before = rig.entries.last().unwrap().position.to_string();
    for _ in 0..5 {
        rig.push(unknown());
        assert_eq!(rig.effects, []);
        rig.push(message(&c, 1, "between"));
        assert_eq!(rig.cursor_of_last(), before, "who resumes before she is told is told");
    }
    assert!(rig.workspace.is_waiting());
    rig.after(limits::RESYNC_JOIN_MAX);
    assert_eq!(rig.rereads(), [(alice, None)]);
    rig.push(message(&c, 1, "after"));
    assert_eq!(rig.cursor_of_last(), rig.entries.last().unwrap().position.to_string());
}

#[test]
fn g4_an_unknown_link_that_nobody_was_here_for_holds_no_cursor_back() {
    let (mut rig, c) = (Rig::linked(), channel(1));
    rig.push(unknown());
    rig.attach("alice", &[&c]);
    assert_eq!(rig.cursor_of_last(), rig.entries.last().unwrap().position.to_string());
}

#[test]
fn g4_an_unknown_kind_of_event_reaches_its_recipients() {
    let (mut rig, c, alice) = linked_with_alice();
    let (bob, frame) = (rig.attach("bob", &[]), r#"{"type":"hologram","depth":[1]}"#);
    let to = |to: Recipients| -> What {
        let to = Box::new(to);
        Box::new(move |id| Publication {
            to: (*to).clone(),
            payload: Payload::Frame(frame.into()),
            ..Publication::marker(id)
        })
    };
    let of_channel = ChannelRecipients {
        channel_id: c,
        members_version: 1,
        changes: Vec::new(),
        also: Vec::new(),
    };
    let got = |rig: &Rig| rig.delivered().into_iter().map(|(socket, _)| socket).collect::<Vec<_>>();
    rig.push(to(Recipients::Channel(of_channel.clone())));
    assert_eq!(got(&rig), [alice]);
    let cursor = rig.entries.last().unwrap().position;
    let sent = rig.effects.iter().find_map(|effect| match effect {
        Effect::Deliver { frame, .. } => Some(frame.clone()),
        _ => None,
    });
    assert_eq!(sent.unwrap(), format!(r#"{{"cursor":"{cursor}","type":"hologram","depth":[1]}}"#));
    rig.push(to(Recipients::Channel(ChannelRecipients { also: vec![user("bob")], ..of_channel })));
    assert_eq!(got(&rig).len(), 2);
    rig.push(to(Recipients::User(user("bob"))));
    assert_eq!(got(&rig), [bob]);
    rig.push(to(Recipients::Workspace));
    assert_eq!(got(&rig).len(), 2);
    rig.push(to(Recipients::Nobody));
    assert_eq!(rig.effects, []);
    // Bob resumes from before all of them. One was for the channel, which he is not in.
    rig.attach_with("bob", Some(cursor.to_string()));
    assert_eq!(rig.delivered().len(), 1 + 3);
}

#[test]
fn g5_a_state_that_was_replaced_is_replayed_to_nobody() {
    let (mut rig, c, _) = linked_with_alice();
    let before = rig.entries.last().unwrap().position.to_string();
    let state = |rev: &'static str| -> What {
        let c = c.clone();
        Box::new(move |id| {
            let (to, is_whole) = (Publication::of_message(&said(&c, id, ""), 1).to, true);
            let frame = format!(r#"{{"type":"message","rev":"{rev}"}}"#);
            Publication {
                to,
                subject: Some(Subject { of: "it".into(), rev: rev.into(), is_whole }),
                payload: Payload::Frame(frame.into()),
                ..Publication::marker(id)
            }
        })
    };
    let frames = |rig: &Rig| -> Vec<String> {
        let effects = rig.effects.iter();
        let frames = effects.flat_map(|effect| match effect {
            Effect::Deliver { frame, .. } => vec![frame.clone()],
            Effect::Ready { frames, .. } => frames[1..].to_vec(),
            _ => Vec::new(),
        });
        frames.map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    };
    rig.push(state("2"));
    assert_eq!(frames(&rig).len(), 1);
    rig.push(state("1"));
    assert_eq!(frames(&rig), [""; 0], "an older one that comes late");
    rig.push(state("3"));
    assert_eq!(frames(&rig).len(), 1);
    rig.attach_with("alice", Some(before));
    let replayed = frames(&rig);
    assert!(matches!(&replayed[..], [one] if one.contains(r#""rev":"3""#)), "{replayed:?}");
}

#[test]
fn g4_more_than_fits_while_a_fill_runs_is_filled_again() {
    let (mut rig, c, _) = linked_with_alice();
    rig.input(Input::Linked);
    let fill = rig.effects.clone();
    for n in 0..limits::PENDING_ENTRIES_MAX + 5 {
        rig.push(message(&c, 1, &n.to_string()));
    }
    rig.effects = fill;
    rig.answer_fill();
    assert_eq!(rig.delivered().len(), limits::PENDING_ENTRIES_MAX + 5);
    rig.answer_fill();
    assert!(rig.workspace.is_fresh());
}

#[test]
fn g4_a_pushed_entry_that_the_stream_has_lost_is_not_filled_for_ever() {
    let (mut rig, c, alice) = linked_with_alice();
    let kept = rig.entries.len();
    rig.entry(message(&c, 1, "lost 1"));
    rig.push(message(&c, 1, "lost 2"));
    rig.entries.truncate(kept);
    rig.answer_fill();
    assert!(rig.workspace.is_fresh(), "{:?}", rig.effects);
    rig.push(message(&c, 1, "and on"));
    assert_eq!(rig.delivered(), [(alice, "and on".to_owned())]);
}

#[test]
fn g4_the_audit_finds_a_last_entry_that_was_never_pushed() {
    let (mut rig, c, alice) = linked_with_alice();
    let tail = rig.entries.last().unwrap().position;
    rig.tick();
    assert!(!rig.effects.contains(&Effect::Audit { tail }), "every second interval");
    rig.tick();
    assert!(rig.effects.contains(&Effect::Audit { tail }), "{:?}", rig.effects);
    assert_eq!(rig.input(Input::Audited { tail, found: vec![tail] }), []);
    let lost = rig.entry(message(&c, 1, "lost on the way")).position;
    rig.input(Input::Audited { tail, found: vec![tail, lost] });
    rig.answer_fill();
    assert_eq!(rig.delivered(), [(alice, "lost on the way".to_owned())]);
}

#[test]
fn g4_a_message_that_is_published_again_is_pushed_once() {
    let (mut rig, c, alice) = linked_with_alice();
    rig.push(message(&c, 1, "second"));
    let published = Arc::clone(&rig.entries.last().unwrap().publication);
    // The publication's guard expired: the relay adds a second entry.
    let again = rig.entry(message(&c, 1, "second"));
    rig.input(Input::Entry(Entry { publication: published, ..again }));
    assert_eq!(rig.delivered(), []);
    rig.push(message(&c, 1, "third"));
    assert_eq!(rig.delivered(), [(alice, "third".to_owned())]);
}

#[test]
fn g4_an_audit_that_the_chain_has_overtaken_says_nothing() {
    let (mut rig, c, _) = linked_with_alice();
    let tail = rig.entries.last().unwrap().position;
    rig.push(message(&c, 1, "second"));
    assert_eq!(rig.input(Input::Audited { tail, found: vec![tail] }), []);
    assert_eq!(rig.input(Input::Audited { tail, found: Vec::new() }), []);
    let tail = rig.entries.last().unwrap().position;
    rig.input(Input::Audited { tail, found: Vec::new() });
    assert!(matches!(rig.effects[..], [Effect::Fill { from: Some(_), .. }]), "it was flushed");
}
