//! Channels that deliver first and store afterwards (G13), and their receipts (G14).

use std::time::Duration;

use client::{
    Config, Direction, Event, RawSocket, SayError, SocketKind, SocketMessage, Store, View,
};
use model::{ChannelChange, ChannelId, LogId, MessageId, MessageText, Timestamp, limits};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};

use crate::changes::change_id;
use crate::meetings::call;
use crate::sockets::attach;

crate::on_each_environment!(
    g13_a_message_is_delivered_then_stored_and_its_sender_is_told,
    g13_what_waits_is_on_every_page,
    g13_post_is_the_other_way_and_keeps_the_id,
    g13_an_old_id_is_kept_and_found_by_who_reads_on,
    g13_who_is_no_member_any_more_delivers_nothing,
    g13_a_member_whose_addition_was_not_published_gets_what_is_sent_all_the_same,
    g13_what_all_devices_have_is_not_stored_and_what_one_lacks_is,
    g13_who_was_away_gets_what_is_not_stored_yet,
    g14_receipts_say_who_has_what,
    g14_a_read_mark_is_shown_where_its_reader_allows_it,
    a_channel_that_delivers_first_refuses_what_its_contract_does_not_have,
);

fn text(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// A channel that delivers first.
pub(crate) async fn delivering(cluster: &Cluster, creator: &str, members: &[&str]) -> ChannelId {
    let body = json!({
        "type": "GROUP_CHANNEL", "name": "fast", "contract": "deliver_first", "members": members,
    });
    let (status, made) = call(cluster, creator, "POST", "/channels", Some(&body)).await;
    assert_eq!((status, &made["contract"]), (201, &json!("deliver_first")), "{made}");
    assert_eq!(made["keep"], json!("archive"));
    made["channel_id"].as_str().unwrap().parse().unwrap()
}

/// Delivers a message. Returns its id.
pub(crate) async fn delivers(person: &Person, channel: &ChannelId, words: &str) -> MessageId {
    let accepted = person.client.say(channel, text(words)).await.unwrap();
    assert_eq!(accepted.n, None);
    accepted.id
}

/// The ids of which a person was told that they are stored.
pub(crate) fn told_archived(person: &Person) -> Vec<MessageId> {
    person.look(|log| {
        let archived = log.iter().filter_map(|logged| match &logged.event {
            Event::Receipts { archived, .. } => Some(archived.clone()),
            _ => None,
        });
        archived.flatten().collect()
    })
}

pub(crate) async fn is_stored(cluster: &Cluster, channel: &ChannelId, id: MessageId) -> bool {
    let log = LogId::from(channel);
    cluster.stack.ports().messages.entry(&log, id).await.unwrap().is_some()
}

async fn g13_a_message_is_delivered_then_stored_and_its_sender_is_told(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let before = cluster.stack.capacity().snapshot();
    let id = delivers(&alice, &channel, "hello").await;
    for person in [&alice, &bob] {
        person.hears(&channel, "hello").await;
        assert_eq!(person.ids(&channel), [id]);
    }
    let spent = cluster.stack.capacity().since(&before).total();
    assert_eq!(spent.calls, 0, "no function was called: {spent:?}");
    eventually("it is stored", SOON, async || is_stored(&cluster, &channel, id).await).await;
    eventually("alice is told", SOON, async || told_archived(&alice) == [id]).await;
    assert_eq!(told_archived(&bob), [], "it is not his");
    let spent = cluster.stack.archive_capacity().snapshot().total();
    assert_eq!((spent.read_units, spent.write_units), (0.0, 1.0), "{spent:?}");
    // Again under its id: the same message.
    let again = alice.client.say_as(&channel, id, text("hello")).await.unwrap();
    assert_eq!(again.id, id);
    match alice.client.say_as(&channel, id, text("other")).await {
        Err(SayError::Refused(refused)) => assert_eq!(refused.code, "id_conflict"),
        other => panic!("{other:?}"),
    }
    let page = bob.api.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
    assert_eq!(bob.ids(&channel), [id]);
}

async fn g13_what_waits_is_on_every_page(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(delivers(&alice, &channel, &format!("stored {n}")).await);
    }
    let stored = *ids.last().unwrap();
    eventually("stored", SOON, async || is_stored(&cluster, &channel, stored).await).await;
    cluster.stack.stop_archive();
    for n in 0..4 {
        ids.push(delivers(&alice, &channel, &format!("waits {n}")).await);
    }
    let bob = cluster.api("bob");
    for direction in [Direction::Older, Direction::Newer] {
        let (mut found, mut offset) = (Vec::<MessageId>::new(), None);
        loop {
            let page = bob.scroll(&channel, offset, 3, direction).await.unwrap();
            // The last page has all that waits, whatever its id.
            let news = page.messages.iter().map(|message| message.id);
            let news: Vec<_> = news.filter(|id| !found.contains(id)).collect();
            found.extend(news);
            offset = page.next_offset;
            if offset.is_none() {
                break;
            }
        }
        if direction == Direction::Older {
            found.reverse();
        }
        assert_eq!(found, ids, "{direction:?}");
    }
    let newest = bob.scroll(&channel, None, 1, Direction::Older).await.unwrap();
    assert_eq!(newest.messages[0].id, *ids.last().unwrap());
    assert_eq!(newest.next_offset, ids.last().copied());
    cluster.stack.archiver().turn().await.unwrap();
    let last = *ids.last().unwrap();
    eventually("stored", SOON, async || is_stored(&cluster, &channel, last).await).await;
    let page = bob.scroll(&channel, None, 20, Direction::Newer).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.id).collect::<Vec<_>>(), ids);
}

