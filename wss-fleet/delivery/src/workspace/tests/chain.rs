use model::Rev;
use protocol::publication::{ChannelRecipients, Recipients, Subject};

use super::*;

fn linked_with_alice() -> (Fixture, ChannelId, SocketId) {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.push(message(&c, 1, "first"));
    fixture.refreshed(&c, 1, &["alice"]);
    assert_eq!(fixture.delivered(), [(alice, "first".to_owned())]);
    (fixture, c, alice)
}

#[test]
fn g4_a_link_that_follows_the_tail_is_delivered() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.push(message(&c, 1, "second"));
    assert_eq!(fixture.delivered(), [(alice, "second".to_owned())]);
    let last = fixture.entries.last().unwrap().position.to_string();
    assert_eq!(fixture.cursor_of_last(), last);
}

#[test]
fn g4_a_known_link_is_dropped() {
    let (mut fixture, c, _) = linked_with_alice();
    fixture.push(message(&c, 1, "second"));
    let again = fixture.entries.last().unwrap().clone();
    assert_eq!(fixture.input(Input::Entry(again)), []);
}

#[test]
fn g4_a_hole_is_filled_from_the_stream_in_order() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.entry(message(&c, 1, "missed 1"));
    fixture.entry(message(&c, 1, "missed 2"));
    fixture.push(message(&c, 1, "third"));
    assert!(matches!(fixture.effects[..], [Effect::Fill { from: Some(_), .. }]));
    fixture.entry(message(&c, 1, "fourth"));
    fixture.answer_fill();
    let expected = ["missed 1", "missed 2", "third", "fourth"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.delivered(), expected);
}

#[test]
fn g5_what_a_repair_brings_is_no_clients_fault() {
    let (mut fixture, c, _) = linked_with_alice();
    fixture.push(message(&c, 1, "pushed"));
    assert_eq!(live(&fixture), [true]);
    fixture.entry(message(&c, 1, "missed"));
    fixture.push(message(&c, 1, "waits for what was missed"));
    fixture.answer_fill();
    assert_eq!(live(&fixture), [false, false]);
    fixture.push(message(&c, 1, "pushed"));
    assert_eq!(live(&fixture), [true]);
}

#[test]
fn g5_what_waited_for_its_view_or_its_text_is_no_clients_fault() {
    let (mut fixture, c, _) = linked_with_alice();
    fixture.push(message(&c, 2, "of a newer view"));
    fixture.push(message(&c, 2, "behind it"));
    assert!(live(&fixture).is_empty());
    fixture.refreshed(&c, 2, &["alice"]);
    assert_eq!(live(&fixture), [false, false], "all at once");
    fixture.push(long_message(&c, 2));
    fixture.push(message(&c, 2, "behind a long text"));
    let last = fixture.entries.len() - 2;
    let id = fixture.entries[last].publication.id;
    let number = fixture
        .workspace
        .ring
        .from(EntryNumber::default())
        .find(|(_, link)| link.publication.id == id)
        .unwrap()
        .0;
    let long = Some(said(&c, id, "long"));
    fixture.input(Input::StoredRead { channel: c.clone(), number, id, message: long });
    assert_eq!(live(&fixture), [false, false]);
    fixture.push(message(&c, 2, "pushed"));
    assert_eq!(live(&fixture), [true]);
}

fn live(fixture: &Fixture) -> Vec<bool> {
    let live = |effect: &Effect| match effect {
        Effect::Deliver { class, .. } => Some(*class == DeliveryClass::Live),
        _ => None,
    };
    fixture.effects.iter().filter_map(live).collect()
}

#[test]
fn g4_a_lost_last_message_is_found_when_the_link_is_back() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.input(Input::Lost);
    assert!(!fixture.workspace.is_fresh());
    fixture.entry(message(&c, 1, "missed"));
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "missed".to_owned())]);
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_the_answer_to_a_superseded_fill_is_not_taken() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.input(Input::Linked);
    let stale = match fixture.effects[..] {
        [Effect::Fill { id, .. }] => id,
        _ => panic!("{:?}", fixture.effects),
    };
    let before = vec![fixture.entries.last().unwrap().clone()];
    fixture.entry(message(&c, 1, "dropped by a gap"));
    fixture.input(Input::Linked);
    let effects = fixture.effects.clone();
    assert_eq!(fixture.input(Input::Filled { id: stale, entries: before }), []);
    fixture.effects = effects;
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "dropped by a gap".to_owned())]);
}

#[test]
fn g4_a_forked_stream_goes_on_from_the_newest_common_link() {
    let (mut fixture, c, alice) = linked_with_alice();
    let common = fixture.entries.len();
    fixture.push(message(&c, 1, "lost with the old primary"));
    fixture.entries.truncate(common);
    let fork = fixture.entry(message(&c, 1, "of the new primary"));
    // The new primary used the same entry id again: the history distinguishes the two.
    fixture.input(Input::Entry(fork));
    fixture.answer_fill();
    assert!(
        matches!(fixture.effects[..], [Effect::Fill { from: None, .. }]),
        "{:?}",
        fixture.effects
    );
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "of the new primary".to_owned())]);
}

