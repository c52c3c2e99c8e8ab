//! Reading what the socket could not bring: after `resumed:false` and after `resync`.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use model::{Channel, ErrorCode, Message, MessageId, limits};
use protocol::http::Direction;
use tokio::sync::mpsc;
use tokio::sync::mpsc::Permit;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::error::ApiError;
use crate::event::Event;
use crate::lock;
use crate::rest::Api;
use crate::session::StopReason;
use crate::timeline::{CatchUpFrom, How, Inbox};

/// What the socket's task and a reading share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) first_visit_messages: u32,
}

impl Shared {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    /// A place in the queue of events. Whoever changes state and tells of it takes the place first
    /// and does both without waiting in between: so a task that is dropped has done both or none.
    pub(crate) async fn place(&self) -> Result<Permit<'_, Event>, StopReason> {
        self.events.reserve().await.or(Err(StopReason::Requested))
    }

    /// Takes a message into its timeline and tells of it.
    pub(crate) async fn take(&self, message: Message, how: How) -> Result<(), StopReason> {
        let place = self.place().await?;
        let fresh = self.inbox().upsert(message.clone(), how);
        place.send(Event::Message { message, how, fresh });
        Ok(())
    }

    /// Reads all channels after `delay`, and closes the gap.
    ///
    /// # Errors
    /// Only what no retry will mend.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the gap open; the next reading starts over, and the timelines
    /// know what this one brought.
    pub(crate) async fn catch_up(
        self,
        delay: Duration,
        mut backoff: Backoff,
    ) -> Result<(), StopReason> {
        sleep(delay).await;
        let started_at = self.api.server_now();
        let channels = patiently(&mut backoff, || self.api.channels()).await?;
        for channel in &channels {
            match self.read_channel(channel, &mut backoff).await {
                // Removed in the meantime: there is nothing to read any more.
                Err(StopReason::Refused(error))
                    if error.code() == Some(ErrorCode::ChannelNotFound) => {}
                other => other?,
            }
            self.inbox().note_channel(&channel.id, started_at);
        }
        let place = self.place().await?;
        self.inbox().close_gap(started_at);
        place.send(Event::CaughtUp { channels: channels.len() });
        Ok(())
    }

    async fn read_channel(
        &self,
        channel: &Channel,
        backoff: &mut Backoff,
    ) -> Result<(), StopReason> {
        let from = self.inbox().catch_up_from(channel);
        match from {
            CatchUpFrom::NewerThan(offset) => self.read_newer(channel, offset, backoff).await,
            CatchUpFrom::FirstVisit if self.first_visit_messages == 0 => Ok(()),
            CatchUpFrom::FirstVisit => {
                let limit = self.first_visit_messages.min(limits::PAGE_ROWS_MAX);
                let newest = || self.api.scroll(&channel.id, None, limit, Direction::Older);
                let page = patiently(backoff, newest).await?;
                for message in page.messages.into_iter().rev() {
                    self.take(message, How::CaughtUp).await?;
                }
                Ok(())
            }
        }
    }

    async fn read_newer(
        &self,
        channel: &Channel,
        mut offset: MessageId,
        backoff: &mut Backoff,
    ) -> Result<(), StopReason> {
        let limit = limits::PAGE_ROWS_MAX;
        loop {
            let newer = || self.api.scroll(&channel.id, Some(offset), limit, Direction::Newer);
            let page = patiently(backoff, newer).await?;
            for message in page.messages {
                self.take(message, How::CaughtUp).await?;
            }
            // A page may be empty and not the last; an offset that does not move would be an
            // endless loop of ours.
            match page.next_offset {
                Some(next) if next > offset => offset = next,
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// Repeats a read until it is answered, or refused for good.
async fn patiently<T, F>(backoff: &mut Backoff, call: impl Fn() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                sleep(backoff.next_wait(error.retry_after())).await;
            }
            other => {
                backoff.reset();
                return other;
            }
        }
    }
}