async fn g13_post_is_the_other_way_and_keeps_the_id(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let hour_ago = cluster.stack.app().clock.now().minus(Duration::from_secs(3600));
    let id = MessageId::mint(hour_ago, 7);
    let posted = alice.api.post_message(&channel, "hello", Some(id), None).await.unwrap();
    assert_eq!((posted.message.id, posted.duplicate), (id, false), "no redirect");
    bob.hears(&channel, "hello").await;
    // The other way, and again: it is stored already.
    alice.client.say_as(&channel, id, text("hello")).await.unwrap();
    let again = alice.api.post_message(&channel, "hello", Some(id), None).await.unwrap();
    assert_eq!((again.message.id, again.duplicate), (id, true));
    // Delivered first, then posted, as by a sender who was not told.
    cluster.stack.stop_archive();
    let id = delivers(&alice, &channel, "hi").await;
    let posted = alice.api.post_message(&channel, "hi", Some(id), None).await.unwrap();
    assert_eq!((posted.message.id, posted.duplicate), (id, false));
    cluster.stack.archiver().turn().await.unwrap();
    bob.hears(&channel, "hi").await;
    let page = bob.api.scroll(&channel, None, 20, Direction::Newer).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["hello", "hi"]);
    let counts = cluster.stack.archiver().counts();
    assert_eq!((counts.conflicts, counts.unreadable, counts.failed), (0, 0, 0));
}

async fn g13_an_old_id_is_kept_and_found_by_who_reads_on(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let now = cluster.stack.app().clock.now();
    let newest = delivers(&alice, &channel, "newest").await;
    let in_step = MessageId::first_of(now.minus(Duration::from_secs(600)));
    for (n, way) in ["by socket", "by call"].into_iter().enumerate() {
        let id = MessageId::mint(now.minus(Duration::from_secs(20 * 3600)), n as u128);
        if n == 0 {
            alice.client.say_as(&channel, id, text(way)).await.unwrap();
        } else {
            alice.api.post_message(&channel, way, Some(id), None).await.unwrap();
        }
        bob.hears(&channel, way).await;
        eventually("stored", SOON, async || is_stored(&cluster, &channel, id).await).await;
        let page = bob.api.scroll(&channel, Some(in_step), 20, Direction::Newer).await.unwrap();
        assert!(page.messages.iter().any(|message| message.id == id), "{way}");
    }
    // Not above what its sender has seen: nothing is taken, on either way.
    let id = MessageId::mint(now.minus(Duration::from_secs(1)), 9);
    let body = json!({
        "channel_id": channel.as_str(), "message": "late", "id": id.to_string(),
        "after": newest.to_string(),
    });
    let (status, refused) = call(&cluster, "alice", "POST", "/messages", Some(&body)).await;
    assert_eq!(
        (status, &refused["code"], &refused["field"]),
        (400, &json!("invalid_id"), &json!("after"))
    );
}