#[test]
fn g4_a_publication_that_is_in_both_histories_is_no_common_link() {
    let (mut fixture, c, _) = linked_with_alice();
    let common = fixture.entries.len();
    fixture.push(message(&c, 1, "lost, and published again later"));
    fixture.push(message(&c, 1, "lost, and published again at the same place"));
    let mut lost = fixture.entries.split_off(common);
    // The new primary's clock is behind, so the second message gets its old entry id again.
    fixture.entry(message(&c, 1, "of the new primary"));
    for mut again in [lost.pop().unwrap(), lost.pop().unwrap()] {
        let (n, prev) =
            (fixture.entries.len() as u64 + 1, fixture.entries.last().unwrap().position);
        again.position = position(n, Some(prev), again.publication.id);
        again.prev = Some(prev);
        fixture.entries.push(again);
    }
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.answer_fill();
    let delivered: Vec<String> = fixture.delivered().into_iter().map(|(_, text)| text).collect();
    assert!(delivered.contains(&"of the new primary".to_owned()), "{delivered:?}");
}

#[test]
fn g4_a_link_of_a_later_version_tells_everybody_to_read_again() {
    let (mut fixture, c, alice) = linked_with_alice();
    let before = fixture.entries.last().unwrap().position.to_string();
    fixture.push(unknown());
    assert_eq!(fixture.rereads(), [(alice, None)]);
    fixture.push(message(&c, 1, "next"));
    assert_eq!(fixture.delivered(), [(alice, "next".to_owned())]);
    assert_eq!(fixture.cursor_of_last(), fixture.entries.last().unwrap().position.to_string());
    fixture.attach_with("alice", Some(before));
    assert_eq!(fixture.delivered()[0].1, "ready", "nobody knows whether it was for her");
}

#[test]
fn g4_many_links_of_a_later_version_are_told_together() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.push(unknown());
    let before = fixture.entries.last().unwrap().position.to_string();
    for _ in 0..5 {
        fixture.push(unknown());
        assert_eq!(fixture.effects, []);
        fixture.push(message(&c, 1, "between"));
        assert_eq!(
            fixture.cursor_of_last(),
            before,
            "a client that resumes before the resync gets it too"
        );
    }
    assert!(fixture.workspace.is_waiting());
    fixture.after(limits::RESYNC_JOIN_MAX);
    assert_eq!(fixture.rereads(), [(alice, None)]);
    fixture.push(message(&c, 1, "after"));
    assert_eq!(fixture.cursor_of_last(), fixture.entries.last().unwrap().position.to_string());
}

#[test]
fn g4_an_unknown_link_that_nobody_was_here_for_holds_no_cursor_back() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.push(unknown());
    fixture.attach("alice", &[&c]);
    assert_eq!(fixture.cursor_of_last(), fixture.entries.last().unwrap().position.to_string());
}

