//! The file store in a directory, behind the gateway: signed URLs, and the checks that S3 makes.
//!
//! **Invariants.** Names of files on disk are made of parsed ids only. A file appears under its name
//! only when all its bytes are there and have the signed size and digest.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messaging::ports::{
    Clock, FileStore, FileStoreError, Randomness, SignedUpload, StoredAttachment,
};
use model::{Attachment, AttachmentId, ChannelId, Timestamp};
use service::clock::{SystemClock, SystemRandomness};
use tempfile::TempDir;

mod serve;
mod url;

use url::{Grant, Key};

pub(crate) use serve::FileBody;

/// The files of a stack. Clones share them.
#[derive(Clone)]
pub(crate) struct LocalFiles(Arc<State>);

struct State {
    directory: PathBuf,
    origin: String,
    /// URLs live for minutes, so a stack that restarts takes a new key.
    key: Key,
    clock: Arc<dyn Clock>,
    /// Removed when the stack ends, if the files are not kept.
    _temporary: Option<TempDir>,
}

impl fmt::Debug for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalFiles").field("directory", &self.0.directory).finish_non_exhaustive()
    }
}

impl LocalFiles {
    /// Opens a directory, or makes one that ends with the stack. `origin` is the gateway's.
    pub(crate) fn open(directory: Option<&Path>, origin: String) -> io::Result<Self> {
        let temporary = match directory {
            Some(_) => None,
            None => Some(tempfile::tempdir()?),
        };
        let kept = directory.map(Path::to_owned);
        let directory = kept.or_else(|| temporary.as_ref().map(|made| made.path().to_owned()));
        let directory = directory.unwrap_or_default();
        // It holds what people send, so only its owner may read it.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // Uploads that broke off when the stack did.
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        let (key, clock) = (Key::random(), Arc::new(SystemClock));
        Ok(Self(Arc::new(State { directory, origin, key, clock, _temporary: temporary })))
    }

    /// Where all bytes of a file are.
    fn path_of(&self, id: &AttachmentId) -> PathBuf {
        self.0.directory.join(id.to_string())
    }

    /// Where the bytes of an upload are until they are all there.
    fn partial_path(&self) -> PathBuf {
        self.0.directory.join(format!("{:032x}.{PARTIAL}", SystemRandomness.bits()))
    }

    fn url(&self, id: &AttachmentId, grant: &Grant) -> String {
        let query = grant.signed(&self.0.key, id);
        format!("{}{PATH}{id}?{query}", self.0.origin)
    }
}

#[async_trait]
impl FileStore for LocalFiles {
    async fn sign_upload(
        &self,
        channel: &ChannelId,
        stored: &StoredAttachment,
        _now: Timestamp,
        until: Timestamp,
    ) -> Result<SignedUpload, FileStoreError> {
        let Attachment { file, media_type, bytes, .. } = &stored.attachment;
        let id = AttachmentId { channel_id: channel.clone(), file: *file };
        let (media_type, sha256) =
            (media_type.as_str().to_owned(), STANDARD.encode(stored.digest.0));
        let headers = vec![("content-type", media_type.clone()), (CHECKSUM, sha256.clone())];
        let grant = Grant::Upload { until, media_type, bytes: *bytes, sha256 };
        Ok(SignedUpload { method: "PUT", url: self.url(&id, &grant), headers })
    }

    async fn sign_download(
        &self,
        channel: &ChannelId,
        attachment: &Attachment,
        _now: Timestamp,
        until: Timestamp,
    ) -> Result<String, FileStoreError> {
        let id = AttachmentId { channel_id: channel.clone(), file: attachment.file };
        let media_type = attachment.media_type.as_str().to_owned();
        let name = attachment.name.as_str().to_owned();
        Ok(self.url(&id, &Grant::Download { until, media_type, name }))
    }

    async fn is_uploaded(&self, id: &AttachmentId) -> Result<bool, FileStoreError> {
        let found = tokio::fs::try_exists(self.path_of(id)).await;
        found.map_err(|error| FileStoreError(error.into()))
    }

    async fn delete(&self, id: &AttachmentId) -> Result<(), FileStoreError> {
        match tokio::fs::remove_file(self.path_of(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileStoreError(error.into()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Where the gateway serves files.
pub(crate) const PATH: &str = "/files/";
/// The header that carries the digest of an upload, as S3's does.
const CHECKSUM: &str = "x-amz-checksum-sha256";
/// The extension of uploads that are not complete. No id ends like this.
const PARTIAL: &str = "part";

#[cfg(test)]
mod tests;
