//! Files of messages: whose they are, and when their bytes go.
//!
//! A message's naming and its deletion may be handled in any order, and repeatedly: a file belongs to
//! the first message that either of them names, and what was withdrawn is not named again.

use std::sync::atomic::Ordering;

use model::{AttachmentId, ChannelId, FileId, LogId, MessageId, MessageRef, limits};

use super::State;
use crate::error::StoreError;
use crate::ports::Claimed;

impl State {
    /// Gives files to the message that names them: their rows do not expire any more.
    pub(super) async fn name_files(
        &self,
        log: &LogId,
        id: MessageId,
        files: &[FileId],
    ) -> Result<(), StoreError> {
        let (channel, message) = (&log.channel_id, MessageRef { id, thread: log.thread });
        for file in files {
            let claimed = self.ports.attachments.name_attachment(channel, *file, message).await?;
            if claimed == Claimed::Done {
                self.counters.files_named.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Deletes the files of a deleted message. Their rows stay a while longer than any upload that is
    /// signed: what is uploaded again is deleted when they expire.
    pub(super) async fn withdraw_files(
        &self,
        log: &LogId,
        id: MessageId,
        files: &[FileId],
    ) -> Result<(), StoreError> {
        let (channel, message) = (&log.channel_id, MessageRef { id, thread: log.thread });
        let expires_at = self.ports.clock.now().plus(limits::FILE_ROW_TTL);
        for file in files {
            let attachments = &self.ports.attachments;
            let claimed =
                attachments.withdraw_attachment(channel, *file, message, expires_at).await?;
            if claimed == Claimed::Done {
                self.delete_file(channel, *file).await?;
            }
        }
        Ok(())
    }

    /// Deletes the bytes of a file that no message has.
    pub(super) async fn delete_file(
        &self,
        channel: &ChannelId,
        file: FileId,
    ) -> Result<(), StoreError> {
        self.ports.files.delete(&AttachmentId { channel_id: channel.clone(), file }).await?;
        self.counters.files_deleted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
