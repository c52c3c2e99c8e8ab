//! A process of `amend` or `derive` is killed between two of its steps: at rest, all copies equal the
//! store, and nothing is left half done (G9, G10).

use std::time::Duration;

use model::{ChannelId, LogId, Message, MessageId};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment, TICKET_SECRET};
use tests::lambda::{Function, http_event};
use tests::person::Person;
use tests::process::program;
use tests::proxy::http::{Rule, StoreFault, StoreProxy};
use tests::{SOON, eventually};

use crate::changes::{change_id, shown};
use crate::functions::{TOKEN_SECRET, token_of};

/// Where a call is killed.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Before its first put, of the change log.
    BeforeLog,
    /// After that put.
    AfterLog,
    /// After its first update.
    AfterFirstUpdate,
    /// After the update that follows the change log.
    AfterSecondUpdate,
}

struct Scene {
    cluster: Cluster,
    store: StoreProxy,
    channel: ChannelId,
    alice: Person,
    bob: Person,
}

impl Scene {
    async fn start() -> Self {
        let cluster = Cluster::start(Environment::Redis).await;
        let channel = cluster.group("alice", &["bob"]).await.id;
        let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
        let store = StoreProxy::start(cluster.stack.store_endpoint(), 1).await;
        Self { cluster, store, channel, alice, bob }
    }

    async fn message(&self, text: &str) -> MessageId {
        let id = self.alice.says(&self.channel, text).await;
        self.bob.hears(&self.channel, text).await;
        id
    }

    fn path(&self, id: MessageId, rest: &str) -> String {
        format!("/channels/{}/messages/{id}{rest}", self.channel)
    }

    fn pin_path(&self, id: MessageId) -> String {
        format!("/channels/{}/pins/{id}", self.channel)
    }

    /// Starts a process of a function that reaches the store through the proxy.
    async fn function(&self, name: &str) -> Function {
        let mut variables = vec![
            ("INKWIRE_LOG", "off".to_owned()),
            ("AWS_ENDPOINT_URL", self.store.url().to_owned()),
        ];
        if name == "amend" {
            variables.push(("INKWIRE_TOKEN_SECRET", TOKEN_SECRET.to_owned()));
            variables.push(("INKWIRE_TICKET_SECRET", TICKET_SECRET.to_owned()));
        }
        let function = Function::start(&self.cluster, &program(name), &variables).await;
        function.initialisation().await;
        function
    }

    /// Calls a process of `amend` as alice, and kills it at this step.
    async fn killed(&self, step: Step, method: &str, path: &str, body: &Value) {
        let token = token_of(&self.cluster, "alice");
        let event = http_event(method, path, "", &token, &body.to_string());
        self.killed_with("amend", step, &event).await;
    }

