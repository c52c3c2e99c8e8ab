use messaging::ports::{ChannelStore as _, MemberStore as _};
use model::{
    ChannelChange, ChannelDetails, ChannelType, Contract, Member, PublicationId, UserId, Visibility,
};
use protocol::frame::ServerFrame;
use protocol::publication::Publication;
use serde_json::json;

use super::*;
use crate::drain;
use crate::test_hub::{Client, TestHub};

/// A channel that delivers first, with alice, whose client has just sent there.
async fn fixture() -> (TestHub, Client, Channel) {
    let fixture = TestHub::start();
    let now = fixture.hub.now();
    let channel = Channel {
        id: ChannelId::mint_group(now, 7),
        workspace_id: "w".parse().unwrap(),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(None),
        contract: Contract::DeliverFirst,
        created_at: now,
        created_by: user("alice"),
        members_version: 1,
        late: None,
    };
    put_member(&fixture, &channel, "alice", now.minus(Duration::from_secs(3600))).await;
    fixture.store.create(&channel).await.unwrap();
    let hub = Arc::clone(&fixture.hub);
    hub.spawn(run(Arc::clone(&hub)));
    let mut alice = Client::attach(&fixture, &["accepted", "refused"]).await;
    sends(&fixture, &mut alice, &channel).await;
    (fixture, alice, channel)
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

async fn put_member(fixture: &TestHub, channel: &Channel, name: &str, joined_at: Timestamp) {
    let row = Member { user_id: user(name), joined_at };
    fixture.store.put_members(&channel.workspace_id, &channel.id, &[row]).await.unwrap();
}

/// Makes bob a member. Returns the version.
async fn add_bob(fixture: &TestHub, channel: &Channel) -> u64 {
    put_member(fixture, channel, "bob", fixture.hub.now()).await;
    fixture.store.bump_members_version(&channel.id).await.unwrap().unwrap()
}

async fn sends(fixture: &TestHub, alice: &mut Client, channel: &Channel) {
    let id = PublicationId::mint(fixture.hub.now(), fixture.hub.ports.randomness.bits());
    let send = json!({
        "type": "send", "ref": 1, "channel_id": channel.id.as_str(), "id": id.to_string(),
        "message": "hello",
    });
    alice.says(&send).await;
    while !matches!(alice.frame().await.unwrap(), ServerFrame::Accepted { .. }) {}
}

/// The additions of which alice's client hears within two leases.
async fn additions(alice: &mut Client) -> Vec<Vec<UserId>> {
    let mut heard = Vec::new();
    let until = Instant::now() + 2 * limits::VIEW_LEASE;
    while let Ok(frame) = tokio::time::timeout_at(until, alice.frame()).await {
        if let Some(ServerFrame::Channel { change: Some(change), user_ids, .. }) = frame
            && change.is_addition()
        {
            heard.push(user_ids);
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn g13_an_addition_that_was_not_published_is_announced_once() {
    let (fixture, mut alice, channel) = fixture().await;
    add_bob(&fixture, &channel).await;
    sends(&fixture, &mut alice, &channel).await;
    assert_eq!(additions(&mut alice).await, [[user("bob")]]);
    assert_eq!(additions(&mut alice).await, [[]; 0], "nothing was sent since");
}

#[tokio::test(start_paused = true)]
async fn g13_a_node_that_ends_announces_before_it_does() {
    let (fixture, mut alice, channel) = fixture().await;
    add_bob(&fixture, &channel).await;
    sends(&fixture, &mut alice, &channel).await;
    drain::run(&fixture.hub).await;
    let entries = fixture.hub.ports.bus.entries(&channel.workspace_id, None, 10).await.unwrap();
    let last = entries.last().unwrap().publication.channel().unwrap().clone();
    assert_eq!((last.members_version, last.also), (2, vec![user("bob")]));
}

#[tokio::test(start_paused = true)]
async fn g13_an_addition_that_was_published_is_not_announced_again() {
    let (fixture, mut alice, channel) = fixture().await;
    let version = add_bob(&fixture, &channel).await;
    let (change, bob) = (ChannelChange::MemberAdded, [user("bob")]);
    let id = PublicationId::mint(fixture.hub.now(), 8);
    let published = Publication::of_change(id, &channel.id, change, version, &bob, &bob);
    fixture.hub.ports.bus.publish(&channel.workspace_id, &published).await.unwrap();
    assert_eq!(additions(&mut alice).await, [[user("bob")]], "once");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_delivered_nothing_is_read_again() {
    let (fixture, mut alice, channel) = fixture().await;
    assert_eq!(additions(&mut alice).await, [[]; 0]);
    let reads = fixture.store.calls().get("channels").copied();
    add_bob(&fixture, &channel).await;
    assert_eq!(additions(&mut alice).await, [[]; 0]);
    assert_eq!(fixture.store.calls().get("channels").copied(), reads);
}
