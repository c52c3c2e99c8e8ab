//! The keys of all rows.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use messaging::ports::Mention;
use model::{
    ChannelId, Emoji, FileId, LogId, MessageId, MessageRef, ThreadId, Timestamp, UserId,
    WorkspaceId,
};

/// A row's key.
pub(crate) type Key = HashMap<String, AttributeValue>;

/// Partition key of messages, channels and memberships; sort key of user_channels. In messages it is
/// the log: the channel, and for a reply a `.` and the root of its thread.
pub(crate) const CHANNEL_ID: &str = "channel_id";
/// Sort key of messages: the message's id.
pub(crate) const CREATED_AT: &str = "created_at";
/// Sort key of memberships.
pub(crate) const USER_ID: &str = "user_id";
/// Partition key of user_channels: `workspace_id#user_id`.
pub(crate) const WORKSPACE_USER: &str = "workspace_user";
/// The sort key of a revoked user's tombstone. Sorts below every channel id, and is not one.
pub(crate) const REVOKED: &str = "!revoked";

/// The sort key of a user's profile. Sorts below the tombstone, as does [`LEAVING`].
const PROFILE: &str = "!profile";
/// Stand for a user in a `workspace_user`: the partitions of a workspace's public channels and of
/// its users. No id has a `*`.
const PUBLIC: &str = "*public";
const USERS: &str = "*users";

/// Prefix before the message's id in a mention's sort key. Sorts below the tombstone: versions that do
/// not know mentions list what sorts above it.
const MENTION: &str = "!@";

/// Prefix before the root's id in the sort key of a thread that a user follows. Sorts below the
/// tombstone, like a mention's.
const THREAD: &str = "!T";

/// Sort key of the row of a user's devices.
const DEVICES: &str = "!devices";

/// Below and above all sort keys that are channels' ids: `C…` and `D…`.
pub(crate) const CHANNELS: (&str, &str) = ("A", "E");

/// Prefix before the channel's id in a leaving mark's sort key. Sorts below the tombstone, so a
/// list that starts after the tombstone skips it.
pub(crate) const LEAVING: &str = "!leaving#";

/// Prefix before the position in a change's sort key.
const CHANGE: &str = "c#";
/// Prefix before the file's id in a file's sort key.
const FILE: &str = "f#";
/// Prefix before the message's id in a pin's sort key.
const PIN: &str = "p#";
/// Prefix before the message's id in a reaction's sort key.
const REACTION: &str = "r#";

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn message(log: &LogId, id: MessageId) -> Key {
    pair(CHANNEL_ID, &log.to_string(), CREATED_AT, &id.to_string())
}

/// An entry of the change log. Sorts above every message: ULIDs are upper case.
pub(crate) fn change(log: &LogId, position: MessageId) -> Key {
    pair(CHANNEL_ID, &log.to_string(), CREATED_AT, &change_sort_key(position))
}

pub(crate) fn change_sort_key(position: MessageId) -> String {
    format!("{CHANGE}{position}")
}

/// The position in a change log's sort key.
pub(crate) fn change_position(sort_key: &str) -> Option<MessageId> {
    MessageId::parse(sort_key.strip_prefix(CHANGE)?).ok()
}

/// The row of a file. Sorts above every message, like a change.
pub(crate) fn file(channel: &ChannelId, file: FileId) -> Key {
    pair(CHANNEL_ID, channel.as_str(), CREATED_AT, &format!("{FILE}{file}"))
}

/// The file in the sort key of its row.
pub(crate) fn file_of(sort_key: &str) -> Option<FileId> {
    FileId::parse(sort_key.strip_prefix(FILE)?).ok()
}

/// The pin of a message, which may be a reply: a channel has one list. Sorts above every message, like a
/// change.
pub(crate) fn pin(channel: &ChannelId, of: MessageRef) -> Key {
    pair(CHANNEL_ID, channel.as_str(), CREATED_AT, &pin_sort_key(of))
}

pub(crate) fn pin_sort_key(MessageRef { id, thread }: MessageRef) -> String {
    match thread {
        Some(root) => format!("{PIN}{id}#{root}"),
        None => format!("{PIN}{id}"),
    }
}