    /// Gives a process of a function this event, and kills it at this step.
    async fn killed_with(&self, name: &str, step: Step, event: &Value) {
        let function = self.function(name).await;
        let all = |fault: StoreFault, operation: &'static [&'static str]| {
            vec![Rule::all(fault).of(operation)]
        };
        let (puts, updates): (&[_], &[_]) = (&["PutItem"], &["UpdateItem"]);
        self.store.set(match step {
            Step::BeforeLog => all(StoreFault::Refuse, puts),
            Step::AfterLog => all(StoreFault::LoseAnswer, puts),
            Step::AfterFirstUpdate => all(StoreFault::LoseAnswer, updates),
            Step::AfterSecondUpdate => all(StoreFault::Delay(WHILE), puts),
        });
        let hit = async || {
            let before = self.store.injected();
            eventually("the step is reached", SOON, async || self.store.injected() > before).await;
        };
        let call = function.invoke(event);
        let reached = async {
            hit().await;
            if matches!(step, Step::AfterSecondUpdate) {
                self.store.set(all(StoreFault::LoseAnswer, updates));
                hit().await;
            }
        };
        tokio::select! {
            () = reached => {}
            answer = call => panic!("{name} answered at {step:?}: {:?}", answer.payload),
        }
        drop(function);
        self.store.set(Vec::new());
    }

    /// Waits until both clients show what the store has, and that is as wanted.
    async fn at_rest(&self, id: MessageId, what: &str, wanted: impl Fn(&Message) -> bool) {
        eventually(what, SOON * 3, async || {
            let stored = self.alice.api.message(&self.channel, id).await.unwrap();
            // Whose reactions they are is no part of the state.
            let plain = |message: &Message| {
                let mut message = message.clone();
                message.reactions.iter_mut().for_each(|reaction| reaction.mine = None);
                message
            };
            let copies = [&self.alice, &self.bob].map(|one| shown(one, &self.channel, id));
            let are_equal = copies.iter().flatten().filter(|copy| plain(copy) == plain(&stored));
            wanted(&stored) && are_equal.count() == 2
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_an_edit_that_is_killed_between_its_steps_is_made_once_by_its_retry() {
    let scene = Scene::start().await;
    for step in [Step::BeforeLog, Step::AfterLog, Step::AfterFirstUpdate] {
        let (before, after) = (format!("helo {step:?}"), format!("hello {step:?}"));
        let id = scene.message(&before).await;
        let change = change_id();
        let body = json!({ "message": after, "change_id": change.to_string() });
        scene.killed(step, "PATCH", &scene.path(id, ""), &body).await;
        if !matches!(step, Step::AfterFirstUpdate) {
            let (api, channel) = (&scene.alice.api, &scene.channel);
            let edited = api.edit_message(channel, id, &after, change, None).await.unwrap();
            assert!(!edited.duplicate && !edited.superseded, "{step:?}");
        }
        // After the update, the relay publishes what the call did not.
        scene.at_rest(id, "the edit is everywhere", |stored| stored.text.as_str() == after).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_reactions_and_pins_that_are_killed_between_their_steps_are_completed_by_derive() {
    let scene = Scene::start().await;
    let steps = [Step::AfterFirstUpdate, Step::BeforeLog, Step::AfterLog, Step::AfterSecondUpdate];
    for step in steps {
        let id = scene.message(&format!("react {step:?}")).await;
        let path = scene.path(id, "/reactions/:ship-it:");
        scene.killed(step, "PUT", &path, &json!({})).await;
        scene
            .at_rest(id, "the reaction is counted", |stored| {
                stored.reactions.len() == 1 && stored.reactions[0].count == 1
            })
            .await;
        scene.killed(step, "PUT", &scene.pin_path(id), &json!({})).await;
        scene.at_rest(id, "the pin is shown", |stored| stored.pinned.is_some()).await;
    }
    let pins = scene.bob.api.pins(&scene.channel, None).await.unwrap().0;
    assert_eq!(pins.len(), steps.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn g10_a_deletion_that_is_killed_leaves_neither_text_nor_pin() {
    let scene = Scene::start().await;
    let id = scene.message("needle").await;
    scene.alice.api.pin(&scene.channel, id, None).await.unwrap();
    scene.killed(Step::AfterFirstUpdate, "DELETE", &scene.path(id, ""), &json!({})).await;
    scene
        .at_rest(id, "the deletion is everywhere", |stored| {
            stored.deleted.is_some() && stored.text.as_str().is_empty()
        })
        .await;
    // Its pin takes no place any more: a second one is the only one.
    let next = scene.message("next").await;
    scene.alice.api.pin(&scene.channel, next, None).await.unwrap();
    let pins = scene.bob.api.pins(&scene.channel, None).await.unwrap().0;
    assert_eq!(pins.iter().map(|pin| pin.id).collect::<Vec<_>>(), [next]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_a_reply_is_counted_although_derive_is_killed_between_its_steps() {
    let scene = Scene::start().await;
    scene.cluster.stack.stop_derive();
    let steps = [Step::BeforeLog, Step::AfterLog, Step::AfterFirstUpdate, Step::AfterSecondUpdate];
    for step in steps {
        let root = scene.message(&format!("root {step:?}")).await;
        let thread = LogId::new(scene.channel.clone(), Some(root));
        let text = format!("reply {step:?}");
        let reply = scene.bob.client.send(&thread, &text).await.unwrap().message.id;
        let event = record_of_reply(&thread, reply, "bob", &text);
        scene.killed_with("derive", step, &event).await;
        // The stream delivers the record again.
        let again = scene.function("derive").await.invoke(&event).await;
        assert_eq!(again.payload, json!({ "batchItemFailures": [] }), "{step:?}");
        scene
            .at_rest(root, "the reply is counted once", |stored| {
                let counted = stored.replies.as_ref().map(|replies| (replies.count, replies.last));
                counted == Some((1, reply))
            })
            .await;
        for person in [&scene.alice, &scene.bob] {
            let (followed, _) = person.api.threads(None).await.unwrap();
            assert!(followed.iter().any(|one| one.root.id == root), "{step:?}: nobody follows");
        }
    }
}

/// The record of a reply's row, as the stream has it.
fn record_of_reply(thread: &LogId, id: MessageId, sender: &str, text: &str) -> Value {
    let keys = json!({
        "channel_id": { "S": thread.to_string() }, "created_at": { "S": id.to_string() },
    });
    let mut image = keys.clone();
    image["s"] = json!({ "S": sender });
    image["t"] = json!({ "S": text });
    image["v"] = json!({ "N": "1" });
    image["m"] = json!({ "S": "" });
    json!({ "Records": [{
        "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": { "Keys": keys, "NewImage": image, "SequenceNumber": "100" },
    }] })
}

/// How long a put takes, so that the next fault is there before the next call.
const WHILE: Duration = Duration::from_millis(500);
