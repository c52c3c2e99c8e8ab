//! Adding many members at once, concurrent changes of the same user, and who may change what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use memory::MemoryStore;
use messaging::Refusal;
use messaging::members::{AddedMembers, add_member, add_members, list_members, remove_member};
use messaging::ports::{
    ChannelStore, Creation, Marking, MemberStore, ReadError, Standing, WriteError,
};
use messaging::revoke::revoke_user;
use model::{Channel, ChannelChange, ChannelId, ChannelUpdate, ErrorCode, LateArrivals, UserId};
use protocol::frame::ServerFrame;
use protocol::publication::{ChannelRecipients, Payload};

use crate::fixture::{Fixture, caller, stranger, user, workspace};

async fn names(fixture: &Fixture, by: &str, channel: &ChannelId) -> Vec<String> {
    let (members, _) = list_members(&fixture.app, &caller(by), channel, None, 100).await.unwrap();
    members.iter().map(|member| member.user_id.to_string()).collect()
}

/// The published channel changes, as their frames name them.
async fn changes(fixture: &Fixture) -> Vec<(ChannelChange, ChannelRecipients)> {
    let entries = fixture.published().await;
    let change = |entry: &messaging::ports::Entry| {
        let Payload::Frame(frame) = &entry.publication.payload else { return None };
        match ServerFrame::decode(&protocol::frame::with_cursor(frame, "")) {
            Some(ServerFrame::Channel { change, .. }) => {
                Some((change?, entry.publication.channel().cloned()?))
            }
            _ => None,
        }
    };
    entries.iter().filter_map(change).collect()
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

#[tokio::test]
async fn members_at_once_are_one_change() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &["bob"]).await.id;
    revoke_user(&fixture.app, &caller("admin-1"), &user("gone")).await.unwrap();
    let wanted = users(&["bob", "carol", "gone", "dave"]);
    let added = add_members(&fixture.app, &caller("bob"), &channel, &wanted).await.unwrap();
    let expected = AddedMembers {
        added: users(&["bob", "carol", "dave"]),
        refused: vec![(user("gone"), ErrorCode::UserNotFound)],
    };
    assert_eq!(added, expected);
    assert_eq!(names(&fixture, "alice", &channel).await, ["alice", "bob", "carol", "dave"]);
    let told = changes(&fixture).await;
    assert_eq!(told.len(), 2, "created, and one more");
    let (change, to) = told.last().unwrap();
    assert_eq!((*change, to.members_version), (ChannelChange::MembersAdded, 2));
    assert_eq!(to.also, users(&["bob", "carol", "dave"]));

    let none =
        add_members(&fixture.app, &caller("bob"), &channel, &users(&["gone"])).await.unwrap();
    assert_eq!((none.added, none.refused.len()), (Vec::new(), 1));
    assert_eq!(changes(&fixture).await.len(), 2, "nobody was added: nothing is published");
    let refused = add_members(&fixture.app, &caller("eve"), &channel, &users(&["eve"])).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ChannelNotFound);
}

/// A channels table that removes a user before its first increment, as another call would.
#[derive(Debug)]
struct RemovedMeanwhile {
    store: Arc<MemoryStore>,
    user: UserId,
    is_over: AtomicBool,
}

#[async_trait]
impl ChannelStore for RemovedMeanwhile {
    async fn create(&self, channel: &Channel) -> Result<Creation, WriteError> {
        self.store.create(channel).await
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.store.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.store.standing(channel, user).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.store.delete_member(&workspace(), channel, &self.user).await?;
            self.store.bump_members_version(channel).await?;
        }
        self.store.bump_members_version(channel).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.store.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.store.mark_late(channel, late).await
    }
}

