//! The file store of a program without files.

use async_trait::async_trait;
use messaging::ports::{FileStore, FileStoreError, SignedUpload, StoredAttachment};
use model::{Attachment, AttachmentId, ChannelId, Timestamp};

/// Refuses every call. For programs that do nothing with files, so that code that starts to need them
/// fails at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoFiles;

#[derive(Debug, thiserror::Error)]
#[error("this program has no file store")]
struct NotGiven;

fn refused<T>() -> Result<T, FileStoreError> {
    Err(FileStoreError(NotGiven.into()))
}

#[async_trait]
impl FileStore for NoFiles {
    async fn sign_upload(
        &self,
        _: &ChannelId,
        _: &StoredAttachment,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<SignedUpload, FileStoreError> {
        refused()
    }

    async fn sign_download(
        &self,
        _: &ChannelId,
        _: &Attachment,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<String, FileStoreError> {
        refused()
    }

    async fn is_uploaded(&self, _: &AttachmentId) -> Result<bool, FileStoreError> {
        refused()
    }

    async fn delete(&self, _: &AttachmentId) -> Result<(), FileStoreError> {
        refused()
    }
}