#[test]
fn g4_an_unknown_kind_of_event_reaches_its_recipients() {
    let (mut fixture, c, alice) = linked_with_alice();
    let (bob, frame) = (fixture.attach("bob", &[]), r#"{"type":"hologram","depth":[1]}"#);
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
    let got = |fixture: &Fixture| {
        fixture.delivered().into_iter().map(|(socket, _)| socket).collect::<Vec<_>>()
    };
    fixture.push(to(Recipients::Channel(of_channel.clone())));
    assert_eq!(got(&fixture), [alice]);
    let cursor = fixture.entries.last().unwrap().position;
    let sent = fixture.effects.iter().find_map(|effect| match effect {
        Effect::Deliver { frame, .. } => Some(frame.clone()),
        _ => None,
    });
    assert_eq!(sent.unwrap(), format!(r#"{{"cursor":"{cursor}","type":"hologram","depth":[1]}}"#));
    fixture
        .push(to(Recipients::Channel(ChannelRecipients { also: vec![user("bob")], ..of_channel })));
    assert_eq!(got(&fixture).len(), 2);
    fixture.push(to(Recipients::User(user("bob"))));
    assert_eq!(got(&fixture), [bob]);
    fixture.push(to(Recipients::Workspace));
    assert_eq!(got(&fixture).len(), 2);
    fixture.push(to(Recipients::Nobody));
    assert_eq!(fixture.effects, []);
    // Bob resumes from before all of them. One was for the channel, which he is not in.
    fixture.attach_with("bob", Some(cursor.to_string()));
    assert_eq!(fixture.delivered().len(), 1 + 3);
}

#[test]
fn g5_a_state_that_was_replaced_is_replayed_to_nobody() {
    let (mut fixture, c, _) = linked_with_alice();
    let before = fixture.entries.last().unwrap().position.to_string();
    let state = |rev: &'static str| -> What {
        let c = c.clone();
        Box::new(move |id| {
            let (to, is_whole) = (Publication::of_message(&said(&c, id, ""), 1).to, true);
            let frame = format!(r#"{{"type":"message","rev":"{rev}"}}"#);
            Publication {
                to,
                subject: Some(Subject {
                    of: "it".into(),
                    rev: Rev::parse(rev).unwrap(),
                    is_whole,
                    is_unstored: false,
                    until_acked: false,
                }),
                payload: Payload::Frame(frame.into()),
                ..Publication::marker(id)
            }
        })
    };
    let frames = |fixture: &Fixture| -> Vec<String> {
        let effects = fixture.effects.iter();
        let frames = effects.flat_map(|effect| match effect {
            Effect::Deliver { frame, .. } => vec![frame.clone()],
            Effect::Ready { frames, .. } => frames[1..].to_vec(),
            _ => Vec::new(),
        });
        frames.map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    };
    fixture.push(state("2"));
    assert_eq!(frames(&fixture).len(), 1);
    fixture.push(state("1"));
    assert_eq!(frames(&fixture), [""; 0], "an older one that comes late");
    fixture.push(state("3"));
    assert_eq!(frames(&fixture).len(), 1);
    fixture.attach_with("alice", Some(before));
    let replayed = frames(&fixture);
    assert!(matches!(&replayed[..], [one] if one.contains(r#""rev":"3""#)), "{replayed:?}");
}

#[test]
fn g4_more_than_fits_while_a_fill_runs_is_filled_again() {
    let (mut fixture, c, _) = linked_with_alice();
    fixture.input(Input::Linked);
    let fill = fixture.effects.clone();
    for n in 0..limits::PENDING_ENTRIES_MAX + 5 {
        fixture.push(message(&c, 1, &n.to_string()));
    }
    fixture.effects = fill;
    fixture.answer_fill();
    assert_eq!(fixture.delivered().len(), limits::PENDING_ENTRIES_MAX + 5);
    fixture.answer_fill();
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_a_pushed_entry_that_the_stream_has_lost_is_not_filled_for_ever() {
    let (mut fixture, c, alice) = linked_with_alice();
    let kept = fixture.entries.len();
    fixture.entry(message(&c, 1, "lost 1"));
    fixture.push(message(&c, 1, "lost 2"));
    fixture.entries.truncate(kept);
    fixture.answer_fill();
    assert!(fixture.workspace.is_fresh(), "{:?}", fixture.effects);
    fixture.push(message(&c, 1, "and on"));
    assert_eq!(fixture.delivered(), [(alice, "and on".to_owned())]);
}

#[test]
fn g4_the_audit_finds_a_last_entry_that_was_never_pushed() {
    let (mut fixture, c, alice) = linked_with_alice();
    let tail = fixture.entries.last().unwrap().position;
    fixture.tick();
    assert!(!fixture.effects.contains(&Effect::Audit { tail }), "every second interval");
    fixture.tick();
    assert!(fixture.effects.contains(&Effect::Audit { tail }), "{:?}", fixture.effects);
    assert_eq!(fixture.input(Input::Audited { tail, found: vec![tail] }), []);
    let lost = fixture.entry(message(&c, 1, "lost on the way")).position;
    fixture.input(Input::Audited { tail, found: vec![tail, lost] });
    fixture.answer_fill();
    assert_eq!(fixture.delivered(), [(alice, "lost on the way".to_owned())]);
}

#[test]
fn g4_a_message_that_is_published_again_is_pushed_once() {
    let (mut fixture, c, alice) = linked_with_alice();
    fixture.push(message(&c, 1, "second"));
    let published = Arc::clone(&fixture.entries.last().unwrap().publication);
    // The publication's guard expired: the relay adds a second entry.
    let again = fixture.entry(message(&c, 1, "second"));
    fixture.input(Input::Entry(Entry { publication: published, ..again }));
    assert_eq!(fixture.delivered(), []);
    fixture.push(message(&c, 1, "third"));
    assert_eq!(fixture.delivered(), [(alice, "third".to_owned())]);
}

#[test]
fn g4_an_audit_that_the_chain_has_overtaken_says_nothing() {
    let (mut fixture, c, _) = linked_with_alice();
    let tail = fixture.entries.last().unwrap().position;
    fixture.push(message(&c, 1, "second"));
    assert_eq!(fixture.input(Input::Audited { tail, found: vec![tail] }), []);
    assert_eq!(fixture.input(Input::Audited { tail, found: Vec::new() }), []);
    let tail = fixture.entries.last().unwrap().position;
    fixture.input(Input::Audited { tail, found: Vec::new() });
    assert!(matches!(fixture.effects[..], [Effect::Fill { from: Some(_), .. }]), "it was flushed");
}
