//! The suite of the book of presence, on memory, Redis and Valkey.

use std::sync::Arc;

use memory::{ManualClock, MemoryBus};
use messaging::ports::{Announcement, NodePresence, PresenceBook};
use model::{NodeId, Presence, Timestamp, UserId, WorkspaceId, limits};
use redis_bus::RedisBus;
use tests::redis::{Flavor, RedisServer};

use crate::bus::{acme, other};

use Presence::{Active, Idle, Offline};

/// An empty book for one test.
struct Fixture {
    book: Arc<dyn PresenceBook>,
    /// Lets all that is written expire.
    expire: Box<dyn Fn() + Send + Sync>,
    flush: Box<dyn Fn() + Send + Sync>,
}

fn on_memory() -> Fixture {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_000)));
    let bus = MemoryBus::new(clock.clone());
    let flushed = bus.clone();
    Fixture {
        book: Arc::new(bus),
        expire: Box::new(move || {
            clock.advance(limits::PRESENCE_TTL);
        }),
        flush: Box::new(move || flushed.flush(&acme())),
    }
}

fn on_server(flavor: Flavor) -> Fixture {
    let server = Arc::new(RedisServer::start(flavor));
    let bus = RedisBus::connect(&server.url()).unwrap();
    let flushed = Arc::clone(&server);
    Fixture {
        book: Arc::new(bus),
        expire: Box::new(move || {
            for key in ["ink:{acme}:on", "ink:{acme}:on:N1"] {
                let left: u64 = server.command(&["PTTL", key]).parse().unwrap();
                let ttl = u64::try_from(limits::PRESENCE_TTL.as_millis()).unwrap();
                assert!((ttl - 5_000..=ttl).contains(&left), "{key}: {left} ms");
                assert_eq!(server.command(&["PEXPIRE", key, "0"]), "1");
            }
        }),
        flush: Box::new(move || assert_eq!(flushed.command(&["FLUSHALL"]), "OK")),
    }
}

suite! {
    a_node_writes_its_users_and_others_read_them
    g16_a_write_that_would_hide_a_lost_one_is_refused
    a_node_without_users_has_no_part
    each_workspace_and_node_has_a_part_of_its_own
    g16_what_is_not_confirmed_expires
    all_users_of_a_full_node_are_written_at_once
}

fn named(users: &[(&str, Presence)]) -> Vec<(UserId, Presence)> {
    users.iter().map(|(name, presence)| (name.parse().unwrap(), *presence)).collect()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

impl Fixture {
    async fn announce(&self, number: u64, is_whole: bool, users: &[(&str, Presence)]) -> bool {
        let news = Announcement { number, is_whole, users: named(users) };
        self.book.announce(&acme(), &node("N1"), &news).await.unwrap()
    }

    async fn renew(&self, number: u64) -> bool {
        self.book.renew(&acme(), &node("N1"), number).await.unwrap()
    }

    async fn present_on(&self, workspace: &WorkspaceId, name: &str) -> Option<NodePresence> {
        let mut found = self.book.present(workspace, &node(name)).await.unwrap()?;
        found.users.sort();
        Some(found)
    }

    async fn present(&self) -> Option<NodePresence> {
        self.present_on(&acme(), "N1").await
    }

    async fn nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.book.nodes(&acme()).await.unwrap();
        nodes.sort();
        nodes
    }
}

fn part(number: u64, users: &[(&str, Presence)]) -> Option<NodePresence> {
    Some(NodePresence { number, users: named(users) })
}

async fn a_node_writes_its_users_and_others_read_them(fixture: &Fixture) {
    assert_eq!((fixture.nodes().await, fixture.present().await), (vec![], None));
    assert!(fixture.announce(7, true, &[("ann", Active), ("bob", Idle)]).await);
    assert_eq!(fixture.present().await, part(7, &[("ann", Active), ("bob", Idle)]));
    let changes = [("ann", Idle), ("bob", Offline), ("carl", Active), ("dora", Offline)];
    assert!(fixture.announce(8, false, &changes).await);
    assert_eq!(fixture.present().await, part(8, &[("ann", Idle), ("carl", Active)]));
    assert!(fixture.announce(9, false, &[]).await);
    assert!(fixture.announce(10, true, &[("eve", Idle)]).await);
    assert_eq!(fixture.present().await, part(10, &[("eve", Idle)]));
    assert_eq!(fixture.nodes().await, [node("N1")]);
}

