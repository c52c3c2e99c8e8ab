//! Changes of stored messages: edits and deletions (G9, G10), and one message by its id.
//!
//! **Main path.** A change is written in two steps without a transaction: first an entry of the
//! channel's change log, which says only that the message changed at this position (G11), then the
//! row itself, under conditions. If the caller dies in between, the entry makes somebody read an
//! unchanged message, and the same request does the rest.

use model::{
    Attribution, ChangeId, Channel, EditMessage, ErrorCode, LogId, Message, MessageId, MessageRef,
    limits,
};
use protocol::publication::{Origin, Publication};

use crate::access::{AccessError, member_channel};
use crate::app::App;
use crate::contract::{self, WrongContract};
use crate::error::{Refusal, StoreError};
use crate::pins;
use crate::ports::{Change, LogEntry, Principal, ReadError, Revised, Revision, StoredMessage};
use crate::react::mark_own;
use crate::revising::Revising;

/// A message, as its caller names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The log.
    pub log: LogId,
    /// The message.
    pub id: MessageId,
}

/// A message after an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// As stored.
    pub message: Message,
    /// Whether this edit had happened before this call.
    pub duplicate: bool,
    /// Whether a later edit has won: the message is as that one left it.
    pub superseded: bool,
}

/// Why a message was not changed or read.
#[derive(Debug, thiserror::Error)]
pub enum AmendError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The channel has no such message.
    #[error("the channel has no such message")]
    MessageNotFound,
    /// Somebody else's message.
    #[error("the caller may not change this message")]
    Forbidden,
    /// The message was deleted.
    #[error("the message was deleted")]
    Deleted,
    /// The text has another revision than the caller expects.
    #[error("the text has another revision")]
    Conflict(Box<Message>),
    /// The message has as many reactions, or as many kinds of them, as one may have.
    #[error("the message has too many reactions")]
    TooManyReactions,
    /// The channel has as many pins as one may have.
    #[error("the channel has too many pins")]
    TooManyPins,
    /// `change_id` is over 24 h old or over 1 s ahead.
    #[error("the change id's time is out of range")]
    IdOutOfRange,
    /// The channel is archived.
    #[error("the channel is archived")]
    Archived,
    /// Nothing changes under the channel's contract.
    #[error(transparent)]
    Contract(#[from] WrongContract),
    /// The store did not acknowledge. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AmendError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::MessageNotFound => ErrorCode::MessageNotFound,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::Deleted => ErrorCode::MessageDeleted,
            Self::Conflict(_) => ErrorCode::RevisionConflict,
            Self::TooManyReactions => ErrorCode::TooManyReactions,
            Self::TooManyPins => ErrorCode::TooManyPins,
            Self::IdOutOfRange => ErrorCode::IdOutOfRange,
            Self::Archived => ErrorCode::ChannelArchived,
            Self::Contract(WrongContract) => ErrorCode::WrongContract,
            Self::Store(error) => error.code(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::IdOutOfRange => Some("change_id"),
            Self::ChannelNotFound
            | Self::MessageNotFound
            | Self::Forbidden
            | Self::Deleted
            | Self::Conflict(_)
            | Self::TooManyReactions
            | Self::TooManyPins
            | Self::Archived
            | Self::Contract(_)
            | Self::Store(_) => None,
        }
    }

    fn current(&self) -> Option<&Message> {
        match self {
            Self::Conflict(current) => Some(current),
            Self::ChannelNotFound
            | Self::MessageNotFound
            | Self::Forbidden
            | Self::Deleted
            | Self::TooManyReactions
            | Self::TooManyPins
            | Self::IdOutOfRange
            | Self::Archived
            | Self::Contract(_)
            | Self::Store(_) => None,
        }
    }
}

impl From<AccessError> for AmendError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

impl From<ReadError> for AmendError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

