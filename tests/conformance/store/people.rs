//! Public channels, the details of channels, and profiles.

use std::slice::from_ref;

use futures_util::future;
use messaging::ports::ProfileWrite;
use model::{Channel, ChannelDetails, ChannelUpdate, Profile, ProfileUpdate, Rev, Visibility};

use super::{Stores, at, channel, channel_id, id, member, user, workspace};

on_every_store!(
    a_channel_keeps_its_visibility_and_details,
    details_change_field_by_field_and_count_their_changes,
    parallel_changes_of_details_all_take_effect,
    a_change_of_details_creates_no_channel,
    public_channels_are_listed_by_workspace_and_page,
    a_profile_is_written_over_the_one_that_was_read,
    an_empty_text_of_a_profile_is_kept_as_empty,
    one_of_ten_parallel_first_profiles_is_written,
    profiles_are_read_by_workspace_and_absent_ones_are_left_out,
    users_are_listed_by_workspace_and_page,
    neither_a_profile_nor_a_list_is_among_a_users_channels,
);

fn changed() -> ChannelDetails {
    let (name, topic) = (Some("over".to_owned()), "what it was about".to_owned());
    ChannelDetails { name, topic, archived: true, version: 7 }
}

async fn a_channel_keeps_its_visibility_and_details(stores: Stores) {
    let public = Channel { visibility: Visibility::Public, details: changed(), ..channel(1) };
    for channel in [&public, &channel(2)] {
        stores.channels.create(channel).await.unwrap();
        let found = stores.channels.channels(from_ref(&channel.id)).await.unwrap();
        assert_eq!(found, from_ref(channel));
    }
}

async fn details_change_field_by_field_and_count_their_changes(stores: Stores) {
    stores.channels.create(&channel(1)).await.unwrap();
    let (text, nothing) = (|text: &str| Some(text.to_owned()), ChannelUpdate::default);
    let mut expected = channel(1);
    for update in [
        ChannelUpdate { topic: text("a topic"), ..nothing() },
        ChannelUpdate { archived: Some(true), ..nothing() },
        ChannelUpdate { name: text("another"), archived: Some(true), ..nothing() },
        ChannelUpdate { topic: text(""), archived: Some(false), ..nothing() },
        ChannelUpdate { topic: text(""), archived: Some(false), name: text("x") },
    ] {
        expected.details = update.applied_to(&expected.details);
        let after = stores.channels.change_details(&channel_id(1), &update).await.unwrap();
        assert_eq!(after.as_ref(), Some(&expected), "{update:?}");
        let found = stores.channels.channels(&[channel_id(1)]).await.unwrap();
        assert_eq!(found, from_ref(&expected), "{update:?}");
    }
    assert_eq!(expected.details.version, 6);
    // The versions of members and of details are apart.
    stores.channels.bump_members_version(&channel_id(1)).await.unwrap();
    let after = Channel { members_version: 2, ..expected };
    assert_eq!(stores.channels.channels(&[channel_id(1)]).await.unwrap(), [after]);
}

async fn parallel_changes_of_details_all_take_effect(stores: Stores) {
    stores.channels.create(&channel(1)).await.unwrap();
    let general = channel_id(1);
    let update = |n: usize| match n % 2 {
        0 => ChannelUpdate { topic: Some("t".into()), ..ChannelUpdate::default() },
        _ => ChannelUpdate { name: Some("n".into()), ..ChannelUpdate::default() },
    };
    let updates: Vec<_> = (0..10).map(update).collect();
    let changes = updates.iter().map(|update| stores.channels.change_details(&general, update));
    let changed = future::try_join_all(changes).await.unwrap();
    let mut versions: Vec<_> =
        changed.into_iter().flatten().map(|channel| channel.details.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..12).collect::<Vec<_>>());
    let details = stores.channels.channels(&[general]).await.unwrap().remove(0).details;
    assert_eq!((details.name.as_deref(), details.topic.as_str()), (Some("n"), "t"));
}

async fn a_change_of_details_creates_no_channel(stores: Stores) {
    let update = ChannelUpdate { archived: Some(true), ..ChannelUpdate::default() };
    assert_eq!(stores.channels.change_details(&channel_id(1), &update).await.unwrap(), None);
    assert_eq!(stores.channels.channels(&[channel_id(1)]).await.unwrap(), []);
}

async fn public_channels_are_listed_by_workspace_and_page(stores: Stores) {
    let (acme, zeta) = (workspace("acme"), workspace("zeta"));
    for number in [3, 1, 2, 3] {
        stores.members.list_publicly(&acme, &channel_id(number)).await.unwrap();
    }
    stores.members.list_publicly(&zeta, &channel_id(9)).await.unwrap();
    let first = stores.members.public_channels(&acme, None, 2).await.unwrap();
    assert_eq!((first.rows, first.more), (vec![channel_id(1), channel_id(2)], true));
    let last = stores.members.public_channels(&acme, Some(&channel_id(2)), 100).await.unwrap();
    assert_eq!((last.rows, last.more), (vec![channel_id(3)], false));
    let other = stores.members.public_channels(&workspace("none"), None, 100).await.unwrap();
    assert_eq!((other.rows, other.more), (vec![], false));
}

