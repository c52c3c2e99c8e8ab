//! Followed threads on a map.

use std::ops::Bound::{Excluded, Unbounded};

use async_trait::async_trait;
use messaging::ports::{
    Acted, Follow, NamePage, ReadError, ThreadMarked, ThreadStore, UserThread, WriteError,
};
use model::limits::PAGE_ROWS_MAX;
use model::{ChangeId, MessageId, ThreadId, Timestamp, UserId, WorkspaceId};

use super::{MemoryStore, in_whole_seconds, rows_of};

/// A user's row, and the last act in it.
#[derive(Debug, Clone)]
pub(super) struct Row {
    act: Option<ChangeId>,
    known: UserThread,
}

#[async_trait]
impl ThreadStore for MemoryStore {
    async fn follow(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        follow: &Follow,
    ) -> Result<Acted, WriteError> {
        let mut tables = self.call("follow");
        let of_user = tables.threads.entry((workspace.clone(), user.clone())).or_default();
        let present = of_user.get(thread);
        if present.is_some_and(|row| row.act.is_some_and(|act| act >= follow.act)) {
            return Ok(Acted::Superseded);
        }
        let known = UserThread {
            thread: thread.clone(),
            is_followed: follow.is_followed,
            up_to: present.map_or(follow.up_to, |row| row.known.up_to),
            expires_at: in_whole_seconds(follow.expires_at),
        };
        of_user.insert(thread.clone(), Row { act: Some(follow.act), known });
        Ok(Acted::Stored)
    }

    async fn mark_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
        up_to: MessageId,
        expires_at: Timestamp,
    ) -> Result<ThreadMarked, WriteError> {
        let mut tables = self.call("mark_thread");
        let of_user = tables.threads.entry((workspace.clone(), user.clone())).or_default();
        let expires_at = in_whole_seconds(expires_at);
        match of_user.get_mut(thread) {
            Some(row) if row.known.up_to >= up_to => {
                return Ok(ThreadMarked::Kept(row.known.up_to));
            }
            Some(row) => (row.known.up_to, row.known.expires_at) = (up_to, expires_at),
            None => {
                let (thread, is_followed) = (thread.clone(), false);
                let known = UserThread { thread: thread.clone(), is_followed, up_to, expires_at };
                of_user.insert(thread, Row { act: None, known });
            }
        }
        Ok(ThreadMarked::Moved)
    }

    async fn user_thread(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        thread: &ThreadId,
    ) -> Result<Option<UserThread>, ReadError> {
        let tables = self.call("user_thread");
        let of_user = tables.threads.get(&(workspace.clone(), user.clone()));
        Ok(of_user.and_then(|rows| rows.get(thread)).map(|row| row.known.clone()))
    }

    async fn user_threads(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        below: Option<&ThreadId>,
        limit: u32,
    ) -> Result<NamePage<UserThread>, ReadError> {
        let tables = self.call("user_threads");
        let of_user = tables.threads.get(&(workspace.clone(), user.clone())).into_iter();
        let bounds = (Unbounded, below.map_or(Unbounded, Excluded));
        let rows = of_user.flat_map(|rows| rows.range(bounds).rev());
        let limit = rows_of(limit, PAGE_ROWS_MAX);
        let rows: Vec<_> = rows.map(|(_, row)| row.known.clone()).take(limit).collect();
        let more = rows.len() == limit;
        Ok(NamePage { rows, more })
    }
}
