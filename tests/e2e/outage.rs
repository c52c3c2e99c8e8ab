//! A node's log while Redis is down, does not answer or resets: the right cause, in few lines.

use std::time::Duration;

use client::DevUser;
use tempfile::NamedTempFile;
use tests::cluster::{Cluster, Environment, user};
use tests::person::Person;
use tests::process::{NodeProcess, NodeSetup};
use tests::proxy::tcp::{Fault, TcpProxy};
use tests::watched::WatchedNode;
use tests::{SOON, eventually};

const PAUSES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_is_reported_as_silent_and_never_as_a_tls_mismatch() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let redis = cluster.redis.as_ref().unwrap();
    let node =
        WatchedNode::start(cluster.stack.store_endpoint(), &[("INKWIRE_REDIS_URL", &redis.url())]);
    node.is(200, "ok", &[]).await;
    for _ in 0..PAUSES {
        redis.pause();
        node.is(200, "degraded", &["redis_silent"]).await;
        redis.resume();
        node.is(200, "ok", &[]).await;
    }
    let log = node.log();
    assert!(!log.contains("redis_tls") && !log.contains("rediss://"), "{log}");
    assert!(node.reported("redis_silent").iter().all(|line| line.contains("paused, overloaded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resetting_redis_is_reported_as_resetting_and_never_as_a_tls_mismatch() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let proxy = TcpProxy::start(cluster.redis.as_ref().unwrap().port()).await;
    let (endpoint, url) = (cluster.stack.store_endpoint(), proxy.redis_url());
    let node = WatchedNode::start(endpoint, &[("INKWIRE_REDIS_URL", &url)]);
    node.is(200, "ok", &[]).await;
    proxy.set(Fault::REFUSE);
    proxy.reset_all();
    node.is(200, "degraded", &["redis_reset"]).await;
    proxy.set(Fault::NONE);
    node.is(200, "ok", &[]).await;
    // A node that starts during the fault reports the same.
    proxy.set(Fault::REFUSE);
    let new = WatchedNode::start(endpoint, &[("INKWIRE_REDIS_URL", &url)]);
    new.is(503, "starting", &["redis_reset"]).await;
    for log in [node.log(), new.log()] {
        assert!(!log.contains("redis_tls") && !log.contains("rediss://"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_logs_a_few_lines_and_one_at_its_end() {
    let mut cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let url = cluster.redis.as_ref().unwrap().url();
    let log = NamedTempFile::new().unwrap();
    let node = NodeProcess::of(&NodeSetup {
        log: Some(log.path().to_owned()),
        variables: vec![("INKWIRE_LOG", "info".to_owned())],
        ..NodeSetup::plain(&url, cluster.stack.store_endpoint())
    })
    .await;
    let alice = async |cluster: &Cluster| cluster.api("alice").connect(None).await.is_ok();
    eventually("it is known", SOON, async || alice(&cluster).await).await;
    let mut people = vec![cluster.person("alice").await];
    // Each workspace has its own subscription and reads.
    for workspace in ["w1", "w2", "w3"] {
        let dev = DevUser::new(workspace.parse().unwrap(), user("alice"));
        people.push(Person::start("alice", cluster.api_of(dev)).await);
    }
    cluster.redis.as_mut().unwrap().kill();
    eventually("renewals fail", Duration::from_secs(60), async || {
        node.metric("inkwire_heartbeats_missed_total").await >= 6
    })
    .await;
    let text = || std::fs::read_to_string(log.path()).unwrap();
    let count = |part: &str| text().lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("the lease was not renewed"), 1, "{}", text());
    assert!(count("\"level\":\"WARN\"") <= 4 && count("\"level\":\"ERROR\"") <= 2, "{}", text());
    assert_eq!(count("(os error 111): "), 0, "a cause appears once: {}", text());
    cluster.redis.as_mut().unwrap().restart();
    for line in ["the lease is renewed again", "subscriptions restored", "\"message\":\"resolved\""]
    {
        eventually(line, SOON, async || count(line) == 1).await;
    }
    let ends = text();
    let ended = ends.lines().find(|line| line.contains("the lease is renewed again")).unwrap();
    let ended: serde_json::Value = serde_json::from_str(ended).unwrap();
    let ended = ended.to_string();
    assert!(ended.contains("lasted_ms") && ended.contains("failures"), "{ended}");
    drop(people);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_the_embedded_stack_reports_that_its_redis_is_down() {
    let mut cluster = Cluster::start(Environment::Redis).await;
    let admin = cluster.nodes()[0].admin.unwrap();
    let ready = async || {
        let request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&format!("http://{admin}"), request, SOON).await;
        String::from_utf8(answer.unwrap_or_default()).unwrap_or_default()
    };
    eventually("it is well", SOON, async || ready().await.starts_with("HTTP/1.1 200")).await;
    cluster.redis.as_mut().unwrap().kill();
    eventually("it says so", Duration::from_secs(15), async || {
        let answer = ready().await;
        answer.starts_with("HTTP/1.1 503") && answer.contains(r#"["redis_unreachable"]"#)
    })
    .await;
}
