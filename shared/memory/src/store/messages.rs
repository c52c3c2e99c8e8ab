//! The messages table on maps.

use std::collections::BTreeSet;
use std::ops::Bound::Unbounded;

use async_trait::async_trait;
use messaging::ports::{
    Acted, Appended, ChangePage, LogEntry, LogPage, LoggedChange, MessageStore, PageQuery,
    ReactionPage, ReadError, Redirect, Revised, Revision, StoredMessage, StoredReaction,
    WriteError,
};
use model::limits::{PAGE_ROWS_MAX, REACTION_ROWS_READ_MAX};
use model::{Emoji, LogId, MessageId, UserId};

use super::{MemoryStore, Refusal, after_bound, in_whole_seconds, rows_of};

#[async_trait]
impl MessageStore for MemoryStore {
    async fn append(&self, stored: &StoredMessage) -> Result<Appended, WriteError> {
        let mut tables = self.call("append");
        let key = (stored.message.log(), stored.message.id);
        if let Some(entry) = tables.messages.get(&key) {
            return Ok(Appended::Occupied(Box::new(entry.clone())));
        }
        tables.messages.insert(key, LogEntry::Message(stored.clone()));
        Ok(Appended::Stored)
    }

    async fn append_redirected(
        &self,
        redirect: &Redirect,
        stored: &StoredMessage,
    ) -> Result<Appended, WriteError> {
        let mut tables = self.call("append_redirected");
        let redirect_key = (redirect.log.clone(), redirect.id);
        let message_key = (stored.message.log(), stored.message.id);
        if redirect_key == message_key {
            return Err(WriteError::NotStored(Box::new(Refusal::OneRowTwice)));
        }
        if let Some(entry) = tables.messages.get(&redirect_key) {
            return Ok(Appended::Occupied(Box::new(entry.clone())));
        }
        if tables.messages.contains_key(&message_key) {
            return Err(WriteError::NotStored(Box::new(Refusal::TargetOccupied)));
        }
        tables.messages.insert(
            redirect_key,
            LogEntry::Redirect(Redirect {
                expires_at: in_whole_seconds(redirect.expires_at),
                ..redirect.clone()
            }),
        );
        tables.messages.insert(message_key, LogEntry::Message(stored.clone()));
        Ok(Appended::Stored)
    }

    async fn entry(&self, log: &LogId, id: MessageId) -> Result<Option<LogEntry>, ReadError> {
        Ok(self.call("entry").messages.get(&(log.clone(), id)).cloned())
    }

    async fn entries(&self, log: &LogId, ids: &[MessageId]) -> Result<Vec<LogEntry>, ReadError> {
        let tables = self.call("entries");
        let ids: BTreeSet<_> = ids.iter().collect();
        let entry = |id: &MessageId| tables.messages.get(&(log.clone(), *id)).cloned();
        Ok(ids.into_iter().filter_map(entry).collect())
    }

    async fn log_change(&self, change: &LoggedChange) -> Result<(), WriteError> {
        let key = (change.log.clone(), change.position);
        self.call("log_change").changes.insert(key, change.target);
        Ok(())
    }

    async fn changes(&self, query: &PageQuery) -> Result<ChangePage, ReadError> {
        let tables = self.call("changes");
        if query.lowest > query.highest {
            return Ok(ChangePage { changes: Vec::new(), more: false });
        }
        let lowest = (query.log.clone(), query.lowest);
        let highest = (query.log.clone(), query.highest);
        let within = tables.changes.range(lowest..=highest);
        let limit = rows_of(query.limit, PAGE_ROWS_MAX);
        let changes: Vec<_> =
            within.map(|((_, position), target)| (*position, *target)).take(limit).collect();
        let more = changes.len() == limit;
        Ok(ChangePage { changes, more })
    }

