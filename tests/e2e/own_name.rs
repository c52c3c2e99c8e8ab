//! Nodes that learn their name from their task, and register once it resolves.

use std::sync::Arc;
use std::time::Duration;

use tests::port::free_port;
use tests::process::{NodeProcess, NodeSetup};
use tests::{SOON, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::tls::TlsCluster;

/// A fake metadata server: answers every request with one body and records the requests.
struct Metadata {
    url: String,
    asked: Arc<parking_lot::Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Metadata {
    async fn answering(status: &'static str, body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v4/0a1b", listener.local_addr().unwrap());
        let asked: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if tcp.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                kept.lock().push(String::from_utf8(head).unwrap());
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                tcp.write_all(answer.as_bytes()).await.unwrap_or_default();
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    async fn of_task(id: &str) -> Self {
        let arn = format!("arn:aws:ecs:eu-central-1:123456789012:task/inkwire/{id}");
        let body = format!(r#"{{"Cluster":"inkwire","TaskARN":"{arn}","Containers":[]}}"#);
        Self::answering("200 OK", body).await
    }
}

fn in_task(setup: NodeSetup, host: &str, metadata: &str) -> NodeSetup {
    let port = setup.port;
    let scheme = if setup.certificate.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{host}:{port}/socket");
    let variables =
        vec![("INKWIRE_NODE_URL", url), ("ECS_CONTAINER_METADATA_URI_V4", metadata.to_owned())];
    NodeSetup { variables, ..setup }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_a_node_by_the_name_of_its_task() {
    let tls = TlsCluster::start().await;
    let metadata = Metadata::of_task("localhost").await;
    let certificate = tls.authority.issue_for(&["localhost", "task"], -60, 3_600);
    let setup = in_task(tls.setup(Some(certificate)), "{task_id}", &metadata.url);
    let node = NodeProcess::of(&setup).await;
    let expected = format!("wss://localhost:{}/socket", setup.port);
    eventually("the node is known by that name", SOON, async || {
        tls.fleet().await == [expected.as_str()]
    })
    .await;
    assert!(node.admin_answer("/healthz").await.contains(r#""status":"ok""#));
    let asked = metadata.asked.lock().clone();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("GET /v4/0a1b/task HTTP/1.1\r\n"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_node_whose_name_does_not_resolve_gets_no_clients() {
    let tls = TlsCluster::start().await;
    let metadata = Metadata::of_task("0a1b2c").await;
    // `.invalid` is reserved for names that never resolve (RFC 6761).
    let setup = in_task(tls.setup(None), "{task_id}.invalid", &metadata.url);
    let mut node = NodeProcess::started(&setup);
    eventually("the health check reports what it waits for", SOON, async || {
        let health = node.admin_answer("/healthz").await;
        health.starts_with("HTTP/1.1 503") && health.contains("awaiting_name")
    })
    .await;
    // A node that starts later registers first.
    let other = tls.setup(None);
    let _other = NodeProcess::of(&other).await;
    eventually("the other node is known", SOON, async || !tls.fleet().await.is_empty()).await;
    assert_eq!(tls.fleet().await, [other.url()]);
    let assigned = tls.cluster.api("alice").connect(None).await.unwrap();
    assert_eq!(assigned.target.url, other.url());
    assert!(assigned.alternates.is_empty());
    node.terminate();
    eventually("it exits on SIGTERM all the same", SOON, async || node.has_exited_with(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_usable_task_metadata_ends_with_one_line() {
    let tls = TlsCluster::start().await;
    let placed = |metadata: &str| in_task(tls.setup(None), "{task_id}.nodes.example", metadata);
    let ended = async |metadata: &str| {
        let mut command = placed(metadata).command(free_port());
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
        let line = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        (ended.status.code(), line)
    };
    for (metadata, said) in [
        ("", "ECS_CONTAINER_METADATA_URI_V4 is not set"),
        ("169.254.170.2/v4", "ECS_CONTAINER_METADATA_URI_V4 is not an http:// URL"),
    ] {
        let (code, line) = ended(metadata).await;
        assert!(code == Some(64) && line.contains(said), "{code:?} {line}");
    }
    let nobody = format!("http://127.0.0.1:{}/v4", free_port());
    let (code, line) = ended(&nobody).await;
    assert!(code == Some(69) && line.contains("no connection"), "{code:?} {line}");
    for (status, body, said) in [
        ("500 Internal Server Error", "{}", "answered with 500"),
        ("200 OK", "{}", "does not name the task"),
        ("200 OK", "not JSON", "does not name the task"),
        (
            "200 OK",
            r#"{"TaskARN":"arn:aws:ecs:x:1:task/inkwire/a.b/c_d"}"#,
            "does not name the task",
        ),
        ("200 OK", r#"{"TaskARN":7}"#, "does not name the task"),
    ] {
        let metadata = Metadata::answering(status, body.to_owned()).await;
        let (code, line) = ended(&metadata.url).await;
        assert!(code == Some(69) && line.contains(said), "{body}: {code:?} {line}");
        assert!(metadata.asked.lock().len() > 1, "asked more than once");
    }
}
