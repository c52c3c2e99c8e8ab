use std::collections::BTreeSet;

use memory::PublishFault;
use messaging::Refusal;
use messaging::channels::{create_channel, list_channels, read_channel};
use messaging::connect::{Client, connect};
use messaging::members::{ChangeMembersError, add_member, list_members, remove_member};
use messaging::ports::Creation;
use messaging::revoke::revoke_user;
use model::{ChannelId, Contract, ErrorCode, NewChannel, NewChannelKind, limits};
use protocol::close::CloseCode;
use protocol::publication::Payload;

use crate::fixture::{Fixture, caller, stranger, user, workspace};

fn dm(other: &str) -> NewChannel {
    NewChannel { kind: NewChannelKind::Dm { other: user(other) }, contract: Contract::PersistFirst }
}

async fn members(fixture: &Fixture, channel: &ChannelId) -> BTreeSet<String> {
    let (members, _) =
        list_members(&fixture.app, &caller("alice"), channel, None, 100).await.unwrap();
    members.iter().map(|member| member.user_id.to_string()).collect()
}

async fn version(fixture: &Fixture, channel: &ChannelId) -> u64 {
    read_channel(&fixture.app, &caller("alice"), channel).await.unwrap().members_version
}

fn code(result: Result<(), ChangeMembersError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[tokio::test]
async fn g6_every_change_bumps_the_version_and_is_published_with_it() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    add_member(&fixture.app, &caller("bob"), &channel, &user("carol")).await.unwrap();
    add_member(&fixture.app, &caller("bob"), &channel, &user("carol")).await.unwrap();
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    assert_eq!(members(&fixture, &channel).await, BTreeSet::from(["alice".into(), "carol".into()]));
    assert_eq!(version(&fixture, &channel).await, 5, "unchanged rows bump too");
    let versions: Vec<u64> = fixture
        .published()
        .await
        .iter()
        .filter_map(|entry| entry.publication.channel().map(|to| to.members_version))
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn g6_a_message_carries_the_version_that_its_send_read() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    remove_member(&fixture.app, &caller("alice"), &channel, &user("bob")).await.unwrap();
    fixture.post("alice", &channel, "after the cut").await;
    let published = fixture.published().await;
    let last = &published.last().unwrap().publication;
    assert!(last.subject.is_some(), "{last:?}");
    assert_eq!(last.channel().unwrap().members_version, 2);
}

#[tokio::test]
async fn g6_racing_changes_all_take_effect() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let mut racing = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (app, channel) = (fixture.app.clone(), channel.clone());
        racing.spawn(async move {
            add_member(&app, &caller("alice"), &channel, &user(&format!("u{n}"))).await
        });
    }
    while let Some(done) = racing.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(members(&fixture, &channel).await.len(), 21);
    assert_eq!(version(&fixture, &channel).await, 21);
}