/// Changes the text of the caller's own message, unless the channel is archived.
///
/// # Errors
/// [`AmendError`]. After `Store` it may be changed; the same edit with the same id resolves it.
///
/// # Cancel safety
/// A dropped call may or may not have changed or published it.
pub async fn edit_message(
    app: &App,
    caller: &Principal,
    target: &Target,
    edit: &EditMessage,
    origin: Origin,
) -> Result<Edited, AmendError> {
    check_change_id(app, edit.change_id)?;
    let channel = changeable(app, caller, target).await?;
    if channel.details.archived {
        return Err(AmendError::Archived);
    }
    let change = Change::Edit {
        text: edit.text.clone(),
        mentions: edit.mentions.clone(),
        change_id: edit.change_id,
        if_text_rev: edit.if_rev.clone(),
    };
    let only_of = Some(caller.user_id.clone());
    let refused = |old: &Message| {
        let last = old.edit.as_ref().map(|last| last.change_id);
        if old.deleted.is_some() {
            Some(Refused::Because(AmendError::Deleted))
        } else if old.sender_id != caller.user_id {
            Some(Refused::Because(AmendError::Forbidden))
        } else if last.is_some_and(|last| last >= edit.change_id) {
            Some(Refused::HappenedBefore)
        } else if edit.if_rev.as_ref().is_some_and(|rev| *rev != *old.text_rev()) {
            Some(Refused::Because(AmendError::Conflict(Box::new(old.clone()))))
        } else {
            None
        }
    };
    let amending = Amending { app, caller, target, channel: &channel, origin };
    let (stored, happened_before) = amending.revise(only_of, change, refused).await?;
    let message = stored.message;
    let is_this = message.edit.as_ref().is_some_and(|last| last.change_id == edit.change_id);
    let (duplicate, superseded) = (happened_before && is_this, happened_before && !is_this);
    let message = own_marked(app, caller, message).await?;
    Ok(Edited { message, duplicate, superseded })
}

/// Deletes a message: its author may, and for a group its creator and admins. Idempotent. An
/// archived channel does not keep anybody from it.
///
/// # Errors
/// [`AmendError`].
///
/// # Cancel safety
/// A dropped call may or may not have deleted or published it.
pub async fn delete_message(
    app: &App,
    caller: &Principal,
    target: &Target,
    origin: Origin,
) -> Result<Message, AmendError> {
    let channel = changeable(app, caller, target).await?;
    let is_creator = !channel.id.is_dm() && channel.created_by == caller.user_id;
    let only_of = (!is_creator && !caller.is_admin).then(|| caller.user_id.clone());
    let refused = |old: &Message| {
        if only_of.as_ref().is_some_and(|user| *user != old.sender_id) {
            Some(Refused::Because(AmendError::Forbidden))
        } else {
            old.deleted.is_some().then_some(Refused::HappenedBefore)
        }
    };
    let deletion = Attribution { at: app.clock.now(), by: caller.user_id.clone() };
    let amending = Amending { app, caller, target, channel: &channel, origin };
    let (stored, _) = amending.revise(only_of.clone(), Change::Delete(deletion), refused).await?;
    if stored.pin_act.is_some() {
        let pinned = MessageRef { id: target.id, thread: target.log.thread };
        pins::withdraw(&*app.pins, Revising::of(app), &target.log.channel_id, pinned).await?;
    }
    Ok(stored.message)
}

/// Reads one message: the message first, then the caller's row, strongly (G6).
///
/// # Errors
/// [`AmendError`].
pub async fn read_message(
    app: &App,
    caller: &Principal,
    target: &Target,
) -> Result<Message, AmendError> {
    let entry = app.messages.entry(&target.log, target.id).await?;
    member_channel(app, caller, &target.log.channel_id).await?;
    let stored = entry.and_then(LogEntry::into_message).ok_or(AmendError::MessageNotFound)?;
    own_marked(app, caller, stored.message).await
}

/// What an act on a message needs: the channel, of which the caller is a member, and the message, which
/// is not deleted. An archived channel takes back what is there, and nothing new.
pub(crate) async fn actable(
    app: &App,
    caller: &Principal,
    target: &Target,
    is_made: bool,
) -> Result<(Channel, StoredMessage), AmendError> {
    let Target { log, id } = target;
    let channel = member_channel(app, caller, &log.channel_id);
    let (channel, entry) = tokio::join!(channel, app.messages.entry(log, *id));
    let channel = channel?;
    contract::check_changes(channel.contract)?;
    let stored = entry?.and_then(LogEntry::into_message).ok_or(AmendError::MessageNotFound)?;
    if stored.message.deleted.is_some() {
        return Err(AmendError::Deleted);
    }
    if channel.details.archived && is_made {
        return Err(AmendError::Archived);
    }
    Ok((channel, stored))
}