async fn g13_who_is_no_member_any_more_delivers_nothing(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    delivers(&bob, &channel, "I am here").await;
    let path = format!("/channels/{channel}/members/bob");
    assert_eq!(call(&cluster, "alice", "DELETE", &path, None).await.0, 200);
    // His node goes by its view, which follows in a moment.
    let removed = |event: &Event| {
        matches!(event, Event::Channel { change: Some(ChannelChange::MemberRemoved), .. })
    };
    bob.until("told that he is removed", removed).await;
    match bob.client.say(&channel, text("am I?")).await {
        Err(SayError::Refused(refused)) => assert_eq!(refused.code, "channel_not_found"),
        other => panic!("{other:?}"),
    }
    assert_eq!(call(&cluster, "alice", "PUT", &path, None).await.0, 200);
    delivers(&bob, &channel, "again").await;
    alice.hears(&channel, "again").await;
    assert_eq!(alice.texts(&channel), ["I am here", "again"]);
}

async fn g13_a_member_whose_addition_was_not_published_gets_what_is_sent_all_the_same(
    environment: Environment,
) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["carol"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    delivers(&alice, &channel, "before").await;
    cluster.stack.app().publisher().switch(false);
    let path = format!("/channels/{channel}/members/bob");
    assert_eq!(call(&cluster, "alice", "PUT", &path, None).await.0, 200);
    // Alice's node knows the channel as it was. Nothing else is sent or published.
    delivers(&alice, &channel, "after").await;
    cluster.stack.app().publisher().switch(true);
    bob.hears_within(&channel, "after", limits::VIEW_LEASE + SOON).await;
}

async fn g13_what_all_devices_have_is_not_stored_and_what_one_lacks_is(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let body = json!({
        "type": "GROUP_CHANNEL", "name": "passing", "contract": "deliver_first", "keep": "acked",
        "members": ["bob"],
    });
    let (status, made) = call(&cluster, "alice", "POST", "/channels", Some(&body)).await;
    assert_eq!(
        (status, &made["contract"], &made["keep"]),
        (201, &json!("deliver_first"), &json!("acked"))
    );
    let channel: ChannelId = made["channel_id"].as_str().unwrap().parse().unwrap();
    let files = tempfile::tempdir().unwrap();
    let device = |name: &str| {
        let store = Store::open(files.path().join(name)).unwrap();
        Config::with_store(cluster.api(name), store).unwrap()
    };
    let is_ready = |event: &Event| matches!(event, Event::Ready { .. });
    let alice = Person::with("alice", device("alice"));
    let bob = Person::with("bob", device("bob"));
    alice.until("ready", is_ready).await;
    bob.until("ready", is_ready).await;
    let passing = delivers(&alice, &channel, "you have it").await;
    bob.hears(&channel, "you have it").await;
    let archiver = cluster.stack.archiver();
    let within = 3 * limits::ARCHIVE_CLAIM + SOON;
    eventually("all have it", within, async || archiver.counts().acked == 1).await;
    eventually("alice hears that it is archived", SOON, async || {
        told_archived(&alice).contains(&passing)
    })
    .await;
    assert!(!is_stored(&cluster, &channel, passing).await);
    let page = cluster.api("bob").scroll(&channel, None, 9, Direction::Older).await.unwrap();
    assert_eq!(page.messages, [], "the server has it no more");
    // Bob registers a tablet, which opens no socket.
    cluster
        .api("bob")
        .connect_as(
            None,
            &SocketKind { device: Some("tablet".parse().unwrap()), ..SocketKind::default() },
        )
        .await
        .unwrap();
    let kept = delivers(&alice, &channel, "for the tablet").await;
    let within = limits::ACK_WAIT + within;
    eventually("it is stored", within, async || is_stored(&cluster, &channel, kept).await).await;
    assert_eq!(archiver.counts().acked, 1);
}

