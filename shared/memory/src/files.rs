//! The file store without files: it remembers only which ones were uploaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{Cause, FileStore, FileStoreError, SignedUpload, StoredAttachment};
use model::{Attachment, AttachmentId, ChannelId, Timestamp};
use parking_lot::Mutex;

/// A file store in memory. Nothing serves its URLs: tests call [`MemoryFiles::upload`] instead. Clones
/// share its files.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Files>>);

#[derive(Debug, Default)]
struct Files {
    uploaded: BTreeSet<AttachmentId>,
    is_down: bool,
}

impl MemoryFiles {
    /// An empty file store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uploads a file.
    pub fn upload(&self, id: &AttachmentId) {
        self.0.lock().uploaded.insert(id.clone());
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, id: &AttachmentId) -> bool {
        self.0.lock().uploaded.contains(id)
    }

    /// Lets all calls fail, or no longer.
    pub fn set_down(&self, is_down: bool) {
        self.0.lock().is_down = is_down;
    }

    fn call(&self) -> Result<parking_lot::MutexGuard<'_, Files>, FileStoreError> {
        let files = self.0.lock();
        if files.is_down { Err(FileStoreError(Cause::from("it is down"))) } else { Ok(files) }
    }
}

#[async_trait]
impl FileStore for MemoryFiles {
    async fn sign_upload(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
        _now: Timestamp,
        until: Timestamp,
    ) -> Result<SignedUpload, FileStoreError> {
        let Attachment { file, media_type, .. } = &attachment.attachment;
        let url = format!("memory://{channel}/{file}?until={}", until.unix_ms());
        let headers = vec![("content-type", media_type.as_str().to_owned())];
        Ok(SignedUpload { method: "PUT", url, headers })
    }

    async fn sign_download(
        &self,
        channel: &ChannelId,
        attachment: &Attachment,
        _now: Timestamp,
        until: Timestamp,
    ) -> Result<String, FileStoreError> {
        Ok(format!("memory://{channel}/{}?until={}", attachment.file, until.unix_ms()))
    }

    async fn is_uploaded(&self, id: &AttachmentId) -> Result<bool, FileStoreError> {
        Ok(self.call()?.uploaded.contains(id))
    }

    async fn delete(&self, id: &AttachmentId) -> Result<(), FileStoreError> {
        self.call()?.uploaded.remove(id);
        Ok(())
    }
}
