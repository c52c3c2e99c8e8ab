//! Follows one message through the logs, from its POST to the node that delivered it.

use client::RawAnswer;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment};
use tests::process::{NodeProcess, NodeSetup};
use tests::{SOON, eventually, logs};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A cluster, and a node process whose log is read.
struct Fixture {
    cluster: Cluster,
    node: NodeProcess,
    node_log: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// Starts functions in this process, one node process, and a real Redis.
    async fn start() -> Self {
        let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
        let directory = tempfile::tempdir().unwrap();
        let node_log = directory.path().join("node.log");
        let redis_url = cluster.redis.as_ref().unwrap().url();
        let node = NodeProcess::of(&NodeSetup {
            variables: vec![("INKWIRE_LOG", "node=debug".to_owned())],
            log: Some(node_log.clone()),
            ..NodeSetup::plain(&redis_url, cluster.stack.store_endpoint())
        })
        .await;
        let nodes = &cluster.stack.ports().nodes;
        eventually("the node is known", SOON, async || {
            nodes.fleet().await.is_ok_and(|fleet| !fleet.is_empty())
        })
        .await;
        Self { cluster, node, node_log, _directory: directory }
    }

    async fn post(&self, channel: &str, text: &str, trace: Option<&str>) -> RawAnswer {
        let token = self.cluster.token("alice", 600).await;
        let bearer = format!("Bearer {token}");
        let parent = trace.map(|trace| format!("00-{trace}-00f067aa0ba902b7-01"));
        let mut headers = vec![("authorization", &*bearer), ("content-type", "application/json")];
        headers.extend(parent.as_deref().map(|parent| ("traceparent", parent)));
        let body = json!({ "channel_id": channel, "message": text }).to_string();
        self.cluster.call("POST", "/messages", &headers, body.as_bytes()).await
    }

    /// Waits for the node's log line about a message.
    async fn written(&self, message: &str) -> Value {
        let find = || {
            let lines = logs::lines(&self.node_log, "written");
            lines.into_iter().find(|line| line["message_id"] == message)
        };
        eventually("the node logs that it wrote the message", SOON, async || find().is_some())
            .await;
        find().unwrap()
    }
}

fn call_line(message: &str) -> Value {
    let lines = logs::lines(logs::own(), "call");
    lines.into_iter().find(|line| line["message_id"] == message).expect("a line of the call")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_follows_a_message_from_its_post_to_the_node_that_wrote_it() {
    logs::own();
    let fixture = Fixture::start().await;
    let channel = fixture.cluster.group("alice", &["bob"]).await.id;
    let bob = fixture.cluster.person("bob").await;

    let answer = fixture.post(channel.as_str(), "hi", Some(TRACE)).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert!(!String::from_utf8_lossy(&answer.body).contains(TRACE), "clients have no use for it");
    let call = call_line(&id);
    assert_eq!(call["trace_id"], TRACE);
    assert_eq!(call["request_id"], answer.headers["x-request-id"].to_str().unwrap());
    assert_eq!((&call["status"], &call["route"]), (&json!(200), &json!("/messages")));
    assert_eq!(
        (&call["user_id"], &call["channel_id"]),
        (&json!("alice"), &json!(channel.as_str()))
    );
    bob.hears(&channel, "hi").await;
    let written = fixture.written(&id).await;
    assert_eq!((&written["trace_id"], &written["sockets"]), (&json!(TRACE), &json!(1)));

    // Without a trace id, the request's own id is the trace id.
    let answer = fixture.post(channel.as_str(), "ho", None).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let call = call_line(&id);
    let request: model::MessageId = call["request_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(call["trace_id"], model::TraceId::from(request).to_string());
    assert_eq!(fixture.written(&id).await["trace_id"], call["trace_id"]);

    // The relay knows only the message, so the message's id is the trace id.
    fixture.cluster.stack.app().publisher().switch(false);
    let answer = fixture.post(channel.as_str(), "later", Some(TRACE)).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(call_line(&id)["trace_id"], TRACE);
    let of_id = model::TraceId::from(id.parse::<model::MessageId>().unwrap());
    assert_eq!(fixture.written(&id).await["trace_id"], of_id.to_string());
    // The relay logs it once its batch is safe, which may be after the node delivered it.
    eventually("the relay logs it", SOON, async || {
        let relayed = logs::lines(logs::own(), "relayed");
        relayed.iter().any(|line| line["message_id"] == id.as_str())
    })
    .await;

    // Metrics show the delivery's latency, and the log names the socket as its client does.
    assert_eq!(fixture.node.metric("inkwire_delivery_seconds_count").await, 3);
    let attached = logs::lines(&fixture.node_log, "a socket attaches");
    assert_eq!(attached[0]["user_id"], "bob");
    assert!(attached[0]["connection_id"].as_str().unwrap().starts_with('S'));
}
