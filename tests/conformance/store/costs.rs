//! What each call of a port costs: calls, read units, write units. A send's price rests on them.

use dynamo::{Cost, Operation};
use messaging::ports::{
    Appended, ChannelStore, MemberStore, MessageStore, PageQuery, ProfileStore, RevocationStore,
    StoredMessage,
};
use model::{ChannelId, ChannelUpdate, MessageId, ProfileUpdate, Rev, UserId};

use super::{EmptyTables, at, channel, channel_id, id, member, message, redirect, user, workspace};

const fn cost(calls: u64, read_units: f64, write_units: f64) -> Cost {
    Cost { calls, read_units, write_units }
}

/// A message with the longest sender and version, and a text of 800 bytes.
fn of_800_bytes(id: MessageId) -> StoredMessage {
    let mut stored = message(1, id, &"u".repeat(64), &"x".repeat(800));
    stored.members_version = u64::MAX;
    stored
}

#[tokio::test]
async fn an_append_of_800_bytes_costs_one_call_and_one_write_unit() {
    let tables = EmptyTables::create().await;
    let before = tables.capacity.snapshot();
    tables.store.append(&of_800_bytes(id(0, 1))).await.unwrap();
    let consumed = tables.capacity.since(&before);
    assert_eq!(consumed.total(), cost(1, 0.0, 1.0));
    assert_eq!(consumed.of(Operation::Put), cost(1, 0.0, 1.0));
}

#[tokio::test]
async fn a_duplicate_costs_one_call_and_one_write_unit_and_no_read() {
    let tables = EmptyTables::create().await;
    tables.store.append(&of_800_bytes(id(0, 1))).await.unwrap();
    let before = tables.capacity.snapshot();
    let appended = tables.store.append(&of_800_bytes(id(0, 1))).await.unwrap();
    assert!(matches!(appended, Appended::Occupied(_)));
    assert_eq!(tables.capacity.since(&before).total(), cost(1, 0.0, 1.0));
}

#[tokio::test]
async fn a_redirected_append_costs_one_call_and_four_write_units() {
    let tables = EmptyTables::create().await;
    let late = of_800_bytes(id(100, 1));
    let before = tables.capacity.snapshot();
    tables.store.append_redirected(&redirect(id(0, 1), &late), &late).await.unwrap();
    assert_eq!(tables.capacity.since(&before).total(), cost(1, 0.0, 4.0));
    // Finding the redirect takes one call, too.
    let again = of_800_bytes(id(200, 1));
    let before = tables.capacity.snapshot();
    tables.store.append_redirected(&redirect(id(0, 1), &again), &again).await.unwrap();
    assert_eq!(tables.capacity.since(&before).total(), cost(1, 0.0, 4.0));
}

#[tokio::test]
async fn standing_costs_one_call_and_two_read_units() {
    let tables = EmptyTables::create().await;
    tables.store.create(&channel(1)).await.unwrap();
    let general = channel_id(1);
    tables.store.put_members(&workspace("acme"), &general, &[member("ada", 0)]).await.unwrap();
    for name in ["ada", "eve"] {
        let before = tables.capacity.snapshot();
        tables.store.standing(&general, &user(name)).await.unwrap();
        assert_eq!(tables.capacity.since(&before).total(), cost(1, 2.0, 0.0), "{name}");
    }
}

#[tokio::test]
async fn a_page_of_the_20_newest_costs_one_query_however_long_the_channel_is() {
    let tables = EmptyTables::create().await;
    for number in 1..=200 {
        tables.store.append(&message(1, id(5, number), "ada", &"x".repeat(150))).await.unwrap();
    }
    for (strong, read_units) in [(true, 2.0), (false, 1.0)] {
        let query = PageQuery {
            log: channel_id(1).into(),
            lowest: MessageId::MIN,
            highest: MessageId::last_of(at(15_000)),
            newest_first: true,
            limit: 20,
            strong,
        };
        let before = tables.capacity.snapshot();
        let page = tables.store.page(&query).await.unwrap();
        assert_eq!(page.entries.len(), 20);
        let consumed = tables.capacity.since(&before);
        // 20 rows of about 230 bytes: two units of 4 KiB, or half of that.
        assert_eq!(consumed.total(), cost(1, read_units, 0.0), "strong: {strong}");
        assert_eq!(consumed.of(Operation::Query).calls, 1);
    }
}

