//! Names of keys, and the two forms of an entry: in the stream and in a push (see `publish.lua`).

use std::sync::Arc;

use messaging::ports::Entry;
use model::{ChannelId, MessageId, Position, PublicationId, WorkspaceId};
use protocol::publication::Publication;
use redis::Value;

use crate::reply;

/// The stream's key. The braces are the hash tag, which puts all keys of a workspace in one slot.
pub(crate) fn stream_key(workspace: &WorkspaceId) -> String {
    format!("ink:{{{workspace}}}:stream")
}

/// The key that exists while a publication counts as published.
pub(crate) fn guard_key(workspace: &WorkspaceId, guard: &str) -> String {
    format!("ink:{{{workspace}}}:guard:{guard}")
}

/// The hash of a session.
pub(crate) fn session_key(workspace: &WorkspaceId, channel: &ChannelId) -> String {
    format!("ink:{{{workspace}}}:session:{channel}")
}

/// The stream of messages that are delivered and not yet stored.
pub(crate) fn spool_key(workspace: &WorkspaceId) -> String {
    format!("ink:{{{workspace}}}:spool")
}

/// The ids of a channel's entries in the spool, by when they were accepted.
pub(crate) fn waiting_key(workspace: &WorkspaceId, channel: &ChannelId) -> String {
    format!("ink:{{{workspace}}}:waiting:{channel}")
}

/// The devices that keep a message.
pub(crate) fn keepers_key(workspace: &WorkspaceId, channel: &ChannelId, id: MessageId) -> String {
    format!("ink:{{{workspace}}}:keepers:{channel}:{id}")
}

/// The watermarks of a channel.
pub(crate) fn receipts_key(workspace: &WorkspaceId, channel: &ChannelId) -> String {
    format!("ink:{{{workspace}}}:receipts:{channel}")
}

/// The list of workspaces that may have something in their spool. A slot of its own.
pub(crate) const SPOOLS_KEY: &str = "{ink:spools}";

/// The Pub/Sub channel.
pub(crate) fn topic(workspace: &WorkspaceId) -> String {
    format!("ink:{{{workspace}}}:topic")
}

/// The Pub/Sub channel of signals.
pub(crate) fn signal_topic(workspace: &WorkspaceId) -> String {
    format!("ink:{{{workspace}}}{SIGNALS}")
}

/// The key of the set of nodes that have users of a workspace.
pub(crate) fn presence_key(workspace: &WorkspaceId) -> String {
    format!("ink:{{{workspace}}}:on")
}

/// The key of a node's users in a workspace.
pub(crate) fn presence_of(workspace: &WorkspaceId, node: &str) -> String {
    format!("ink:{{{workspace}}}:on:{node}")
}

/// Whether a topic is one of signals.
pub(crate) fn is_signal_topic(topic: &str) -> bool {
    topic.ends_with(SIGNALS)
}

/// No workspace's id has a colon.
const SIGNALS: &str = ":signals";

