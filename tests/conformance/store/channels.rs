//! The channels port: channels, standing and versions.

use std::slice::from_ref;

use futures_util::future;
use messaging::ports::{Creation, Marking, Standing};
use model::{Channel, ChannelDetails, ChannelId, ChannelType, Contract, LateArrivals, limits};

use super::{Stores, at, channel, channel_id, id, member, user, workspace};

on_every_store!(
    a_channel_is_created_once_and_the_first_stays,
    channels_are_read_by_id_and_absent_ones_are_left_out,
    a_channel_keeps_all_its_fields,
    standing_distinguishes_channel_and_membership,
    g6_a_version_is_bumped_by_one_if_the_channel_exists,
    g6_ten_parallel_bumps_have_ten_versions,
    g3_a_late_mark_keeps_the_lowest_id_of_an_incident,
    g3_the_lowest_of_ten_parallel_late_marks_stays,
    g3_a_late_mark_creates_no_channel,
);

async fn a_channel_is_created_once_and_the_first_stays(stores: Stores) {
    let first = channel(1);
    let second = Channel { details: ChannelDetails::new(Some("another".to_owned())), ..channel(1) };
    assert_eq!(stores.channels.create(&first).await.unwrap(), Creation::Created);
    assert_eq!(stores.channels.create(&second).await.unwrap(), Creation::Existed);
    assert_eq!(stores.channels.create(&first).await.unwrap(), Creation::Existed);
    assert_eq!(stores.channels.channels(&[channel_id(1)]).await.unwrap(), [first]);
}

async fn channels_are_read_by_id_and_absent_ones_are_left_out(stores: Stores) {
    let all: Vec<_> = (1..=100).map(channel).collect();
    for channel in &all[..60] {
        stores.channels.create(channel).await.unwrap();
    }
    let mut wanted: Vec<_> = all.iter().map(|channel| channel.id.clone()).collect();
    wanted.swap(0, 99);
    let mut found = stores.channels.channels(&wanted).await.unwrap();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found, all[..60]);
    // It is named twice, but returned once.
    let twice = [channel_id(1), channel_id(1)];
    assert_eq!(stores.channels.channels(&twice).await.unwrap(), all[..1]);
    assert_eq!(stores.channels.channels(&[]).await.unwrap(), []);
}

async fn a_channel_keeps_all_its_fields(stores: Stores) {
    let dm = Channel {
        id: ChannelId::of_dm(&workspace("acme"), &user("ada"), &user("bob"), Contract::default()),
        channel_type: ChannelType::Dm,
        details: ChannelDetails::new(None),
        members_version: u64::MAX,
        late: Some(LateArrivals { reread_from: id(3, 4), until: at(5) }),
        ..channel(1)
    };
    stores.channels.create(&dm).await.unwrap();
    assert_eq!(stores.channels.channels(from_ref(&dm.id)).await.unwrap(), [dm]);
}

async fn standing_distinguishes_channel_and_membership(stores: Stores) {
    let nothing = Standing { channel: None, is_member: false };
    let (general, ada, bob) = (channel_id(1), user("ada"), user("bob"));
    assert_eq!(stores.channels.standing(&general, &ada).await.unwrap(), nothing);

    stores.channels.create(&channel(1)).await.unwrap();
    stores.members.put_members(&workspace("acme"), &general, &[member("ada", 0)]).await.unwrap();
    let of_ada = Standing { channel: Some(channel(1)), is_member: true };
    assert_eq!(stores.channels.standing(&general, &ada).await.unwrap(), of_ada);
    let of_bob = Standing { channel: Some(channel(1)), is_member: false };
    assert_eq!(stores.channels.standing(&general, &bob).await.unwrap(), of_bob);

    // Rows may exist before and after the channel's item.
    let other = channel_id(2);
    stores.members.put_members(&workspace("acme"), &other, &[member("bob", 0)]).await.unwrap();
    let without_channel = Standing { channel: None, is_member: true };
    assert_eq!(stores.channels.standing(&other, &bob).await.unwrap(), without_channel);
}

async fn g6_a_version_is_bumped_by_one_if_the_channel_exists(stores: Stores) {
    let general = channel_id(1);
    assert_eq!(stores.channels.bump_members_version(&general).await.unwrap(), None);
    assert_eq!(stores.channels.channels(from_ref(&general)).await.unwrap(), []);

    stores.channels.create(&channel(1)).await.unwrap();
    for version in [2, 3] {
        let bumped = stores.channels.bump_members_version(&general).await.unwrap();
        assert_eq!(bumped, Some(version));
    }
    let after = Channel { members_version: 3, ..channel(1) };
    assert_eq!(stores.channels.channels(&[general]).await.unwrap(), [after]);
}

async fn g6_ten_parallel_bumps_have_ten_versions(stores: Stores) {
    stores.channels.create(&channel(1)).await.unwrap();
    let general = channel_id(1);
    let bumps = (0..10).map(|_| stores.channels.bump_members_version(&general));
    let mut versions = future::try_join_all(bumps).await.unwrap();
    versions.sort_unstable();
    assert_eq!(versions, (2..12).map(Some).collect::<Vec<_>>());
}

async fn g3_a_late_mark_keeps_the_lowest_id_of_an_incident(stores: Stores) {
    stores.channels.create(&channel(1)).await.unwrap();
    let general = channel_id(1);
    let overlap = u64::try_from(limits::OVERLAP.as_millis()).unwrap();
    let late = |id_ms, at_ms| LateArrivals { reread_from: id(id_ms, 1), until: at(at_ms) };
    for (given, marking, kept) in [
        (late(500, 1_000), Marking::Marked, late(500, 1_000)),
        // Equal or higher ids in the same incident, which lasts until the overlap after the mark.
        (late(500, 1_000), Marking::Covered, late(500, 1_000)),
        (late(501, 1_000 + overlap), Marking::Covered, late(500, 1_000)),
        (late(500, 900), Marking::Covered, late(500, 1_000)),
        // A lower id: more must be read again.
        (late(499, 2_000), Marking::Marked, late(499, 2_000)),
        // A later incident.
        (late(800, 2_001 + overlap), Marking::Marked, late(800, 2_001 + overlap)),
    ] {
        assert_eq!(stores.channels.mark_late(&general, given).await.unwrap(), marking, "{given:?}");
        let channel = Channel { late: Some(kept), ..channel(1) };
        assert_eq!(stores.channels.channels(from_ref(&general)).await.unwrap(), [channel]);
    }
}

async fn g3_the_lowest_of_ten_parallel_late_marks_stays(stores: Stores) {
    stores.channels.create(&channel(1)).await.unwrap();
    let general = channel_id(1);
    let marks = (0..10).map(|n| {
        stores
            .channels
            .mark_late(&general, LateArrivals { reread_from: id(100 - n, 1), until: at(1_000 + n) })
    });
    future::try_join_all(marks).await.unwrap();
    let found = stores.channels.channels(&[general]).await.unwrap();
    assert_eq!(found[0].late, Some(LateArrivals { reread_from: id(91, 1), until: at(1_009) }));
}

async fn g3_a_late_mark_creates_no_channel(stores: Stores) {
    let late = LateArrivals { reread_from: id(1, 1), until: at(1) };
    let absent = stores.channels.mark_late(&channel_id(1), late).await.unwrap();
    assert_eq!(absent, Marking::Covered);
    assert_eq!(stores.channels.channels(&[channel_id(1)]).await.unwrap(), []);
}
