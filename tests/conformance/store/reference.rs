//! Random calls get the same answers in memory and on tables.

use std::fmt::Debug;

use messaging::ports::{PageQuery, ReadError, WriteError};
use model::{ChannelId, ChannelUpdate, MessageId, ProfileUpdate, Rev};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Stores, at, channel, channel_id, id, log_id, member, message, redirect, workspace};

/// A call of a port. There are so few names that calls concern each other.
#[derive(Debug, Clone)]
enum Call {
    Append { channel: u128, id: u128, user: usize, text: u8 },
    AppendRedirected { channel: u128, from: u128, to: u128, user: usize, text: u8 },
    Entry { channel: u128, id: u128 },
    Page { channel: u128, lowest: u128, highest: u128, newest_first: bool, limit: u32 },
    Create { channel: u128, user: usize },
    Channels(Vec<u128>),
    Standing { channel: u128, user: usize },
    Bump { channel: u128 },
    MarkLate { channel: u128, id: u128, at: u64 },
    PutMembers { workspace: usize, channel: u128, users: Vec<usize>, at: u64 },
    DeleteMember { workspace: usize, channel: u128, user: usize },
    AreSettled { workspace: usize, channel: u128, users: Vec<usize>, as_members: bool },
    Members { channel: u128, after: Option<usize>, limit: u32 },
    ChannelsOf { workspace: usize, user: usize, after: Option<u128>, limit: u32 },
    ChangeDetails { channel: u128, name: Option<u8>, topic: Option<u8>, archived: Option<bool> },
    ListPublicly { workspace: usize, channel: u128 },
    PublicChannels { workspace: usize, after: Option<u128>, limit: u32 },
    PutProfile { workspace: usize, user: usize, rev: u128, expected: Option<u128> },
    Profiles { workspace: usize, users: Vec<usize> },
    ListUser { workspace: usize, user: usize },
    Users { workspace: usize, after: Option<usize>, limit: u32 },
    Revoke { workspace: usize, user: usize },
    RevokedAmong { workspace: usize, users: Vec<usize> },
}

const USERS: [&str; 4] = ["ada", "Bob", "_eve", "-zoe"];
const WORKSPACES: [&str; 2] = ["acme", "zeta"];

fn calls() -> impl Strategy<Value = Vec<Call>> {
    proptest::collection::vec(
        prop_oneof![4 => log_call(), 5 => channel_call(), 3 => people_call()],
        1..60,
    )
}

fn log_call() -> impl Strategy<Value = Call> {
    let (channel, id, user) = (1..3_u128, 0..8_u128, 0..USERS.len());
    prop_oneof![
        (channel.clone(), id.clone(), user.clone(), 0..2_u8)
            .prop_map(|(channel, id, user, text)| Call::Append { channel, id, user, text }),
        (channel.clone(), id.clone(), id.clone(), user, 0..2_u8).prop_map(
            |(channel, from, to, user, text)| {
                Call::AppendRedirected { channel, from, to, user, text }
            }
        ),
        (channel.clone(), id.clone()).prop_map(|(channel, id)| Call::Entry { channel, id }),
        (channel, id.clone(), id, any::<bool>(), 0..5_u32).prop_map(
            |(channel, lowest, highest, newest_first, limit)| {
                Call::Page { channel, lowest, highest, newest_first, limit }
            }
        ),
    ]
}

fn channel_call() -> impl Strategy<Value = Call> {
    let (channel, user, workspace) = (1..4_u128, 0..USERS.len(), 0..WORKSPACES.len());
    let users = proptest::collection::vec(user.clone(), 0..4);
    let limit = 1..4_u32;
    prop_oneof![
        (channel.clone(), user.clone()).prop_map(|(channel, user)| Call::Create { channel, user }),
        proptest::collection::vec(channel.clone(), 0..4).prop_map(Call::Channels),
        (channel.clone(), user.clone())
            .prop_map(|(channel, user)| Call::Standing { channel, user }),
        channel.clone().prop_map(|channel| Call::Bump { channel }),
        (workspace.clone(), channel.clone(), users.clone(), any::<bool>()).prop_map(
            |(workspace, channel, users, as_members)| {
                Call::AreSettled { workspace, channel, users, as_members }
            }
        ),
        (channel.clone(), 0..6_u128, 0..4_u64).prop_map(|(channel, id, at)| Call::MarkLate {
            channel,
            id,
            at: at * 400_000
        }),
        (workspace.clone(), channel.clone(), users.clone(), 0..100_u64).prop_map(
            |(workspace, channel, users, at)| Call::PutMembers { workspace, channel, users, at }
        ),
        (workspace.clone(), channel.clone(), user.clone())
            .prop_map(|(workspace, channel, user)| Call::DeleteMember { workspace, channel, user }),
        (channel.clone(), proptest::option::of(user.clone()), limit.clone())
            .prop_map(|(channel, after, limit)| Call::Members { channel, after, limit }),
        (workspace.clone(), user.clone(), proptest::option::of(channel), limit).prop_map(
            |(workspace, user, after, limit)| Call::ChannelsOf { workspace, user, after, limit }
        ),
        (workspace.clone(), user).prop_map(|(workspace, user)| Call::Revoke { workspace, user }),
        (workspace, users).prop_map(|(workspace, users)| Call::RevokedAmong { workspace, users }),
    ]
}

