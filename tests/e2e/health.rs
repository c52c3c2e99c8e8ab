//! Nodes whose Redis or store is misconfigured or broken: their log and health check name the
//! problem, and they recover once it is fixed.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tests::cluster::{Cluster, Environment};
use tests::port::free_port;
use tests::proxy::http::{Rule, StoreFault, StoreProxy};
use tests::redis::{Flavor, RedisServer};
use tests::store::local_client;
use tests::watched::{WatchedNode, check};
use tests::{SOON, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PASSWORD: &str = "hunter2hunter2hunter2";

/// A cluster with the engine, its tables and a Redis, without nodes.
async fn parts() -> Cluster {
    Cluster::with_nodes(Environment::Redis, 0).await
}

fn redis_of(cluster: &Cluster) -> &RedisServer {
    cluster.redis.as_ref().unwrap()
}

fn node_on(cluster: &Cluster, redis_url: &str) -> WatchedNode {
    let endpoint = cluster.stack.store_endpoint();
    WatchedNode::start(endpoint, &[("INKWIRE_REDIS_URL", redis_url)])
}

/// Checks that exactly one log line names the problem and its fix, without a secret.
fn is_reported_once(node: &WatchedNode, trouble: &str) {
    let found = node.reported(trouble);
    assert_eq!(found.len(), 1, "{trouble}: {}", node.log());
    assert!(found[0].contains("fix: "), "{}", found[0]);
    assert!(!node.log().contains(PASSWORD), "{}", node.log());
}

async fn in_directory(cluster: &Cluster) -> bool {
    cluster.api("probe").connect(None).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_replica_gets_no_clients_until_the_replica_is_promoted() {
    let cluster = parts().await;
    let replica = RedisServer::replica_of(redis_of(&cluster), Flavor::Redis);
    let node = node_on(&cluster, &replica.url());
    node.is(503, "starting", &["redis_read_only"]).await;
    is_reported_once(&node, "redis_read_only");
    let checked = check(cluster.stack.store_endpoint(), &[("INKWIRE_REDIS_URL", &replica.url())]);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(69), "{text}");
    assert!(text.contains("ok: redis role: replica\n"), "{text}");
    assert!(text.contains("redis_read_only: redis writes: "), "{text}");
    assert!(text.contains("ok: tables: "), "{text}");
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    node.is(200, "ok", &[]).await;
    assert_eq!(node.answer("/readyz").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_ends_no_node_and_closes_no_socket() {
    let cluster = parts().await;
    let other = RedisServer::start(Flavor::Redis);
    let mut node = node_on(&cluster, &redis_of(&cluster).url());
    node.is(200, "ok", &[]).await;
    eventually("it is known", SOON, async || in_directory(&cluster).await).await;
    let person = cluster.person("alice").await;
    let port = other.port().to_string();
    redis_of(&cluster).command(&["REPLICAOF", "127.0.0.1", &port]);
    node.is(200, "degraded", &["redis_read_only"]).await;
    let (status, body) = node.answer("/readyz").await.unwrap();
    assert_eq!((status, &body["connections"]), (503, &serde_json::json!(1)), "{body}");
    is_reported_once(&node, "redis_read_only");
    redis_of(&cluster).command(&["REPLICAOF", "NO", "ONE"]);
    node.is(200, "ok", &[]).await;
    assert!(node.is_alive());
    assert_eq!(person.count(|event| matches!(event, client::Event::Disconnected { .. })), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_and_correcting_it_is_enough() {
    let cluster = parts().await;
    let redis = redis_of(&cluster);
    let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port());
    redis.command(&["CONFIG", "SET", "requirepass", "another"]);
    let wrong = node_on(&cluster, &url);
    let none = node_on(&cluster, &redis.url());
    for node in [&wrong, &none] {
        node.is(503, "starting", &["redis_auth"]).await;
        is_reported_once(node, "redis_auth");
    }
    set_password(redis.port(), "another", PASSWORD).await;
    wrong.is(200, "ok", &[]).await;
    set_password(redis.port(), PASSWORD, "").await;
    none.is(200, "ok", &[]).await;
}

async fn set_password(port: u16, now: &str, next: &str) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let next = if next.is_empty() { "\"\"" } else { next };
    let commands = format!("AUTH {now}\r\nCONFIG SET requirepass {next}\r\nQUIT\r\n");
    stream.write_all(commands.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers, "+OK\r\n+OK\r\n+OK\r\n");
}

/// A port that answers plain text as a TLS server does: with an alert, then it closes.
async fn tls_only() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 64];
            stream.read(&mut some).await.map(drop).unwrap_or_default();
            stream.write_all(&[21, 3, 3, 0, 2, 2, 70]).await.unwrap_or_default();
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_one_side_only_is_distinguished_from_an_unreachable_server() {
    let cluster = parts().await;
    let plain = redis_of(&cluster).url().replace("redis://", "rediss://");
    let tls = format!("redis://127.0.0.1:{}", tls_only().await);
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    for (url, trouble, fix) in [
        (plain, "redis_tls", "use redis://"),
        (tls, "redis_tls", "use rediss://"),
        (nobody, "redis_unreachable", "nothing answers there"),
    ] {
        let node = node_on(&cluster, &url);
        node.is(503, "starting", &[trouble]).await;
        is_reported_once(&node, trouble);
        assert!(node.reported(trouble)[0].contains(fix), "{url}: {}", node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_reported_with_the_call_that_needs_it() {
    let cluster = parts().await;
    let redis_url = redis_of(&cluster).url();
    let proxy = StoreProxy::start(cluster.stack.store_endpoint(), 1).await;
    for operation in [&["Query"], &["DescribeTable"]] {
        proxy.set(vec![Rule::all(StoreFault::Deny).of(operation)]);
        let node = WatchedNode::start(proxy.url(), &[("INKWIRE_REDIS_URL", &redis_url)]);
        node.is(503, "starting", &["store_denied"]).await;
        is_reported_once(&node, "store_denied");
        let needs = format!("give the role dynamodb:{}", operation[0]);
        assert!(node.reported("store_denied")[0].contains(&needs), "{}", node.log());
        proxy.set(Vec::new());
        node.is(200, "ok", &[]).await;
        if operation[0] == "Query" {
            taken_away(&cluster, &proxy, &node).await;
        }
    }
    // Only the control plane fails: shapes cannot be checked, and nodes serve all the same.
    proxy.set(vec![Rule::all(StoreFault::ServerError).of(&["DescribeTable"])]);
    let node = WatchedNode::start(proxy.url(), &[("INKWIRE_REDIS_URL", &redis_url)]);
    node.is(200, "ok", &[]).await;
}

/// Takes a permission away from a serving node, and gives it back.
async fn taken_away(cluster: &Cluster, proxy: &StoreProxy, node: &WatchedNode) {
    eventually("it is known", SOON, async || in_directory(cluster).await).await;
    proxy.set(vec![Rule::all(StoreFault::Deny).of(&["Query"])]);
    let given_back = async {
        node.is(200, "degraded", &["store_denied"]).await;
        proxy.set(Vec::new());
        node.is(200, "ok", &[]).await;
    };
    // A client that connects meanwhile is only delayed.
    tokio::join!(cluster.person("alice"), given_back);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_shape_are_reported_with_what_differs() {
    let cluster = parts().await;
    let endpoint = cluster.stack.store_endpoint();
    let client = local_client(endpoint).await;
    for (table, keys) in [
        ("odd-messages", vec![("channel_id", KeyType::Hash), ("created_at", KeyType::Range)]),
        ("odd-channels", vec![("id", KeyType::Hash)]),
        ("odd-memberships", vec![("channel_id", KeyType::Hash), ("user_id", KeyType::Range)]),
    ] {
        let mut request =
            client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for (name, role) in keys {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role).build();
            request = request.attribute_definitions(attribute).key_schema(key.unwrap());
        }
        request.send().await.unwrap();
    }
    let redis_url = redis_of(&cluster).url();
    let environment = |prefix: &'static str| {
        [("INKWIRE_REDIS_URL", redis_url.clone()), ("INKWIRE_TABLE_PREFIX", prefix.to_owned())]
    };
    let of = |prefix| environment(prefix).map(|(name, value)| (name, value));
    let odd = of("odd-");
    let odd: Vec<(&str, &str)> = odd.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let node = WatchedNode::start(endpoint, &odd);
    node.is(503, "starting", &["table_missing", "table_shape", "table_settings"]).await;
    for (trouble, part) in [
        ("table_missing", "odd-user_channels"),
        ("table_shape", "odd-channels has keys"),
        ("table_settings", "odd-messages has stream none"),
        ("table_settings", "has time-to-live none"),
    ] {
        let found = node.reported(trouble);
        assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:?}");
    }
    let new = of("new-");
    let new: Vec<(&str, &str)> = new.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let node = WatchedNode::start(endpoint, &new);
    node.is(503, "starting", &["table_missing"]).await;
    dynamo::create_tables(&client, "new-").await.unwrap();
    node.is(200, "ok", &[]).await;
    // A problem that only concerns other programs is reported, but does not stop the node.
    let lapses = aws_sdk_dynamodb::types::TimeToLiveSpecification::builder()
        .enabled(false)
        .attribute_name("x")
        .build()
        .unwrap();
    let request = client.update_time_to_live().table_name("new-messages");
    request.time_to_live_specification(lapses).send().await.unwrap();
    let node = WatchedNode::start(endpoint, &new);
    node.is(200, "degraded", &["table_settings"]).await;
    assert_eq!(node.answer("/readyz").await.unwrap().0, 503);
}
