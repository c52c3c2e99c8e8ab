//! The revocations port: tombstones.

use std::slice::from_ref;

use super::{Stores, at, channel_id, member, user, workspace};

on_every_store!(
    g8_revoked_users_are_found_among_others,
    g8_a_tombstone_concerns_only_its_workspace,
    g8_a_tombstone_is_neither_a_channel_nor_a_membership,
    g8_a_hundred_and_one_users_are_looked_up_at_once,
);

async fn g8_revoked_users_are_found_among_others(stores: Stores) {
    let acme = workspace("acme");
    let all = [user("ada"), user("bob"), user("eve"), user("bob")];
    assert_eq!(stores.revocations.revoked_among(&acme, &all).await.unwrap(), []);
    for _ in 0..2 {
        stores.revocations.revoke(&acme, &user("bob"), at(1)).await.unwrap();
        let revoked = stores.revocations.revoked_among(&acme, &all).await.unwrap();
        assert_eq!(revoked, [user("bob")]);
    }
    assert_eq!(stores.revocations.revoked_among(&acme, &[]).await.unwrap(), []);
}

async fn g8_a_tombstone_concerns_only_its_workspace(stores: Stores) {
    stores.revocations.revoke(&workspace("acme"), &user("ada"), at(1)).await.unwrap();
    for (name, expected) in [("zeta", vec![]), ("acme", vec![user("ada")])] {
        let among = [user("ada")];
        let revoked = stores.revocations.revoked_among(&workspace(name), &among).await.unwrap();
        assert_eq!(revoked, expected, "{name}");
    }
}

async fn g8_a_tombstone_is_neither_a_channel_nor_a_membership(stores: Stores) {
    let (acme, ada, general) = (workspace("acme"), user("ada"), channel_id(1));
    stores.revocations.revoke(&acme, &ada, at(1)).await.unwrap();
    let page = stores.members.channels_of(&acme, &ada, None, 1).await.unwrap();
    assert_eq!((page.rows, page.more), (vec![], false));
    stores.members.put_members(&acme, &general, &[member("ada", 0)]).await.unwrap();
    let page = stores.members.channels_of(&acme, &ada, None, 100).await.unwrap();
    assert_eq!(page.rows, from_ref(&general));
    // Leaving every channel does not lift it.
    stores.members.delete_member(&acme, &general, &ada).await.unwrap();
    let revoked = stores.revocations.revoked_among(&acme, from_ref(&ada)).await.unwrap();
    assert_eq!(revoked, [ada]);
}

async fn g8_a_hundred_and_one_users_are_looked_up_at_once(stores: Stores) {
    let acme = workspace("acme");
    let all: Vec<_> = (0..101).map(|number| user(&format!("user{number:03}"))).collect();
    for user in &all {
        stores.revocations.revoke(&acme, user, at(1)).await.unwrap();
    }
    let mut revoked = stores.revocations.revoked_among(&acme, &all).await.unwrap();
    revoked.sort_unstable();
    assert_eq!(revoked, all);
}