/// Reads a push: `<position> <prev, or -> <publication id> <payload>`.
pub(crate) fn entry_of_push(frame: &[u8]) -> Option<Entry> {
    let mut parts = frame.splitn(4, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (position, prev, publication) = (word()?, word()?, word()?);
    let prev = if prev == "-" { "" } else { prev };
    entry(position, prev, publication, parts.next()?)
}

/// Reads an element of a stream: `[id, [name, value, …]]`.
pub(crate) fn entry_of_stream(element: &Value) -> Option<Entry> {
    let text = |name: &[u8]| std::str::from_utf8(field(element, name)?).ok();
    let position = format!("{}-{}", id_of_stream(element)?, text(b"h")?);
    entry(&position, text(b"p")?, text(b"i")?, field(element, b"d")?)
}

/// Reads the publication's id and payload in an element of a spool.
pub(crate) fn publication_of_stream(element: &Value) -> Option<(String, String)> {
    let text = |name: &[u8]| Some(String::from_utf8_lossy(field(element, name)?).into_owned());
    Some((text(b"i")?, text(b"d")?))
}

/// The bytes of all payloads up to and including an element's, and those of its own.
pub(crate) fn bytes_of_stream(element: &Value) -> (u64, u64) {
    let upto = field(element, b"c").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let payload = field(element, b"d").map_or(0, <[u8]>::len);
    (upto.unwrap_or_default(), u64::try_from(payload).unwrap_or(u64::MAX))
}

/// A field of a stream's element.
fn field<'a>(element: &'a Value, name: &[u8]) -> Option<&'a [u8]> {
    let Value::Array(parts) = element else { return None };
    let Some(Value::Array(fields)) = parts.get(1) else { return None };
    fields.chunks_exact(2).find_map(|pair| match pair {
        [key, value] if reply::bytes(key) == Some(name) => reply::bytes(value),
        _ => None,
    })
}

/// The id of a stream's element, whoever wrote it.
pub(crate) fn id_of_stream(element: &Value) -> Option<String> {
    let Value::Array(parts) = element else { return None };
    parts.first().and_then(reply::text).map(str::to_owned)
}

fn entry(position: &str, prev: &str, publication: &str, payload: &[u8]) -> Option<Entry> {
    let position = Position::parse(position)?;
    let publication = PublicationId::parse(publication).ok()?;
    let prev = if prev.is_empty() { None } else { Some(Position::parse(prev)?) };
    let payload = String::from_utf8_lossy(payload);
    let publication = Arc::new(Publication::decode(publication, &payload));
    Some(Entry { position, prev, publication })
}

#[cfg(test)]
mod tests {
    use protocol::publication::Recipients;

    use super::*;

    const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    #[test]
    fn a_push_is_read_with_and_without_prev() {
        let first = entry_of_push(format!("5-0-0a1b2c3d - {ID} {{}} x").as_bytes()).unwrap();
        assert_eq!((first.position.to_string().as_str(), first.prev), ("5-0-0a1b2c3d", None));
        assert_eq!(first.publication.to, Recipients::Unknown);
        let next = entry_of_push(format!("6-1-ffffffff 5-0-0a1b2c3d {ID} ").as_bytes()).unwrap();
        assert_eq!(next.prev, Some(first.position));
    }

    #[test]
    fn garbage_is_no_entry() {
        let long = "9".repeat(300);
        for frame in [
            "",
            " ",
            "   ",
            "1-0-0a1b2c3d",
            "1-0-0a1b2c3d -",
            &format!("1-0-0a1b2c3d - {ID}"),
            "1-0-0a1b2c3d - x {}",
            &format!("x - {ID} {{}}"),
            &format!("1-0 - {ID} {{}}"),
            &format!("1-0-0a1b2c3d 5 {ID} {{}}"),
            &format!("{long} - {ID} {{}}"),
        ] {
            assert_eq!(entry_of_push(frame.as_bytes()), None, "{frame}");
        }
        assert_eq!(entry_of_push(b"\xff - \xff \xff"), None);
        for element in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![]),
            Value::Array(vec![Value::BulkString(b"1-0".to_vec()), Value::Array(vec![Value::Nil])]),
        ] {
            assert_eq!(entry_of_stream(&element), None);
            assert_eq!(publication_of_stream(&element), None);
        }
    }

    #[test]
    fn keys_of_a_workspace_share_its_hash_tag() {
        let workspace = WorkspaceId::parse("acme").unwrap();
        let keys = [stream_key(&workspace), guard_key(&workspace, ID), topic(&workspace)];
        for key in keys.into_iter().chain([signal_topic(&workspace)]) {
            assert!(key.starts_with("ink:{acme}:"), "{key}");
            assert_eq!(is_signal_topic(&key), key == signal_topic(&workspace), "{key}");
        }
    }
}
