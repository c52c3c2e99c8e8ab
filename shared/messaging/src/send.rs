//! `POST /messages`: stored exactly once, then published (G1, G2, G3).

use model::{
    Attachment, Contract, ErrorCode, LogId, Message, MessageId, NewMessage, Timestamp, limits,
};
use protocol::publication::{Origin, Publication};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::attachments;
use crate::contract::{self, WrongContract};
use crate::counters::Counter;
use crate::deliver::{BadId, check_ids, is_late};
use crate::error::{Refusal, StoreError};
use crate::ports::{Appended, LogEntry, Principal, Redirect, StoredMessage};
use crate::revising::Revising;
use crate::threads::root_of;

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// As stored; its id may differ from the one sent.
    pub message: Message,
    /// Whether it was stored before this call.
    pub duplicate: bool,
    /// The server's time at which the id was judged.
    pub server_time: Timestamp,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum PostMessageError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The id was used by another sender, with another text, or with other files.
    #[error("the id was used for another message")]
    IdConflict,
    /// The id is over 24 h old and not stored, or over 10 min ahead; or `after` is over 10 s ahead.
    #[error("the id's time is out of range")]
    IdOutOfRange {
        /// `id` or `after`.
        field: &'static str,
    },
    /// The channel's main log has no message that is the thread's root.
    #[error("the channel has no such message")]
    ThreadNotFound,
    /// The root was deleted before anybody replied, and no earlier attempt stored the reply.
    #[error("the message was deleted")]
    RootDeleted,
    /// The channel keeps ids as they are, and this one is not above `after`.
    #[error("the id does not sort after the newest message that was seen")]
    NotAfter,
    /// The channel is archived, and no earlier attempt stored the message.
    #[error("the channel is archived")]
    Archived,
    /// A file is not the sender's, not uploaded, lapsed, or named by another message; and no earlier
    /// attempt stored the message.
    #[error("a file cannot be attached")]
    Attachments,
    /// Nothing can be sent under the channel's contract.
    #[error(transparent)]
    Contract(#[from] WrongContract),
    /// The store did not acknowledge. Repeating the request is safe if it carries an id.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for PostMessageError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::IdConflict => ErrorCode::IdConflict,
            Self::IdOutOfRange { .. } => ErrorCode::IdOutOfRange,
            Self::ThreadNotFound => ErrorCode::MessageNotFound,
            Self::RootDeleted => ErrorCode::MessageDeleted,
            Self::NotAfter => ErrorCode::InvalidId,
            Self::Archived => ErrorCode::ChannelArchived,
            Self::Attachments => ErrorCode::InvalidField,
            Self::Contract(WrongContract) => ErrorCode::WrongContract,
            Self::Store(error) => error.code(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::IdOutOfRange { field } => Some(field),
            Self::Attachments => Some("attachments"),
            Self::NotAfter => Some("after"),
            Self::ThreadNotFound | Self::RootDeleted => Some("thread"),
            Self::ChannelNotFound
            | Self::IdConflict
            | Self::Archived
            | Self::Contract(_)
            | Self::Store(_) => None,
        }
    }
}