async fn g13_who_was_away_gets_what_is_not_stored_yet(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    cluster.stack.stop_archive();
    delivers(&alice, &channel, "one").await;
    bob.hears(&channel, "one").await;
    bob.client.go_offline();
    bob.until("offline", |event| matches!(event, Event::Disconnected { .. })).await;
    delivers(&alice, &channel, "two").await;
    bob.client.go_online();
    bob.hears(&channel, "two").await;
    // A client without a cursor reads it.
    let carol = cluster.api("carol");
    let path = format!("/channels/{channel}/members/carol");
    assert_eq!(call(&cluster, "alice", "PUT", &path, None).await.0, 200);
    let page = carol.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    let texts: Vec<_> = page.messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["two", "one"]);
}

async fn g14_receipts_say_who_has_what(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let (mut alice, ..) = attach(&cluster, "alice", None).await;
    let bob = cluster.person("bob").await;
    let view = json!({ "type": "view", "channels": [channel.as_str()] });
    alice.send(SocketMessage::text(view.to_string())).await.unwrap();
    let id = MessageId::mint(cluster.stack.app().clock.now(), 7);
    let send = json!({
        "type": "send", "ref": 1, "channel_id": channel.as_str(), "id": id.to_string(),
        "message": "hello",
    });
    alice.send(SocketMessage::text(send.to_string())).await.unwrap();
    let accepted = frame(&mut alice, "accepted").await;
    assert_eq!((&accepted["ref"], &accepted["id"]), (&json!(1), &json!(id.to_string())));
    assert!(accepted["replicated"].is_boolean() && accepted.get("n").is_none(), "{accepted}");
    bob.hears(&channel, "hello").await;
    let (mut device, ..) = attach(&cluster, "bob", None).await;
    // What nobody can have sent yet is no receipt.
    let ahead = MessageId::mint(Timestamp::from_unix_ms(id.time().unix_ms() + 60_000), 1);
    for up_to in [ahead, id] {
        let got =
            json!({ "type": "got", "channel_id": channel.as_str(), "up_to": up_to.to_string() });
        device.send(SocketMessage::text(got.to_string())).await.unwrap();
    }
    let (mut archived, mut delivered) = (false, false);
    while !(archived && delivered) {
        let receipts = frame(&mut alice, "receipts").await;
        archived |= receipts["archived"] == json!([id.to_string()]);
        if receipts["delivered"] != json!({}) {
            assert_eq!(receipts["delivered"], json!({ "bob": id.to_string() }));
            delivered = true;
        }
        assert_eq!(receipts["read"], json!({}));
    }
}

