//! No log may hold texts, names, tokens, tickets, secrets or passwords: runs every process at its
//! most verbose, with and without faults, and searches all logs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use client::{RawSocket, Received};
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use http::{Request, Response};
use model::ChannelId;
use serde_json::json;
use service::config::RedisUrl;
use tests::cluster::{Cluster, TICKET_SECRET, options, secrets, user};
use tests::process::{NodeProcess, NodeSetup, program};
use tests::proxy::http::{Rule, StoreFault, StoreProxy};
use tests::proxy::tcp::TcpProxy;
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually, logs};

/// All marks begin with this. The search ignores case.
const MARK: &str = "mark-of-a-";
const TEXT: &str = "mark-of-a-text";
const NAME: &str = "mark-of-a-name";
const PASSWORD: &str = "mark-of-a-password";
const TOKEN_SECRET: &str = "mark-of-a-secret-0123456789-0123456789";

/// A cluster with a mark in every secret, and the paths of its logs.
struct Fixture {
    cluster: Cluster,
    redis: RedisServer,
    bus: TcpProxy,
    store: StoreProxy,
    nodes: Vec<NodeProcess>,
    logs: Vec<PathBuf>,
    /// Tokens and tickets that were issued.
    given: Vec<String>,
    directory: tempfile::TempDir,
}

impl Fixture {
    async fn build() -> Self {
        logs::own();
        let redis = RedisServer::start(Flavor::Redis);
        assert_eq!(redis.command(&["CONFIG", "SET", "requirepass", PASSWORD]), "OK");
        let bus = TcpProxy::start(redis.port()).await;
        let engine = Arc::new(Engine::start(EngineData::Memory).unwrap());
        let store = StoreProxy::start(engine.endpoint(), 1).await;
        let url = with_password(&bus, PASSWORD);
        let stack = StackOptions {
            nodes: 0,
            data: Data::Endpoint(store.url().to_owned()),
            engine: Some(engine),
            bus: Bus::Redis(RedisUrl::parse(&url).unwrap()),
            token_secrets: Some(secrets(TOKEN_SECRET)),
            ..options()
        };
        let cluster = Cluster::of(stack, None).await;
        let mut fixture = Self {
            cluster,
            redis,
            bus,
            store,
            nodes: Vec::new(),
            logs: vec![logs::own().to_owned()],
            given: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
        };
        fixture.node("json", PASSWORD);
        fixture.node("pretty", PASSWORD);
        let nodes = &fixture.cluster.stack.ports().nodes;
        eventually("all nodes are known", SOON, async || {
            nodes.fleet().await.is_ok_and(|fleet| fleet.len() == 2)
        })
        .await;
        fixture
    }

    /// Starts a node process with the most verbose log.
    fn node(&mut self, format: &str, password: &str) {
        let log = self.directory.path().join(format!("node-{}.log", self.logs.len()));
        let setup = NodeSetup {
            variables: vec![
                ("INKWIRE_LOG", "trace".to_owned()),
                ("INKWIRE_LOG_FORMAT", format.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "mark-of-a-key".to_owned()),
            ],
            log: Some(log.clone()),
            ..NodeSetup::plain(&with_password(&self.bus, password), self.store.url())
        };
        self.nodes.push(NodeProcess::started(&setup));
        self.logs.push(log);
    }

    async fn token(&mut self, name: &str) -> String {
        let token = self.cluster.token(name, 600).await;
        self.given.push(token.clone());
        token
    }

    /// Makes a call with exactly these headers, and ignores the answer.
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.cluster.call(method, path, headers, body).await;
    }

    /// Checks that no log holds a mark, or a token or ticket that was issued.
    fn search(&self) {
        let mut never = vec![MARK.to_owned(), TICKET_SECRET.to_owned()];
        for given in &self.given {
            // Search for each part of a token separately.
            never.extend(given.split('.').filter(|part| part.len() > 16).map(str::to_owned));
        }
        never.iter_mut().for_each(|word| *word = word.to_lowercase());
        let mut found = Vec::new();
        for log in &self.logs {
            let text = logs::text(log);
            assert!(!text.is_empty(), "{} says something", log.display());
            for (at, line) in text.lines().enumerate() {
                let said = line.to_lowercase();
                if never.iter().any(|word| said.contains(word.as_str())) {
                    found.push(format!("{}:{}: {line}", log.display(), at + 1));
                }
            }
        }
        assert!(found.is_empty(), "{} lines, such as {:#?}", found.len(), sample(&found));
    }

    fn says(&self, log: &Path, word: &str) -> bool {
        logs::text(log).contains(word)
    }
}

