//! Public channels, the details of channels, and profiles.

use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use memory::MemoryStore;
use messaging::Refusal;
use messaging::amend::{Target, delete_message, edit_message};
use messaging::channels::{list_channels, list_public_channels, read_channel};
use messaging::details::change_channel;
use messaging::members::{add_member, add_members, list_members, remove_member};
use messaging::ports::{
    ChannelStore, Creation, Marking, MemberStore, NamePage, ProfileStore, ProfileWrite, ReadError,
    Standing, WriteError,
};
use messaging::profiles::{change_profile, list_profiles, profiles_of, read_profile};
use messaging::revoke::revoke_user;
use messaging::scroll::{Scroll, scroll};
use model::{
    ChangeId, Channel, ChannelChange, ChannelDetails, ChannelId, ChannelUpdate, Direction,
    EditMessage, ErrorCode, LateArrivals, Mentions, MessageText, Profile, ProfileUpdate, Rev,
    UserId, Visibility, WorkspaceId,
};
use parking_lot::Mutex;
use protocol::frame::ServerFrame;
use protocol::publication::{ChannelRecipients, Payload};

use crate::fixture::{Fixture, caller, origin, stranger, user, workspace};

async fn listed(fixture: &Fixture, by: &str) -> Vec<ChannelId> {
    let (channels, next) =
        list_public_channels(&fixture.app, &caller(by), None, 100).await.unwrap();
    assert_eq!(next, None);
    channels.into_iter().map(|channel| channel.id).collect()
}

fn renamed(name: &str) -> ChannelUpdate {
    ChannelUpdate { name: Some(name.to_owned()), ..ChannelUpdate::default() }
}

fn archived(archived: bool) -> ChannelUpdate {
    ChannelUpdate { archived: Some(archived), ..ChannelUpdate::default() }
}

/// What was published about the details of channels.
async fn told(fixture: &Fixture) -> Vec<(ChannelChange, ChannelDetails, ChannelRecipients)> {
    let entries = fixture.published().await;
    let change = |entry: &messaging::ports::Entry| {
        let Payload::Frame(frame) = &entry.publication.payload else { return None };
        match ServerFrame::decode(&protocol::frame::with_cursor(frame, "")) {
            Some(ServerFrame::Channel { change, details, .. }) => {
                Some((change?, details?, entry.publication.channel().cloned()?))
            }
            _ => None,
        }
    };
    entries.iter().filter_map(change).collect()
}

#[tokio::test]
async fn a_public_channel_is_found_read_and_joined_by_anybody_of_its_workspace() {
    let fixture = Fixture::new();
    let private = fixture.group("alice", &[]).await;
    let public = fixture.public_group("alice", &[]).await;
    assert_eq!((private.visibility, public.visibility), (Visibility::Private, Visibility::Public));
    assert_eq!(listed(&fixture, "eve").await, from_ref(&public.id));
    assert_eq!(read_channel(&fixture.app, &caller("eve"), &public.id).await.unwrap(), public);
    add_member(&fixture.app, &caller("eve"), &public.id, &user("eve")).await.unwrap();
    let (channels, _) = list_channels(&fixture.app, &caller("eve"), None, 100).await.unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].members_version, 2, "joining is a change like any other (G6)");
    fixture.post("eve", &public.id, "hello").await;

    let far = stranger("eve");
    let (none, _) = list_public_channels(&fixture.app, &far, None, 100).await.unwrap();
    assert_eq!(none, []);
    let refused = read_channel(&fixture.app, &far, &public.id).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
    let refused = add_member(&fixture.app, &far, &public.id, &user("eve")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn a_public_channel_is_closed_to_everything_else_until_one_joins() {
    let fixture = Fixture::new();
    let id = fixture.public_group("alice", &["bob"]).await.id;
    let message = fixture.post("alice", &id, "hi").await.message.id;
    let (app, eve) = (&fixture.app, caller("eve"));
    let codes = [
        fixture.send("eve", &id, "x", None, None).await.unwrap_err().code(),
        scroll(app, &eve, page(&id)).await.unwrap_err().code(),
        list_members(app, &eve, &id, None, 100).await.unwrap_err().code(),
        add_member(app, &eve, &id, &user("carol")).await.unwrap_err().code(),
        add_members(app, &eve, &id, &[user("eve")]).await.unwrap_err().code(),
        remove_member(app, &eve, &id, &user("bob")).await.unwrap_err().code(),
        remove_member(app, &eve, &id, &user("eve")).await.unwrap_err().code(),
        change_channel(app, &eve, &id, &renamed("x")).await.unwrap_err().code(),
        delete_message(app, &eve, &Target { log: (&id).into(), id: message }, origin())
            .await
            .unwrap_err()
            .code(),
    ];
    assert!(codes.iter().all(|code| *code == ErrorCode::ChannelNotFound), "{codes:?}");
}

fn page(channel: &ChannelId) -> Scroll {
    Scroll {
        log: channel.into(),
        offset: None,
        limit: 20,
        direction: Direction::Older,
        known: None,
    }
}

#[tokio::test]
async fn g8_a_revoked_user_finds_and_joins_no_public_channel() {
    let fixture = Fixture::new();
    let id = fixture.public_group("alice", &[]).await.id;
    revoke_user(&fixture.app, &caller("gone"), &user("gone")).await.unwrap();
    let gone = caller("gone");
    assert_eq!(listed(&fixture, "gone").await, []);
    let refused = read_channel(&fixture.app, &gone, &id).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
    let refused = add_member(&fixture.app, &gone, &id, &gone.user_id).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelNotFound);
}