    async fn revise(
        &self,
        log: &LogId,
        id: MessageId,
        revision: &Revision,
    ) -> Result<Revised, WriteError> {
        let mut tables = self.call("revise");
        let entry = tables.messages.get_mut(&(log.clone(), id));
        let revised = entry.as_deref().and_then(|entry| match entry {
            LogEntry::Message(stored) => revision.applied_to(stored),
            LogEntry::Redirect(_) | LogEntry::Unknown { .. } => None,
        });
        match (entry, revised) {
            (Some(entry), Some(stored)) => {
                *entry = LogEntry::Message(stored.clone());
                Ok(Revised::Done(stored))
            }
            (entry, _) => Ok(Revised::Refused(entry.map(|entry| Box::new(entry.clone())))),
        }
    }

    async fn react(
        &self,
        log: &LogId,
        id: MessageId,
        reaction: &StoredReaction,
    ) -> Result<Acted, WriteError> {
        let mut tables = self.call("react");
        let of_message = tables.reactions.entry((log.clone(), id)).or_default();
        let key = (reaction.user_id.clone(), reaction.emoji.clone());
        if of_message.get(&key).is_some_and(|known| known.change_id >= reaction.change_id) {
            return Ok(Acted::Superseded);
        }
        of_message.insert(key, reaction.clone());
        Ok(Acted::Stored)
    }

    async fn reactions(
        &self,
        log: &LogId,
        id: MessageId,
        after: Option<(&UserId, &Emoji)>,
        limit: u32,
    ) -> Result<ReactionPage, ReadError> {
        let tables = self.call("reactions");
        let of_message = tables.reactions.get(&(log.clone(), id)).into_iter();
        let after = after.map(|(user, emoji)| (user.clone(), emoji.clone()));
        let bounds = (after_bound(after.as_ref()), Unbounded);
        let rows = of_message.flat_map(|rows| rows.range::<(UserId, Emoji), _>(bounds));
        let limit = rows_of(limit, REACTION_ROWS_READ_MAX);
        let rows: Vec<_> = rows.map(|(_, row)| row.clone()).take(limit).collect();
        let more = rows.len() == limit;
        Ok(ReactionPage { rows, more })
    }

    async fn reacted_among(
        &self,
        log: &LogId,
        user: &UserId,
        reactions: &[(MessageId, Emoji)],
    ) -> Result<Vec<(MessageId, Emoji)>, ReadError> {
        let tables = self.call("reacted_among");
        let stands = |(id, emoji): &&(MessageId, Emoji)| {
            let of_message = tables.reactions.get(&(log.clone(), *id));
            let row = of_message.and_then(|rows| rows.get(&(user.clone(), emoji.clone())));
            row.is_some_and(|row| row.withdrawn.is_none())
        };
        Ok(reactions.iter().filter(stands).cloned().collect())
    }

    async fn page(&self, query: &PageQuery) -> Result<LogPage, ReadError> {
        let tables = self.call("page");
        if query.lowest > query.highest {
            return Ok(LogPage { entries: Vec::new(), more: false });
        }
        let lowest = (query.log.clone(), query.lowest);
        let highest = (query.log.clone(), query.highest);
        let within = tables.messages.range(lowest..=highest).map(|(_, entry)| entry);
        let limit = rows_of(query.limit, PAGE_ROWS_MAX);
        Ok(if query.newest_first { log_page(within.rev(), limit) } else { log_page(within, limit) })
    }
}

/// A query ends at its row limit or its byte limit, whichever comes first. It then says that more
/// may follow, even after the last row.
fn log_page<'a>(entries: impl Iterator<Item = &'a LogEntry>, limit: usize) -> LogPage {
    let mut page = LogPage { entries: Vec::with_capacity(limit), more: false };
    let mut bytes = 0;
    for entry in entries {
        page.entries.push(entry.clone());
        bytes += match entry {
            LogEntry::Message(stored) => stored.message.content_bytes() + ROW_BYTES,
            LogEntry::Redirect(_) | LogEntry::Unknown { .. } => ROW_BYTES,
        };
        page.more = page.entries.len() == limit || bytes >= QUERY_BYTES_MAX;
        if page.more {
            break;
        }
    }
    page
}

/// The most bytes that one query of the tables returns.
const QUERY_BYTES_MAX: usize = 1024 * 1024;
/// The approximate size of a row without its text.
const ROW_BYTES: usize = 128;
