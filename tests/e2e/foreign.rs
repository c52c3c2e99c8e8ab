//! Nodes that would refuse the tickets of `connect`: their clients are sent to other nodes, and new
//! clients are not assigned to them.

use std::collections::BTreeSet;
use std::time::Duration;

use auth::tickets::SignedTickets;
use client::{RawSocket, Received};
use messaging::ports::{Principal, Ticket, Tickets as _};
use model::{NodeId, Timestamp};
use tests::cluster::{Cluster, Environment, TICKET_SECRET, secrets};
use tests::process::{NodeProcess, NodeSetup};
use tests::{SOON, eventually};

const OTHER_SECRET: &str = "another-secret-of-tickets-0123456789-0123456789";
const CLIENTS: usize = 24;

async fn known_nodes(cluster: &Cluster) -> usize {
    cluster.stack.ports().nodes.fleet().await.unwrap().len()
}

async fn node_with_another_secret(cluster: &Cluster) -> NodeProcess {
    NodeProcess::of(&NodeSetup {
        variables: vec![("INKWIRE_TICKET_SECRET", OTHER_SECRET.to_owned())],
        ..NodeSetup::plain(&cluster.redis.as_ref().unwrap().url(), cluster.stack.store_endpoint())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_node_with_another_ticket_secret_gets_no_clients() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let _odd = node_with_another_secret(&cluster).await;
    let good = cluster.node_process().await;
    eventually("both are known", SOON, async || known_nodes(&cluster).await == 2).await;
    // The directory caches its view for at most this long.
    tokio::time::sleep(model::limits::FLEET_FRESH).await;
    let mut people = Vec::new();
    for n in 0..CLIENTS {
        people.push(cluster.person(&format!("u{n}")).await);
    }
    let mut nodes = BTreeSet::new();
    for person in &people {
        nodes.insert(person.client.node_id().unwrap().to_string());
        assert_eq!(person.count(|event| matches!(event, client::Event::Disconnected { .. })), 0);
    }
    assert_eq!((people.len(), nodes.len()), (CLIENTS, 1), "{nodes:?}");
    let only: NodeId = nodes.first().unwrap().parse().unwrap();
    assert!(good.is(&only).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_client_whose_ticket_a_node_cannot_judge_goes_to_another_node() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let node = cluster.nodes()[0].clone();
    let close_of = async |issued_s: i64, secret: &str| {
        let now = cluster.stack.app().clock.now().unix_ms();
        let issued_at = Timestamp::from_unix_ms(now.saturating_add_signed(issued_s * 1_000));
        let life = Duration::from_secs(30);
        let principal = Principal {
            workspace_id: cluster.workspace().clone(),
            user_id: "alice".parse().unwrap(),
            is_admin: false,
            expires_at: issued_at.plus(Duration::from_secs(7_200)),
        };
        let (node_id, expires_at) = (node.node_id.clone(), issued_at.plus(life));
        let nonce = issued_at.unix_ms().into();
        let ticket = Ticket {
            principal,
            node_id,
            is_invisible: false,
            device: None,
            issued_at,
            expires_at,
            nonce,
        };
        let ticket = SignedTickets::new(&secrets(secret)).issue(&ticket);
        let mut socket = RawSocket::open(&node.url, &[], SOON).await.unwrap();
        socket.hello(&ticket, None).await.unwrap();
        match socket.receive_within(SOON).await {
            Some(Received::Closed(code)) => Some(code),
            Some(Received::Frame(_)) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(close_of(0, TICKET_SECRET).await, None, "a current ticket of our secret");
    assert_eq!(close_of(-20, TICKET_SECRET).await, None, "ten seconds before its expiry");
    assert_eq!(close_of(-40, TICKET_SECRET).await, Some(4401), "expired");
    assert_eq!(close_of(-3_600, TICKET_SECRET).await, Some(4411), "an hour ago");
    assert_eq!(close_of(3_600, TICKET_SECRET).await, Some(4411), "in an hour");
    assert_eq!(close_of(0, OTHER_SECRET).await, Some(4411), "an unknown secret");
    // However many bad tickets it gets, the node stays in the directory.
    assert_eq!(known_nodes(&cluster).await, 2);
}
