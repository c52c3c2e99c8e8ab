//! Rows of files: nothing of them is in the table's log that a reader looks at.

use async_trait::async_trait;
use messaging::ports::{AttachmentStore, Claimed, ReadError, StoredAttachment, WriteError};
use model::{ChannelId, FileId, MessageRef, Timestamp};

use super::SimStore;

#[async_trait]
impl AttachmentStore for SimStore {
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError> {
        self.write(self.inner.put_attachment(channel, attachment)).await
    }

    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError> {
        self.read(self.inner.attachments(channel, files)).await
    }

    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError> {
        self.write(self.inner.name_attachment(channel, file, message)).await
    }

    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError> {
        self.write(self.inner.withdraw_attachment(channel, file, message, expires_at)).await
    }
}
