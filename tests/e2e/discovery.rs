//! Nodes find Redis by the id of its replication group: with an emulator's ElastiCache API, and
//! with a fake one for answers that the emulator does not give.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tests::cluster::{Cluster, Environment};
use tests::port::free_port;
use tests::redis::{Flavor, RedisServer};
use tests::watched::{WatchedNode, check};
use tests::{SOON, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const GROUP: &str = "INKWIRE_REDIS_GROUP";
const API: &str = "AWS_ENDPOINT_URL_ELASTICACHE";
const TOKEN: &str = "INKWIRE_REDIS_TOKEN";

/// A cluster with the engine and its tables, without nodes.
async fn tables() -> Cluster {
    Cluster::with_nodes(Environment::Embedded, 0).await
}

/// A fake ElastiCache API, which always returns the answer that was set last.
struct FakeApi {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
}

impl FakeApi {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((500, String::new())));
        let given = Arc::clone(&answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (status, body) = given.lock().clone();
                read_request(&mut stream).await;
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap_or_default();
                stream.write_all(body.as_bytes()).await.unwrap_or_default();
            }
        });
        Self { url, answer }
    }

    fn says(&self, status: u16, body: String) {
        *self.answer.lock() = (status, body);
    }

    /// Answers with a group `cache`, with these elements changed or added.
    fn has(&self, status: &str, primary: Option<u16>, more: &str) {
        let shard = primary.map_or_else(String::new, |port| {
            format!(
                "<NodeGroup><NodeGroupId>0001</NodeGroupId><Status>available</Status>\
                 <PrimaryEndpoint><Address>127.0.0.1</Address><Port>{port}</Port></PrimaryEndpoint>\
                 <ReaderEndpoint><Address>reader.example</Address><Port>6379</Port></ReaderEndpoint>\
                 </NodeGroup>"
            )
        });
        let body = format!(
            "<DescribeReplicationGroupsResponse \
             xmlns=\"http://elasticache.amazonaws.com/doc/2015-02-02/\">\
             <DescribeReplicationGroupsResult><ReplicationGroups><ReplicationGroup>\
             <ReplicationGroupId>cache</ReplicationGroupId><Status>{status}</Status>\
             <Engine>valkey</Engine><MemberClusters><ClusterId>cache-001</ClusterId>\
             <ClusterId>cache-002</ClusterId></MemberClusters>\
             <NodeGroups>{shard}</NodeGroups>{more}\
             </ReplicationGroup></ReplicationGroups></DescribeReplicationGroupsResult>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </DescribeReplicationGroupsResponse>"
        );
        self.says(200, body);
    }

    fn refuses(&self, status: u16, code: &str) {
        let body = format!(
            "<ErrorResponse xmlns=\"http://elasticache.amazonaws.com/doc/2015-02-02/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>\
             <RequestId>r</RequestId></ErrorResponse>"
        );
        self.says(status, body);
    }
}

