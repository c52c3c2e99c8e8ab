//! Files: `POST /attachments`, `GET /attachments/{id}`, and the files that a message names.
//!
//! **Main path.** [`create_attachment`] writes a file's row and signs one upload. A send that names
//! the file reads its row and asks whether it is uploaded ([`named`]), then copies name, type and size
//! into the message. `derive` gives the file to the message, or takes it away when the message is
//! deleted.
//!
//! **Invariants.** A file belongs to one channel, and to the first message that names it. Every URL is
//! signed after a strong read of the caller's membership (G6).

use futures_util::future::try_join_all;
use model::{
    Attachment, AttachmentId, ChannelId, ErrorCode, FileId, LogId, Message, NewAttachment,
    NewMessage, Timestamp, limits,
};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::contract::{self, WrongContract};
use crate::error::{Refusal, StoreError};
use crate::ports::{
    FileStoreError, LogEntry, Principal, ReadError, SignedUpload, StoredAttachment, WriteError,
};

/// A file that can be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedAttachment {
    /// Its id.
    pub id: AttachmentId,
    /// The request that uploads it.
    pub upload: SignedUpload,
    /// Until when the upload may begin.
    pub expires_at: Timestamp,
}

/// Why a file was not created, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The channel has no such file: it never existed, was not uploaded, lapsed, or was deleted with
    /// its message.
    #[error("the channel has no such file")]
    NotFound,
    /// The channel is archived.
    #[error("the channel is archived")]
    Archived,
    /// No files are sent under the channel's contract.
    #[error(transparent)]
    Contract(#[from] WrongContract),
    /// The store did not acknowledge, or the file store did not answer. Repeating the request is
    /// safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AttachmentError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::NotFound => ErrorCode::AttachmentNotFound,
            Self::Archived => ErrorCode::ChannelArchived,
            Self::Contract(WrongContract) => ErrorCode::WrongContract,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for AttachmentError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

impl From<ReadError> for AttachmentError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

impl From<WriteError> for AttachmentError {
    fn from(error: WriteError) -> Self {
        Self::Store(error.into())
    }
}

impl From<FileStoreError> for AttachmentError {
    fn from(error: FileStoreError) -> Self {
        Self::Store(error.into())
    }
}

/// Creates a file and signs its upload. Not idempotent: a repeated call creates another file, and the
/// one that no message names lapses.
///
/// # Errors
/// [`AttachmentError`].
///
/// # Cancel safety
/// A dropped call may or may not have stored the row, which lapses.
pub async fn create_attachment(
    app: &App,
    caller: &Principal,
    new: NewAttachment,
) -> Result<CreatedAttachment, AttachmentError> {
    let NewAttachment { channel_id, name, media_type, bytes, digest } = new;
    let channel = member_channel(app, caller, &channel_id).await?;
    contract::check_changes(channel.contract)?;
    if channel.details.archived {
        return Err(AttachmentError::Archived);
    }
    let now = app.clock.now();
    let file = FileId::mint(now, app.randomness.bits());
    let stored = StoredAttachment {
        attachment: Attachment { file, name, media_type, bytes },
        digest,
        by: caller.user_id.clone(),
        named_by: None,
        expires_at: Some(now.plus(limits::FILE_ROW_TTL)),
    };
    let expires_at = now.plus(limits::UPLOAD_URL_TTL);
    let upload = app.files.sign_upload(&channel_id, &stored, now, expires_at).await?;
    app.attachments.put_attachment(&channel_id, &stored).await?;
    Ok(CreatedAttachment { id: AttachmentId { channel_id, file }, upload, expires_at })
}

/// Signs the URL of a file's download: reads the file and its message first, then the caller's row,
/// strongly (G6).
///
/// # Errors
/// [`AttachmentError`].
pub async fn read_attachment(
    app: &App,
    caller: &Principal,
    id: &AttachmentId,
) -> Result<String, AttachmentError> {
    let AttachmentId { channel_id, file } = id;
    let rows = app.attachments.attachments(channel_id, std::slice::from_ref(file)).await?;
    let now = app.clock.now();
    let readable = match rows.into_iter().next() {
        Some(row) if is_readable(app, channel_id, &row, now).await? => Some(row.attachment),
        Some(_) | None => None,
    };
    member_channel(app, caller, channel_id).await?;
    let attachment = readable.ok_or(AttachmentError::NotFound)?;
    let until = now.plus(limits::DOWNLOAD_URL_TTL);
    Ok(app.files.sign_download(channel_id, &attachment, now, until).await?)
}

/// Whether a file may be read: its message stands, or it is uploaded and waits for one.
async fn is_readable(
    app: &App,
    channel_id: &ChannelId,
    row: &StoredAttachment,
    now: Timestamp,
) -> Result<bool, AttachmentError> {
    if row.is_withdrawn() {
        return Ok(false);
    }
    if let Some(id) = row.named_by {
        // The message shows its deletion at once; `derive` withdraws the file a moment later.
        let log = LogId::new(channel_id.clone(), id.thread);
        let entry = app.messages.entry(&log, id.id).await?.and_then(LogEntry::into_message);
        return Ok(entry.is_some_and(|stored| stored.message.deleted.is_none()));
    }
    let id = AttachmentId { channel_id: channel_id.clone(), file: row.attachment.file };
    Ok(!has_lapsed(row, now) && app.files.is_uploaded(&id).await?)
}

/// The files that a new message names, in its order; `None` if one of them is not the sender's, not
/// uploaded, lapsed, or named by another message.
pub(crate) async fn named(
    app: &App,
    caller: &Principal,
    new: &NewMessage,
    now: Timestamp,
) -> Result<Option<Vec<Attachment>>, StoreError> {
    if new.attachments.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let channel_id = &new.log.channel_id;
    let rows = async {
        let rows = app.attachments.attachments(channel_id, &new.attachments).await;
        rows.map_err(StoreError::from)
    };
    let uploaded = async {
        let id = |file: &FileId| AttachmentId { channel_id: channel_id.clone(), file: *file };
        let ids: Vec<AttachmentId> = new.attachments.iter().map(id).collect();
        let asked = try_join_all(ids.iter().map(|id| app.files.is_uploaded(id))).await;
        asked.map_err(StoreError::from)
    };
    let (rows, uploaded) = tokio::try_join!(rows, uploaded)?;
    let is_free = |row: &&StoredAttachment| {
        row.by == caller.user_id && row.named_by.is_none() && !has_lapsed(row, now)
    };
    let attachments = new.attachments.iter().zip(uploaded).map(|(file, is_uploaded)| {
        let row = rows.iter().find(|row| row.attachment.file == *file);
        row.filter(|_| is_uploaded).filter(is_free).map(|row| row.attachment.clone())
    });
    Ok(attachments.collect())
}

/// Whether a file that no message has named yet cannot be named any more.
fn has_lapsed(row: &StoredAttachment, now: Timestamp) -> bool {
    now >= row.attachment.file.time().plus(limits::UNNAMED_FILE_MAX)
}

/// Whether a stored message names the files of a new one. A deleted message names none, whatever it
/// named before.
pub(crate) fn are_of(message: &Message, new: &NewMessage) -> bool {
    let named = message.attachments.iter().map(|attachment| attachment.file);
    message.deleted.is_some() || named.eq(new.attachments.iter().copied())
}
