//! Functions under the Lambda runtime: the latency of a thawed one, and the figures of each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::LogId;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Environment, TICKET_SECRET};
use tests::lambda::{Function, http_event};
use tests::process::program;
use tests::{SOON, eventually, percentile};
use tokio::time::Instant;

use crate::deliver_first::{delivering, delivers, told_archived};

pub(crate) const TOKEN_SECRET: &str = "tokens-of-a-test-0123456789-0123456789-0";

/// A cluster, and what its functions need when they run as separate processes.
struct Fixture {
    cluster: Cluster,
    channel: String,
    /// The path of a message.
    message: String,
    token: String,
}

impl Fixture {
    async fn start() -> Self {
        let cluster = Cluster::with_nodes(Environment::Redis, 1).await;
        let channel = cluster.group("alice", &["bob"]).await.id;
        // In a channel of its own, whose messages no test counts.
        let other = cluster.group("alice", &[]).await.id;
        let posted = cluster.api("alice").post_message(&other, "hi", None, None).await.unwrap();
        let message = format!("/channels/{other}/messages/{}", posted.message.id);
        let channel = channel.to_string();
        let token = token_of(&cluster, "alice");
        Self { cluster, channel, message, token }
    }

    /// Starts a function. It ignores variables that only other functions read.
    async fn function(&self, program: &Path, name: &str) -> Function {
        let mut variables = vec![("INKWIRE_LOG", "error".to_owned())];
        if name == "relay" {
            variables.push(("INKWIRE_REDIS_REPLICAS", "0".to_owned()));
        } else {
            variables.push(("INKWIRE_TOKEN_SECRET", TOKEN_SECRET.to_owned()));
            variables.push(("INKWIRE_TICKET_SECRET", TICKET_SECRET.to_owned()));
        }
        Function::start(&self.cluster, program, &variables).await
    }

    /// An event that the function answers with 200.
    fn event(&self, name: &str) -> Value {
        let Self { channel, token, .. } = self;
        match name {
            "send" => {
                let body = json!({ "channel_id": channel, "message": "hello" }).to_string();
                http_event("POST", "/messages", "", token, &body)
            }
            "scroll" => http_event("GET", "/scroll", &format!("channel_id={channel}"), token, ""),
            "membership" => http_event("GET", "/channels", "", token, ""),
            "amend" => http_event("GET", &self.message, "", token, ""),
            // It signs an upload without a call of S3.
            "files" => {
                let body = json!({
                    "channel_id": channel, "name": "a", "type": "a/b", "bytes": 1,
                    "sha256": "0".repeat(64),
                });
                http_event("POST", "/attachments", "", token, &body.to_string())
            }
            "connect" => http_event("GET", "/connect", "", token, ""),
            "archive" => json!({}),
            "relay" | "derive" => json!({ "Records": [] }),
            _ => panic!("no function {name}"),
        }
    }
}

