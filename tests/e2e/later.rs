//! A rolling deployment: a later version writes rows, publications and frames of kinds that today's
//! functions, relay, nodes and clients do not know, among those that they know.

use aws_sdk_dynamodb::types::AttributeValue;
use client::{Direction, Event, RawSocket};
use model::{Channel, ChannelId, MessageId, Timestamp};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::store::local_client;
use tests::{SOON, eventually};
use tokio::time::Instant;

const PUBLISH: &str = include_str!("../../shared/redis-bus/src/publish.lua");

/// The later version.
struct Later<'a>(&'a Cluster);

impl Later<'_> {
    fn redis(&self, words: &[&str]) -> String {
        self.0.redis.as_ref().unwrap().command(words)
    }

    /// Publishes as `send` does, with `to` and `payload` in the later version's form.
    fn publishes(&self, to: &Value, payload: &str, fields: &Value) {
        let id = MessageId::mint(self.0.stack.app().clock.now(), next_number()).to_string();
        let publication = json!({ "i": id, "to": to, payload: fields }).to_string();
        let key = |what: &str| format!("ink:{{{}}}:{what}", self.0.workspace());
        let (stream, guard, topic) = (key("stream"), key(&format!("guard:{id}")), key("topic"));
        let script = [PUBLISH, "3", &stream, &guard, &topic, &id, &publication];
        let limits = ["600000", "86400000", "5000", "8388608"];
        let position = self.redis(&[&["EVAL"], &script[..], &limits[..]].concat());
        assert!(position.contains('-') && !position.starts_with('-'), "{position}");
    }

    fn sends_to_members(&self, channel: &Channel, fields: &Value) {
        let to = json!({ "c": {
            "i": channel.id.as_str(), "v": channel.members_version, "next": { "year": true },
        } });
        self.publishes(&to, "p", fields);
    }

    async fn store(&self) -> aws_sdk_dynamodb::Client {
        local_client(self.0.stack.store_endpoint()).await
    }

    /// Gives a message another text and a greater revision, and publishes nothing.
    async fn edits(&self, channel: &ChannelId, id: MessageId, text: &str) {
        let string = |text: &str| AttributeValue::S(text.to_owned());
        let update = self.store().await.update_item();
        let update = update.table_name(format!("{}messages", embedded_stack::TABLE_PREFIX));
        let update = update
            .key("channel_id", string(channel.as_str()))
            .key("created_at", string(&id.to_string()))
            .update_expression("SET t = :text, e = :rev, edited_next_year = :rev")
            .expression_attribute_values(":text", string(text))
            .expression_attribute_values(":rev", string("8"));
        update.send().await.unwrap();
    }

    /// Writes a row of an unknown kind into a channel's log.
    async fn stores(&self, channel: &ChannelId, sort_key: &str) {
        let store = self.store().await;
        let mut put =
            store.put_item().table_name(format!("{}messages", embedded_stack::TABLE_PREFIX));
        for (name, value) in
            [("channel_id", channel.as_str()), ("created_at", sort_key), ("k", "poll"), ("q", "?")]
        {
            put = put.item(name, AttributeValue::S(value.to_owned()));
        }
        put.send().await.unwrap();
    }
}

/// A number that makes ids of the same moment different.
fn next_number() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

fn resyncs(person: &Person) -> usize {
    person.count(|event| matches!(event, Event::Resync { .. }))
}

/// A plain socket that keeps the received frames.
struct RecordingSocket {
    socket: RawSocket,
    frames: Vec<Value>,
}

impl RecordingSocket {
    async fn attach(cluster: &Cluster, name: &str, cursor: Option<&str>) -> Self {
        let target = cluster.api(name).connect(None).await.unwrap().target;
        let mut socket = RawSocket::open(&target.url, &[], SOON).await.unwrap();
        socket.hello(&target.ticket, cursor).await.unwrap();
        let mut plain = Self { socket, frames: Vec::new() };
        plain.until("ready", |frame| frame["type"] == "ready").await;
        plain
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        // Ticks arrive meanwhile, so the deadline is for all frames together.
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let text = self.socket.text_within(left).await;
            let text = text.unwrap_or_else(|| panic!("no {what} after {:?}", self.frames));
            let frame: Value = serde_json::from_str(&text).unwrap();
            self.frames.push(frame.clone());
            if wanted(&frame) {
                return frame;
            }
        }
    }
}

fn poll(question: &str) -> Value {
    json!({ "type": "poll", "question": question, "choices": [{ "text": "yes", "votes": 0 }] })
}

fn is_poll(frame: &Value) -> bool {
    frame["type"] == "poll"
}

