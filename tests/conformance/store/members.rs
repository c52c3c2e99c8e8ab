//! The members port: members of a channel, and channels of a user.

use std::slice::from_ref;

use messaging::ports::Joined;
use model::{Member, UserId};

use super::{Stores, at, channel_id, member, user, workspace};

on_every_store!(
    members_are_found_from_both_sides,
    adding_a_member_again_keeps_joined_at,
    members_are_paged_by_name,
    channels_of_a_user_are_paged_by_id,
    a_users_channels_say_when_the_user_joined,
    deleting_a_member_removes_both_rows_and_is_idempotent,
    one_user_id_in_two_workspaces_is_two_users,
    members_are_settled_once_all_have_both_rows,
    a_hundred_and_one_members_are_put_at_once,
    a_leaving_mark_belongs_to_one_user_and_is_not_a_channel,
);

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.user_id.as_str()).collect()
}

async fn members_are_settled_once_all_have_both_rows(stores: Stores) {
    let (acme, zeta, general) = (workspace("acme"), workspace("zeta"), channel_id(1));
    let all: Vec<UserId> = (0..101).map(|n| user(&format!("u{n}"))).collect();
    let members: Vec<Member> = all.iter().map(|user| member(user.as_str(), 0)).collect();
    let settled = async |of: &model::WorkspaceId, users: &[UserId], as_members| {
        stores.members.are_settled(of, &general, users, as_members).await.unwrap()
    };
    assert!(settled(&acme, &all, false).await && !settled(&acme, &all, true).await);
    stores.members.put_members(&acme, &general, &members[..100]).await.unwrap();
    assert!(!settled(&acme, &all, true).await, "one is missing");
    assert!(!settled(&acme, &all, false).await);
    stores.members.put_members(&acme, &general, &members[100..]).await.unwrap();
    assert!(settled(&acme, &all, true).await);
    assert!(settled(&acme, &[user("u1"), user("u1")], true).await, "named twice");
    // The rows by channel belong to acme's users. By user, there are none in zeta.
    assert!(!settled(&zeta, &all[..1], true).await && !settled(&zeta, &all[..1], false).await);
    assert!(settled(&acme, &[user("eve")], false).await);
}

async fn members_are_found_from_both_sides(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    let both = [member("ada", 1), member("bob", 2)];
    stores.members.put_members(&acme, &general, &both).await.unwrap();
    let page = stores.members.members(&general, None, 100).await.unwrap();
    assert_eq!((page.rows.as_slice(), page.more), (both.as_slice(), false));
    for name in ["ada", "bob"] {
        let page = stores.members.channels_of(&acme, &user(name), None, 100).await.unwrap();
        assert_eq!((page.rows, page.more), (vec![general.clone()], false));
    }
    let page = stores.members.channels_of(&acme, &user("eve"), None, 100).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![], false));
    let page = stores.members.members(&channel_id(2), None, 100).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![], false));
}

async fn adding_a_member_again_keeps_joined_at(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    stores.members.put_members(&acme, &general, &[member("ada", 1)]).await.unwrap();
    let again = [member("ada", 50), member("bob", 50)];
    stores.members.put_members(&acme, &general, &again).await.unwrap();
    let page = stores.members.members(&general, None, 100).await.unwrap();
    assert_eq!(page.rows, [member("ada", 1), member("bob", 50)]);
    // A member who left and is added again gets a new join time.
    stores.members.delete_member(&acme, &general, &user("ada")).await.unwrap();
    stores.members.put_members(&acme, &general, &[member("ada", 90)]).await.unwrap();
    let page = stores.members.members(&general, None, 1).await.unwrap();
    assert_eq!(page.rows, [member("ada", 90)]);
}

async fn members_are_paged_by_name(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    // In byte order, where `-` comes first, and `_` between upper and lower case.
    let all = ["-", "0", "Bob", "Zoe", "_", "ada", "bob"];
    let members: Vec<_> = all.iter().rev().map(|name| member(name, 0)).collect();
    stores.members.put_members(&acme, &general, &members).await.unwrap();
    let mut seen = Vec::new();
    let mut after: Option<UserId> = None;
    loop {
        let page = stores.members.members(&general, after.as_ref(), 3).await.unwrap();
        assert!(page.rows.len() <= 3);
        after = page.rows.last().map(|member| member.user_id.clone());
        seen.extend(page.rows);
        if !page.more {
            break;
        }
    }
    assert_eq!(names(&seen), all);
    // It also works after a name that does not exist.
    let page = stores.members.members(&general, Some(&user("a")), 10).await.unwrap();
    assert_eq!(names(&page.rows), ["ada", "bob"]);
}

