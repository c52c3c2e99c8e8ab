//! Files: a row for each beside its channel's messages, and the place that keeps their bytes.

use std::fmt::Debug;

use async_trait::async_trait;
use model::{
    Attachment, AttachmentId, ChannelId, FileDigest, FileId, MessageRef, Timestamp, UserId,
};

use super::{Cause, ReadError, WriteError};

/// A file's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttachment {
    /// What messages show of it.
    pub attachment: Attachment,
    /// The digest of its bytes.
    pub digest: FileDigest,
    /// Who may name it in a message.
    pub by: UserId,
    /// The first message that named it; it belongs to this one. `None` until `derive` has seen it.
    pub named_by: Option<MessageRef>,
    /// When the store may delete the row; `None` while the message that names it stands.
    pub expires_at: Option<Timestamp>,
}

impl StoredAttachment {
    /// Whether the message that named it was deleted.
    #[must_use]
    pub const fn is_withdrawn(&self) -> bool {
        self.named_by.is_some() && self.expires_at.is_some()
    }
}

/// Whether a message got a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The row was changed.
    Done,
    /// There is no such row, it belongs to another message, or it shows this already.
    Refused,
}

/// Rows of files, in the messages table.
#[async_trait]
pub trait AttachmentStore: Send + Sync + Debug {
    /// Writes the row of a new file.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn put_attachment(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
    ) -> Result<(), WriteError>;

    /// Reads rows of files, strongly; at most 100, in no order. Leaves out absent ones; a row whose
    /// time has come may still be there.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn attachments(
        &self,
        channel: &ChannelId,
        files: &[FileId],
    ) -> Result<Vec<StoredAttachment>, ReadError>;

    /// Gives a file to the message that names it, for good: its row does not expire any more. Refused
    /// if any message has named it before.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn name_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
    ) -> Result<Claimed, WriteError>;

    /// Takes a file from its deleted message, or keeps it from being named by another: its row
    /// expires then. Refused if it belongs to another message.
    ///
    /// # Errors
    /// [`WriteError`]. Repeating it is safe.
    async fn withdraw_attachment(
        &self,
        channel: &ChannelId,
        file: FileId,
        message: MessageRef,
        expires_at: Timestamp,
    ) -> Result<Claimed, WriteError>;
}

/// A request that uploads one file, for whoever has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedUpload {
    /// The method.
    pub method: &'static str,
    /// The URL, with a signature over method, size, type and digest.
    pub url: String,
    /// Headers that the request must have besides `content-length`: they are signed.
    pub headers: Vec<(&'static str, String)>,
}

/// The file store did not answer, or answered with an error. Repeating the call is safe.
#[derive(Debug, thiserror::Error)]
#[error("the file store did not answer")]
pub struct FileStoreError(#[source] pub Cause);

/// The bytes of files.
#[async_trait]
pub trait FileStore: Send + Sync + Debug {
    /// Signs an upload that may begin until a time. The file store takes these bytes only: their size,
    /// their type and their digest are signed. A second upload changes nothing.
    ///
    /// # Errors
    /// [`FileStoreError`].
    async fn sign_upload(
        &self,
        channel: &ChannelId,
        attachment: &StoredAttachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<SignedUpload, FileStoreError>;

    /// Signs the URL of a download that may begin until a time. The answer has the file's type, its
    /// name, and tells browsers to save it rather than to show it.
    ///
    /// # Errors
    /// [`FileStoreError`].
    async fn sign_download(
        &self,
        channel: &ChannelId,
        attachment: &Attachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<String, FileStoreError>;

    /// Whether all bytes of a file are there.
    ///
    /// # Errors
    /// [`FileStoreError`].
    async fn is_uploaded(&self, id: &AttachmentId) -> Result<bool, FileStoreError>;

    /// Deletes the bytes of a file, if there are any.
    ///
    /// # Errors
    /// [`FileStoreError`].
    async fn delete(&self, id: &AttachmentId) -> Result<(), FileStoreError>;
}