fn is_message(text: &str) -> impl Fn(&Value) -> bool {
    move |frame| frame["message"]["message"] == text
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_an_event_of_a_later_version_reaches_its_recipients_as_it_was_written() {
    let cluster = Cluster::start(Environment::Redis).await;
    let later = Later(&cluster);
    let channel = cluster.group("alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    let mut bob = RecordingSocket::attach(&cluster, "bob", None).await;
    let mut zoe = RecordingSocket::attach(&cluster, "zoe", None).await;
    let before = bob.frames[0]["cursor"].as_str().unwrap().to_owned();

    alice.says(&channel.id, "one").await;
    later.sends_to_members(&channel, &poll("tea?"));
    alice.says(&channel.id, "two").await;
    bob.until("`two`", is_message("two")).await;
    let mut again = RecordingSocket::attach(&cluster, "bob", Some(&before)).await;
    again.until("`two` once more", is_message("two")).await;
    for (who, socket) in [("live", &bob), ("replayed", &again)] {
        let polls: Vec<&Value> = socket.frames.iter().filter(|frame| is_poll(frame)).collect();
        assert_eq!(polls.len(), 1, "{who}: {:?}", socket.frames);
        let (mut frame, cursor) = (polls[0].clone(), polls[0]["cursor"].clone());
        frame.as_object_mut().unwrap().remove("cursor");
        assert_eq!((frame, cursor.is_string()), (poll("tea?"), true), "{who}");
    }
    // A client that does not know polls misses no messages.
    alice.hears(&channel.id, "two").await;
    assert_eq!((alice.texts(&channel.id), resyncs(&alice)), (vec!["one".into(), "two".into()], 0));

    cluster.group("bob", &["zoe"]).await;
    zoe.until("a channel", |frame| frame["type"] == "channel").await;
    assert!(!zoe.frames.iter().any(is_poll), "no member: {:?}", zoe.frames);
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_recipients_of_a_later_version_cause_one_resync_and_lose_nothing() {
    let cluster = Cluster::start(Environment::Redis).await;
    let later = Later(&cluster);
    let channel = cluster.group("alice", &["bob"]).await;
    let people = [cluster.person("alice").await, cluster.person("bob").await];
    let mut socket = RecordingSocket::attach(&cluster, "bob", None).await;
    let before = socket.frames[0]["cursor"].as_str().unwrap().to_owned();

    people[0].says(&channel.id, "one").await;
    // Bytes that are not a publication do not cause a gap.
    for foreign in ["", "typing bob", "1-1 - x {}"] {
        later.redis(&["PUBLISH", &format!("ink:{{{}}}:topic", cluster.workspace()), foreign]);
    }
    // One with unknown recipients, and one to members with an unknown form of payload.
    later.publishes(&json!({ "v": ["alice"] }), "p", &poll("tea?"));
    later.publishes(&json!({ "c": { "i": channel.id.as_str(), "v": 1 } }), "zip", &poll("tea?"));
    people[1].says(&channel.id, "two").await;
    for person in &people {
        person.hears(&channel.id, "two").await;
        person.until("a resync", |event| matches!(event, Event::Resync { .. })).await;
        person
            .until("read again", |event| matches!(event, Event::CaughtUp { channels: 1.. }))
            .await;
        assert_eq!(person.texts(&channel.id), ["one", "two"]);
        assert_eq!(resyncs(person), 1, "{}: one resync for both", person.name);
    }
    socket.until("`two`", is_message("two")).await;
    assert!(!socket.frames.iter().any(is_poll), "{:?}", socket.frames);
    let again = RecordingSocket::attach(&cluster, "bob", Some(&before)).await;
    assert_eq!(again.frames[0]["resumed"], false, "it cannot be replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_g3_rows_of_a_later_version_are_skipped_by_pages_relay_and_clients() {
    let cluster = Cluster::start(Environment::Redis).await;
    let later = Later(&cluster);
    let channel = cluster.group("alice", &["bob"]).await;
    let (alice, bob) = (cluster.person("alice").await, cluster.person("bob").await);
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(alice.says(&channel.id, text).await);
        let now = cluster.stack.app().clock.now();
        let poll = MessageId::mint(Timestamp::from_unix_ms(now.unix_ms()), next_number());
        later.stores(&channel.id, &poll.to_string()).await;
        later.stores(&channel.id, &format!("c#{poll}")).await;
    }
    for limit in [1, 2, 100] {
        let (mut found, mut offset) = (Vec::new(), None);
        loop {
            let page = bob.api.scroll(&channel.id, offset, limit, Direction::Older).await.unwrap();
            found.extend(page.messages.iter().map(|message| message.id));
            offset = page.next_offset;
            if offset.is_none() {
                break;
            }
        }
        found.reverse();
        assert_eq!(found, ids, "pages of {limit}");
    }
    // A client that connects now reads past these rows, and the relay continues after them.
    let carol = cluster.person("bob").await;
    assert_eq!(carol.texts(&channel.id), ["one", "two", "three"]);
    let relay = cluster.stack.relay();
    eventually("rows passed over", SOON, async || relay.counts().unknown == ids.len() as u64).await;
    assert_eq!(relay.counts().poisoned, 0);
    alice.says(&channel.id, "four").await;
    bob.hears(&channel.id, "four").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_an_edit_of_a_later_version_reaches_every_client_by_the_relay_alone() {
    let cluster = Cluster::start(Environment::Redis).await;
    let channel = cluster.group("alice", &["bob"]).await;
    let (alice, bob) = (cluster.person("alice").await, cluster.person("bob").await);
    let id = alice.says(&channel.id, "one").await;
    bob.hears(&channel.id, "one").await;
    Later(&cluster).edits(&channel.id, id, "one, edited").await;
    for person in [&alice, &bob] {
        person.hears(&channel.id, "one, edited").await;
        assert_eq!((person.texts(&channel.id).len(), resyncs(person)), (1, 0));
    }
}