async fn g14_a_read_mark_is_shown_where_its_reader_allows_it(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob", "carol"]).await;
    let kept = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.person("alice").await;
    let view = View { logs: vec![LogId::from(&channel)], users: Vec::new() };
    alice.client.set_view(view);
    let id = delivers(&alice, &channel, "hello").await;
    let other = alice.says(&kept, "hello").await;
    let mark = |channel: &ChannelId, id: MessageId| json!({ "channel_id": channel.as_str(), "up_to": id.to_string() });
    let mut private = mark(&channel, id);
    private["share"] = json!(false);
    for (who, marks) in
        [("carol", json!([private])), ("bob", json!([mark(&channel, id), mark(&kept, other)]))]
    {
        let body = json!({ "marks": marks });
        assert_eq!(call(&cluster, who, "POST", "/read", Some(&body)).await.0, 200);
    }
    let bob_read = |event: &Event| match event {
        Event::Receipts { read, .. } => read.iter().any(|(user, _)| user.as_str() == "bob"),
        _ => false,
    };
    alice.until("told that bob has read", bob_read).await;
    let path = format!("/channels/{channel}/receipts");
    let (status, receipts) = call(&cluster, "alice", "GET", &path, None).await;
    assert_eq!((status, &receipts["read"]), (200, &json!({ "bob": id.to_string() })));
    let path = format!("/channels/{kept}/receipts");
    let (status, refused) = call(&cluster, "alice", "GET", &path, None).await;
    assert_eq!((status, &refused["code"]), (409, &json!("wrong_contract")));
    let (status, refused) = call(&cluster, "eve", "GET", &path, None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("channel_not_found")));
}

/// The next frame of a type.
async fn frame(socket: &mut RawSocket, kind: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&socket.text_within(SOON).await.unwrap()).unwrap();
        if frame["type"] == kind {
            return frame;
        }
    }
}

async fn a_channel_that_delivers_first_refuses_what_its_contract_does_not_have(
    environment: Environment,
) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    let id = delivers(&alice, &channel, "hello").await;
    let of = |path: &str| format!("/channels/{channel}{path}");
    let reply =
        json!({ "channel_id": channel.as_str(), "message": "hi", "thread": id.to_string() });
    let edit = json!({ "message": "hi", "change_id": change_id().to_string() });
    for (method, path, body) in [
        ("POST", "/messages".to_owned(), Some(&reply)),
        ("PATCH", of(&format!("/messages/{id}")), Some(&edit)),
        ("DELETE", of(&format!("/messages/{id}")), None),
        ("PUT", of(&format!("/messages/{id}/reactions/:ok:")), None),
        ("PUT", of(&format!("/pins/{id}")), None),
        ("DELETE", of(""), None),
    ] {
        let (status, answer) = call(&cluster, "alice", method, &path, body).await;
        assert_eq!((status, &answer["code"]), (409, &json!("wrong_contract")), "{method} {path}");
    }
    let refused = |said: Result<_, SayError>| match said {
        Err(SayError::Refused(refused)) => (refused.code, refused.field),
        other => panic!("{other:?}"),
    };
    let now = cluster.stack.app().clock.now();
    let say = async |id: MessageId, words: &str| {
        refused(alice.client.say_as(&channel, id, text(words)).await)
    };
    let of_field = |code: &str, field: &str| (code.to_owned(), Some(field.to_owned()));
    let long = "x".repeat(12 * 1024 + 1);
    assert_eq!(say(MessageId::mint(now, 5), &long).await, of_field("message_too_long", "message"));
    let day_ago = MessageId::mint(now.minus(Duration::from_secs(25 * 3600)), 5);
    assert_eq!(say(day_ago, "hi").await, of_field("id_out_of_range", "id"));
    let ahead = MessageId::mint(now.plus(Duration::from_secs(10)), 5);
    assert_eq!(say(ahead, "hi").await, of_field("id_out_of_range", "id"));
    alice.client.join(&channel);
    let not_joined =
        |event: &Event| matches!(event, Event::NotJoined { code, .. } if code == "wrong_contract");
    alice.until("refused to join", not_joined).await;
    // A DM of this contract is another channel.
    let dm = |contract: &str| json!({ "type": "DM", "members": ["bob"], "contract": contract });
    let (first, second) = (dm("persist_first"), dm("deliver_first"));
    let (_, first) = call(&cluster, "alice", "POST", "/channels", Some(&first)).await;
    let (status, second) = call(&cluster, "alice", "POST", "/channels", Some(&second)).await;
    assert_eq!(status, 201);
    assert_ne!(first["channel_id"], second["channel_id"]);
}