fn people_call() -> impl Strategy<Value = Call> {
    let (channel, user, workspace) = (1..4_u128, 0..USERS.len(), 0..WORKSPACES.len());
    let (text, limit, rev) = (proptest::option::of(0..2_u8), 1..4_u32, 0..3_u128);
    let archived = proptest::option::of(any::<bool>());
    prop_oneof![
        (channel.clone(), text.clone(), text, archived).prop_map(
            |(channel, name, topic, archived)| Call::ChangeDetails {
                channel,
                name,
                topic,
                archived
            }
        ),
        (workspace.clone(), channel.clone())
            .prop_map(|(workspace, channel)| Call::ListPublicly { workspace, channel }),
        (workspace.clone(), proptest::option::of(channel), limit.clone())
            .prop_map(|(workspace, after, limit)| Call::PublicChannels { workspace, after, limit }),
        (workspace.clone(), user.clone(), rev.clone(), proptest::option::of(rev)).prop_map(
            |(workspace, user, rev, expected)| Call::PutProfile { workspace, user, rev, expected }
        ),
        (workspace.clone(), proptest::collection::vec(user.clone(), 0..4))
            .prop_map(|(workspace, users)| Call::Profiles { workspace, users }),
        (workspace.clone(), user.clone())
            .prop_map(|(workspace, user)| Call::ListUser { workspace, user }),
        (workspace, proptest::option::of(user), limit)
            .prop_map(|(workspace, after, limit)| Call::Users { workspace, after, limit }),
    ]
}

