//! What is said in a channel that keeps nothing is nowhere afterwards (G15). A control that is kept
//! must be found in each place, or the search proves nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Bus, Data, StackOptions};
use model::MessageText;
use parking_lot::Mutex;
use service::config::RedisUrl;
use tests::cluster::{Cluster, options, secrets};
use tests::process::{NodeProcess, NodeSetup};
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually, logs};

use crate::functions::TOKEN_SECRET;
use crate::meetings::{hears, joins, meeting};

const NEEDLE: &str = "needle-that-must-be-nowhere";
/// After this time nothing that was said may be in a node's memory.
const HELD_AT_MOST: Duration = Duration::from_secs(15);
/// Sent to a channel that keeps it.
const CONTROL: &str = "control-that-must-be-found";

#[tokio::test(flavor = "multi_thread")]
async fn g15_what_was_said_is_in_no_table_stream_file_log_or_memory() {
    logs::own();
    let redis = RedisServer::start(Flavor::Redis);
    keeps_all(&redis);
    let monitored = monitor(redis.port());
    let data = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::start(EngineData::Directory(data.path().to_owned())).unwrap());
    let stack = StackOptions {
        nodes: 0,
        data: Data::Endpoint(engine.endpoint().to_owned()),
        engine: Some(Arc::clone(&engine)),
        bus: Bus::Redis(RedisUrl::parse(&redis.url()).unwrap()),
        token_secrets: Some(secrets(TOKEN_SECRET)),
        ..options()
    };
    let cluster = Cluster::of(stack, None).await;
    let log = data.path().join("node.log");
    let setup = NodeSetup {
        variables: vec![("INKWIRE_LOG", "trace".to_owned())],
        log: Some(log.clone()),
        ..NodeSetup::plain(&redis.url(), engine.endpoint())
    };
    let node = NodeProcess::started(&setup);
    let nodes = &cluster.stack.ports().nodes;
    eventually("the node is known", SOON, async || {
        nodes.fleet().await.is_ok_and(|fleet| fleet.len() == 1)
    })
    .await;

    let channel = meeting(&cluster, "alice", &["bob"]).await;
    let kept = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = (cluster.person("alice").await, cluster.person("bob").await);
    joins(&alice, &channel).await;
    joins(&bob, &channel).await;
    let needle = MessageText::parse(NEEDLE.to_owned()).unwrap();
    for _ in 0..10 {
        alice.client.say(&channel, needle.clone()).await.unwrap();
    }
    let all: Vec<_> = (1..=10).map(|n| (n, NEEDLE, 0)).collect();
    hears(&bob, &all).await;
    alice.says(&kept, CONTROL).await;
    bob.hears(&kept, CONTROL).await;
    // Arguments in the slow log are cut, so it needs a short one.
    assert_eq!(redis.command(&["SET", "ink:{control}:x", CONTROL]), "OK");
    tokio::time::sleep(HELD_AT_MOST).await;
    let memory = node.memory();
    drop(node);

    // SAVE writes every key there is. It is refused while the server saves by itself.
    eventually("a snapshot is written", SOON, async || redis.command(&["SAVE"]) == "OK").await;
    let slow = redis.command(&["SLOWLOG", "GET", "-1"]);
    eventually("the monitor saw the control", SOON, async || contains(&monitored.lock(), CONTROL))
        .await;
    let monitored = monitored.lock().clone();
    let (own, node_log) = (logs::text(logs::own()), logs::text(&log));
    for (place, bytes, holds_control) in [
        ("the node's memory", memory, true),
        ("the tables", read_all(data.path()), true),
        ("the append-only file and the snapshot", read_all(redis.directory()), true),
        ("the slow log", slow.into_bytes(), true),
        ("the monitor", monitored, true),
        ("the functions' log", own.into_bytes(), false),
        ("the node's log", node_log.into_bytes(), false),
    ] {
        assert!(!bytes.is_empty(), "{place} has something");
        assert_eq!(contains(&bytes, CONTROL), holds_control, "the control in {place}");
        assert!(!contains(&bytes, NEEDLE), "the needle is in {place}");
    }
}

/// Makes a server write down whatever it can.
fn keeps_all(redis: &RedisServer) {
    for (name, value) in [
        ("appendonly", "yes"),
        ("save", "1 1"),
        // A compressed text would not be found.
        ("rdbcompression", "no"),
        ("slowlog-log-slower-than", "0"),
        ("slowlog-max-len", "100000"),
    ] {
        assert_eq!(redis.command(&["CONFIG", "SET", name, value]), "OK", "{name}");
    }
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// All files below a directory, one after the other.
fn read_all(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(read_all(&path));
        } else if path.extension().is_none_or(|extension| extension != "log") {
            bytes.extend(fs::read(&path).unwrap());
        }
    }
    bytes
}

/// Collects every command that the server executes.
fn monitor(port: u16) -> Arc<Mutex<Vec<u8>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            kept.lock().extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    });
    seen
}
