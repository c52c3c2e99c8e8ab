use model::{MessageId, MessageText};

use super::*;

fn id() -> PublicationId {
    MessageId::mint(Timestamp::from_unix_ms(1), 2).into()
}

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(3), 4)
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn message(text: &str) -> Message {
    Message::new(
        MessageId::mint(Timestamp::from_unix_ms(1), 2),
        channel(),
        user("a"),
        MessageText::from_stored(text.into()),
    )
}

fn said(text: &str) -> Publication {
    Publication::of_message(&message(text), 7)
}

#[test]
fn every_publication_survives_the_wire() {
    let origin = Origin {
        received_at: Timestamp::from_unix_ms(1_767_225_599_007),
        trace: TraceId::of_bits(u128::MAX >> 3),
    };
    let (a, b) = (user("a"), user("b"));
    let both = [a.clone(), b.clone()];
    let change = |change, about: &[UserId]| {
        Publication::of_change(id(), &channel(), change, 9, about, &both)
    };
    let publications = [
        said("hi \"there\"\n").with_origin(origin),
        said(&"x".repeat(limits::INLINE_TEXT_BYTES_MAX + 1)),
        change(ChannelChange::Created, &both[..1]),
        change(ChannelChange::MembersAdded, &both),
        change(ChannelChange::MemberRemoved, &both[1..]),
        Publication::of_revocation(id(), a),
        Publication::marker(id()),
        Publication { to: Recipients::Workspace, ..said("all") },
    ];
    for publication in publications {
        assert_eq!(Publication::decode(id(), &publication.encode()), publication);
    }
}

#[test]
fn the_frame_is_passed_on_unread() {
    let wire = said("hi").encode();
    let next_year = wire.replace(r#""type":"message""#, r#""type":"hologram","depth":[1,{"z":2}]"#);
    let read = Publication::decode(id(), &next_year);
    let Payload::Frame(frame) = &read.payload else { panic!("{read:?}") };
    assert!(frame.starts_with(r#"{"type":"hologram","depth":[1,{"z":2}],"message":{"#), "{frame}");
    assert_eq!(read.to, said("hi").to);
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    let wire = said("hi").encode();
    let later = wire.replacen('{', r#"{"q":{"deep":[]},"#, 1).replace(r#""v":7"#, r#""v":7,"y":1"#);
    assert_eq!(Publication::decode(id(), &later), said("hi"));
}

#[test]
fn what_cannot_be_read_keeps_its_place_and_is_for_everybody_to_read_again() {
    let good = said("hi").encode();
    let other = good.replace(&id().to_string(), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    let broken = [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        "\0".to_owned(),
        other,
        good.replace(r#""to":{"c""#, r#""to":{"new""#),
        good.replace(r#""p":{"#, r#""hologram":{"#),
        Publication::of_revocation(id(), user("a")).encode().replace("4403", "4999"),
    ];
    for wire in broken {
        assert_eq!(Publication::decode(id(), &wire), Publication::unknown(id()), "{wire}");
    }
}

#[test]
fn a_subject_a_trace_or_a_time_of_another_form_costs_nobody_the_message() {
    let wire = said("hi").encode();
    for more in [r#""x":7"#, r#""x":null"#, r#""x":["y"]"#, r#""a":"noon""#, r#""a":-1,"x":{}"#] {
        let changed = wire.replacen('{', &format!("{{{more},"), 1);
        assert_eq!(Publication::decode(id(), &changed), said("hi"), "{more}");
    }
    let unnamed = wire.replace(r#""s":{"o""#, r#""s":{"other""#);
    let read = Publication::decode(id(), &unnamed);
    assert_eq!(read, Publication { subject: None, ..said("hi") });
}

#[test]
fn a_guard_names_the_revision() {
    let new = said("hi");
    assert_eq!(new.guard(), format!("{}:{}", channel(), id()));
    let rev = Rev::parse("0zz").unwrap();
    let subject = new.subject.clone().map(|subject| Subject { rev, ..subject });
    let changed = Publication { subject, ..new };
    assert_eq!(changed.guard(), format!("{}:{}:0zz", channel(), id()));
    assert_eq!(Publication::marker(id()).guard(), id().to_string());
}

#[test]
fn where_it_began_is_what_its_call_told_or_its_id() {
    let by_id = Origin { received_at: id().time(), trace: id().into() };
    assert_eq!(said("hi").origin(), by_id);
    let (received_at, trace) =
        (Timestamp::from_unix_ms(1_767_225_599_007), TraceId::of_bits(0xabc));
    let origin = Origin { received_at, trace };
    let wire = said("hi").with_origin(origin).encode();
    assert!(wire.contains(r#""a":1767225599007,"x":"00000000000000000000000000000abc""#), "{wire}");
    assert_eq!(Publication::decode(id(), &wire).origin(), origin);
}

#[test]
fn a_long_text_travels_as_a_reference() {
    let payload = |length| said(&"x".repeat(length)).payload;
    assert!(matches!(payload(4096), Payload::Frame(_)));
    assert_eq!(payload(4097), Payload::Stored(MessageRef { id: message("").id, thread: None }));
}
