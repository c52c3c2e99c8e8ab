//! The book of presence.

use std::sync::LazyLock;

use async_trait::async_trait;
use messaging::ports::{Announcement, BusError, NodePresence, PresenceBook};
use model::{NodeId, Presence, UserId, WorkspaceId, limits};
use redis::{Script, Value};

use crate::bus::{RedisBus, bus_error};
use crate::codec;
use crate::command::Request;
use crate::reply;

impl RedisBus {
    async fn book(
        &self,
        call: &str,
        workspace: &WorkspaceId,
        node: &str,
        args: &[&str],
    ) -> Result<Value, BusError> {
        let keys = [codec::presence_key(workspace), codec::presence_of(workspace, node)];
        let ttl = limits::PRESENCE_TTL.as_millis().to_string();
        let head = [call, ttl.as_str(), node];
        let all: Vec<&[u8]> = head.iter().chain(args).map(|arg| arg.as_bytes()).collect();
        let keys = keys.each_ref().map(String::as_str);
        let request = Request::of_script(&BOOK, BOOK_TEXT, &keys, &all);
        let is_read = matches!(call, "nodes" | "present");
        let request = if is_read { request.reading() } else { request };
        self.commands().query(&request).await.map_err(bus_error)
    }
}

#[async_trait]
impl PresenceBook for RedisBus {
    async fn announce(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        Announcement { number, is_whole, users }: &Announcement,
    ) -> Result<bool, BusError> {
        let is_gone = |(_, presence): &&(UserId, Presence)| *presence == Presence::Offline;
        let gone: Vec<&str> = users.iter().filter(is_gone).map(|(user, _)| user.as_str()).collect();
        let (number, count) = (number.to_string(), gone.len().to_string());
        let mut args = vec![number.as_str(), if *is_whole { "1" } else { "0" }, &count];
        args.extend(gone);
        for (user, presence) in users.iter().filter(|user| !is_gone(user)) {
            args.extend([user.as_str(), presence.as_str()]);
        }
        self.book("announce", workspace, node.as_str(), &args).await.map(|answer| is_one(&answer))
    }

    async fn renew(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
        number: u64,
    ) -> Result<bool, BusError> {
        let number = number.to_string();
        let answer = self.book("renew", workspace, node.as_str(), &[&number]).await?;
        Ok(is_one(&answer))
    }

    async fn nodes(&self, workspace: &WorkspaceId) -> Result<Vec<NodeId>, BusError> {
        let answer = self.book("nodes", workspace, "", &[]).await?;
        let nodes = reply::array(answer).ok_or_else(|| BusError::Refused("not a list".into()))?;
        Ok(nodes.iter().filter_map(|node| NodeId::parse(reply::text(node)?).ok()).collect())
    }

    async fn present(
        &self,
        workspace: &WorkspaceId,
        node: &NodeId,
    ) -> Result<Option<NodePresence>, BusError> {
        let answer = self.book("present", workspace, node.as_str(), &[]).await?;
        part_of(answer).ok_or_else(|| BusError::Refused("not a hash".into()))
    }
}

/// Reads a node's part. Whatever is of a later version is passed over.
fn part_of(answer: Value) -> Option<Option<NodePresence>> {
    let fields = reply::array(answer)?;
    if fields.is_empty() {
        return Some(None);
    }
    let mut part = NodePresence::default();
    for pair in fields.chunks_exact(2) {
        let [field, value] = pair else { continue };
        let (Some(field), Some(value)) = (reply::text(field), reply::text(value)) else { continue };
        if field == NUMBER {
            part.number = value.parse().ok()?;
        } else if let (Ok(user), Some(presence)) = (UserId::parse(field), Presence::parse(value)) {
            part.users.push((user, presence));
        }
    }
    Some(Some(part))
}

fn is_one(answer: &Value) -> bool {
    reply::unsigned(answer) == Some(1)
}

static BOOK: LazyLock<Script> = LazyLock::new(|| Script::new(BOOK_TEXT));
const BOOK_TEXT: &str = include_str!("presence.lua");
/// The field of the number.
const NUMBER: &str = "#";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_part_is_no_panic() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let part = |words: &[&str]| part_of(Value::Array(words.iter().map(|w| text(w)).collect()));
        for answer in [Value::Nil, Value::Int(1), text("x")] {
            assert_eq!(part_of(answer), None);
        }
        assert_eq!(part(&[]), Some(None));
        assert_eq!(part(&["#", "x"]), None);
        let read = part(&["#", "7", "ann", "idle", "b b", "idle", "carl", "busy", "dora"]);
        let users = vec![("ann".parse().unwrap(), Presence::Idle)];
        assert_eq!(read, Some(Some(NodePresence { number: 7, users })));
    }
}