/// The message in a pin's sort key.
pub(crate) fn pinned_message(sort_key: &str) -> Option<MessageRef> {
    let (id, thread) = match sort_key.strip_prefix(PIN)?.split_once('#') {
        Some((id, root)) => (id, Some(MessageId::parse(root).ok()?)),
        None => (sort_key.strip_prefix(PIN)?, None),
    };
    Some(MessageRef { id: MessageId::parse(id).ok()?, thread })
}

/// A user's reaction to a message with an emoji. Sorts above every message, like a change.
pub(crate) fn reaction(log: &LogId, id: MessageId, user: &UserId, emoji: &Emoji) -> Key {
    pair(CHANNEL_ID, &log.to_string(), CREATED_AT, &reaction_sort_key(id, user, emoji))
}

pub(crate) fn reaction_sort_key(id: MessageId, user: &UserId, emoji: &Emoji) -> String {
    format!("{}{user}#{emoji}", reactions_prefix(id))
}

/// How the sort keys of a message's reactions begin.
pub(crate) fn reactions_prefix(id: MessageId) -> String {
    format!("{REACTION}{id}#")
}

/// The message, user and emoji in a reaction's sort key. Only the emoji may contain a `#`.
pub(crate) fn reaction_parts(sort_key: &str) -> Option<(MessageId, UserId, Emoji)> {
    let (id, rest) = sort_key.strip_prefix(REACTION)?.split_once('#')?;
    let (user, emoji) = rest.split_once('#')?;
    Some((MessageId::parse(id).ok()?, UserId::parse(user).ok()?, Emoji::parse(emoji).ok()?))
}

pub(crate) fn channel(channel: &ChannelId) -> Key {
    HashMap::from([(CHANNEL_ID.to_owned(), string(channel.as_str()))])
}

pub(crate) fn membership(channel: &ChannelId, user: &UserId) -> Key {
    pair(CHANNEL_ID, channel.as_str(), USER_ID, user.as_str())
}

pub(crate) fn user_channel(workspace: &WorkspaceId, user: &UserId, channel: &ChannelId) -> Key {
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, channel.as_str())
}

pub(crate) fn tombstone(workspace: &WorkspaceId, user: &UserId) -> Key {
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, REVOKED)
}

pub(crate) fn leaving(workspace: &WorkspaceId, user: &UserId, channel: &ChannelId) -> Key {
    let mark = format!("{LEAVING}{channel}");
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, &mark)
}

pub(crate) fn mention(workspace: &WorkspaceId, user: &UserId, mention: &Mention) -> Key {
    let sort_key = mention_sort_key(mention);
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, &sort_key)
}

pub(crate) fn mention_sort_key(Mention { id, log }: &Mention) -> String {
    format!("{MENTION}{id}#{log}")
}

/// Below all mentions of messages since a time, and above all mentions.
pub(crate) fn mentions_since(since: Timestamp) -> (String, String) {
    (format!("{MENTION}{}", MessageId::first_of(since)), format!("{MENTION}{}", char::MAX))
}

/// The message and log in a mention's sort key.
pub(crate) fn mention_parts(sort_key: &str) -> Option<Mention> {
    let (id, log) = sort_key.strip_prefix(MENTION)?.split_once('#')?;
    Some(Mention { id: MessageId::parse(id).ok()?, log: LogId::parse(log).ok()? })
}

/// A user's row of a thread.
pub(crate) fn user_thread(workspace: &WorkspaceId, user: &UserId, thread: &ThreadId) -> Key {
    let sort_key = thread_sort_key(thread);
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, &sort_key)
}

fn thread_sort_key(ThreadId { root, channel_id }: &ThreadId) -> String {
    format!("{THREAD}{root}#{channel_id}")
}

/// Below and above all rows of threads.
pub(crate) fn threads() -> (String, String) {
    (THREAD.to_owned(), format!("{THREAD}{}", char::MAX))
}

