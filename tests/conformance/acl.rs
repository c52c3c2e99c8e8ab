//! The permissions in docs/operations.md suffice for everything that nodes and functions do.

use messaging::ports::{
    Announcement, EventBus as _, HealthCheck as _, Lease, NodeDirectory as _, Notice, Offered,
    PresenceBook, ReceiptBook as _, ReceiptMarks, RelayBus as _, Replication, Scope, Sealed,
    Sessions as _, Spool as _,
};
use model::{
    ChannelId, Message, MessageId, MessageText, Presence, SessionId, Timestamp, WorkspaceId, limits,
};
use protocol::publication::Publication;
use protocol::signal::Signal;
use redis_bus::{RedisBus, RedisRelayBus};
use tests::redis::{Flavor, RedisServer};

use crate::bus::{acme, next_entry, publication};

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const PASSWORD: &str = "password-of-a-test";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_are_enough() {
    let server = RedisServer::start(Flavor::Redis);
    let line = OPERATIONS.lines().find(|line| line.trim().starts_with("ACL SETUSER inkwire"));
    let words: Vec<String> =
        line.unwrap().split_whitespace().map(|word| word.replace("PASSWORD", PASSWORD)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(server.command(&words), "OK");
    let _replica = RedisServer::replica_of(&server, Flavor::Redis);
    let url = format!("redis://inkwire:{PASSWORD}@127.0.0.1:{}", server.port());
    let bus = RedisBus::connect(&url).unwrap();
    let found = bus.run(Scope::All).await;
    assert!(found.iter().all(|finding| finding.issue.is_none()), "{found:?}");
    assert!(found.iter().any(|finding| finding.item == "redis role"), "{found:?}");
    let mut subscription = bus.subscribe(&acme()).await.unwrap();
    bus.publish(&acme(), &publication(1)).await.unwrap();
    assert_eq!(next_entry(&mut subscription).await.publication.id, publication(1).id);
    bus.signal(&acme(), &Signal::Unknown).await.unwrap();
    assert_eq!(subscription.next().await, Some(Notice::Signal(Signal::Unknown)));
    presence_in(&bus).await;
    assert_eq!(bus.entries(&acme(), None, 9).await.unwrap().len(), 1);
    let channel = ChannelId::mint_group(Timestamp::from_unix_ms(1), 1);
    let new = SessionId::mint(Timestamp::from_unix_ms(1), 1);
    bus.session(&acme(), &channel, new).await.unwrap();
    let said = Sealed { channel_id: channel, members_version: 1, text: "sealed".to_owned() };
    assert_eq!(bus.say(&acme(), &said, new).await.unwrap().n, 1);
    let relay_bus = RedisRelayBus::connect(&url, 1).unwrap();
    let result = relay_bus.publish_batch(&[(acme(), publication(2))]).await.unwrap();
    assert_eq!((result.appended, result.replication), (1, Replication::Acknowledged));
    directory_of(&bus).await;
    spool_of(&bus).await;
}

/// What nodes, `scroll` and `archive` do for channels that deliver first (ADR 0044).
async fn spool_of(bus: &RedisBus) {
    let [first, second] = [1, 2].map(|n| {
        let at = Timestamp::from_unix_ms(n);
        let (id, channel) = (MessageId::mint(at, n.into()), ChannelId::mint_group(at, 1));
        let text = MessageText::parse("hi".to_owned()).unwrap();
        let message = Message::new(id, channel, "ann".parse().unwrap(), text);
        Publication::of_delivered(&message, 1)
    });
    let workspace: WorkspaceId = "fast".parse().unwrap();
    let accepted = Offered::Accepted { replicated: true };
    assert_eq!(bus.deliver(&workspace, &first, "a").await.unwrap(), accepted);
    assert_eq!(bus.deliver(&workspace, &first, "a").await.unwrap(), accepted, "again");
    assert_eq!(bus.deliver(&workspace, &first, "b").await.unwrap(), Offered::Conflict);
    let channel = first.channel().unwrap().channel_id.clone();
    assert_eq!(bus.waiting(&workspace, &channel).await.unwrap().len(), 1);
    let [(noted, noted_at)] = &bus.spools(Timestamp::from_unix_ms(0)).await.unwrap()[..] else {
        panic!("one workspace is noted")
    };
    assert_eq!(*noted, workspace);
    // Makes the group, then takes from it, then looks for what others took.
    let taken = bus.claim(&workspace, "one", 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(bus.claim(&workspace, "two", 10).await.unwrap(), []);
    assert!(bus.held(&workspace).await.unwrap().is_some());
    bus.remove(&workspace, &taken).await.unwrap();
    assert_eq!(bus.held(&workspace).await.unwrap(), None);
    // Stored first, then delivered: the guard says so.
    bus.publish(&workspace, &second).await.unwrap();
    assert_eq!(bus.deliver(&workspace, &second, "a").await.unwrap(), Offered::Stored);
    let [(_, again_at)] = bus.spools(*noted_at).await.unwrap()[..] else { panic!() };
    bus.forget(&workspace, again_at).await.unwrap();
    assert_eq!(bus.spools(Timestamp::from_unix_ms(0)).await.unwrap(), []);
    let marks = [("ann".parse().unwrap(), MessageId::mint(Timestamp::from_unix_ms(1), 1))];
    let marks = ReceiptMarks { delivered: marks.to_vec(), ..Default::default() };
    bus.raise(&workspace, &channel, &marks).await.unwrap();
    bus.raise(&workspace, &channel, &marks).await.unwrap();
    assert_eq!(bus.receipts(&workspace, &channel).await.unwrap(), marks);
}

async fn presence_in(book: &RedisBus) {
    let node = "N1".parse().unwrap();
    let news = |number, is_whole, presence| {
        let users = vec![("ann".parse().unwrap(), presence)];
        Announcement { number, is_whole, users }
    };
    for (number, is_whole, presence) in
        [(1, true, Presence::Active), (2, false, Presence::Idle), (3, false, Presence::Offline)]
    {
        if number == 3 {
            assert!(PresenceBook::renew(book, &acme(), &node, 2).await.unwrap());
            assert_eq!(book.nodes(&acme()).await.unwrap().len(), 1);
            assert_eq!(book.present(&acme(), &node).await.unwrap().unwrap().number, 2);
        }
        let news = news(number, is_whole, presence);
        assert!(book.announce(&acme(), &node, &news).await.unwrap());
    }
}

async fn directory_of(bus: &RedisBus) {
    let (directory, node) = (bus.directory(), "N1".parse().unwrap());
    let (user, given) = ("ann".parse().unwrap(), ["N1".parse().unwrap()]);
    let lease = Lease {
        node_id: "N1".parse().unwrap(),
        url: "ws://n1/socket".to_owned(),
        connections: 0,
        handshakes_per_second: 1,
        draining: false,
        clock: None,
        ticket_keys: Vec::new(),
    };
    directory.renew(&lease).await.unwrap();
    directory.reserve(&given, limits::TICKET_TTL, &acme(), &user).await.unwrap();
    directory.report(&node, &acme(), &user).await.unwrap();
    assert_eq!(directory.fleet().await.unwrap()[0].reports.len(), 1);
    directory.withdraw(&node).await.unwrap();
}