/// The first and the last few, which are most likely from different processes.
fn sample(found: &[String]) -> Vec<&String> {
    let few = found.len().min(3);
    found.iter().take(few).chain(found.iter().rev().take(few)).collect()
}

fn with_password(bus: &TcpProxy, password: &str) -> String {
    bus.redis_url().replace("redis://", &format!("redis://default:{password}@"))
}

/// Does everything that users do, on sockets of every node.
async fn talk(fixture: &mut Fixture) -> ChannelId {
    let alice = fixture.cluster.api("alice");
    let channel = alice.create_channel(NAME, &[user("bob"), user("carol")]).await.unwrap().id;
    let people = [
        fixture.cluster.person("alice").await,
        fixture.cluster.person("bob").await,
        fixture.cluster.person("carol").await,
    ];
    let long = format!("{TEXT} {}", "x".repeat(5_000));
    for text in [TEXT, &long, "mark-of-a-\u{1f60e}"] {
        people[0].says(&channel, text).await;
        for person in &people {
            person.hears(&channel, text).await;
        }
    }
    // Send a message through the relay, too.
    fixture.cluster.stack.app().publisher().switch(false);
    people[1].says(&channel, "mark-of-a-relayed-text").await;
    people[2].hears(&channel, "mark-of-a-relayed-text").await;
    fixture.cluster.stack.app().publisher().switch(true);
    alice.create_dm(&user("bob")).await.unwrap();
    alice.remove_member(&channel, &user("carol")).await.unwrap();
    alice.add_member(&channel, &user("carol")).await.unwrap();
    alice.revoke_user(&user("carol")).await.unwrap_err();
    fixture.cluster.api("carol").revoke_user(&user("carol")).await.unwrap();
    channel
}

/// Makes invalid requests of all kinds, over HTTP and WebSocket.
async fn misuse(fixture: &mut Fixture, channel: &ChannelId) {
    let token = fixture.token("alice").await;
    let bearer = format!("Bearer {token}");
    let forged = format!("{bearer}mark-of-a-token");
    let json = ("content-type", "application/json");
    let good = ("authorization", bearer.as_str());
    let send = json!({ "channel_id": channel.as_str(), "message": TEXT }).to_string();
    for (method, path, headers, body) in [
        ("POST", "/messages", vec![json], send.as_str()),
        ("POST", "/messages", vec![json, ("authorization", "Bearer mark-of-a-token")], &send),
        ("POST", "/messages", vec![json, ("authorization", "Basic mark-of-a-token")], &send),
        ("POST", "/messages", vec![json, ("authorization", forged.as_str())], &send),
        ("POST", "/messages", vec![json, good], "{\"mark-of-a-field\":1}"),
        ("POST", "/messages", vec![json, good], "{mark-of-a-body"),
        ("POST", "/messages", vec![json, good], "{\"message\":\"mark-of-a-text\",\"message\":1}"),
        ("POST", "/messages", vec![("content-type", "mark-of-a-media/type"), good], &send),
        ("POST", "/messages", vec![json, good, ("traceparent", "00-mark-of-a-trace-1-1")], &send),
        ("POST", "/messages", vec![json, good, ("x-amzn-trace-id", "Root=mark-of-a-trace")], &send),
        ("POST", "/channels", vec![json, good], "{\"type\":\"mark-of-a-type\"}"),
        ("GET", "/scroll?channel_id=mark-of-a-channel&offset=mark-of-a-offset", vec![good], ""),
        ("GET", "/connect?failed=mark-of-a-node!", vec![good], ""),
        ("GET", "/mark-of-a-path", vec![good], ""),
        ("MARK-OF-A-METHOD", "/messages", vec![good], ""),
        ("PUT", "/channels/mark-of-a-channel/members/mark!of", vec![good], ""),
    ] {
        fixture.call(method, path, &headers, body.as_bytes()).await;
    }
    for name in ["alice", "bob"] {
        let assigned = fixture.cluster.api(name).connect(None).await.unwrap();
        let ticket = assigned.target.ticket.clone();
        fixture.given.push(ticket.clone());
        for (ticket, cursor) in [
            ("mark-of-a-ticket", None),
            (ticket.as_str(), Some("mark-of-a-cursor")),
            (ticket.as_str(), None),
        ] {
            let headers = [("x-header", "mark-of-a-header")];
            let mut socket = RawSocket::open(&assigned.target.url, &headers, SOON).await.unwrap();
            socket.hello(ticket, cursor).await.unwrap();
            let came = socket.receive_within(SOON).await;
            assert!(matches!(came, Some(Received::Frame(_) | Received::Closed(4401))), "{came:?}");
            socket.send_bytes(b"\x81\x10mark-of-a-frame").await.unwrap_or_default();
        }
    }
}