#[tokio::test(start_paused = true)]
async fn g6_the_change_with_the_last_version_has_the_last_word_in_the_rows() {
    let fixture = Fixture::with_channels(|store| {
        Arc::new(RemovedMeanwhile { store, user: user("carol"), is_over: AtomicBool::new(false) })
    });
    let channel = fixture.group("alice", &[]).await.id;
    add_member(&fixture.app, &caller("alice"), &channel, &user("carol")).await.unwrap();
    assert_eq!(names(&fixture, "alice", &channel).await, ["alice", "carol"]);
    let last = changes(&fixture).await.pop().unwrap();
    // 1 created, 2 removed. 3 was the first round, which found her rows gone and was not published.
    assert_eq!((last.0, last.1.members_version), (ChannelChange::MemberAdded, 4));
    assert_eq!(changes(&fixture).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn g6_adding_and_removing_one_user_at_once_ends_as_the_last_publication_says() {
    for round in 0..20 {
        let fixture = Fixture::new();
        let channel = fixture.group("alice", &[]).await.id;
        let mut racing = tokio::task::JoinSet::new();
        for n in 0..6 {
            let (app, channel) = (fixture.app.clone(), channel.clone());
            racing.spawn(async move {
                let (alice, carol) = (caller("alice"), user("carol"));
                if (n + round) % 2 == 0 {
                    add_member(&app, &alice, &channel, &carol).await
                } else {
                    remove_member(&app, &alice, &channel, &carol).await
                }
            });
        }
        racing.join_all().await.into_iter().for_each(Result::unwrap);
        let last = changes(&fixture).await.into_iter().max_by_key(|(_, to)| to.members_version);
        let is_member = names(&fixture, "alice", &channel).await.len() == 2;
        assert_eq!(is_member, last.unwrap().0 == ChannelChange::MemberAdded);
    }
}

#[tokio::test]
async fn an_admin_may_join_any_group_and_nothing_else() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    let dm = fixture.dm("alice", "bob").await.id;
    remove_member(&fixture.app, &caller("alice"), &channel, &user("alice")).await.unwrap();
    let refused =
        async |by, id, of| add_member(&fixture.app, &by, id, &user(of)).await.unwrap_err().code();
    assert_eq!(refused(caller("eve"), &channel, "eve").await, ErrorCode::ChannelNotFound);
    assert_eq!(refused(caller("admin-1"), &channel, "eve").await, ErrorCode::ChannelNotFound);
    assert_eq!(refused(caller("admin-1"), &dm, "admin-1").await, ErrorCode::ChannelNotFound);
    assert_eq!(refused(stranger("admin-1"), &channel, "admin-1").await, ErrorCode::ChannelNotFound);
    add_member(&fixture.app, &caller("admin-1"), &channel, &user("admin-1")).await.unwrap();
    add_member(&fixture.app, &caller("admin-1"), &channel, &user("bob")).await.unwrap();
    assert_eq!(names(&fixture, "bob", &channel).await, ["admin-1", "bob"]);
    revoke_user(&fixture.app, &caller("admin-1"), &user("admin-2")).await.unwrap();
    assert_eq!(refused(caller("admin-2"), &channel, "admin-2").await, ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn the_longest_member_inherits_when_the_creator_left() {
    let fixture = Fixture::new();
    let channel = fixture.group("alice", &[]).await.id;
    for name in ["zoe", "bob", "carol"] {
        fixture.clock.advance(std::time::Duration::from_secs(1));
        add_member(&fixture.app, &caller("alice"), &channel, &user(name)).await.unwrap();
    }
    let removes = async |by: &str, of: &str| {
        let removed = remove_member(&fixture.app, &caller(by), &channel, &user(of)).await;
        removed.map_err(|refused| refused.code())
    };
    assert_eq!(removes("zoe", "carol").await, Err(ErrorCode::Forbidden), "alice is still there");
    removes("alice", "alice").await.unwrap();
    assert_eq!(removes("bob", "carol").await, Err(ErrorCode::Forbidden), "zoe came first");
    removes("zoe", "carol").await.unwrap();
    removes("zoe", "zoe").await.unwrap();
    add_member(&fixture.app, &caller("bob"), &channel, &user("zoe")).await.unwrap();
    assert_eq!(
        removes("zoe", "bob").await,
        Err(ErrorCode::Forbidden),
        "a user who joins again is a new member"
    );
    add_member(&fixture.app, &caller("bob"), &channel, &user("alice")).await.unwrap();
    assert_eq!(removes("bob", "zoe").await, Err(ErrorCode::Forbidden), "the creator is back");
    removes("alice", "bob").await.unwrap();
}
