//! Rows of files.

use async_trait::async_trait;
use messaging::ports::{AttachmentStore, Claimed, ReadError, StoredAttachment, WriteError};
use model::{ChannelId, FileId, MessageRef, Timestamp};

use super::MaybeSilent;

#[async_trait]
impl AttachmentStore for MaybeSilent {
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError> {
        self.inner.put_attachment(channel, attachment).await
    }

    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError> {
        self.answers().await?;
        self.inner.attachments(channel, files).await
    }

    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError> {
        self.inner.name_attachment(channel, file, message).await
    }

    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError> {
        self.inner.withdraw_attachment(channel, file, message, expires_at).await
    }
}
