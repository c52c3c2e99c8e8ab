//! The suite of sessions, on memory, Redis and Valkey.

use std::sync::Arc;
use std::time::Duration;

use memory::{ManualClock, MemoryBus};
use messaging::ports::{EventBus, Notice, Sealed, Sessions};
use model::{ChannelId, SessionId, SessionPosition, Timestamp, WorkspaceId};
use protocol::signal::{SaidSignal, Signal};
use redis_bus::RedisBus;
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually};

/// Sessions without any, and the bus that carries what is said.
struct Fixture {
    sessions: Arc<dyn Sessions>,
    bus: Arc<dyn EventBus>,
    /// Kept for its life.
    _server: Option<RedisServer>,
}

fn on_memory() -> Fixture {
    let bus = MemoryBus::new(Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000))));
    Fixture { sessions: Arc::new(bus.clone()), bus: Arc::new(bus), _server: None }
}

fn on_server(flavor: Flavor) -> Fixture {
    let server = RedisServer::start(flavor);
    let bus = RedisBus::connect(&server.url()).unwrap();
    Fixture { sessions: Arc::new(bus.clone()), bus: Arc::new(bus), _server: Some(server) }
}

suite! {
    g15_a_session_counts_what_is_said_and_begins_once
    g15_what_is_said_is_pushed_in_the_order_of_its_numbers
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn channel(n: u64) -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(n), n.into())
}

fn session(n: u64) -> SessionId {
    SessionId::mint(Timestamp::from_unix_ms(n), n.into())
}

fn sealed(channel_id: &ChannelId, text: &str) -> Sealed {
    Sealed { channel_id: channel_id.clone(), members_version: 3, text: text.to_owned() }
}

async fn g15_a_session_counts_what_is_said_and_begins_once(fixture: &Fixture) {
    let (sessions, workspace) = (&fixture.sessions, acme());
    let at = |first: u64, n| SessionPosition { session: session(first), n };
    let begun = sessions.session(&workspace, &channel(1), session(1)).await.unwrap();
    assert_eq!(begun, at(1, 0));
    for n in 1..4 {
        let said = sealed(&channel(1), "x");
        assert_eq!(sessions.say(&workspace, &said, session(9)).await.unwrap(), at(1, n));
    }
    assert_eq!(sessions.session(&workspace, &channel(1), session(9)).await.unwrap(), at(1, 3));
    // Another channel, and the same one of another workspace, have sessions of their own.
    assert_eq!(sessions.session(&workspace, &channel(2), session(2)).await.unwrap(), at(2, 0));
    let other = "other".parse().unwrap();
    assert_eq!(sessions.session(&other, &channel(1), session(5)).await.unwrap(), at(5, 0));
}

async fn g15_what_is_said_is_pushed_in_the_order_of_its_numbers(fixture: &Fixture) {
    let mut subscription = fixture.bus.subscribe(&acme()).await.unwrap();
    let say = |n: u64| {
        let sessions = Arc::clone(&fixture.sessions);
        async move {
            // JSON must survive the script that puts it together.
            let said = sealed(&channel(1), &format!("{n}\"\\ü\u{2028}"));
            (n, sessions.say(&acme(), &said, session(1)).await.unwrap())
        }
    };
    let said = futures_util::future::join_all((0..50).map(say)).await;
    for n in 1..=50 {
        let (of, at) = said.iter().find(|(_, at)| at.n == n).unwrap();
        let Sealed { channel_id, members_version, text } =
            sealed(&channel(1), &format!("{of}\"\\ü\u{2028}"));
        let wanted = SaidSignal { channel_id, members_version, at: *at, sealed: text };
        assert_eq!(subscription.next().await, Some(Notice::Signal(Signal::Said(wanted))));
    }
    let stream = fixture.bus.entries(&acme(), None, 10).await.unwrap();
    assert_eq!(stream, [], "nothing is in the stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_a_session_without_participants_is_over_after_five_minutes() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000)));
    let sessions = MemoryBus::new(clock.clone());
    let begin = async |n| sessions.session(&acme(), &channel(1), session(n)).await.unwrap().session;
    assert_eq!(begin(1).await, session(1));
    clock.advance(Duration::from_secs(300));
    assert_eq!(begin(2).await, session(1));
    clock.advance(Duration::from_millis(300_001));
    assert_eq!(begin(3).await, session(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_another_server_begins_another_session() {
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let server = RedisServer::start(flavor);
        let sessions = RedisBus::connect(&server.url()).unwrap();
        let said = sealed(&channel(1), "x");
        let first = sessions.say(&acme(), &said, session(1)).await.unwrap();
        assert_eq!(first, SessionPosition { session: session(1), n: 1 });
        // As after a failover to a replica that is behind: another server has the hash.
        let key = format!("ink:{{acme}}:session:{}", channel(1));
        server.command(&["HSET", &key, "history", "another"]);
        let next = sessions.say(&acme(), &said, session(2)).await.unwrap();
        assert_eq!(next, SessionPosition { session: session(2), n: 1 }, "{flavor:?}");
        // And five minutes without anybody.
        server.command(&["HSET", &key, "seen", "1"]);
        let later = sessions.session(&acme(), &channel(1), session(3)).await.unwrap();
        assert_eq!(later, SessionPosition { session: session(3), n: 0 }, "{flavor:?}");
        assert!(server.command(&["PTTL", &key]).parse::<u64>().unwrap() > 0, "it expires");
    }
}

#[tokio::test]
async fn g15_a_server_that_takes_over_again_begins_another_session() {
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let server = RedisServer::start(flavor);
        let other = RedisServer::replica_of(&server, flavor);
        let sessions = RedisBus::connect(&server.url()).unwrap();
        let said = sealed(&channel(1), "x");
        sessions.say(&acme(), &said, session(1)).await.unwrap();
        // The other server takes over and back, without a word in between. The last numbers may be lost.
        let key = format!("ink:{{acme}}:session:{}", channel(1));
        let has_it = async || other.command(&["HGET", &key, "n"]) == "1";
        eventually("the replica has it", SOON, has_it).await;
        other.command(&["REPLICAOF", "NO", "ONE"]);
        let url = other.url();
        let (_, port) = url.trim_end_matches('/').rsplit_once(':').unwrap();
        server.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        other.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        server.command(&["REPLICAOF", "127.0.0.1", port]);
        let follows =
            async || server.command(&["INFO", "replication"]).contains("master_link_status:up");
        eventually("it follows", SOON, follows).await;
        server.command(&["REPLICAOF", "NO", "ONE"]);
        let next = sessions.say(&acme(), &said, session(2)).await.unwrap();
        assert_eq!(next, SessionPosition { session: session(2), n: 1 }, "{flavor:?}");
        let next = sessions.say(&acme(), &said, session(3)).await.unwrap();
        assert_eq!(next, SessionPosition { session: session(2), n: 2 }, "{flavor:?}");
    }
}