/// Reads a request to the end of its body, because an answer before that may be lost.
async fn read_request(stream: &mut TcpStream) {
    let mut text = String::new();
    let mut some = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut some).await {
        text.push_str(&String::from_utf8_lossy(&some[..count]).to_lowercase());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_judged_in_one_line_by_what_the_api_answers() {
    let (cluster, api) = (tables().await, FakeApi::start().await);
    let redis = RedisServer::start(Flavor::Redis);
    let environment = [(GROUP, "cache"), (API, &api.url)];
    let judged = |more: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = environment.iter().chain(more).copied().collect();
        let checked = check(cluster.stack.store_endpoint(), &all);
        (checked.status.code(), String::from_utf8(checked.stdout).unwrap())
    };
    let port = Some(redis.port());
    api.has("available", port, "<ClusterEnabled>false</ClusterEnabled>");
    let (code, text) = judged(&[]);
    assert_eq!(code, Some(0), "{text}");
    let primary = format!(
        "ok: redis endpoints: primary 127.0.0.1:{}, reader reader.example:6379\n",
        redis.port()
    );
    for line in [
        "ok: redis group: available, valkey, 2 members\n",
        &primary,
        "ok: redis tls: off\n",
        "ok: redis role: primary, 0 replicas attached\n",
        "ok: redis version: redis ",
        "ok: redis eviction: noeviction\n",
        "ok: redis writes: taken\n",
        "ok: tables: ",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let token = [(TOKEN, "hunter2hunter2hunter2")];
    let tls = "<TransitEncryptionEnabled>true</TransitEncryptionEnabled>";
    let wanted = "<AuthTokenEnabled>true</AuthTokenEnabled>";
    for (set, more, beginning, part) in [
        (
            ("available", port),
            "<ClusterEnabled>true</ClusterEnabled>",
            "redis_group",
            "cluster mode",
        ),
        (
            ("available", port),
            "<ClusterMode>compatible</ClusterMode>",
            "redis_group",
            "cluster mode",
        ),
        (("creating", None), "", "redis_group", "is creating"),
        (("available", port), wanted, "redis_auth", "set INKWIRE_REDIS_TOKEN"),
        (("available", port), tls, "redis_tls", "use redis://"),
    ] {
        api.has(set.0, set.1, more);
        let (code, text) = judged(&[]);
        assert_eq!(code, Some(69), "{text}");
        let line = text.lines().find(|line| line.starts_with(beginning)).unwrap_or(&text);
        assert!(line.contains(part) && line.contains("fix: "), "{part}: {text}");
    }
    api.has("available", port, "");
    let (_, text) = judged(&token);
    assert!(text.starts_with("redis_auth: ") && text.contains("takes no AUTH token"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    for (status, code, part) in [
        (404, "ReplicationGroupNotFoundFault", "there is no replication group cache"),
        (403, "AccessDenied", "elasticache:DescribeReplicationGroups"),
    ] {
        api.refuses(status, code);
        let (ended, text) = judged(&[]);
        assert_eq!(ended, Some(69), "{text}");
        assert!(text.starts_with("redis_group: ") && text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_follows_a_group_that_was_replaced() {
    let (cluster, api) = (tables().await, FakeApi::start().await);
    let mut old = RedisServer::start(Flavor::Redis);
    let new = RedisServer::start(Flavor::Redis);
    api.refuses(404, "ReplicationGroupNotFoundFault");
    let environment = [(GROUP, "cache"), (API, &*api.url)];
    let node = WatchedNode::start(cluster.stack.store_endpoint(), &environment);
    node.is(503, "starting", &["redis_group"]).await;
    api.has("available", Some(old.port()), "");
    node.is(200, "ok", &[]).await;
    let leases = ["ZCARD", "{ink:fleet}:leases"];
    eventually("it registers", SOON, async || old.command(&leases) == "1").await;
    old.kill();
    api.has("available", Some(new.port()), "");
    eventually("it registers there", SOON * 2, async || new.command(&leases) == "1").await;
    node.is(200, "ok", &[]).await;
    assert_eq!(node.reported("redis_group").len(), 1, "{}", node.log());
}

/// The emulator, on a free port; killed when dropped.
struct Emulator {
    process: Child,
    url: String,
}

impl Emulator {
    fn start(redis: &RedisServer) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/ministack");
        assert!(
            program.is_file(),
            "ministack not found: install {EMULATOR} into .venv (`tests/run` does it)"
        );
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let process = Command::new(program)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("LOCALSTACK_HOSTNAME", "localhost")
            .env("MINISTACK_HOST", "localhost")
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", redis.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, url }
    }

    async fn elasticache(&self, form: &str) -> Option<String> {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/elasticache/aws4_request, \
             SignedHeaders=host, Signature=0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let answer = client::exchange(&self.url, request.as_bytes(), Duration::from_secs(10)).await;
        String::from_utf8(answer.ok()?).ok().filter(|answer| answer.starts_with("HTTP/1.1 200"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // An error means that it has already ended.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_its_group_through_an_emulators_api() {
    let cluster = tables().await;
    let redis = RedisServer::start(Flavor::Valkey);
    let emulator = Emulator::start(&redis);
    let created = "Action=CreateReplicationGroup&Version=2015-02-02&ReplicationGroupId=inkwire-cache\
        &ReplicationGroupDescription=x&Engine=valkey&NumNodeGroups=1&ReplicasPerNodeGroup=1\
        &AutomaticFailoverEnabled=true";
    eventually("a group is made", SOON, async || emulator.elasticache(created).await.is_some())
        .await;
    let environment = [(GROUP, "inkwire-cache"), ("AWS_ENDPOINT_URL_ELASTICACHE", &*emulator.url)];
    let endpoint = cluster.stack.store_endpoint();
    let checked = check(endpoint, &environment);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{text}");
    assert!(text.starts_with("ok: redis group: available, valkey, 2 members\n"), "{text}");
    assert!(text.contains("ok: redis version: valkey "), "{text}");
    let node = WatchedNode::start(endpoint, &environment);
    node.is(200, "ok", &[]).await;
    eventually("it registers", SOON, async || {
        redis.command(&["ZCARD", "{ink:fleet}:leases"]) == "1"
    })
    .await;
    let missing = [(GROUP, "another"), (API, &*emulator.url)];
    let text = String::from_utf8(check(endpoint, &missing).stdout).unwrap();
    assert!(text.starts_with("redis_group: redis group: there is no replication group"), "{text}");
}

const EMULATOR: &str = "ministack==1.5.33";
