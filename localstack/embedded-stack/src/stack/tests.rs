use std::collections::HashSet;
use std::path::Path;

use messaging::scroll::{Scroll, scroll};
use model::{ChannelId, Direction, MessageId, Timestamp, UserId, WorkspaceId, chain};
use service::config::RedisUrl;

use super::*;

fn options(data: Data) -> StackOptions {
    StackOptions { nodes: 0, data, ..StackOptions::default() }
}

fn seeded(directory: &Path) -> StackOptions {
    let keep_secrets_in = Some(directory.to_owned());
    let data = Data::Directory(directory.to_owned());
    StackOptions { seed: true, keep_secrets_in, ..options(data) }
}

fn alice() -> Principal {
    Principal {
        workspace_id: WorkspaceId::parse("demo").unwrap(),
        user_id: UserId::parse("alice").unwrap(),
        is_admin: false,
        expires_at: Timestamp::MAX,
    }
}

async fn history(stack: &Stack) -> Vec<MessageId> {
    let channel_id = ChannelId::parse(stack.general_channel().unwrap()).unwrap();
    let mut ids = Vec::new();
    let mut offset = None;
    loop {
        let channel_id = channel_id.clone();
        let direction = Direction::Older;
        let page = Scroll { log: channel_id.into(), offset, limit: 20, direction, known: None };
        let page = scroll(stack.app(), &alice(), page).await.unwrap();
        ids.extend(page.messages.iter().map(|message| message.id));
        offset = page.next_offset;
        if offset.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_everything_and_adds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = Stack::start(seeded(directory.path())).await.unwrap();
    let before = history(&first).await;
    assert!(before.len() > 40, "{}", before.len());
    assert_eq!(before.iter().collect::<HashSet<_>>().len(), before.len());
    assert!(before.iter().all(|id| id.time() <= first.app().clock.now()));
    let for_an_hour = first.app().clock.now().plus(Duration::from_secs(3_600));
    let token = first.token(&Principal { expires_at: for_an_hour, ..alice() });
    let general = first.general_channel().map(str::to_owned);
    first.stop().await;
    let second = Stack::start(seeded(directory.path())).await.unwrap();
    assert_eq!(history(&second).await, before);
    assert_eq!(second.general_channel(), general.as_deref());
    let now = second.app().clock.now();
    assert!(second.app().tokens.verify(&token, now).is_ok());
    second.stop().await;
}

#[tokio::test]
async fn what_is_missing_is_told_in_one_line() {
    let stack = Stack::start(options(Data::Memory)).await.unwrap();
    let port = stack.address().port();
    let taken = Stack::start(StackOptions { port, ..options(Data::Memory) }).await.unwrap_err();
    assert!(matches!(taken, StackError::PortTaken { .. }), "{taken}");
    let nobody = "redis://user:password@127.0.0.1:1";
    let bus = Bus::Redis(RedisUrl::parse(nobody).unwrap());
    let silent = Stack::start(StackOptions { bus, ..options(Data::Memory) }).await.unwrap_err();
    assert!(matches!(silent, StackError::Redis { .. }), "{silent}");
    assert!(!chain(&silent).contains("password"), "{}", chain(&silent));
    let nowhere = Data::Endpoint("http://127.0.0.1:1".to_owned());
    let absent = Stack::start(options(nowhere)).await.unwrap_err();
    assert!(matches!(absent, StackError::Store { .. }), "{absent}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = Stack::start(options(Data::Directory(file))).await.unwrap_err();
    assert!(matches!(unusable, StackError::Engine(_)), "{unusable}");
    for error in [taken, silent, absent, unusable] {
        assert!(!chain(&error).contains('\n') && error.exit_code() >= 64, "{}", chain(&error));
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_gone_and_another_can_be_added() {
    let nodes = StackOptions { nodes: 2, ..options(Data::Memory) };
    let stack = Stack::start(nodes).await.unwrap();
    let known = |fleet: Vec<messaging::ports::FleetNode>| fleet.len();
    assert_eq!(known(stack.ports().nodes.fleet().await.unwrap()), 2);
    let victim = stack.nodes().remove(0);
    let address = victim.url.trim_start_matches("ws://").split('/').next().unwrap().to_owned();
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    assert!(stack.kill(&victim.node_id).await);
    assert!(!stack.kill(&victim.node_id).await, "twice");
    assert!(tokio::net::TcpStream::connect(&address).await.is_err(), "still listening");
    // A killed node does not withdraw its lease, which stays until it expires.
    assert_eq!(known(stack.ports().nodes.fleet().await.unwrap()), 2);
    let new = stack.add_node().await.unwrap();
    assert_ne!(new.node_id, victim.node_id);
    assert_eq!(stack.nodes().len(), 2);
    stack.stop().await;
}