#[tokio::test]
async fn the_list_is_paged_and_passes_over_a_creation_that_broke_off() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_millis(1));
        ids.push(fixture.public_group("alice", &[]).await.id);
    }
    // The call died before it wrote the channel.
    let orphan = ChannelId::mint_group(model::Timestamp::from_unix_ms(1), 1);
    fixture.store.list_publicly(&workspace(), &orphan).await.unwrap();
    assert_eq!(listed(&fixture, "bob").await, ids);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) =
            list_public_channels(&fixture.app, &caller("bob"), after.as_ref(), 2).await.unwrap();
        found.extend(page.into_iter().map(|channel| channel.id));
        if next.is_none() {
            break;
        }
        after = next;
    }
    assert_eq!(found, ids);
}

/// A channels table whose writes of channels fail.
#[derive(Debug)]
struct NoChannel(Arc<MemoryStore>);

#[async_trait]
impl ChannelStore for NoChannel {
    async fn create(&self, _: &Channel) -> Result<Creation, WriteError> {
        Err(WriteError::OutcomeUnknown("died".into()))
    }

    async fn channels(&self, ids: &[ChannelId]) -> Result<Vec<Channel>, ReadError> {
        self.0.channels(ids).await
    }

    async fn standing(&self, channel: &ChannelId, user: &UserId) -> Result<Standing, ReadError> {
        self.0.standing(channel, user).await
    }

    async fn bump_members_version(&self, channel: &ChannelId) -> Result<Option<u64>, WriteError> {
        self.0.bump_members_version(channel).await
    }

    async fn change_details(
        &self,
        channel: &ChannelId,
        update: &ChannelUpdate,
    ) -> Result<Option<Channel>, WriteError> {
        self.0.change_details(channel, update).await
    }

    async fn mark_late(
        &self,
        channel: &ChannelId,
        late: LateArrivals,
    ) -> Result<Marking, WriteError> {
        self.0.mark_late(channel, late).await
    }
}

#[tokio::test]
async fn whoever_sees_a_public_channel_finds_it_in_the_list() {
    use messaging::channels::create_channel;
    use model::{Contract, NewChannel, NewChannelKind};
    let fixture = Fixture::with_channels(|store| Arc::new(NoChannel(store)));
    let (visibility, name) = (Visibility::Public, "general".to_owned());
    let kind = NewChannelKind::Group { visibility, name, members: Vec::new() };
    let new = NewChannel { kind, contract: Contract::PersistFirst };
    create_channel(&fixture.app, &caller("alice"), new).await.unwrap_err();
    // If the write happened all the same, the row of the list is there already.
    let rows = fixture.store.public_channels(&workspace(), None, 100).await.unwrap().rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(listed(&fixture, "alice").await, []);
}