/// The id of an act: the caller's, or a new one.
pub(crate) fn act_id(app: &App, given: Option<ChangeId>) -> Result<ChangeId, AmendError> {
    let Some(given) = given else {
        return Ok(ChangeId::mint(app.clock.now(), app.randomness.bits()));
    };
    check_change_id(app, given)?;
    Ok(given)
}

/// Refuses a change id whose time is out of range.
fn check_change_id(app: &App, change_id: ChangeId) -> Result<(), AmendError> {
    let (now, at) = (app.clock.now(), change_id.time());
    if at < now.minus(limits::CHANGE_PAST_MAX) || at > now.plus(limits::FUTURE) {
        return Err(AmendError::IdOutOfRange);
    }
    Ok(())
}

/// A message as its reader gets it: it says which reactions are theirs.
pub(crate) async fn own_marked(
    app: &App,
    caller: &Principal,
    message: Message,
) -> Result<Message, AmendError> {
    let mut messages = [message];
    mark_own(app, caller, &mut messages).await?;
    let [message] = messages;
    Ok(message)
}

async fn changeable(app: &App, caller: &Principal, target: &Target) -> Result<Channel, AmendError> {
    let channel = member_channel(app, caller, &target.log.channel_id).await?;
    contract::check_changes(channel.contract)?;
    Ok(channel)
}

/// Why the store refused a revision.
enum Refused {
    /// This change, or a later one that wins over it, happened before.
    HappenedBefore,
    Because(AmendError),
}

struct Amending<'a> {
    app: &'a App,
    caller: &'a Principal,
    target: &'a Target,
    channel: &'a Channel,
    origin: Origin,
}

impl Amending<'_> {
    /// Logs a change, makes it, and publishes the message. Also returns whether it had happened
    /// before. `refused` judges the message that a condition failed on; `None` if only its revision
    /// was in the way.
    async fn revise(
        &self,
        only_of: Option<model::UserId>,
        change: Change,
        refused: impl Fn(&Message) -> Option<Refused>,
    ) -> Result<(StoredMessage, bool), AmendError> {
        let (app, Target { log, id }) = (self.app, self.target);
        let now = app.clock.now();
        let revising = Revising::of(app);
        revising.log(log, *id, now).await?;
        let mut revision = Revision {
            rev: revising.rev_above(*id, None, now),
            members_version: self.channel.members_version,
            only_of,
            change,
        };
        for _ in 0..REVISIONS_MAX {
            let answer = app.messages.revise(log, *id, &revision).await;
            let old = match answer.map_err(StoreError::from)? {
                Revised::Done(stored) => return Ok((self.publish(stored).await, false)),
                Revised::Refused(entry) => entry
                    .and_then(|entry| entry.into_message())
                    .ok_or(AmendError::MessageNotFound)?,
            };
            // The first attempt of this write was answered too late, or not at all.
            if old.message.rev == revision.rev {
                return Ok((self.publish(old).await, false));
            }
            match refused(&old.message) {
                // Its first attempt may have died before it could publish.
                Some(Refused::HappenedBefore) => return Ok((self.publish(old).await, true)),
                Some(Refused::Because(error)) => return Err(error),
                None => revision.rev = revising.rev_above(*id, Some(&old.message.rev), now),
            }
        }
        Err(StoreError::Busy("the message changes too often".into()).into())
    }

    async fn publish(&self, stored: StoredMessage) -> StoredMessage {
        let publication = Publication::of_message(&stored.message, stored.members_version)
            .with_origin(self.origin);
        self.app.publisher().publish(&self.caller.workspace_id, &publication).await;
        stored
    }
}

/// How often a change is tried on a message that others change at the same time.
const REVISIONS_MAX: usize = 5;