#[tokio::test]
async fn members_leave_creators_and_admins_remove_others_may_not() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob", "carol"]).await.id;
    let by = |name: &'static str, of: &'static str| {
        let (app, channel) = (fixture.app.clone(), channel.clone());
        async move { remove_member(&app, &caller(name), &channel, &user(of)).await }
    };
    assert_eq!(code(by("bob", "carol").await), ErrorCode::Forbidden);
    assert_eq!(code(by("mallory", "carol").await), ErrorCode::ChannelNotFound);
    let before = version(&fixture, &channel).await;
    assert_eq!(code(by("eve", "eve").await), ErrorCode::ChannelNotFound, "never a member");
    assert_eq!(version(&fixture, &channel).await, before, "and nothing is written");
    by("bob", "bob").await.unwrap();
    by("bob", "bob").await.unwrap();
    by("admin-1", "carol").await.unwrap();
    by("alice", "nobody").await.unwrap();
    assert_eq!(members(&fixture, &channel).await, BTreeSet::from(["alice".into()]));
    let absent = ChannelId::mint_group(model::Timestamp::from_unix_ms(1), 1);
    let refused = remove_member(&fixture.app, &caller("admin-1"), &absent, &user("bob")).await;
    assert_eq!(code(refused), ErrorCode::ChannelNotFound);
    let refused = remove_member(&fixture.app, &stranger("admin-1"), &channel, &user("alice")).await;
    assert_eq!(code(refused), ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn a_dm_is_one_channel_and_its_members_never_change() {
    let fixture = Fixture::new();
    let (one, created) = create_channel(&fixture.app, &caller("alice"), dm("bob")).await.unwrap();
    let (same, existed) = create_channel(&fixture.app, &caller("bob"), dm("alice")).await.unwrap();
    assert_eq!((created, existed), (Creation::Created, Creation::Existed));
    assert_eq!(one, same);
    assert_eq!(
        code(add_member(&fixture.app, &caller("alice"), &one.id, &user("carol")).await),
        ErrorCode::DmImmutable
    );
    assert_eq!(
        code(remove_member(&fixture.app, &caller("bob"), &one.id, &user("bob")).await),
        ErrorCode::DmImmutable
    );
    assert_eq!(
        code(remove_member(&fixture.app, &caller("eve"), &one.id, &user("eve")).await),
        ErrorCode::ChannelNotFound
    );
    let alone = create_channel(&fixture.app, &caller("alice"), dm("alice")).await.unwrap_err();
    assert_eq!((alone.code(), alone.field()), (ErrorCode::InvalidField, Some("members")));
    let elsewhere = create_channel(&fixture.app, &stranger("alice"), dm("bob")).await.unwrap().0;
    assert_ne!(elsewhere.id, one.id);
}

#[tokio::test]
async fn g8_a_revoked_user_is_nowhere_and_comes_back_nowhere() {
    let fixture = Fixture::new();
    fixture.node("n1", 0).await;
    let group = fixture.group("alice", &["bob"]).await.id;
    let (direct, _) = create_channel(&fixture.app, &caller("alice"), dm("bob")).await.unwrap();
    let refused = revoke_user(&fixture.app, &caller("carol"), &user("bob")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    revoke_user(&fixture.app, &caller("admin-1"), &user("bob")).await.unwrap();
    revoke_user(&fixture.app, &caller("admin-1"), &user("bob")).await.unwrap();

    assert_eq!(members(&fixture, &group).await, BTreeSet::from(["alice".into()]));
    let (channels, _) = list_channels(&fixture.app, &caller("bob"), None, 100).await.unwrap();
    assert!(channels.is_empty());
    for channel in [&group, &direct.id] {
        let found = read_channel(&fixture.app, &caller("bob"), channel).await.unwrap_err();
        assert_eq!(found.code(), ErrorCode::ChannelNotFound);
    }
    let refused = create_channel(&fixture.app, &caller("bob"), dm("alice")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let refused = create_channel(&fixture.app, &caller("alice"), dm("bob")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UserNotFound);
    assert_eq!(
        code(add_member(&fixture.app, &caller("alice"), &group, &user("bob")).await),
        ErrorCode::UserNotFound
    );
    assert_eq!(
        code(remove_member(&fixture.app, &caller("bob"), &group, &user("bob")).await),
        ErrorCode::ChannelNotFound
    );
    let refused = connect(&fixture.app, Client::of(&caller("bob")), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    let told = fixture.published().await;
    let is_told = |entry: &messaging::ports::Entry| {
        entry.publication.payload == Payload::Close(CloseCode::Revoked)
    };
    assert!(told.iter().any(is_told), "their sockets get the change");
}

#[tokio::test]
async fn g8_a_revocation_that_no_node_heard_of_is_no_success() {
    let fixture = Fixture::new();
    let group = fixture.group("alice", &["bob"]).await.id;
    fixture.bus.fail_publishes(PublishFault::Unavailable, u64::MAX);
    let unheard = revoke_user(&fixture.app, &caller("admin-1"), &user("bob")).await.unwrap_err();
    assert_eq!(unheard.code(), ErrorCode::Unavailable, "try again");
    assert_eq!(
        members(&fixture, &group).await,
        BTreeSet::from(["alice".into()]),
        "written all the same"
    );
    fixture.bus.fail_publishes(PublishFault::Unavailable, 0);
    fixture.clock.advance(limits::PUBLISH_PAUSE);
    revoke_user(&fixture.app, &caller("admin-1"), &user("bob")).await.unwrap();
    let told = fixture.published().await;
    let revoked = |entry: &messaging::ports::Entry| {
        entry.publication.payload == Payload::Close(CloseCode::Revoked)
    };
    assert!(told.iter().any(revoked));
}

#[tokio::test]
async fn g8_a_revoked_admin_revokes_nobody() {
    let fixture = Fixture::new();
    fixture
        .app
        .revocations
        .revoke(&workspace(), &user("admin-1"), model::Timestamp::MAX)
        .await
        .unwrap();
    let refused = revoke_user(&fixture.app, &caller("admin-1"), &user("bob")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Forbidden);
    revoke_user(&fixture.app, &caller("admin-1"), &user("admin-1")).await.unwrap();
}

#[tokio::test]
async fn lists_are_paged_by_name() {
    let fixture = Fixture::new();
    let group = fixture.group("alice", &["bob", "carol", "dave"]).await.id;
    let (first, next) =
        list_members(&fixture.app, &caller("alice"), &group, None, 3).await.unwrap();
    let (rest, end) =
        list_members(&fixture.app, &caller("alice"), &group, next.as_ref(), 3).await.unwrap();
    let names: Vec<&str> =
        first.iter().chain(&rest).map(|member| member.user_id.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol", "dave"]);
    assert_eq!(end, None);
    for _ in 0..4 {
        fixture.group("alice", &[]).await;
    }
    let (first, next) = list_channels(&fixture.app, &caller("alice"), None, 3).await.unwrap();
    let (rest, end) =
        list_channels(&fixture.app, &caller("alice"), next.as_ref(), 3).await.unwrap();
    assert_eq!((first.len(), rest.len(), end), (3, 2, None));
}