async fn g16_a_write_that_would_hide_a_lost_one_is_refused(fixture: &Fixture) {
    assert!(!fixture.announce(7, false, &[("ann", Active)]).await, "there is nothing to change");
    assert!(!fixture.renew(7).await);
    assert!(fixture.announce(7, true, &[("ann", Active)]).await);
    assert!(!fixture.announce(9, false, &[("bob", Active)]).await, "8 is missing");
    assert!(fixture.announce(8, false, &[("bob", Active)]).await);
    assert!(fixture.announce(8, false, &[("bob", Active)]).await, "a repetition");
    assert!(!fixture.announce(6, true, &[]).await, "it is late");
    assert!(!fixture.renew(7).await && fixture.renew(8).await);
    assert_eq!(fixture.present().await, part(8, &[("ann", Active), ("bob", Active)]));
    (fixture.flush)();
    assert!(!fixture.renew(8).await);
    assert!(!fixture.announce(9, false, &[("carl", Active)]).await);
    assert!(fixture.announce(11, true, &[("carl", Active)]).await);
    assert_eq!(fixture.present().await, part(11, &[("carl", Active)]));
}

async fn a_node_without_users_has_no_part(fixture: &Fixture) {
    assert!(fixture.announce(7, true, &[("ann", Active)]).await);
    assert!(fixture.announce(8, false, &[("ann", Offline)]).await);
    assert_eq!((fixture.nodes().await, fixture.present().await), (vec![], None));
    assert!(!fixture.renew(8).await);
    assert!(fixture.announce(10, true, &[]).await);
    assert_eq!((fixture.nodes().await, fixture.present().await), (vec![], None));
}

async fn each_workspace_and_node_has_a_part_of_its_own(fixture: &Fixture) {
    assert!(fixture.announce(7, true, &[("ann", Active)]).await);
    let news = |user| Announcement { number: 3, is_whole: true, users: named(&[(user, Idle)]) };
    for (workspace, name, user) in [(acme(), "N2", "bob"), (other(), "N1", "carl")] {
        assert!(fixture.book.announce(&workspace, &node(name), &news(user)).await.unwrap());
    }
    assert_eq!(fixture.nodes().await, [node("N1"), node("N2")]);
    assert_eq!(fixture.present().await, part(7, &[("ann", Active)]));
    assert_eq!(fixture.present_on(&acme(), "N2").await, part(3, &[("bob", Idle)]));
    assert_eq!(fixture.present_on(&other(), "N1").await, part(3, &[("carl", Idle)]));
    assert_eq!(fixture.present_on(&other(), "N2").await, None);
}

async fn g16_what_is_not_confirmed_expires(fixture: &Fixture) {
    assert!(fixture.announce(7, true, &[("ann", Active)]).await);
    assert!(fixture.announce(8, false, &[("bob", Active)]).await);
    assert!(fixture.renew(8).await);
    (fixture.expire)();
    assert_eq!((fixture.nodes().await, fixture.present().await), (vec![], None));
    assert!(!fixture.renew(8).await);
}

async fn all_users_of_a_full_node_are_written_at_once(fixture: &Fixture) {
    let users: Vec<(UserId, Presence)> =
        (0..20_001).map(|n| (format!("user{n}").parse().unwrap(), Active)).collect();
    let news = Announcement { number: 7, is_whole: true, users: users.clone() };
    assert!(fixture.book.announce(&acme(), &node("N1"), &news).await.unwrap());
    assert_eq!(fixture.present().await.unwrap().users.len(), users.len());
    let gone = |(user, _): &(UserId, Presence)| (user.clone(), Offline);
    let users = users.iter().skip(1).map(gone).collect();
    let news = Announcement { number: 8, is_whole: false, users };
    assert!(fixture.book.announce(&acme(), &node("N1"), &news).await.unwrap());
    assert_eq!(fixture.present().await, part(8, &[("user0", Active)]));
}