#[tokio::test]
async fn any_member_renames_a_group_and_sets_its_topic() {
    let fixture = Fixture::new();
    let id = fixture.group("alice", &["bob"]).await.id;
    add_member(&fixture.app, &caller("alice"), &id, &user("carol")).await.unwrap();
    let update = ChannelUpdate { topic: Some("lunch".to_owned()), ..renamed("food") };
    let changed = change_channel(&fixture.app, &caller("bob"), &id, &update).await.unwrap();
    let details = ChannelDetails {
        topic: "lunch".to_owned(),
        version: 2,
        ..ChannelDetails::new(Some("food".to_owned()))
    };
    assert_eq!(changed.details, details);
    assert_eq!(read_channel(&fixture.app, &caller("alice"), &id).await.unwrap(), changed);
    let told = told(&fixture).await;
    let recipients = |told: &ChannelRecipients| (told.members_version, told.changes.len());
    let told: Vec<_> =
        told.iter().map(|(change, to, by)| (*change, to.clone(), recipients(by))).collect();
    let expected = [ChannelChange::Renamed, ChannelChange::Topic]
        .map(|change| (change, details.clone(), (2, 0)));
    assert_eq!(told, expected, "one frame for each field, with all details (G6: at version 2)");
}

#[tokio::test]
async fn a_change_is_published_however_often_it_is_repeated() {
    let fixture = Fixture::new();
    let id = fixture.group("alice", &[]).await.id;
    fixture.app.publisher().switch(false);
    change_channel(&fixture.app, &caller("alice"), &id, &renamed("food")).await.unwrap();
    assert_eq!(told(&fixture).await, [], "the call died before it could publish");
    fixture.app.publisher().switch(true);
    for version in [3, 4] {
        let again = change_channel(&fixture.app, &caller("alice"), &id, &renamed("food")).await;
        assert_eq!(again.unwrap().details.version, version);
        let (change, details, _) = told(&fixture).await.pop().unwrap();
        assert_eq!((change, details.version), (ChannelChange::Renamed, version));
    }
    let before = told(&fixture).await.len();
    let nothing = ChannelUpdate::default();
    let same = change_channel(&fixture.app, &caller("alice"), &id, &nothing).await.unwrap();
    assert_eq!((same.details.version, told(&fixture).await.len()), (4, before));
}

#[tokio::test]
async fn the_owner_and_admins_archive_a_group_and_nobody_changes_a_dm() {
    let fixture = Fixture::new();
    let id = fixture.group("alice", &["bob", "admin-1"]).await.id;
    let (app, dm) = (&fixture.app, fixture.dm("alice", "bob").await.id);
    let code = async |by: &str, id: &ChannelId, update: ChannelUpdate| {
        change_channel(app, &caller(by), id, &update).await.err().map(|error| error.code())
    };
    for update in [archived(true), archived(false)] {
        assert_eq!(code("bob", &id, update.clone()).await, Some(ErrorCode::Forbidden));
        assert_eq!(code("alice", &id, update.clone()).await, None);
        assert_eq!(code("admin-1", &id, update.clone()).await, None);
        assert_eq!(code("admin-2", &id, update).await, Some(ErrorCode::ChannelNotFound));
    }
    let changes: Vec<_> = told(&fixture).await.iter().map(|(change, ..)| *change).collect();
    let (on, off) = (ChannelChange::Archived, ChannelChange::Unarchived);
    assert_eq!(changes, [on, on, off, off]);
    for update in [renamed("x"), archived(true), ChannelUpdate::default()] {
        assert_eq!(code("alice", &dm, update.clone()).await, Some(ErrorCode::DmImmutable));
        assert_eq!(code("eve", &dm, update).await, Some(ErrorCode::ChannelNotFound));
    }
    remove_member(app, &caller("alice"), &id, &user("alice")).await.unwrap();
    assert_eq!(code("bob", &id, archived(true)).await, Some(ErrorCode::Forbidden));
    remove_member(app, &caller("admin-1"), &id, &user("admin-1")).await.unwrap();
    assert_eq!(code("bob", &id, archived(true)).await, None, "he owns it now (ADR 0026)");
}

