//! Sends messages. All attempts of one message carry the same id.

use std::sync::Arc;
use std::time::Duration;

use model::{AttachmentId, ErrorCode, LogId, Message, MessageId};
use parking_lot::Mutex;
use protocol::http::PostedBody;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::error::ApiError;
use crate::inbox::Inbox;
use crate::rest::Api;

/// A message before it is stored. Sending the same draft again never stores it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The log to send it to: a channel's main log, or a thread.
    pub log: LogId,
    /// The text.
    pub text: String,
    /// Uploaded files of the sender's; the text may be empty if there are any.
    pub attachments: Vec<AttachmentId>,
    /// The client's id. It identifies the message until the answer brings the stored id.
    pub id: MessageId,
    /// The newest message that the sender had seen: the stored message sorts after it (G2).
    pub after: Option<MessageId>,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The message as it is stored. A local copy under [`Sent::local_id`] must take this id.
    pub message: Message,
    /// The id that the client minted.
    pub local_id: MessageId,
    /// Whether an earlier attempt had stored it.
    pub duplicate: bool,
    /// How many attempts it took.
    pub attempts: u32,
}

/// Why a send failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It was not stored.
    #[error("the message was not stored")]
    NotStored {
        /// The last refusal.
        source: ApiError,
    },
    /// It may or may not have been stored: send the same [`Draft`] again, within a day.
    #[error("the message may or may not have been stored")]
    OutcomeUnknown {
        /// The draft to send again.
        draft: Box<Draft>,
        /// The last failure.
        source: ApiError,
    },
}

/// Sends one user's messages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(crate) api: Api,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    backoff: Arc<Mutex<Backoff>>,
    deadline: Duration,
}

impl Outbox {
    /// An outbox without a socket: it knows only the messages that it sent itself.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self::beside(api, Arc::new(Mutex::new(Inbox::new(1))), Backoff::default())
    }

    /// An outbox that shares a client's inbox.
    pub(crate) fn beside(api: Api, inbox: Arc<Mutex<Inbox>>, backoff: Backoff) -> Self {
        Self { api, inbox, backoff: Arc::new(Mutex::new(backoff)), deadline: DEADLINE }
    }

    /// Sets another deadline for all attempts of one send together.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sends a text: a new draft, tried until it is stored, refused, or out of time.
    ///
    /// # Errors
    /// [`SendError`]: not stored, or outcome unknown.
    pub async fn send(&self, log: impl Into<LogId>, text: &str) -> Result<Sent, SendError> {
        let log = log.into();
        match self.send_draft(&self.draft(&log, text)).await {
            // This machine's clock was minutes off. The refusal corrected it and proves that no
            // message has the old id, so sending once more with a new id is safe.
            Err(SendError::NotStored { source })
                if source.code() == Some(ErrorCode::IdOutOfRange) =>
            {
                self.send_draft(&self.draft(&log, text)).await
            }
            other => other,
        }
    }

    /// Makes a draft. Its id is minted for the server's time, and after any message seen here.
    #[must_use]
    pub fn draft(&self, log: impl Into<LogId>, text: &str) -> Draft {
        let log = log.into();
        let after = self.inbox.lock().newest_seen(&log);
        let now = self.api.server_now();
        let time = after.map_or(now, |after| now.max(after.time().plus(Duration::from_millis(1))));
        let id = MessageId::mint(time, self.api.transport().random());
        Draft { log, text: text.to_owned(), attachments: Vec::new(), id, after }
    }

    /// Sends a draft until it is stored, refused, or out of time. Each attempt has the same id.
    ///
    /// # Errors
    /// [`SendError`]: not stored, or outcome unknown.
    ///
    /// # Cancel safety
    /// A dropped future may have stored the message. Send the draft again to find out.
    pub async fn send_draft(&self, draft: &Draft) -> Result<Sent, SendError> {
        let deadline = Instant::now() + self.deadline;
        let mut backoff = self.backoff.lock().fork();
        let mut maybe_stored = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (id, Draft { log, text, attachments, after, .. }) = (Some(draft.id), draft);
            match self.api.post_attachments(log, text, attachments, id, *after).await {
                Ok(PostedBody { message, duplicate, .. }) => {
                    self.inbox.lock().record_sent(message.log(), message.id);
                    return Ok(Sent { message, local_id: draft.id, duplicate, attempts });
                }
                Err(source) => {
                    maybe_stored |= source.outcome_unknown();
                    let wait = backoff.next_wait(source.retry_after());
                    if !source.is_retryable() || Instant::now() + wait >= deadline {
                        return Err(failed(draft, source, maybe_stored));
                    }
                    sleep(wait).await;
                }
            }
        }
    }
}

/// Turns the last failure into an error. After an attempt whose answer was lost, a refusal does not
/// prove that the message is not stored, unless the server looked up the id before it refused.
fn failed(draft: &Draft, source: ApiError, maybe_stored: bool) -> SendError {
    let looked_up = matches!(source.code(), Some(ErrorCode::IdOutOfRange | ErrorCode::IdConflict));
    if maybe_stored && !looked_up {
        SendError::OutcomeUnknown { draft: Box::new(draft.clone()), source }
    } else {
        SendError::NotStored { source }
    }
}

/// For all attempts of one send: a person waits for it, and the draft can be sent again for a day.
const DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