/// Injects faults of the store and Redis.
async fn trouble(fixture: &mut Fixture, channel: &ChannelId) {
    let alice = fixture.cluster.api("alice");
    for fault in [StoreFault::LoseAnswer, StoreFault::Throttle, StoreFault::ServerError] {
        fixture.store.set(vec![Rule::all(fault)]);
        let sent = tokio::time::timeout(SOON, alice.post_message(channel, TEXT, None, None)).await;
        assert!(sent.is_ok_and(|sent| sent.is_err()), "{fault:?} is reported");
        fixture.store.set(Vec::new());
    }
    fixture.redis.pause();
    for _ in 0..4 {
        alice.post_message(channel, TEXT, None, None).await.unwrap();
    }
    fixture.redis.resume();
    // Redirect Redis connections to a server with another password.
    let other = RedisServer::start(Flavor::Redis);
    assert_eq!(other.command(&["CONFIG", "SET", "requirepass", "another one"]), "OK");
    fixture.bus.retarget(other.port());
    fixture.bus.reset_all();
    let own = logs::own();
    eventually("a publish fails", SOON, async || {
        alice.post_message(channel, TEXT, None, None).await.unwrap();
        fixture.says(own, "publish failed")
    })
    .await;
    for log in fixture.logs.iter().skip(1) {
        eventually("every node logs the lost subscriptions", SOON, async || {
            fixture.says(log, "subscriptions lost")
        })
        .await;
    }
    // A node that was never healthy does not register, and reports what is wrong.
    fixture.node("json", "mark-of-a-wrong-password");
    let log = fixture.logs.last().unwrap().clone();
    eventually("the node logs the cause", SOON, async || fixture.says(&log, "redis_auth")).await;
}

/// Makes a handler panic with its input, and a task.
async fn panics(fixture: &Fixture) {
    let app = fixture.cluster.stack.app().clone();
    let request = Request::builder().uri("/scroll").body(Bytes::from_static(TEXT.as_bytes()));
    let handle = |_app, request: Request<Bytes>| async move {
        let text = String::from_utf8_lossy(request.body()).into_owned();
        if text == TEXT {
            panic!("{text}");
        }
        Response::new(Bytes::new())
    };
    let response = service::http::serve(app, request.unwrap(), handle).await;
    assert_eq!(response.status(), 503);
    assert!(!String::from_utf8_lossy(response.body()).contains(MARK));
    assert!(fixture.says(logs::own(), "a panic"));
}

/// Misconfigured programs report which variable is wrong, without its value.
fn misconfigured(fixture: &mut Fixture) {
    for (name, value) in [
        ("INKWIRE_REDIS_URL", "redis://default:mark-of-a-password@host:port"),
        ("INKWIRE_REDIS_URL", "mark-of-a-password"),
        ("INKWIRE_TICKET_SECRET", "mark-of-a-secret"),
        ("INKWIRE_NODE_LISTEN", "mark-of-a-address"),
    ] {
        let started =
            Command::new(program("inkwire-node")).env_clear().env(name, value).output().unwrap();
        assert_eq!(started.status.code(), Some(64), "{name}");
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(said.contains(name) && !said.contains(MARK), "{said}");
    }
    fixture.nodes.iter_mut().for_each(NodeProcess::kill);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_holds_a_text_a_token_a_ticket_or_a_secret() {
    let mut fixture = Fixture::build().await;
    for name in ["alice", "bob", "carol"] {
        fixture.token(name).await;
    }
    let channel = talk(&mut fixture).await;
    misuse(&mut fixture, &channel).await;
    trouble(&mut fixture, &channel).await;
    panics(&fixture).await;
    misconfigured(&mut fixture);
    // Make sure that the logs are not empty: each kind of line is there.
    let own = logs::own();
    for message in ["call", "relayed", "publish failed", "publish timed out"] {
        assert!(!logs::lines(own, message).is_empty(), "this process says {message}");
    }
    assert!(logs::lines(own, "call").iter().any(|line| line["status"] == 503));
    for log in fixture.logs.iter().skip(1).take(2) {
        assert!(fixture.says(log, "written to"), "{} says everything", log.display());
    }
    fixture.search();
}
