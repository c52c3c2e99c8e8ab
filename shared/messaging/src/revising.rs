//! What every change of a message has in common: an entry of the change log, and a new revision.

use model::{LogId, MessageId, Rev, Timestamp, limits};

use crate::app::App;
use crate::error::StoreError;
use crate::ports::{
    Change, Clock, LoggedChange, MessageStore, Randomness, Revised, Revision, StoredMessage,
};
use crate::rev::rev_above;

/// The ports that a change needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revising<'a> {
    pub(crate) messages: &'a dyn MessageStore,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) randomness: &'a dyn Randomness,
}

impl<'a> Revising<'a> {
    pub(crate) fn of(app: &'a App) -> Self {
        let (messages, clock) = (&*app.messages, &*app.clock);
        Self { messages, clock, randomness: &*app.randomness }
    }
}

impl Revising<'_> {
    /// Writes that a message changes now: before the change itself (G11). A reply's root is logged too,
    /// so that whoever reads the main log learns which threads have changes.
    pub(crate) async fn log(
        &self,
        log: &LogId,
        target: MessageId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let position = MessageId::mint(now, self.randomness.bits());
        let expires_at = now.plus(limits::CHANGES_KEPT).plus(limits::CHANGES_MARGIN);
        let change = LoggedChange { log: log.clone(), position, target, expires_at };
        match log.thread {
            None => self.messages.log_change(&change).await?,
            Some(root) => {
                let of_root = LoggedChange { log: log.main(), target: root, ..change.clone() };
                tokio::try_join!(
                    self.messages.log_change(&change),
                    self.messages.log_change(&of_root)
                )?;
            }
        }
        Ok(())
    }

    /// Logs a change of a message, then makes it if nothing in its conditions is in the way.
    /// `members_version` is the greatest that its cause read; the message's own may be greater (G6).
    pub(crate) async fn change(
        &self,
        stored: &StoredMessage,
        members_version: u64,
        change: Change,
    ) -> Result<Revised, StoreError> {
        let (log, id, now) = (stored.message.log(), stored.message.id, self.clock.now());
        self.log(&log, id, now).await?;
        let revision = Revision {
            rev: self.rev_above(id, Some(&stored.message.rev), now),
            members_version: stored.members_version.max(members_version),
            only_of: None,
            change,
        };
        Ok(self.messages.revise(&log, id, &revision).await?)
    }

    /// A new revision, above the present one and above the message's id.
    pub(crate) fn rev_above(&self, id: MessageId, present: Option<&Rev>, now: Timestamp) -> Rev {
        let present = present.and_then(Rev::id).map_or(id, |rev| rev.max(id));
        rev_above(self.randomness, Some(present), now)
    }
}