/// The thread in a row's sort key.
pub(crate) fn thread_of(sort_key: &str) -> Option<ThreadId> {
    let (root, channel) = sort_key.strip_prefix(THREAD)?.split_once('#')?;
    let (root, channel_id) = (MessageId::parse(root).ok()?, ChannelId::parse(channel).ok()?);
    Some(ThreadId { root, channel_id })
}

pub(crate) fn devices(workspace: &WorkspaceId, user: &UserId) -> Key {
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, DEVICES)
}

pub(crate) fn profile(workspace: &WorkspaceId, user: &UserId) -> Key {
    pair(WORKSPACE_USER, &workspace_user(workspace, user), CHANNEL_ID, PROFILE)
}

/// A row of the list of a workspace's public channels.
pub(crate) fn public_channel(workspace: &WorkspaceId, channel: &ChannelId) -> Key {
    pair(WORKSPACE_USER, &public_channels(workspace), CHANNEL_ID, channel.as_str())
}

/// The partition of that list.
pub(crate) fn public_channels(workspace: &WorkspaceId) -> String {
    format!("{workspace}#{PUBLIC}")
}

/// A row of the list of a workspace's users. Its sort key, in the attribute of a channel's id, is
/// the user's id.
pub(crate) fn listed_user(workspace: &WorkspaceId, user: &UserId) -> Key {
    pair(WORKSPACE_USER, &users(workspace), CHANNEL_ID, user.as_str())
}

/// The partition of that list.
pub(crate) fn users(workspace: &WorkspaceId) -> String {
    format!("{workspace}#{USERS}")
}

/// `workspace_id#user_id`. Ids contain no `#`, so no two pairs give the same string.
pub(crate) fn workspace_user(workspace: &WorkspaceId, user: &UserId) -> String {
    format!("{workspace}#{user}")
}

/// The user of a `workspace_user`.
pub(crate) fn user_of(workspace_user: &str) -> Option<UserId> {
    workspace_user.split_once('#').and_then(|(_, user)| UserId::parse(user).ok())
}

fn pair(partition: &str, partition_value: &str, sort: &str, sort_value: &str) -> Key {
    HashMap::from([
        (partition.to_owned(), string(partition_value)),
        (sort.to_owned(), string(sort_value)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_sorts_below_every_channel_and_above_a_users_other_rows() {
        assert!(ChannelId::parse(REVOKED).is_err());
        for below in [LEAVING, MENTION, THREAD, PROFILE, DEVICES] {
            assert!(below < REVOKED && !REVOKED.starts_with(below), "{below}");
        }
        for lowest in ["C00000000000000000000000000", "D00000000000000000000000000"] {
            assert!(REVOKED < ChannelId::parse(lowest).unwrap().as_str());
        }
    }

    #[test]
    fn rows_beside_a_users_channels_sort_below_or_above_them() {
        let (lowest, highest) = CHANNELS;
        for id in ["C00000000000000000000000000", "D7ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
            assert!(lowest < id && id < highest && ChannelId::parse(id).is_ok(), "{id}");
        }
        for below in [PROFILE, LEAVING, REVOKED, MENTION, THREAD, DEVICES] {
            assert!(below < lowest, "{below}");
        }
    }

    #[test]
    fn the_lists_of_a_workspace_are_in_no_users_partition() {
        for list in [PUBLIC, USERS] {
            assert!(UserId::parse(list).is_err() && WorkspaceId::parse(list).is_err());
        }
        let workspace = WorkspaceId::parse("a").unwrap();
        for list in [public_channels(&workspace), users(&workspace)] {
            assert_eq!(user_of(&list), None, "{list}");
        }
    }

    #[test]
    fn workspaces_and_users_do_not_run_into_each_other() {
        let key = |workspace, user| {
            workspace_user(&WorkspaceId::parse(workspace).unwrap(), &UserId::parse(user).unwrap())
        };
        assert_ne!(key("a", "b_c"), key("a_b", "c"));
        assert_eq!(user_of(&key("a", "b_c")), Some(UserId::parse("b_c").unwrap()));
        assert_eq!(user_of("no separator"), None);
    }
}
