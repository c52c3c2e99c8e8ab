//! Who is there: what nodes tell each other, and the JSON object that frames and signals share.

use model::{Presence, UserId};
use serde_json::{Map, Value, json};

/// What a node announces about its users in a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announcement {
    /// Counts the node's announcements in the workspace: a number that is missing is a hole.
    pub number: u64,
    /// Whether these are all its users, instead of what changed since the number before. Only the
    /// book is told so; other nodes read the book.
    pub is_whole: bool,
    /// The users; [`Presence::Offline`] for those who left.
    pub users: Vec<(UserId, Presence)>,
}

/// A node's users in a workspace, as it wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodePresence {
    /// The number of its last announcement.
    pub number: u64,
    /// The users who are there, in any order.
    pub users: Vec<(UserId, Presence)>,
}

/// Writes the frame.
pub(crate) fn encode(users: &[(UserId, Presence)]) -> Value {
    json!({ "type": "presence", "users": map(users) })
}

/// Users by their ids.
pub(crate) fn map(users: &[(UserId, Presence)]) -> Value {
    let state = |(user, presence): &(UserId, Presence)| {
        (user.as_str().to_owned(), Value::from(presence.as_str()))
    };
    Value::Object(users.iter().map(state).collect::<Map<_, _>>())
}

/// Reads the same, in order of the ids; `None` if any of it is malformed.
pub(crate) fn decode(users: &Value) -> Option<Vec<(UserId, Presence)>> {
    let state = |(user, presence): (&String, &Value)| {
        Some((user.parse().ok()?, Presence::parse(presence.as_str()?)?))
    };
    let mut users: Vec<_> = users.as_object()?.iter().map(state).collect::<Option<_>>()?;
    users.sort_unstable();
    Some(users)
}