async fn channels_of_a_user_are_paged_by_id(stores: Stores) {
    let (acme, ada) = (workspace("acme"), user("ada"));
    for number in (1..=5).rev() {
        let channel = channel_id(number);
        stores.members.put_members(&acme, &channel, &[member("ada", 0)]).await.unwrap();
    }
    stores.revocations.revoke(&acme, &ada, at(0)).await.unwrap();
    let first = stores.members.channels_of(&acme, &ada, None, 2).await.unwrap();
    assert_eq!(
        (first.rows.as_slice(), first.more),
        ([channel_id(1), channel_id(2)].as_slice(), true)
    );
    let rest = stores.members.channels_of(&acme, &ada, first.rows.last(), 10).await.unwrap();
    assert_eq!(rest.rows, [channel_id(3), channel_id(4), channel_id(5)]);
    assert!(!rest.more);
}

async fn a_users_channels_say_when_the_user_joined(stores: Stores) {
    let (acme, ada) = (workspace("acme"), user("ada"));
    for (number, joined) in [(1, 11), (2, 22), (3, 33)] {
        let members = [member("ada", joined), member("bob", 5)];
        stores.members.put_members(&acme, &channel_id(number), &members).await.unwrap();
    }
    stores.members.delete_member(&acme, &channel_id(2), &ada).await.unwrap();
    stores.members.put_members(&acme, &channel_id(2), &[member("ada", 44)]).await.unwrap();
    let first = stores.members.joined_by(&acme, &ada, None, 2).await.unwrap();
    let joined = |number, ms| Joined { channel_id: channel_id(number), joined_at: at(ms) };
    assert_eq!((first.rows, first.more), (vec![joined(1, 11), joined(2, 44)], true));
    let rest = stores.members.joined_by(&acme, &ada, Some(&channel_id(2)), 10).await.unwrap();
    assert_eq!((rest.rows, rest.more), (vec![joined(3, 33)], false));
}

async fn deleting_a_member_removes_both_rows_and_is_idempotent(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    let both = [member("ada", 1), member("bob", 2)];
    stores.members.put_members(&acme, &general, &both).await.unwrap();
    for _ in 0..2 {
        stores.members.delete_member(&acme, &general, &user("ada")).await.unwrap();
        let page = stores.members.members(&general, None, 100).await.unwrap();
        assert_eq!(names(&page.rows), ["bob"]);
        let page = stores.members.channels_of(&acme, &user("ada"), None, 100).await.unwrap();
        assert_eq!(page.rows, []);
    }
    stores.members.delete_member(&acme, &general, &user("never")).await.unwrap();
}

async fn one_user_id_in_two_workspaces_is_two_users(stores: Stores) {
    let (acme, zeta) = (workspace("acme"), workspace("zeta"));
    let (of_acme, of_zeta) = (channel_id(1), channel_id(2));
    stores.members.put_members(&acme, &of_acme, &[member("ada", 1)]).await.unwrap();
    stores.members.put_members(&zeta, &of_zeta, &[member("ada", 2)]).await.unwrap();
    for (workspace, channel) in [(&acme, &of_acme), (&zeta, &of_zeta)] {
        let page = stores.members.channels_of(workspace, &user("ada"), None, 100).await.unwrap();
        assert_eq!(page.rows, from_ref(channel));
    }
    stores.members.delete_member(&acme, &of_acme, &user("ada")).await.unwrap();
    let page = stores.members.channels_of(&zeta, &user("ada"), None, 100).await.unwrap();
    assert_eq!(page.rows, [of_zeta]);
}

async fn a_hundred_and_one_members_are_put_at_once(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    let all: Vec<_> = (0..101).map(|number| member(&format!("user{number:03}"), number)).collect();
    stores.members.put_members(&acme, &general, &all).await.unwrap();
    let first = stores.members.members(&general, None, 100).await.unwrap();
    assert!(first.more);
    let last = first.rows.last().map(|member| member.user_id.clone());
    let rest = stores.members.members(&general, last.as_ref(), 100).await.unwrap();
    let found: Vec<_> = first.rows.into_iter().chain(rest.rows).collect();
    assert_eq!(found, all);
    stores.members.put_members(&acme, &general, &[]).await.unwrap();
}

async fn a_leaving_mark_belongs_to_one_user_and_is_not_a_channel(stores: Stores) {
    let (acme, general) = (workspace("acme"), channel_id(1));
    stores.members.mark_leaving(&acme, &general, &user("ada"), at(1)).await.unwrap();
    stores.members.mark_leaving(&acme, &general, &user("ada"), at(2)).await.unwrap();
    let was_leaving = async |workspace, channel, name| {
        stores.members.was_leaving(&workspace, &channel, &user(name)).await.unwrap()
    };
    assert!(was_leaving(acme.clone(), general.clone(), "ada").await);
    assert!(!was_leaving(acme.clone(), general.clone(), "bob").await);
    assert!(!was_leaving(acme.clone(), channel_id(2), "ada").await);
    assert!(!was_leaving(workspace("other"), general.clone(), "ada").await);
    stores.members.put_members(&acme, &general, &[member("ada", 3)]).await.unwrap();
    let page = stores.members.channels_of(&acme, &user("ada"), None, 100).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![general], false));
}
