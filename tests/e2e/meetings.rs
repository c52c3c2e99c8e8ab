//! Channels that keep nothing: who has joined hears what is said, and nothing stays (G15).

use client::{Event, SayError};
use model::{ChannelId, ErrorCode, MessageText};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::{SOON, eventually};

use crate::changes::change_id;
use crate::sockets::attach;

crate::on_each_environment!(
    g15_who_has_joined_hears_what_is_said_and_a_late_joiner_is_told_how_much_they_missed,
    g15_who_comes_back_gets_nothing_of_what_was_said_meanwhile,
    g15_a_meeting_ends_for_everybody,
    g15_a_removed_member_hears_no_more,
    a_meeting_refuses_what_its_contract_does_not_have,
);

/// Makes a call as a user. A refusal is an answer, too.
pub(crate) async fn call(
    cluster: &Cluster,
    user: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let bearer = format!("Bearer {}", cluster.token(user, 600).await);
    let mut headers = vec![("authorization", bearer.as_str())];
    let body = body.map(ToString::to_string).unwrap_or_default();
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    let answer = cluster.call(method, path, &headers, body.as_bytes()).await;
    let body = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, body)
}

fn text(text: &str) -> MessageText {
    MessageText::parse(text.to_owned()).unwrap()
}

/// A channel that keeps nothing.
pub(crate) async fn meeting(cluster: &Cluster, creator: &str, members: &[&str]) -> ChannelId {
    let body = json!({
        "type": "GROUP_CHANNEL", "name": "stand-up", "contract": "ephemeral", "members": members,
    });
    let (status, made) = call(cluster, creator, "POST", "/channels", Some(&body)).await;
    assert_eq!((status, &made["contract"]), (201, &json!("ephemeral")), "{made}");
    made["channel_id"].as_str().unwrap().parse().unwrap()
}

/// Joins, and returns how much was missed.
pub(crate) async fn joins(person: &Person, channel: &ChannelId) -> Option<u64> {
    let joined = || {
        person.look(|log| {
            let of_channel = |event: &Event| match event {
                Event::Joined { channel_id, missed, .. } if channel_id == channel => Some(*missed),
                _ => None,
            };
            log.iter().filter_map(|logged| of_channel(&logged.event)).collect::<Vec<_>>()
        })
    };
    let before = joined().len();
    person.client.join(channel);
    eventually("joined", SOON, async || joined().len() > before).await;
    joined()[before]
}

/// What a person heard: number, text, and how many were missing before it.
fn heard(person: &Person) -> Vec<(u64, String, u64)> {
    person.look(|log| {
        let said = |event: &Event| match event {
            Event::Said { n, message, missing } => {
                Some((*n, message.text.as_str().to_owned(), *missing))
            }
            _ => None,
        };
        log.iter().filter_map(|logged| said(&logged.event)).collect()
    })
}

pub(crate) async fn hears(person: &Person, wanted: &[(u64, &str, u64)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(n, text, missing)| (*n, (*text).to_owned(), *missing)).collect();
    let what = format!("{} hears {wanted:?}", person.name);
    eventually(&what, SOON, async || heard(person) == wanted).await;
}