#[tokio::test]
async fn an_archived_channel_takes_deletions_and_neither_messages_nor_edits() {
    let fixture = Fixture::new();
    let id = fixture.group("alice", &["bob"]).await.id;
    let (app, alice) = (&fixture.app, caller("alice"));
    let sent = fixture.id_at(0, 1);
    fixture.send("alice", &id, "hi", Some(sent), None).await.unwrap();
    change_channel(app, &alice, &id, &archived(true)).await.unwrap();
    for other in [None, Some(fixture.id_at(0, 2)), Some(fixture.id_at(-60_000, 3))] {
        let refused = fixture.send("bob", &id, "late", other, None).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ChannelArchived, "{other:?}");
    }
    let target = Target { log: (&id).into(), id: sent };
    let edit = EditMessage {
        text: MessageText::parse("ho".to_owned()).unwrap(),
        mentions: Mentions::default(),
        change_id: ChangeId::mint(sent.time(), 5),
        if_rev: None,
    };
    let refused = edit_message(app, &alice, &target, &edit, origin()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ChannelArchived);
    let read = scroll(app, &caller("bob"), page(&id)).await.unwrap();
    assert_eq!(read.messages.len(), 1, "it is read as before");
    delete_message(app, &alice, &target, origin()).await.unwrap();
    add_member(app, &caller("bob"), &id, &user("carol")).await.unwrap();
    change_channel(app, &alice, &id, &archived(false)).await.unwrap();
    fixture.post("bob", &id, "again").await;
}

#[tokio::test]
async fn g1_a_retry_of_what_was_stored_before_the_channel_was_archived_is_a_duplicate() {
    let fixture = Fixture::new();
    let id = fixture.group("alice", &[]).await.id;
    let (near, far) = (fixture.id_at(0, 1), fixture.id_at(-60_000, 2));
    for sent in [near, far] {
        fixture.send("alice", &id, "hi", Some(sent), None).await.unwrap();
    }
    change_channel(&fixture.app, &caller("alice"), &id, &archived(true)).await.unwrap();
    for sent in [near, far] {
        let again = fixture.send("alice", &id, "hi", Some(sent), None).await.unwrap();
        assert!(again.duplicate, "{sent}");
        let other = fixture.send("alice", &id, "ho", Some(sent), None).await.unwrap_err();
        assert_eq!(other.code(), ErrorCode::IdConflict);
    }
}

fn named(name: &str) -> ProfileUpdate {
    ProfileUpdate { name: Some(name.to_owned()), ..ProfileUpdate::default() }
}

async fn changes(fixture: &Fixture, by: &str, update: &ProfileUpdate) -> Profile {
    change_profile(&fixture.app, &caller(by), &user(by), update).await.unwrap()
}

#[tokio::test]
async fn a_profile_keeps_what_a_change_does_not_name_and_its_revision_grows() {
    let fixture = Fixture::new();
    let first = changes(&fixture, "alice", &named("Alice")).await;
    let status = ProfileUpdate { status: Some("away".to_owned()), ..ProfileUpdate::default() };
    let second = changes(&fixture, "alice", &status).await;
    assert_eq!((second.name.as_str(), second.status.as_str()), ("Alice", "away"));
    assert!(second.rev > first.rev, "within one millisecond, too");
    let (app, bob) = (&fixture.app, caller("bob"));
    assert_eq!(read_profile(app, &bob, &user("alice")).await.unwrap(), second);
    let wanted = [user("alice"), user("bob")];
    assert_eq!(profiles_of(app, &bob, &wanted).await.unwrap(), from_ref(&second));
    let rest = (vec![second], None);
    assert_eq!(list_profiles(app, &bob, None, 100).await.unwrap(), rest);
}

#[tokio::test]
async fn a_profile_is_its_owners_and_its_workspaces() {
    let fixture = Fixture::new();
    changes(&fixture, "alice", &named("Alice")).await;
    let (app, far) = (&fixture.app, stranger("alice"));
    let refused = change_profile(app, &caller("admin-1"), &user("alice"), &named("x")).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::Forbidden);
    let code = async |by, of: &str| read_profile(app, by, &user(of)).await.unwrap_err().code();
    assert_eq!(code(&far, "alice").await, ErrorCode::UserNotFound);
    assert_eq!(code(&caller("bob"), "bob").await, ErrorCode::UserNotFound, "he has none");
    assert_eq!(list_profiles(app, &far, None, 100).await.unwrap(), (vec![], None));
    assert_eq!(profiles_of(app, &far, &[user("alice")]).await.unwrap(), []);
}