fn profile(name: &str, random: u128) -> Profile {
    let text = |text: &str| Some(format!("{text} {random}"));
    let update = ProfileUpdate {
        name: text(name),
        avatar: Some(format!("https://example.com/{name}.png")),
        status: text("away"),
        status_emoji: Some("\u{1f3d6}".to_owned()),
        tz: Some("Europe/Berlin".to_owned()),
    };
    update.applied_to(None, &user(name), Rev::of(id(0, random)))
}

async fn a_profile_is_written_over_the_one_that_was_read(stores: Stores) {
    let acme = workspace("acme");
    let [first, second, third] = [1, 2, 3].map(|random| profile("ada", random));
    let put = async |profile: &Profile, expected: Option<&Profile>| {
        let expected = expected.map(|expected| &expected.rev);
        stores.profiles.put_profile(&acme, profile, expected).await.unwrap()
    };
    let refused = |found: Option<&Profile>| ProfileWrite::Refused(found.cloned().map(Box::new));
    assert_eq!(put(&second, Some(&first)).await, refused(None), "there is none yet");
    assert_eq!(put(&first, None).await, ProfileWrite::Done);
    assert_eq!(put(&second, None).await, refused(Some(&first)));
    assert_eq!(put(&second, Some(&first)).await, ProfileWrite::Done);
    assert_eq!(put(&third, Some(&first)).await, refused(Some(&second)));
    assert_eq!(stores.profiles.profiles(&acme, &[user("ada")]).await.unwrap(), [second]);
}

async fn an_empty_text_of_a_profile_is_kept_as_empty(stores: Stores) {
    let (acme, full) = (workspace("acme"), profile("ada", 1));
    stores.profiles.put_profile(&acme, &full, None).await.unwrap();
    let rev = Rev::of(id(0, 2));
    let empty = ProfileUpdate::default().applied_to(None, &user("ada"), rev);
    stores.profiles.put_profile(&acme, &empty, Some(&full.rev)).await.unwrap();
    assert_eq!(stores.profiles.profiles(&acme, &[user("ada")]).await.unwrap(), [empty]);
}

async fn one_of_ten_parallel_first_profiles_is_written(stores: Stores) {
    let acme = workspace("acme");
    let profiles: Vec<_> = (1..=10).map(|random| profile("ada", random)).collect();
    let puts = profiles.iter().map(|profile| stores.profiles.put_profile(&acme, profile, None));
    let written = future::try_join_all(puts).await.unwrap();
    assert_eq!(written.iter().filter(|written| **written == ProfileWrite::Done).count(), 1);
}

async fn profiles_are_read_by_workspace_and_absent_ones_are_left_out(stores: Stores) {
    let (acme, zeta) = (workspace("acme"), workspace("zeta"));
    for number in 0..60 {
        let profile = profile(&format!("u{number:03}"), number);
        stores.profiles.put_profile(&acme, &profile, None).await.unwrap();
    }
    let mut wanted: Vec<_> = (0..99).map(|number| user(&format!("u{number:03}"))).collect();
    // Named twice, returned once.
    wanted.push(user("u000"));
    let found = stores.profiles.profiles(&acme, &wanted).await.unwrap();
    let mut found: Vec<_> = found.into_iter().map(|profile| profile.user_id).collect();
    found.sort();
    assert_eq!(found, wanted[..60]);
    assert_eq!(stores.profiles.profiles(&zeta, &wanted).await.unwrap(), []);
    assert_eq!(stores.profiles.profiles(&acme, &[]).await.unwrap(), []);
}

async fn users_are_listed_by_workspace_and_page(stores: Stores) {
    let (acme, zeta) = (workspace("acme"), workspace("zeta"));
    // Of all characters, these sort lowest and highest.
    for name in ["zoe", "-a", "ada", "ada"] {
        stores.profiles.list_user(&acme, &user(name)).await.unwrap();
    }
    let first = stores.profiles.users(&acme, None, 2).await.unwrap();
    assert_eq!((first.rows, first.more), (vec![user("-a"), user("ada")], true));
    let last = stores.profiles.users(&acme, Some(&user("ada")), 100).await.unwrap();
    assert_eq!((last.rows, last.more), (vec![user("zoe")], false));
    let none = stores.profiles.users(&zeta, None, 100).await.unwrap();
    assert_eq!((none.rows, none.more), (vec![], false));
}

async fn neither_a_profile_nor_a_list_is_among_a_users_channels(stores: Stores) {
    let (acme, ada, general) = (workspace("acme"), user("ada"), channel_id(1));
    stores.profiles.list_user(&acme, &ada).await.unwrap();
    stores.profiles.put_profile(&acme, &profile("ada", 1), None).await.unwrap();
    stores.members.list_publicly(&acme, &channel_id(2)).await.unwrap();
    stores.members.mark_leaving(&acme, &channel_id(3), &ada, at(1)).await.unwrap();
    let page = stores.members.channels_of(&acme, &ada, None, 1).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![], false));
    stores.members.put_members(&acme, &general, &[member("ada", 0)]).await.unwrap();
    let page = stores.members.channels_of(&acme, &ada, None, 100).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![general], false));
    // Nor is the profile a tombstone.
    assert_eq!(stores.revocations.revoked_among(&acme, from_ref(&ada)).await.unwrap(), []);
    stores.revocations.revoke(&acme, &ada, at(2)).await.unwrap();
    assert_eq!(stores.profiles.profiles(&acme, &[ada]).await.unwrap(), [profile("ada", 1)]);
}
