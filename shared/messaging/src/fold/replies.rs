//! The summary of a thread's replies: how many are not deleted, the last one, and who wrote the first.
//!
//! Replies that are old enough are counted for good, since nothing is stored before them any more; a
//! count reads only what is newer. Whoever deletes one of the old ones causes a count from the beginning.

use model::{LogId, Message, MessageId, Replies, Timestamp, UserId, limits};
use sha2::{Digest, Sha256};

use super::{Counted, short};
use crate::error::StoreError;
use crate::ports::{Change, CountedReplies, LogEntry, PageQuery, StoredMessage};
use crate::revising::Revising;

/// Counts the replies of a root. `deleted` is the reply whose deletion caused this count, if one did.
pub(super) async fn count(
    revising: Revising<'_>,
    root: &StoredMessage,
    deleted: Option<MessageId>,
    now: Timestamp,
) -> Result<Counted, StoreError> {
    let last = root.counted.as_deref().copied().unwrap_or_default();
    let is_settled = deleted.is_some_and(|deleted| deleted <= last.settled_to);
    let from = if is_settled { CountedReplies::default() } else { last };
    let mut tally = Tally::new(root, from);
    tally.read(revising, now, is_settled).await?;
    let has_same_rows = tally.digest() == (last.digest, last.rows);
    if tally.open.len() > limits::REPLIES_OPEN_MAX {
        tally.settle(now);
    }
    let members_version = tally.members_version;
    let (replies, counted) = tally.finish(now);
    // A count from the beginning may find the settled part as it was: its record came again.
    let is_known = if is_settled {
        replies.as_ref() == root.message.replies.as_deref()
            && CountedReplies { at: last.at, ..counted } == last
    } else {
        has_same_rows
    };
    let if_rev = root.message.rev.clone();
    let change = Change::Replies { replies, counted, if_rev };
    Ok(Counted { is_known, last_at: last.at, every: limits::FOLD_EVERY, members_version, change })
}

/// A count under way.
struct Tally {
    log: LogId,
    /// What is counted for good, and the users in it.
    counted: CountedReplies,
    users: Vec<UserId>,
    /// Rows after it, oldest first.
    open: Vec<Row>,
    /// The greatest of all rows that were read.
    members_version: u64,
}

/// What counts of a reply.
struct Row {
    id: MessageId,
    sender_id: UserId,
    is_deleted: bool,
}

impl Tally {
    fn new(root: &StoredMessage, counted: CountedReplies) -> Self {
        let message = &root.message;
        let named = message.replies.iter().flat_map(|replies| &replies.users);
        Self {
            log: LogId::new(message.channel_id.clone(), Some(message.id)),
            users: named.take(counted.settled_users).cloned().collect(),
            counted,
            open: Vec::new(),
            members_version: 0,
        }
    }

    /// Reads what is not counted for good. A thread that is counted from its beginning may be long: then
    /// what is old enough is counted for good on the way.
    async fn read(
        &mut self,
        revising: Revising<'_>,
        now: Timestamp,
        settles: bool,
    ) -> Result<(), StoreError> {
        let mut query = PageQuery {
            log: self.log.clone(),
            lowest: self.counted.settled_to.next().unwrap_or(MessageId::MAX),
            highest: MessageId::last_of(now.plus(limits::NEWEST_AHEAD)),
            newest_first: false,
            limit: limits::PAGE_ROWS_MAX,
            strong: true,
        };
        while query.lowest <= query.highest {
            let page = revising.messages.page(&query).await?;
            let last = page.entries.last().map(LogEntry::id);
            for stored in page.entries.into_iter().filter_map(LogEntry::into_message) {
                self.members_version = self.members_version.max(stored.members_version);
                let Message { id, sender_id, deleted, .. } = stored.message;
                self.open.push(Row { id, sender_id, is_deleted: deleted.is_some() });
            }
            if settles {
                self.settle(now);
            }
            match last.and_then(MessageId::next).filter(|_| page.more) {
                Some(next) => query.lowest = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Counts for good what is old enough.
    fn settle(&mut self, now: Timestamp) {
        let settled_before = MessageId::first_of(now.minus(limits::REPLIES_OPEN_FOR));
        let count = self.open.partition_point(|row| row.id < settled_before);
        for row in self.open.drain(..count) {
            self.counted.settled_to = row.id;
            if !row.is_deleted {
                self.counted.settled += 1;
                self.counted.settled_last = Some(row.id);
                add_user(&mut self.users, &row.sender_id);
            }
        }
        self.counted.settled_users = self.users.len();
    }

    /// The digest over the open rows, and their number.
    fn digest(&self) -> ([u8; 8], u32) {
        if self.open.is_empty() {
            return ([0; 8], 0);
        }
        let mut hash = Sha256::new();
        for row in &self.open {
            hash.update(row.id.bits().to_be_bytes());
            hash.update([u8::from(row.is_deleted)]);
        }
        (short(hash), u32::try_from(self.open.len()).unwrap_or(u32::MAX))
    }

    fn finish(mut self, now: Timestamp) -> (Option<Replies>, CountedReplies) {
        let (digest, rows) = self.digest();
        let counted = CountedReplies { digest, rows, at: now, ..self.counted };
        let (mut count, mut last) = (counted.settled, counted.settled_last);
        for row in self.open.iter().filter(|row| !row.is_deleted) {
            count += 1;
            last = Some(row.id);
            add_user(&mut self.users, &row.sender_id);
        }
        (last.map(|last| Replies { count, last, users: self.users }), counted)
    }
}

fn add_user(users: &mut Vec<UserId>, user: &UserId) {
    if users.len() < limits::REPLIES_USERS_MAX && !users.contains(user) {
        users.push(user.clone());
    }
}