#[tokio::test]
async fn g8_a_revoked_user_reads_and_changes_no_profile() {
    let fixture = Fixture::new();
    let theirs = changes(&fixture, "gone", &named("Gone")).await;
    revoke_user(&fixture.app, &caller("gone"), &user("gone")).await.unwrap();
    let (app, gone, all) = (&fixture.app, caller("gone"), [user("gone")]);
    let codes = [
        change_profile(app, &gone, &all[0], &named("Back")).await.unwrap_err().code(),
        read_profile(app, &gone, &all[0]).await.unwrap_err().code(),
        profiles_of(app, &gone, &all).await.unwrap_err().code(),
        list_profiles(app, &gone, None, 100).await.unwrap_err().code(),
    ];
    assert_eq!(codes, [ErrorCode::Forbidden; 4]);
    // Others still see who wrote the messages.
    assert_eq!(read_profile(app, &caller("bob"), &all[0]).await.unwrap(), theirs);
}

/// A store of profiles in which another call of the same user comes first, or dies.
#[derive(Debug)]
struct Contended {
    store: Arc<MemoryStore>,
    first: Mutex<Vec<Profile>>,
    answers: Mutex<Vec<WriteError>>,
}

#[async_trait]
impl ProfileStore for Contended {
    async fn list_user(&self, workspace: &WorkspaceId, user: &UserId) -> Result<(), WriteError> {
        self.store.list_user(workspace, user).await
    }

    async fn put_profile(
        &self,
        workspace: &WorkspaceId,
        profile: &Profile,
        expected: Option<&Rev>,
    ) -> Result<ProfileWrite, WriteError> {
        if let Some(error) = self.answers.lock().pop() {
            return Err(error);
        }
        let first = self.first.lock().pop();
        if let Some(first) = first {
            let written = self.store.put_profile(workspace, &first, expected).await?;
            assert_eq!(written, ProfileWrite::Done);
        }
        self.store.put_profile(workspace, profile, expected).await
    }

    async fn profiles(
        &self,
        workspace: &WorkspaceId,
        users: &[UserId],
    ) -> Result<Vec<Profile>, ReadError> {
        self.store.profiles(workspace, users).await
    }

    async fn users(
        &self,
        workspace: &WorkspaceId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<NamePage<UserId>, ReadError> {
        self.store.users(workspace, after, limit).await
    }
}

fn contended(first: Vec<Profile>, answers: Vec<WriteError>) -> Fixture {
    Fixture::with_profiles(|store| {
        Arc::new(Contended { store, first: Mutex::new(first), answers: Mutex::new(answers) })
    })
}

#[tokio::test(start_paused = true)]
async fn two_writers_of_a_profile_lose_no_field() {
    let ahead = model::MessageId::mint(model::Timestamp::from_unix_ms(1_800_000_009_000), 1);
    let update = ProfileUpdate { tz: Some("Asia/Tokyo".to_owned()), ..named("Al") };
    let other = update.applied_to(None, &user("alice"), Rev::of(ahead));
    let fixture = contended(vec![other.clone()], Vec::new());
    let changed = changes(&fixture, "alice", &named("Alice")).await;
    assert_eq!((changed.name.as_str(), changed.tz.as_str()), ("Alice", "Asia/Tokyo"));
    assert!(changed.rev > other.rev, "though that one was minted by a clock ahead");
    assert_eq!(read_profile(&fixture.app, &caller("bob"), &user("alice")).await.unwrap(), changed);
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_changes_without_end_is_busy() {
    let profile = |n| {
        let at = model::Timestamp::from_unix_ms(1_800_000_009_000);
        named("Al").applied_to(None, &user("alice"), Rev::of(model::MessageId::mint(at, n)))
    };
    let fixture = contended((0..20).map(profile).collect(), Vec::new());
    let refused = change_profile(&fixture.app, &caller("alice"), &user("alice"), &named("A")).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ChannelBusy);
}

#[tokio::test]
async fn whoever_has_a_profile_is_on_the_list() {
    let fixture = contended(Vec::new(), vec![WriteError::OutcomeUnknown("died".into())]);
    let (app, alice) = (&fixture.app, caller("alice"));
    change_profile(app, &alice, &alice.user_id, &named("Alice")).await.unwrap_err();
    let users = fixture.store.users(&workspace(), None, 100).await.unwrap();
    assert_eq!(users.rows, [user("alice")], "the row of the list comes first");
    assert_eq!(list_profiles(app, &alice, None, 100).await.unwrap(), (vec![], None));
    let profile = changes(&fixture, "alice", &named("Alice")).await;
    assert_eq!(list_profiles(app, &alice, None, 100).await.unwrap(), (vec![profile], None));
}
