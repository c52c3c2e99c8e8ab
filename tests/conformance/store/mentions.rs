//! The mentions port: where a user was named, newest first, beside the user's channels.

use dynamo::Cost;
use messaging::ports::{Mention, MentionStore};

use super::{EmptyTables, Stores, at, channel_id, id, member, user, workspace};

on_every_store!(
    mentions_are_read_newest_first_and_only_the_users_own,
    mentions_are_not_among_a_users_channels,
    who_of_some_users_is_a_member,
);

fn mention(ms: u64, channel: u128) -> Mention {
    Mention { id: id(ms, 1), log: channel_id(channel).into() }
}

async fn put(stores: &Stores, who: &str, mention: &Mention) {
    let later = at(4_000_000_000_000 - at(0).unix_ms());
    stores.mentions.put_mention(&workspace("acme"), &user(who), mention, later).await.unwrap();
}

async fn mentions_are_read_newest_first_and_only_the_users_own(stores: Stores) {
    for ms in [1, 2, 4] {
        put(&stores, "ada", &mention(ms, 1)).await;
    }
    // Two channels may have messages with one id. Writing again changes nothing.
    put(&stores, "ada", &mention(2, 2)).await;
    put(&stores, "ada", &mention(2, 2)).await;
    put(&stores, "bob", &mention(3, 1)).await;
    let read = async |since, below: Option<&Mention>, limit| {
        let (acme, ada) = (workspace("acme"), user("ada"));
        let page = stores.mentions.mentions_of(&acme, &ada, at(since), below, limit).await.unwrap();
        (page.rows, page.more)
    };
    let [first, second, other, last] = [mention(1, 1), mention(2, 1), mention(2, 2), mention(4, 1)];
    let all = vec![last.clone(), other.clone(), second.clone(), first.clone()];
    assert_eq!(read(0, None, 10).await, (all.clone(), false));
    assert_eq!(read(0, None, 2).await, (all[..2].to_vec(), true));
    assert_eq!(read(0, Some(&other), 10).await, (all[2..].to_vec(), false));
    assert_eq!(read(2, None, 10).await, (all[..3].to_vec(), false), "since a time");
    assert_eq!(read(0, Some(&mention(3, 1)), 10).await.0, all[1..], "below one that is not there");
    assert_eq!(read(5, Some(&first), 10).await, (vec![], false));
    let zeta = stores.mentions.mentions_of(&workspace("zeta"), &user("ada"), at(0), None, 10).await;
    assert_eq!(zeta.unwrap().rows, [], "of another workspace");
}

async fn mentions_are_not_among_a_users_channels(stores: Stores) {
    let (acme, ada) = (workspace("acme"), user("ada"));
    for number in [1, 2] {
        let members = [member("ada", 1)];
        stores.members.put_members(&acme, &channel_id(number), &members).await.unwrap();
    }
    put(&stores, "ada", &mention(1, 1)).await;
    let listed = stores.members.channels_of(&acme, &ada, None, 10).await.unwrap();
    assert_eq!(listed.rows, [channel_id(1), channel_id(2)]);
    let after = Some(&channel_id(1));
    let listed = stores.members.channels_of(&acme, &ada, after, 10).await.unwrap();
    assert_eq!((listed.rows, listed.more), (vec![channel_id(2)], false));
    assert_eq!(stores.members.joined_by(&acme, &ada, None, 10).await.unwrap().rows.len(), 2);
    assert_eq!(stores.read_marks.marks_of(&acme, &ada, None, 10).await.unwrap().rows.len(), 2);
}

async fn who_of_some_users_is_a_member(stores: Stores) {
    let members = [member("ada", 1), member("bob", 2)];
    stores.members.put_members(&workspace("acme"), &channel_id(1), &members).await.unwrap();
    let among = async |names: &[&str]| {
        let users: Vec<_> = names.iter().map(|name| user(name)).collect();
        let mut found = stores.members.members_among(&channel_id(1), &users).await.unwrap();
        found.sort();
        found
    };
    assert_eq!(among(&["eve", "bob", "ada", "bob"]).await, [user("ada"), user("bob")]);
    assert_eq!(among(&["eve"]).await, []);
    assert_eq!(among(&[]).await, []);
}

#[tokio::test]
async fn a_mention_costs_one_write_unit_and_counting_a_hundred_two_read_units() {
    let tables = EmptyTables::create().await;
    let (acme, ada) = (workspace("acme"), user("ada"));
    for ms in 1..=100 {
        let before = tables.capacity.snapshot();
        let later = at(4_000_000_000_000 - at(0).unix_ms());
        tables.store.put_mention(&acme, &ada, &mention(ms, 1), later).await.unwrap();
        let cost = tables.capacity.since(&before).total();
        assert_eq!(cost, Cost { calls: 1, read_units: 0.0, write_units: 1.0 });
    }
    let before = tables.capacity.snapshot();
    tables.store.mentions_of(&acme, &ada, at(0), None, 1_000).await.unwrap();
    let cost = tables.capacity.since(&before).total();
    assert!(cost.calls == 1 && cost.read_units <= 2.0, "{cost:?}");
}
