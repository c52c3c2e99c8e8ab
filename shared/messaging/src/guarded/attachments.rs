//! The rows of files share the store's circuit; the file store has one of its own.

use async_trait::async_trait;
use model::{Attachment, AttachmentId, ChannelId, FileId, MessageRef, Timestamp};

use super::Guarded;
use crate::ports::{
    AttachmentStore, Claimed, FileStore, FileStoreError, ReadError, SignedUpload, StoredAttachment,
    WriteError,
};

#[async_trait]
impl AttachmentStore for Guarded<dyn AttachmentStore> {
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError> {
        self.write(self.port.put_attachment(channel, attachment)).await
    }

    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError> {
        self.read(self.port.attachments(channel, files)).await
    }

    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError> {
        self.write(self.port.name_attachment(channel, file, message)).await
    }

    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError> {
        self.write(self.port.withdraw_attachment(channel, file, message, expires_at)).await
    }
}

impl Guarded<dyn FileStore> {
    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, FileStoreError>> + Send,
    ) -> Result<T, FileStoreError> {
        let permit = self.circuit.admit().map_err(|open| FileStoreError(open.into()))?;
        let answer = call.await;
        if answer.is_ok() {
            permit.succeed()
        } else {
            permit.fail()
        }
        answer
    }
}

/// Signing calls nothing, so it passes while the file store is down.
#[async_trait]
impl FileStore for Guarded<dyn FileStore> {
    async fn sign_upload(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<SignedUpload, FileStoreError> {
        self.port.sign_upload(channel, attachment, now, until).await
    }

    async fn sign_download(
        &self,
        channel: &ChannelId,
        attachment: &Attachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<String, FileStoreError> {
        self.port.sign_download(channel, attachment, now, until).await
    }

    async fn is_uploaded(&self, id: &AttachmentId) -> Result<bool, FileStoreError> {
        self.call(self.port.is_uploaded(id)).await
    }

    async fn delete(&self, id: &AttachmentId) -> Result<(), FileStoreError> {
        self.call(self.port.delete(id)).await
    }
}
