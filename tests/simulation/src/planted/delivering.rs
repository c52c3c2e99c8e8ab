//! Bugs 24 to 27: what is delivered first is accepted, removed or acknowledged too early.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use memory::SpoolHook;
use messaging::ports::{BusError, Offered, ReceiptBook, ReceiptMarks, Spool, SpoolEntry};
use model::{ChannelId, MessageId, UserId, WorkspaceId};
use parking_lot::Mutex;
use protocol::publication::Publication;
use protocol::receipts::UserDevice;

/// The newest message that was offered in each channel.
pub(super) type Newest = Arc<Mutex<BTreeMap<ChannelId, MessageId>>>;

/// Where a spool goes wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// Bug 24: a node answers before it runs the script.
    AnswersFirst,
    /// Bug 25: the archive removes what it takes, and stores it afterwards.
    RemovesFirst,
    /// Bug 26: receipts know what was offered.
    Notes(Newest),
}

/// A book of receipts that says too much.
#[derive(Debug)]
pub(super) struct Hasty {
    pub(super) receipts: Arc<dyn ReceiptBook>,
    pub(super) says: TooMuch,
}

/// What it says.
#[derive(Debug)]
pub(super) enum TooMuch {
    /// Bug 26: whoever has something has all that was offered.
    Offered(Newest),
    /// Bug 27: whoever kept a message of a channel keeps the next ones.
    Next(Mutex<BTreeMap<ChannelId, BTreeSet<UserDevice>>>),
}

#[async_trait]
impl SpoolHook for Wrong {
    async fn deliver(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        match self {
            Self::AnswersFirst => {
                let (spool, workspace) = (Arc::clone(spool), workspace.clone());
                let (publication, digest) = (publication.clone(), digest.to_owned());
                tokio::spawn(async move {
                    // Nobody waits for it.
                    let _offered = spool.deliver(&workspace, &publication, &digest).await;
                });
                return Ok(Offered::Accepted { replicated: false });
            }
            Self::Notes(newest) => {
                if let Some(message) = publication.message() {
                    let mut newest = newest.lock();
                    let newest = newest.entry(message.channel_id).or_insert(message.id);
                    *newest = message.id.max(*newest);
                }
            }
            Self::RemovesFirst => {}
        }
        spool.deliver(workspace, publication, digest).await
    }

    async fn claim(
        &self,
        spool: &Arc<dyn Spool>,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        let taken = spool.claim(workspace, archiver, limit).await?;
        if matches!(self, Self::RemovesFirst) && !taken.is_empty() {
            spool.remove(workspace, &taken).await?;
        }
        Ok(taken)
    }
}

#[async_trait]
impl ReceiptBook for Hasty {
    async fn raise(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        marks: &ReceiptMarks,
    ) -> Result<(), BusError> {
        let TooMuch::Offered(newest) = &self.says else {
            return self.receipts.raise(workspace, channel, marks).await;
        };
        let newest = newest.lock().get(channel).copied();
        let hasty = |(user, up_to): &(UserId, MessageId)| {
            (user.clone(), newest.map_or(*up_to, |newest| newest.max(*up_to)))
        };
        let delivered = marks.delivered.iter().map(hasty).collect();
        let marks = ReceiptMarks { delivered, read: marks.read.clone() };
        self.receipts.raise(workspace, channel, &marks).await
    }

    async fn note_keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        keepers: &[(MessageId, UserDevice)],
    ) -> Result<(), BusError> {
        self.receipts.note_keepers(workspace, channel, keepers).await
    }

    async fn keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<BTreeSet<UserDevice>, BusError> {
        let keepers = self.receipts.keepers(workspace, channel, id).await?;
        let TooMuch::Next(seen) = &self.says else { return Ok(keepers) };
        let mut seen = seen.lock();
        let seen = seen.entry(channel.clone()).or_default();
        seen.extend(keepers);
        Ok(seen.clone())
    }

    async fn receipts(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<ReceiptMarks, BusError> {
        self.receipts.receipts(workspace, channel).await
    }
}