/// Makes a call and returns its answer as text.
async fn answer(stores: &Stores, call: &Call) -> String {
    let name = |user: &usize| super::user(USERS[*user]);
    match call {
        Call::Append { channel, id: random, user, text } => {
            let stored = message(*channel, id(0, *random), USERS[*user], &format!("text {text}"));
            written(stores.messages.append(&stored).await)
        }
        Call::AppendRedirected { channel, from, to, user, text } => {
            let stored = message(*channel, id(0, *to), USERS[*user], &format!("text {text}"));
            let from = redirect(id(0, *from), &stored);
            written(stores.messages.append_redirected(&from, &stored).await)
        }
        Call::Entry { channel, id: random } => {
            read(stores.messages.entry(&log_id(*channel), id(0, *random)).await)
        }
        Call::Page { channel, lowest, highest, newest_first, limit } => {
            let query = PageQuery {
                log: channel_id(*channel).into(),
                lowest: if *lowest == 0 { MessageId::MIN } else { id(0, *lowest) },
                highest: id(0, *highest),
                newest_first: *newest_first,
                limit: *limit,
                strong: true,
            };
            read(stores.messages.page(&query).await)
        }
        Call::Create { .. }
        | Call::Channels(_)
        | Call::Standing { .. }
        | Call::Bump { .. }
        | Call::MarkLate { .. }
        | Call::PutMembers { .. }
        | Call::DeleteMember { .. }
        | Call::AreSettled { .. }
        | Call::Members { .. }
        | Call::ChannelsOf { .. }
        | Call::Revoke { .. }
        | Call::RevokedAmong { .. } => answer_of_channels(stores, call, name).await,
        Call::ChangeDetails { .. }
        | Call::ListPublicly { .. }
        | Call::PublicChannels { .. }
        | Call::PutProfile { .. }
        | Call::Profiles { .. }
        | Call::ListUser { .. }
        | Call::Users { .. } => answer_of_people(stores, call, name).await,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other calls have functions of their own")]
async fn answer_of_channels(
    stores: &Stores,
    call: &Call,
    name: impl Fn(&usize) -> model::UserId,
) -> String {
    match call {
        Call::Create { channel: number, user } => {
            let created = model::Channel { created_by: name(user), ..channel(*number) };
            written(stores.channels.create(&created).await)
        }
        Call::Channels(numbers) => {
            let ids: Vec<ChannelId> = numbers.iter().map(|number| channel_id(*number)).collect();
            let found = stores.channels.channels(&ids).await.map(|mut channels| {
                channels.sort_by(|one, other| one.id.cmp(&other.id));
                channels
            });
            read(found)
        }
        Call::Standing { channel, user } => {
            read(stores.channels.standing(&channel_id(*channel), &name(user)).await)
        }
        Call::Bump { channel } => {
            written(stores.channels.bump_members_version(&channel_id(*channel)).await)
        }
        Call::AreSettled { workspace: of, channel, users, as_members } => {
            let (of, channel) = (workspace(WORKSPACES[*of]), channel_id(*channel));
            let users: Vec<_> = users.iter().map(&name).collect();
            read(stores.members.are_settled(&of, &channel, &users, *as_members).await)
        }
        Call::MarkLate { channel, id: random, at: offset } => {
            let late = model::LateArrivals { reread_from: id(0, *random), until: at(*offset) };
            written(stores.channels.mark_late(&channel_id(*channel), late).await)
        }
        Call::PutMembers { workspace: of, channel, users, at: offset } => {
            let members: Vec<_> = users.iter().map(|user| member(USERS[*user], *offset)).collect();
            let (of, channel) = (workspace(WORKSPACES[*of]), channel_id(*channel));
            written(stores.members.put_members(&of, &channel, &members).await)
        }
        Call::DeleteMember { workspace: of, channel, user } => {
            let (of, channel) = (workspace(WORKSPACES[*of]), channel_id(*channel));
            written(stores.members.delete_member(&of, &channel, &name(user)).await)
        }
        Call::Members { channel, after, limit } => {
            let after = after.as_ref().map(&name);
            read(stores.members.members(&channel_id(*channel), after.as_ref(), *limit).await)
        }
        Call::ChannelsOf { workspace: of, user, after, limit } => {
            let (of, after) = (workspace(WORKSPACES[*of]), after.map(channel_id));
            let user = name(user);
            read(stores.members.channels_of(&of, &user, after.as_ref(), *limit).await)
        }
        Call::Revoke { workspace: of, user } => {
            let of = workspace(WORKSPACES[*of]);
            written(stores.revocations.revoke(&of, &name(user), at(0)).await)
        }
        Call::RevokedAmong { workspace: of, users } => {
            let users: Vec<_> = users.iter().map(&name).collect();
            let of = workspace(WORKSPACES[*of]);
            read(stores.revocations.revoked_among(&of, &users).await)
        }
        _ => String::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other calls have functions of their own")]
async fn answer_of_people(
    stores: &Stores,
    call: &Call,
    name: impl Fn(&usize) -> model::UserId,
) -> String {
    let (members, profiles) = (&stores.members, &stores.profiles);
    match call {
        Call::ChangeDetails { channel, name, topic, archived } => {
            let text = |number: &Option<u8>| number.map(|number| "x".repeat(number.into()));
            let name = name.map(|number| format!("name {number}"));
            let update = ChannelUpdate { name, topic: text(topic), archived: *archived };
            written(stores.channels.change_details(&channel_id(*channel), &update).await)
        }
        Call::ListPublicly { workspace: of, channel } => {
            let of = workspace(WORKSPACES[*of]);
            written(members.list_publicly(&of, &channel_id(*channel)).await)
        }
        Call::PublicChannels { workspace: of, after, limit } => {
            let (of, after) = (workspace(WORKSPACES[*of]), after.map(channel_id));
            read(members.public_channels(&of, after.as_ref(), *limit).await)
        }
        Call::PutProfile { workspace: of, user, rev: random, expected } => {
            let rev = |random: u128| Rev::of(id(0, random));
            let update = ProfileUpdate { tz: Some("UTC".to_owned()), ..ProfileUpdate::default() };
            let profile = update.applied_to(None, &name(user), rev(*random));
            let (of, expected) = (workspace(WORKSPACES[*of]), expected.map(rev));
            written(profiles.put_profile(&of, &profile, expected.as_ref()).await)
        }
        Call::Profiles { workspace: of, users } => {
            let (of, users) = (workspace(WORKSPACES[*of]), users.iter().map(&name));
            let users: Vec<_> = users.collect();
            let found = profiles.profiles(&of, &users).await.map(|mut found| {
                found.sort_by(|one, other| one.user_id.cmp(&other.user_id));
                found
            });
            read(found)
        }
        Call::ListUser { workspace: of, user } => {
            written(profiles.list_user(&workspace(WORKSPACES[*of]), &name(user)).await)
        }
        Call::Users { workspace: of, after, limit } => {
            let (of, after) = (workspace(WORKSPACES[*of]), after.as_ref().map(&name));
            read(profiles.users(&of, after.as_ref(), *limit).await)
        }
        _ => String::new(),
    }
}

fn written<T: Debug>(outcome: Result<T, WriteError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(WriteError::Throttled(_)) => "throttled".to_owned(),
        Err(WriteError::NotStored(_)) => "not stored".to_owned(),
        Err(WriteError::OutcomeUnknown(_)) => "outcome unknown".to_owned(),
    }
}

fn read<T: Debug>(outcome: Result<T, ReadError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(ReadError::Throttled(_)) => "throttled".to_owned(),
        Err(ReadError::Unavailable(_)) => "unavailable".to_owned(),
        Err(ReadError::Unreadable(_)) => "unreadable".to_owned(),
    }
}

#[test]
fn random_calls_get_the_same_answers_from_maps_and_tables() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    // A fixed seed, so that a failure repeats.
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let same_answers = |calls: Vec<Call>| {
        runtime.block_on(async {
            let (maps, tables) = (Stores::on_memory(), Stores::on_dynamo().await);
            for (index, call) in calls.iter().enumerate() {
                let expected = answer(&maps, call).await;
                let found = answer(&tables, call).await;
                prop_assert_eq!(expected, found, "call {}: {:?}", index, call);
            }
            Ok(())
        })
    };
    TestRunner::new_with_rng(config, seed).run(&calls(), same_answers).unwrap();
}