impl From<AccessError> for PostMessageError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Stores a message, then offers it to the bus, then answers. `origin` says where the call began;
/// it travels with the publication, for operators.
///
/// # Errors
/// [`PostMessageError`]. After `Store` the message may be stored; the same command with the same id
/// resolves it.
///
/// # Cancel safety
/// A dropped call may or may not have stored or published.
pub async fn post_message(
    app: &App,
    caller: &Principal,
    new: &NewMessage,
    origin: Origin,
) -> Result<Posted, PostMessageError> {
    let (channel, closed_thread) = tokio::join!(
        member_channel(app, caller, &new.log.channel_id),
        closed_thread(app, &new.log)
    );
    let channel = channel?;
    match &new.log.thread {
        None => contract::check_kept(channel.contract)?,
        Some(_) => contract::check_changes(channel.contract)?,
    }
    let archived = channel.details.archived.then_some(PostMessageError::Archived);
    let closed = archived.or(closed_thread?);
    let now = app.clock.now();
    if new.after.is_some_and(|after| after.time() > now.plus(limits::AFTER_MAX)) {
        return Err(PostMessageError::IdOutOfRange { field: "after" });
    }
    let attachments = attachments::named(app, caller, new, now).await?;
    let closed = closed.or(attachments.is_none().then_some(PostMessageError::Attachments));
    let (version, attachments) = (channel.members_version, attachments.unwrap_or_default());
    let keeps_ids = channel.contract.delivers_first();
    let is_passing = channel.contract == Contract::DeliverUntilAcked;
    let expires_at = is_passing.then(|| now.plus(limits::UNACKED_KEPT));
    let sending = Sending { app, caller, new, attachments, version, keeps_ids, expires_at, now };
    let (stored, duplicate) = match closed {
        None => sending.store().await?,
        // A retry of what was stored before is still a duplicate (G1).
        Some(closed) => match new.id {
            Some(id) => sending.find(id, closed).await?,
            None => return Err(closed),
        },
    };
    app.counters().count(if duplicate { Counter::Duplicate } else { Counter::Stored });
    // A retry publishes too: the first attempt may have died before it could. The guard key makes a
    // second publish a no-op, but only while the key lives.
    if !duplicate || now.since(stored.message.id.time()) < limits::GUARD_TTL {
        let publication =
            Publication::of_message(&stored.message, stored.members_version).with_origin(origin);
        app.publisher().publish(&caller.workspace_id, &publication).await;
    }
    Ok(Posted { message: stored.message, duplicate, server_time: now })
}

/// Why a thread takes no new reply, if it does not: its root was deleted before anybody replied. A thread
/// with replies goes on without its root.
async fn closed_thread(
    app: &App,
    log: &LogId,
) -> Result<Option<PostMessageError>, PostMessageError> {
    let Some(root) = log.thread else { return Ok(None) };
    let root = root_of(app, &log.channel_id, root).await?;
    let root = root.ok_or(PostMessageError::ThreadNotFound)?.message;
    let is_closed = root.deleted.is_some() && root.replies.is_none();
    Ok(is_closed.then_some(PostMessageError::RootDeleted))
}

/// How far an id's time is from now, which decides how the message is stored.
enum Window {
    /// One conditional put.
    Inside,
    /// A transaction with a redirect.
    Redirected,
    /// Refused, unless it is stored already.
    TooFar,
}

struct Sending<'a> {
    app: &'a App,
    caller: &'a Principal,
    new: &'a NewMessage,
    /// What the message shows of its files.
    attachments: Vec<Attachment>,
    version: u64,
    /// Whether no message is stored under another id than it was sent with.
    keeps_ids: bool,
    /// When the store deletes the message by itself.
    expires_at: Option<Timestamp>,
    now: Timestamp,
}

