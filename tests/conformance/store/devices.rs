//! Devices of users (ADR 0046).

use std::collections::BTreeSet;
use std::time::Duration;

use model::{DeviceId, Timestamp, limits};

use super::{Stores, at, user, workspace};

on_every_store!(
    g13_devices_are_registered_by_user_and_workspace,
    g13_the_device_that_was_seen_longest_ago_makes_room,
    g13_a_device_that_is_not_seen_is_owed_nothing,
    devices_are_not_among_a_users_channels,
);

fn device(n: usize) -> DeviceId {
    format!("device-{n}_A").parse().unwrap()
}

async fn devices(stores: &Stores, name: &str, now: Timestamp) -> BTreeSet<DeviceId> {
    let users = [user(name), user("nobody")];
    let found = stores.devices.devices(&workspace("acme"), &users, now).await.unwrap();
    assert!(found.iter().all(|(of, _)| *of == users[0]));
    found.into_iter().map(|(_, device)| device).collect()
}

async fn g13_devices_are_registered_by_user_and_workspace(stores: Stores) {
    assert_eq!(devices(&stores, "ann", at(0)).await, BTreeSet::new());
    for n in [1, 2, 1] {
        stores
            .devices
            .register(&workspace("acme"), &user("ann"), &device(n), at(n as u64))
            .await
            .unwrap();
    }
    stores.devices.register(&workspace("acme"), &user("bob"), &device(3), at(3)).await.unwrap();
    assert_eq!(devices(&stores, "ann", at(5)).await, [1, 2].map(device).into());
    let both = [user("bob"), user("ann"), user("bob")];
    let both = stores.devices.devices(&workspace("acme"), &both, at(5)).await.unwrap();
    let both: BTreeSet<_> = both.into_iter().collect();
    assert_eq!(both.len(), 3, "{both:?}");
    assert_eq!(devices(&stores, "bob", at(5)).await, [3].map(device).into());
    let other = "other".parse().unwrap();
    assert_eq!(stores.devices.devices(&other, &[user("ann")], at(5)).await.unwrap(), []);
}

async fn g13_the_device_that_was_seen_longest_ago_makes_room(stores: Stores) {
    let hours = |n: usize| at(0).plus(Duration::from_secs(3600 * n as u64));
    for n in 0..limits::DEVICES_MAX {
        stores
            .devices
            .register(&workspace("acme"), &user("ann"), &device(n), hours(n))
            .await
            .unwrap();
    }
    // Seen again on another day: now it is the newest one.
    stores.devices.register(&workspace("acme"), &user("ann"), &device(0), hours(30)).await.unwrap();
    stores
        .devices
        .register(&workspace("acme"), &user("ann"), &device(90), hours(31))
        .await
        .unwrap();
    let mut expected: BTreeSet<_> = (0..limits::DEVICES_MAX).map(device).collect();
    expected.remove(&device(1));
    expected.insert(device(90));
    assert_eq!(devices(&stores, "ann", hours(32)).await, expected);
}

async fn g13_a_device_that_is_not_seen_is_owed_nothing(stores: Stores) {
    stores.devices.register(&workspace("acme"), &user("ann"), &device(1), at(0)).await.unwrap();
    let last = at(0).plus(limits::DEVICE_TTL).minus(Duration::from_millis(1));
    assert_eq!(devices(&stores, "ann", last).await, [device(1)].into());
    assert_eq!(devices(&stores, "ann", at(0).plus(limits::DEVICE_TTL)).await, BTreeSet::new());
}

async fn devices_are_not_among_a_users_channels(stores: Stores) {
    stores.devices.register(&workspace("acme"), &user("ann"), &device(1), at(0)).await.unwrap();
    let page =
        stores.members.channels_of(&workspace("acme"), &user("ann"), None, 10).await.unwrap();
    assert_eq!(page.rows, []);
}