#[tokio::test]
async fn every_other_call_costs_what_its_rows_cost() {
    let tables = EmptyTables::create().await;
    let (store, acme, ada) = (&tables.store, workspace("acme"), user("ada"));
    let general = channel_id(1);
    let mut last = tables.capacity.snapshot();
    let mut spent = |expected: Cost, what: &str| {
        assert_eq!(tables.capacity.since(&last).total(), expected, "{what}");
        last = tables.capacity.snapshot();
    };
    store.create(&channel(1)).await.unwrap();
    spent(cost(1, 0.0, 1.0), "create");
    store.create(&channel(1)).await.unwrap();
    spent(cost(1, 0.0, 1.0), "create again");
    store.bump_members_version(&general).await.unwrap();
    spent(cost(1, 0.0, 1.0), "bump");
    store.bump_members_version(&channel_id(2)).await.unwrap();
    spent(cost(1, 0.0, 1.0), "bump of no channel");
    let late = model::LateArrivals { reread_from: id(0, 1), until: at(0) };
    store.mark_late(&general, late).await.unwrap();
    spent(cost(1, 0.0, 1.0), "late mark");
    store.mark_late(&general, late).await.unwrap();
    spent(cost(1, 0.0, 1.0), "covered late mark");
    let update = ChannelUpdate { topic: Some("x".repeat(250)), ..ChannelUpdate::default() };
    store.change_details(&general, &update).await.unwrap();
    spent(cost(1, 0.0, 1.0), "topic");
    store.list_publicly(&acme, &general).await.unwrap();
    spent(cost(1, 0.0, 1.0), "list publicly");
    store.public_channels(&acme, None, 100).await.unwrap();
    spent(cost(1, 0.5, 0.0), "public channels");
    store.put_members(&acme, &general, &[member("ada", 0), member("bob", 0)]).await.unwrap();
    spent(cost(4, 0.0, 4.0), "put two members");
    store.are_settled(&acme, &general, &[user("ada"), user("bob")], true).await.unwrap();
    spent(cost(1, 4.0, 0.0), "are two members settled");
    store.members(&general, None, 100).await.unwrap();
    spent(cost(1, 1.0, 0.0), "members");
    store.channels_of(&acme, &ada, None, 100).await.unwrap();
    spent(cost(1, 1.0, 0.0), "channels of a user");
    store.delete_member(&acme, &general, &ada).await.unwrap();
    spent(cost(2, 0.0, 2.0), "delete a member");
    store.revoke(&acme, &ada, at(0)).await.unwrap();
    spent(cost(1, 0.0, 1.0), "revoke");
    store.entry(&general.clone().into(), id(0, 1)).await.unwrap();
    spent(cost(1, 1.0, 0.0), "absent entry");
    store.list_user(&acme, &ada).await.unwrap();
    spent(cost(1, 0.0, 1.0), "list a user");
    store.users(&acme, None, 100).await.unwrap();
    spent(cost(1, 0.5, 0.0), "users");
    let rev = Rev::of(id(0, 1));
    let profile = ProfileUpdate::default().applied_to(None, &ada, rev.clone());
    store.put_profile(&acme, &profile, None).await.unwrap();
    spent(cost(1, 0.0, 1.0), "first profile");
    store.put_profile(&acme, &profile, Some(&rev)).await.unwrap();
    spent(cost(1, 0.0, 1.0), "profile");
    store.put_profile(&acme, &profile, None).await.unwrap();
    spent(cost(1, 0.0, 1.0), "refused profile");
    store.profiles(&acme, &[ada, user("eve")]).await.unwrap();
    spent(cost(1, 2.0, 0.0), "two profiles");
    let ids: Vec<ChannelId> = (1..=100).map(channel_id).collect();
    store.channels(&ids).await.unwrap();
    spent(cost(1, 100.0, 0.0), "100 channels");
    let users: Vec<UserId> = (0..101).map(|number| user(&format!("u{number}"))).collect();
    store.revoked_among(&acme, &users).await.unwrap();
    spent(cost(2, 101.0, 0.0), "101 tombstones");
}
