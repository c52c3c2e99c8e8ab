//! Folds: a summary of what many users did to one message, counted anew from rows of its own. Reactions
//! are here, replies in [`replies`].
//!
//! **Main path.** [`fold`] reads the rows, writes an entry of the change log, and replaces the
//! summary if nobody changed the message meanwhile. If somebody did, it starts over.
//!
//! **Invariants.** Nothing is incremented: a fold that runs twice, late or beside another one
//! changes nothing. A summary is left alone only if it was counted from exactly these rows: equal
//! summaries are not enough, because a slower fold may be about to write an older one.

mod replies;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Emoji, LogId, Message, MessageId, Reaction, Timestamp, limits};
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::ports::{Change, Folded, LogEntry, Revised, StoredMessage, StoredReaction};
use crate::revising::Revising;

/// When a fold replaces a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    AtOnce,
    /// Once [`every`] has passed since the last one: many acts share a fold.
    WhenDue,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Reactions to a message.
    Reactions,
    /// Replies in its thread. If one of them was deleted, which one.
    Replies { deleted: Option<MessageId> },
}

/// A summary that was counted, and when it is due.
struct Counted {
    /// Whether the present summary was counted from the same rows.
    is_known: bool,
    last_at: Timestamp,
    every: Duration,
    /// The greatest that the rows carry (G6).
    members_version: u64,
    change: Change,
}

/// Counts anew what a message's summary is about, unless the present one was counted from the same rows.
/// Returns the message as it is then; `None` if it is gone.
pub(crate) async fn fold(
    revising: Revising<'_>,
    what: Fold,
    stored: StoredMessage,
    pace: Pace,
) -> Result<Option<StoredMessage>, StoreError> {
    let (log, id) = (stored.message.log(), stored.message.id);
    // A deleted message keeps its thread.
    let is_open = |stored: &StoredMessage| {
        stored.message.deleted.is_none() || matches!(what, Fold::Replies { .. })
    };
    let mut present = Some(stored);
    let mut refused = 0;
    while refused < FOLDS_MAX {
        let Some(stored) = present.filter(is_open) else { return Ok(None) };
        let now = revising.clock.now();
        let counted = match what {
            Fold::Reactions => reactions(revising, &stored, now).await?,
            Fold::Replies { deleted } => replies::count(revising, &stored, deleted, now).await?,
        };
        if counted.is_known {
            return Ok(Some(stored));
        }
        let wait = counted.every.saturating_sub(now.since(counted.last_at));
        if pace == Pace::WhenDue && !wait.is_zero() {
            tokio::time::sleep(wait).await;
            let entry = revising.messages.entry(&log, id).await?;
            present = entry.and_then(LogEntry::into_message);
            continue;
        }
        match revising.change(&stored, counted.members_version, counted.change).await? {
            Revised::Done(stored) => return Ok(Some(stored)),
            Revised::Refused(entry) => present = entry.and_then(|entry| entry.into_message()),
        }
        refused += 1;
    }
    Err(StoreError::Busy("the message changes too often to be counted".into()))
}

async fn reactions(
    revising: Revising<'_>,
    stored: &StoredMessage,
    now: Timestamp,
) -> Result<Counted, StoreError> {
    let rows = rows(revising, &stored.message.log(), stored.message.id).await?;
    let folded = Folded { at: now, ..Folded::of(&rows) };
    let last = stored.folded.unwrap_or_default();
    let if_rev = stored.message.rev.clone();
    Ok(Counted {
        is_known: last.has_same_rows(folded),
        last_at: last.at,
        every: every(&stored.message),
        members_version: rows.iter().map(|row| row.members_version).max().unwrap_or_default(),
        change: Change::Fold { reactions: summary(&rows), folded, if_rev },
    })
}

/// How often a message's reactions are counted at most while they come in: the more there are, the
/// more there is to read.
pub(crate) fn every(message: &Message) -> Duration {
    Duration::from_millis(total(message)).clamp(limits::FOLD_EVERY, limits::FOLD_EVERY_MAX)
}

/// A message's reactions, by its summary.
pub(crate) fn total(message: &Message) -> u64 {
    message.reactions.iter().map(|reaction| reaction.count).sum()
}

async fn rows(
    revising: Revising<'_>,
    log: &LogId,
    id: MessageId,
) -> Result<Vec<StoredReaction>, StoreError> {
    let mut rows: Vec<StoredReaction> = Vec::new();
    let most = usize::try_from(limits::REACTION_ROWS_MAX).unwrap_or(usize::MAX);
    while rows.len() < most {
        let after = rows.last().map(|row| (&row.user_id, &row.emoji));
        let limit = limits::REACTION_ROWS_READ_MAX;
        let page = revising.messages.reactions(log, id, after, limit).await?;
        rows.extend(page.rows);
        if !page.more {
            break;
        }
    }
    Ok(rows)
}

/// The summary of these rows: emoji by their first use, and for each its first users.
fn summary(rows: &[StoredReaction]) -> Vec<Reaction> {
    let mut by_emoji: BTreeMap<&Emoji, Vec<&StoredReaction>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.withdrawn.is_none()) {
        by_emoji.entry(&row.emoji).or_default().push(row);
    }
    let mut emoji: Vec<_> = by_emoji.into_iter().collect();
    for (_, rows) in &mut emoji {
        rows.sort_by_key(|row| (row.change_id, row.user_id.clone()));
    }
    emoji.sort_by_key(|(emoji, rows)| (rows.first().map(|row| row.change_id), (*emoji).clone()));
    let reaction = |(emoji, rows): (&Emoji, Vec<&StoredReaction>)| Reaction {
        emoji: emoji.clone(),
        count: rows.len() as u64,
        users: rows
            .iter()
            .take(limits::REACTION_USERS_MAX)
            .map(|row| row.user_id.clone())
            .collect(),
        mine: None,
    };
    emoji.into_iter().map(reaction).collect()
}

impl Folded {
    fn of(rows: &[StoredReaction]) -> Self {
        if rows.is_empty() {
            return Self::default();
        }
        let mut hash = Sha256::new();
        for row in rows {
            let change = row.change_id.to_string();
            let state = if row.withdrawn.is_none() { "1" } else { "0" };
            for part in [row.user_id.as_str(), row.emoji.as_str(), &change, state] {
                hash.update(part);
                hash.update([0]);
            }
        }
        let digest = short(hash);
        let rows = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        Self { digest, rows, ..Self::default() }
    }

    fn has_same_rows(self, other: Self) -> bool {
        (self.digest, self.rows) == (other.digest, other.rows)
    }
}

/// The first bytes of a digest.
fn short(hash: Sha256) -> [u8; 8] {
    let mut digest = [0; 8];
    digest.iter_mut().zip(hash.finalize()).for_each(|(here, byte)| *here = byte);
    digest
}

/// How often a fold is tried on a message that others change at the same time.
const FOLDS_MAX: u32 = 3;
