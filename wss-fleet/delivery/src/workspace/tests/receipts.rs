use model::LogId;
use protocol::client_frame::View;
use protocol::receipts::ReceiptsSignal;
use protocol::signal::Signal;

use super::*;

#[test]
fn g14_receipts_go_to_viewers_and_senders_at_most_once_a_second() {
    let (mut fixture, c, alice, bob) = two();
    let (ann, id) = (user("alice"), |n| MessageId::mint(Timestamp::from_unix_ms(n), 1));
    let view = View { logs: vec![LogId::from(&c)], users: Vec::new() };
    fixture.frame(bob, ClientFrame::View(view));
    let receipts = |delivered: u64, archived: &[u64]| {
        Input::Signal(Signal::Receipts(ReceiptsSignal {
            channel_id: c.clone(),
            delivered: vec![(user("carol"), id(delivered))],
            read: Vec::new(),
            archived: archived.iter().map(|n| (id(*n), ann.clone())).collect(),
        }))
    };
    let later = |fixture: &mut Fixture, ms| {
        fixture.now = fixture.now.plus(Duration::from_millis(ms));
        fixture.input(Input::Time);
        fixture.delivered()
    };
    fixture.input(receipts(5, &[7]));
    assert_eq!(fixture.delivered(), []);
    let wanted = [
        (alice, "receipts [] [] [7]".to_owned()),
        (bob, r#"receipts ["carol 5"] [] []"#.to_owned()),
    ];
    assert_eq!(later(&mut fixture, 0), wanted);
    fixture.input(receipts(6, &[8]));
    fixture.input(receipts(4, &[9]));
    assert_eq!(later(&mut fixture, 900), []);
    let wanted = [
        (alice, "receipts [] [] [8, 9]".to_owned()),
        (bob, r#"receipts ["carol 6"] [] []"#.to_owned()),
    ];
    assert_eq!(later(&mut fixture, 100), wanted);
}

/// Two members of many are on this node.
#[test]
fn g14_members_on_other_nodes_count() {
    let (mut fixture, c, _, bob) = two();
    let users: Vec<String> = (0..98).map(|n| format!("u{n}")).collect();
    let mut members: Vec<&str> = users.iter().map(String::as_str).collect();
    members.extend(["alice", "bob"]);
    fixture.refreshed(&c, 4, &members);
    let view = View { logs: vec![LogId::from(&c)], users: Vec::new() };
    fixture.frame(bob, ClientFrame::View(view));
    let told_after = |fixture: &mut Fixture, ms, n| {
        let id = MessageId::mint(Timestamp::from_unix_ms(n), 1);
        fixture.input(Input::Signal(Signal::Receipts(ReceiptsSignal {
            channel_id: c.clone(),
            delivered: vec![(user("u7"), id)],
            read: Vec::new(),
            archived: Vec::new(),
        })));
        fixture.now = fixture.now.plus(Duration::from_millis(ms));
        fixture.input(Input::Time);
        fixture.delivered().len()
    };
    assert_eq!(told_after(&mut fixture, 0, 1), 1);
    assert_eq!(told_after(&mut fixture, 4_900, 2), 0);
    assert_eq!(told_after(&mut fixture, 100, 3), 1);
    // In a larger channel they are read.
    members.push("u98");
    fixture.refreshed(&c, 5, &members);
    assert_eq!(told_after(&mut fixture, 60_000, 4), 0);
}

#[test]
fn g14_receipts_of_channels_without_members_here_cost_no_reading() {
    let (mut fixture, ..) = two();
    let id = MessageId::mint(Timestamp::from_unix_ms(1), 1);
    fixture.input(Input::Signal(Signal::Receipts(ReceiptsSignal {
        channel_id: channel(9),
        delivered: vec![(user("carol"), id)],
        read: Vec::new(),
        archived: vec![(id, user("carol"))],
    })));
    assert_eq!(fixture.effects, []);
}

#[test]
fn g14_what_clients_got_is_passed_on_and_only_for_members() {
    let (mut fixture, c, _, bob) = two();
    let id = |n| MessageId::mint(fixture.now.minus(Duration::from_secs(n)), 1);
    let (older, newer) = (id(9), id(5));
    let ahead = MessageId::mint(fixture.now.plus(Duration::from_secs(5)), 1);
    for (channel_id, up_to) in
        [(c.clone(), newer), (c.clone(), older), (c.clone(), ahead), (channel(9), newer)]
    {
        fixture.frame(bob, ClientFrame::Got { channel_id, up_to });
    }
    fixture.input(Input::Time);
    let got = vec![(user("bob"), newer)];
    assert_eq!(fixture.effects, [Effect::Told { channel: c, got, kept: Vec::new() }]);
}

#[test]
fn g13_what_devices_keep_is_passed_on_of_members_and_of_what_was_sent() {
    let (mut fixture, c, alice, bob) = two();
    let passing = |of: &ChannelId| -> What {
        let of = of.clone();
        Box::new(move |id| Publication::of_unacked(&said(&of, id, "pass"), 3))
    };
    // Long ago, and now.
    fixture.push(passing(&c));
    for (ms, what) in [(0, passing(&c)), (1, message(&c, 3, "it is stored anyway"))] {
        let mut entry = fixture.entry(what);
        entry.position.entry.ms = fixture.now.unix_ms() + ms;
        *fixture.entries.last_mut().unwrap() = entry.clone();
        fixture.input(Input::Entry(entry));
    }
    let messages = fixture.entries.iter().filter_map(|entry| entry.publication.message());
    let ids: Vec<MessageId> = messages.map(|message| message.id).collect();
    let nobody_sent_it = MessageId::mint(fixture.now, 1);
    let kept = |channel_id: ChannelId, ids: &[MessageId]| ClientFrame::Kept {
        channel_id,
        ids: ids.to_vec(),
    };
    fixture.frame(bob, kept(c.clone(), &[&ids[..], &[nobody_sent_it]].concat()));
    fixture.frame(bob, kept(c.clone(), &ids));
    fixture.frame(alice, kept(channel(9), &ids));
    // Who would be there if anybody heard of it.
    let invisible = fixture.attach_as("alice", None, true);
    fixture.frame(invisible, kept(c.clone(), &ids));
    fixture.input(Input::Time);
    let keeper = (user("bob"), "of-bob".parse().unwrap());
    let passed_on = ids[ids.len() - 2];
    let kept = vec![(passed_on, keeper)];
    assert_eq!(fixture.effects, [Effect::Told { channel: c, got: Vec::new(), kept }]);
}