impl Sending<'_> {
    async fn store(&self) -> Result<(StoredMessage, bool), PostMessageError> {
        let Some(id) = self.new.id else {
            return self.put(self.mint()).await;
        };
        if self.keeps_ids {
            return self.put_as_it_is(id).await;
        }
        match self.window_of(id) {
            Window::Inside => self.put(id).await,
            Window::Redirected => self.put_redirected(id).await,
            Window::TooFar => self.find(id, PostMessageError::IdOutOfRange { field: "id" }).await,
        }
    }

    /// Stores it under its id, however old that is. A place in the change log leads readers to it who
    /// would not read back so far.
    async fn put_as_it_is(&self, id: MessageId) -> Result<(StoredMessage, bool), PostMessageError> {
        match check_ids(id, self.new.after, self.now) {
            Ok(()) => {}
            Err(BadId::NotAfter) => return Err(PostMessageError::NotAfter),
            Err(BadId::OutOfRange { field }) => {
                return self.find(id, PostMessageError::IdOutOfRange { field }).await;
            }
        }
        if is_late(id, self.now) {
            Revising::of(self.app).log(&self.new.log, id, self.now).await?;
        }
        self.put(id).await
    }

    /// Looks up what an earlier attempt stored.
    async fn find(
        &self,
        id: MessageId,
        absent: PostMessageError,
    ) -> Result<(StoredMessage, bool), PostMessageError> {
        match self.entry(id).await? {
            Some(entry) => self.settle(entry).await,
            None => Err(absent),
        }
    }

    fn window_of(&self, id: MessageId) -> Window {
        let (time, now) = (id.time(), self.now);
        if time < now.minus(limits::REDIRECT_PAST_MAX)
            || time > now.plus(limits::REDIRECT_FUTURE_MAX)
        {
            return Window::TooFar;
        }
        let is_near = time >= now.minus(limits::PAST) && time <= now.plus(limits::FUTURE);
        let is_after = self.new.after.is_none_or(|after| id > after);
        if is_near && is_after { Window::Inside } else { Window::Redirected }
    }

    /// Mints an id for now, or for just after `after` if that is later.
    fn mint(&self) -> MessageId {
        let after =
            self.new.after.map(|after| after.time().plus(std::time::Duration::from_millis(1)));
        let at = after.map_or(self.now, |after| after.max(self.now));
        MessageId::mint(at, self.app.randomness.bits())
    }

    fn stored_as(&self, id: MessageId) -> StoredMessage {
        let mut message = Message::new(
            id,
            self.new.log.channel_id.clone(),
            self.caller.user_id.clone(),
            self.new.text.clone(),
        );
        message.thread = self.new.log.thread;
        message.mentions = self.new.mentions.clone();
        message.quote = self.new.quote;
        message.attachments = self.attachments.clone();
        let expires_at = self.expires_at;
        StoredMessage { expires_at, ..StoredMessage::new(message, self.version) }
    }

    async fn put(&self, id: MessageId) -> Result<(StoredMessage, bool), PostMessageError> {
        let stored = self.stored_as(id);
        match self.app.messages.append(&stored).await.map_err(StoreError::from)? {
            Appended::Stored => Ok((stored, false)),
            Appended::Occupied(entry) => self.settle(*entry).await,
        }
    }

    async fn put_redirected(
        &self,
        id: MessageId,
    ) -> Result<(StoredMessage, bool), PostMessageError> {
        let stored = self.stored_as(self.mint());
        let redirect = Redirect {
            log: self.new.log.clone(),
            id,
            target: stored.message.id,
            sender_id: self.caller.user_id.clone(),
            digest: self.new.digest(),
            expires_at: self.now.plus(limits::REDIRECT_TTL),
        };
        let appended = self.app.messages.append_redirected(&redirect, &stored).await;
        match appended.map_err(StoreError::from)? {
            Appended::Stored => Ok((stored, false)),
            Appended::Occupied(entry) => self.settle(*entry).await,
        }
    }

    /// Decides whether the entry at the client's id is this message (a retry) or a conflict.
    async fn settle(&self, entry: LogEntry) -> Result<(StoredMessage, bool), PostMessageError> {
        let (sender, new) = (&self.caller.user_id, self.new);
        match entry {
            LogEntry::Unknown { .. } => Err(PostMessageError::IdConflict),
            LogEntry::Message(stored) => {
                let message = &stored.message;
                // The text as it was sent is gone once the message was edited or deleted.
                let had_this_text = message.edit.is_some() || message.deleted.is_some();
                let is_this = message.text == new.text && message.quote == new.quote;
                let has_files = attachments::are_of(message, new);
                let same = message.sender_id == *sender && (had_this_text || is_this) && has_files;
                if same { Ok((stored, true)) } else { Err(PostMessageError::IdConflict) }
            }
            LogEntry::Redirect(redirect) => {
                if redirect.sender_id != *sender || redirect.digest != new.digest() {
                    return Err(PostMessageError::IdConflict);
                }
                match self.entry(redirect.target).await? {
                    Some(LogEntry::Message(stored)) => Ok((stored, true)),
                    // Both are written in one transaction, so the table is damaged.
                    Some(LogEntry::Redirect(_) | LogEntry::Unknown { .. }) | None => {
                        Err(StoreError::Unavailable("a redirect leads nowhere".into()).into())
                    }
                }
            }
        }
    }

    async fn entry(&self, id: MessageId) -> Result<Option<LogEntry>, PostMessageError> {
        let entry = self.app.messages.entry(&self.new.log, id).await;
        Ok(entry.map_err(StoreError::from)?)
    }
}