async fn g15_who_has_joined_hears_what_is_said_and_a_late_joiner_is_told_how_much_they_missed(
    environment: Environment,
) {
    let cluster = Cluster::start(environment).await;
    let channel = meeting(&cluster, "alice", &["bob", "carol"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let carol = cluster.person("carol").await;
    assert_eq!(joins(&alice, &channel).await, Some(0));
    assert_eq!(joins(&bob, &channel).await, Some(0));
    for (n, words) in ["hello", "hi"].into_iter().enumerate() {
        let speaker = if n == 0 { &alice } else { &bob };
        let accepted = speaker.client.say(&channel, text(words)).await.unwrap();
        assert_eq!(accepted.n, Some(n as u64 + 1));
    }
    for person in [&alice, &bob] {
        hears(person, &[(1, "hello", 0), (2, "hi", 0)]).await;
    }
    assert_eq!(joins(&carol, &channel).await, Some(2), "late");
    bob.client.leave(&channel);
    let accepted = alice.client.say(&channel, text("who is there?")).await.unwrap();
    assert_eq!(accepted.n, Some(3));
    hears(&carol, &[(3, "who is there?", 0)]).await;
    hears(&alice, &[(1, "hello", 0), (2, "hi", 0), (3, "who is there?", 0)]).await;
    assert_eq!(heard(&bob).len(), 2, "he left");
    // Only what is about the channel itself is in the store or on the stream.
    assert!(carol.texts(&channel).is_empty());
}

async fn g15_who_comes_back_gets_nothing_of_what_was_said_meanwhile(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    joins(&alice, &channel).await;
    joins(&bob, &channel).await;
    alice.client.say(&channel, text("one")).await.unwrap();
    hears(&bob, &[(1, "one", 0)]).await;
    bob.client.go_offline();
    bob.until("offline", |event| matches!(event, Event::Disconnected { .. })).await;
    for words in ["two", "three"] {
        alice.client.say(&channel, text(words)).await.unwrap();
    }
    bob.client.go_online();
    let came_back =
        |event: &Event| matches!(event, Event::Joined { missed: Some(2), at, .. } if at.n == 3);
    bob.until("told of two missed", came_back).await;
    alice.client.say(&channel, text("four")).await.unwrap();
    hears(&bob, &[(1, "one", 0), (4, "four", 0)]).await;
}

async fn g15_a_meeting_ends_for_everybody(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    joins(&alice, &channel).await;
    joins(&bob, &channel).await;
    let path = format!("/channels/{channel}");
    let (status, _) = call(&cluster, "bob", "DELETE", &path, None).await;
    assert_eq!(status, 403, "only its owner ends it");
    let (status, body) = call(&cluster, "alice", "DELETE", &path, None).await;
    assert_eq!((status, body), (200, json!({ "channel_id": channel.as_str() })));
    for person in [&alice, &bob] {
        person.until("ended", |event| matches!(event, Event::Ended { .. })).await;
        match person.client.say(&channel, text("hello?")).await {
            Err(SayError::Refused(refused)) => {
                assert_eq!(refused.code, ErrorCode::Ended.as_str());
                assert!(!refused.retryable);
            }
            other => panic!("{other:?}"),
        }
        let (status, _) = call(&cluster, &person.name, "GET", &path, None).await;
        assert_eq!(status, 404);
        let channels = person.api.channels().await.unwrap();
        assert!(channels.iter().all(|one| one.id != channel), "it is on no list");
    }
}

async fn g15_a_removed_member_hears_no_more(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    joins(&alice, &channel).await;
    joins(&bob, &channel).await;
    alice.client.say(&channel, text("welcome")).await.unwrap();
    hears(&bob, &[(1, "welcome", 0)]).await;
    let path = format!("/channels/{channel}/members/bob");
    assert_eq!(call(&cluster, "alice", "DELETE", &path, None).await.0, 200);
    alice.client.say(&channel, text("he is gone")).await.unwrap();
    hears(&alice, &[(1, "welcome", 0), (2, "he is gone", 0)]).await;
    match bob.client.say(&channel, text("am I?")).await {
        Err(SayError::Refused(refused)) => assert_eq!(refused.code, "channel_not_found"),
        other => panic!("{other:?}"),
    }
    assert_eq!(heard(&bob).len(), 1);
}

async fn a_meeting_refuses_what_its_contract_does_not_have(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let kept = cluster.group("alice", &["bob"]).await.id;
    let bob = cluster.person("bob").await;
    let id = "01MCC5RM000000000000000001";
    let of = |path: &str| format!("/channels/{channel}{path}");
    let post = json!({ "channel_id": channel.as_str(), "message": "hi" });
    let file = json!({
        "channel_id": channel.as_str(), "name": "a.txt", "type": "text/plain", "bytes": 1,
        "sha256": "0".repeat(64),
    });
    let edit = json!({ "message": "hi", "change_id": change_id().to_string() });
    let archive = json!({ "archived": true });
    for (method, path, body, status, code) in [
        ("POST", "/messages".to_owned(), Some(&post), 409, "wrong_contract"),
        ("GET", format!("/scroll?channel_id={channel}"), None, 409, "not_kept"),
        ("PATCH", of(&format!("/messages/{id}")), Some(&edit), 409, "wrong_contract"),
        ("DELETE", of(&format!("/messages/{id}")), None, 409, "wrong_contract"),
        ("PUT", of(&format!("/messages/{id}/reactions/:ok:")), None, 409, "wrong_contract"),
        ("PUT", of(&format!("/pins/{id}")), None, 409, "wrong_contract"),
        ("POST", "/attachments".to_owned(), Some(&file), 409, "wrong_contract"),
        ("PATCH", of(""), Some(&archive), 409, "wrong_contract"),
        ("DELETE", format!("/channels/{kept}"), None, 409, "wrong_contract"),
    ] {
        let (answered, body) = call(&cluster, "alice", method, &path, body).await;
        assert_eq!((answered, &body["code"]), (status, &json!(code)), "{method} {path}");
    }
    let refused = |said: Result<_, SayError>| match said {
        Err(SayError::Refused(refused)) => (refused.code, refused.field),
        other => panic!("{other:?}"),
    };
    let say = async |channel: &ChannelId, words: &str| {
        refused(bob.client.say(channel, text(words)).await)
    };
    assert_eq!(say(&kept, "hi").await, ("wrong_contract".to_owned(), None));
    let long = "x".repeat(4 * 1024 + 1);
    let field = Some("message".to_owned());
    assert_eq!(say(&channel, &long).await, ("message_too_long".to_owned(), field));
    let old = bob.client.say_as(&channel, id.parse().unwrap(), text("hi")).await;
    assert_eq!(refused(old), ("id_out_of_range".to_owned(), Some("id".to_owned())));
    // More than a client may say at once is refused, and no socket is closed.
    let all = (0..30).map(|n| bob.client.say(&channel, text(&format!("{n}"))));
    let said = futures_util::future::join_all(all).await;
    let too_much = said.iter().filter(|said| {
        matches!(said, Err(SayError::Refused(refused)) if refused.code == "rate_limited" && refused.retryable)
    });
    let (accepted, too_much) = (said.iter().filter(|said| said.is_ok()).count(), too_much.count());
    assert_eq!(accepted + too_much, 30);
    assert!((8..=24).contains(&accepted), "{accepted} accepted");
    let (mut socket, ..) = attach(&cluster, "alice", None).await;
    socket.finish().await;
}