/// A token that functions with [`TOKEN_SECRET`] accept.
pub(crate) fn token_of(cluster: &Cluster, user: &str) -> String {
    let expires = jsonwebtoken::get_current_timestamp() + 3_600;
    let claims =
        json!({ "sub": user, "workspace_id": cluster.workspace().as_str(), "exp": expires });
    let key = jsonwebtoken::EncodingKey::from_secret(TOKEN_SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

async fn send_ok(function: &Function, event: &Value) -> Duration {
    let asked_at = Instant::now();
    let answer = function.invoke(event).await;
    assert_eq!(answer.payload["statusCode"], 200, "{:?}", answer.payload);
    answer.at.duration_since(asked_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn g3_a_function_whose_connection_broke_while_frozen_sends_as_fast_as_before() {
    let fixture = Fixture::start().await;
    let bob = fixture.cluster.person("bob").await;
    let redis = fixture.cluster.redis.as_ref().unwrap();
    let function = fixture.function(&program("send"), "send").await;
    let event = fixture.event("send");
    let mut warm = Vec::new();
    for _ in 0..20 {
        warm.push(send_ok(&function, &event).await);
    }
    let usual = percentile(&warm[1..], 50);
    let mut thawed = Vec::new();
    for frozen in [true, false, true, false, true] {
        if frozen {
            function.freeze();
        }
        // Kill all other connections. The stack's nodes lose theirs, too, and reconnect at once.
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        if frozen {
            function.thaw();
        }
        thawed.push(send_ok(&function, &event).await);
    }
    println!("a send takes {usual:.1?}; with the connection lost {thawed:.1?}");
    let worst = thawed.iter().max().unwrap();
    // Less than the 200 ms budget of an unanswered publish, so the call did not wait for one.
    assert!(*worst < usual + Duration::from_millis(150), "{usual:?} as before, then {thawed:?}");
    let channel = fixture.channel.parse().unwrap();
    eventually("all are pushed", SOON, async || bob.ids(&channel).len() == 25).await;
    let relay = fixture.cluster.stack.relay();
    eventually("the relay has seen them all", SOON, async || relay.counts().relayed == 26).await;
    // The relay reads every 150 ms, so it may overtake a send's publish, but not every time.
    assert!(relay.counts().appended < 3, "the sends published: {:?}", relay.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_the_function_archive_stores_what_was_delivered_and_ends_at_once_if_nothing_was() {
    let fixture = Fixture::start().await;
    let cluster = &fixture.cluster;
    cluster.stack.stop_archive();
    let function = fixture.function(&program("archive"), "archive").await;
    let event = json!({ "source": "aws.events", "detail-type": "Scheduled Event" });
    assert_eq!(function.invoke(&event).await.payload, Value::Null, "nobody sent anything");
    let channel = delivering(cluster, "alice", &["bob"]).await;
    let alice = cluster.person("alice").await;
    let id = delivers(&alice, &channel, "hello").await;
    let log = LogId::from(&channel);
    let is_stored =
        async || cluster.stack.ports().messages.entry(&log, id).await.unwrap().is_some();
    assert!(!is_stored().await, "the stack's own archiver is stopped");
    let stored = async {
        eventually("it is stored", SOON, is_stored).await;
        eventually("alice is told", SOON, async || told_archived(&alice) == [id]).await;
    };
    // A run takes almost a minute. What it took would be taken again if it died.
    tokio::select! {
        answer = function.invoke(&event) => panic!("a run goes on: {:?}", answer.payload),
        () = stored => {}
    }
}

/// Tests under `cargo lambda watch`, whose output is the functions' log.
mod watched {
    use service::config::{Env as _, ProcessEnv};
    use tests::cluster::Environment;
    use tests::deployment::AnyCluster;
    use tests::{SOON, eventually, logs};

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "tests/cloud watch runs it"]
    async fn a_send_writes_one_log_line_with_its_metrics() {
        let log = ProcessEnv.value("INKWIRE_TEST_LOG").expect("tests/cloud watch names the log");
        let log = std::path::PathBuf::from(log);
        let cluster = AnyCluster::start(Environment::Deployed).await;
        let channel = cluster.group("alice", &["bob"]).await.id;
        let text = "words that are in no log";
        let posted = cluster.api("alice").post_message(&channel, text, None, None).await.unwrap();
        let id = posted.message.id.to_string();
        let of_send = || {
            let lines = logs::lines(&log, "call").into_iter();
            lines.filter(|line| line["message_id"] == id.as_str()).collect::<Vec<_>>()
        };
        eventually("the line is written", SOON, async || !of_send().is_empty()).await;
        let [line] = &of_send()[..] else { panic!("one line a call: {:?}", of_send()) };
        assert_eq!((&line["function"], &line["status"]), (&"send".into(), &200.into()), "{line}");
        assert_eq!((&line["stored"], &line["published"]), (&1.into(), &1.into()), "{line}");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Inkwire", "{line}");
        for metric in ["stored", "published"] {
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!(metrics.iter().any(|one| one["Name"] == metric), "{metric} in {line}");
        }
        assert!(!logs::text(&log).contains(text), "a text is in the log");
    }
}

/// Prints the figures of `tests/cloud figures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/cloud figures runs it, on the programs that are deployed"]
async fn figures_of_the_functions() {
    let fixture = Fixture::start().await;
    for name in
        ["send", "scroll", "membership", "amend", "files", "connect", "archive", "relay", "derive"]
    {
        let bootstrap = deployed(name);
        let event = fixture.event(name);
        let (mut starts, mut firsts) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let function = fixture.function(&bootstrap, name).await;
            starts.push(function.initialisation().await);
            let answer = function.invoke(&event).await;
            firsts.push(function.age_at(answer.at));
            let (status, failed) =
                (&answer.payload["statusCode"], &answer.payload["batchItemFailures"]);
            assert!(
                *status == 200
                    || *status == 201
                    || *failed == json!([])
                    || (name == "archive" && answer.payload.is_null()),
                "{name}: {:?}",
                answer.payload
            );
        }
        let function = fixture.function(&bootstrap, name).await;
        for _ in 0..CALLS / 10 {
            function.invoke(&event).await;
        }
        let (before, mut took) = (function.cpu(), Vec::new());
        for _ in 0..CALLS {
            let asked_at = Instant::now();
            took.push(function.invoke(&event).await.at.duration_since(asked_at));
        }
        let cpu = (function.cpu() - before) / CALLS;
        let zip = zipped(&bootstrap);
        assert!(zip <= ZIP_MEGABYTES_MAX, "{name}: {zip:.2} MB");
        println!(
            "figure: {name}: zip {zip:.2} MB; start to first question p50 {:.1?}; start to first \
             answer p50 {:.1?} p90 {:.1?}; warm answer p50 {:.2?}; CPU a call {} us",
            percentile(&starts, 50),
            percentile(&firsts, 50),
            percentile(&firsts, 90),
            percentile(&took, 50),
            cpu.as_micros(),
        );
    }
    let function = fixture.function(&deployed("send"), "send").await;
    let refused = http_event("POST", "/messages", "", "none", "{}");
    function.invoke(&refused).await;
    let before = function.cpu();
    for _ in 0..CALLS {
        function.invoke(&refused).await;
    }
    let cpu = (function.cpu() - before) / CALLS;
    println!(
        "figure: send, refused at the token: CPU a call {} us: runtime and decoding alone",
        cpu.as_micros(),
    );
}

/// The program that `infra/deploy functions` built for this machine's processor architecture.
fn deployed(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let bootstrap = root.join("target/lambda").join(arch).join(name).join("bootstrap");
    assert!(bootstrap.is_file(), "{}: run tests/cloud figures", bootstrap.display());
    bootstrap
}

/// The program's size in a zip, in megabytes.
fn zipped(bootstrap: &Path) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let zip = directory.path().join("bootstrap.zip");
    let python = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-c"])
        .arg(&zip)
        .arg(bootstrap)
        .status();
    assert!(python.unwrap().success(), "python3 -m zipfile");
    #[expect(clippy::cast_precision_loss, reason = "a size in megabytes, for people")]
    let bytes = std::fs::metadata(&zip).unwrap().len() as f64;
    bytes / 1e6
}

/// The limit of a zipped function: Lambda loads the program before its first call.
const ZIP_MEGABYTES_MAX: f64 = 5.0;
/// Cold starts per function.
const STARTS: usize = 20;
/// Warm calls per function.
const CALLS: u32 = 1_000;
