//! Catch-up: reads the messages that the socket did not bring, after `resumed:false` and `resync`.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::{
    Channel, ChannelId, Direction, ErrorCode, LateArrivals, Message, MessageId, Timestamp, limits,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio::sync::mpsc::Permit;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::event::Event;
use crate::inbox::{CatchUpFrom, Due, Inbox, settled_position};
use crate::rest::Api;
use crate::retry::Retrier;
use crate::session::StopReason;
use crate::timeline::Source;

/// State that the socket's task and a catch-up share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) first_visit_messages: u32,
    pub(crate) retrier: Retrier,
    /// The last `server_time` that a frame carried, and when the frame arrived.
    pub(crate) node_clock: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl Shared {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock()
    }

    /// Reserves a place in the event queue. Reserve first, then change state and send the event
    /// without an `await` in between: then a dropped task has done both or neither.
    pub(crate) async fn reserve_event(&self) -> Result<Permit<'_, Event>, StopReason> {
        self.events.reserve().await.or(Err(StopReason::Requested))
    }

    /// Upserts a message into its timeline and sends its event.
    pub(crate) async fn ingest(&self, message: Message, source: Source) -> Result<(), StopReason> {
        let slot = self.reserve_event().await?;
        let fresh = self.inbox().upsert(message.clone(), source);
        slot.send(Event::Message { message, source, fresh });
        Ok(())
    }

    /// Remembers a frame's `server_time`.
    pub(crate) fn learn_node_clock(&self, server_time: Timestamp) {
        *self.node_clock.lock() = Some((server_time, Instant::now()));
    }

    /// The server's time, or slightly earlier: the last frame's `server_time` plus the time since
    /// it arrived, by a monotonic clock. The frame's transit time is not added, so a catch-up never
    /// records a start later than the true one.
    pub(crate) fn node_now(&self) -> Timestamp {
        let last = *self.node_clock.lock();
        last.map_or_else(|| self.api.server_now(), |(time, at)| time.plus(at.elapsed()))
    }

    /// Reads the channels that have a gap, or all channels if the gap is in all of them.
    ///
    /// A gap that opens again meanwhile stays open, for the next catch-up.
    ///
    /// # Errors
    /// Only errors that a retry cannot fix.
    ///
    /// # Cancel safety
    /// Dropping the future keeps the messages that it read. The gaps of channels that it did not
    /// finish stay open.
    pub(crate) async fn catch_up(self) -> Result<(), StopReason> {
        let started_at = self.node_now();
        let Due { list, channels } = self.inbox().due();
        let work: Vec<Work> = match list {
            Some(opening) => {
                let listed = self.retrier.run(|| self.api.channels()).await?;
                self.inbox().list_read(opening, &listed, started_at);
                listed.into_iter().map(Work::of).collect()
            }
            None => channels.into_iter().map(|id| Work { id, late: None }).collect(),
        };
        let count = work.len();
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(limits::CLIENT_READS_MAX, |work| self.read_if_due(work))
            .await?;
        let slot = self.reserve_event().await?;
        let has_gap = {
            let mut inbox = self.inbox();
            inbox.all_read(list, started_at);
            inbox.has_gap()
        };
        if !has_gap {
            slot.send(Event::CaughtUp { channels: count });
        }
        Ok(())
    }

    async fn read_if_due(&self, work: Work) -> Result<(), StopReason> {
        // An interrupted catch-up may have finished this channel already.
        let Some(opening) = self.inbox().opening_of(&work.id) else { return Ok(()) };
        let started_at = self.node_now();
        match self.read_channel(&work).await {
            Ok(()) => self.inbox().channel_read(&work.id, opening, started_at),
            // The user was removed in the meantime: there is nothing left to read.
            Err(StopReason::Refused(error)) if error.code() == Some(ErrorCode::ChannelNotFound) => {
                self.inbox().channel_gone(&work.id);
            }
            Err(reason) => return Err(reason),
        }
        Ok(())
    }

    async fn read_channel(&self, work: &Work) -> Result<(), StopReason> {
        let late = self.late_of(work).await?;
        let from = self.inbox().catch_up_from(&work.id, late);
        match from {
            CatchUpFrom::NewerThan(offset) => self.read_newer(&work.id, offset).await,
            CatchUpFrom::FirstVisit if self.first_visit_messages == 0 => Ok(()),
            CatchUpFrom::FirstVisit => self.read_newest(&work.id).await,
        }
    }

    /// The channel's `late` mark. It is fetched only if no list was read and it could matter.
    async fn late_of(&self, work: &Work) -> Result<Option<LateArrivals>, ApiError> {
        let unknown = work.late.is_none() && self.inbox().needs_late(&work.id);
        match work.late {
            Some(late) => Ok(late),
            None if unknown => {
                let channel = self.retrier.run(|| self.api.channel(&work.id)).await?;
                Ok(channel.late)
            }
            None => Ok(None),
        }
    }

    async fn read_newest(&self, channel: &ChannelId) -> Result<(), StopReason> {
        let limit = self.first_visit_messages.min(limits::PAGE_ROWS_MAX);
        let newest = || self.api.scroll(channel, None, limit, Direction::Older);
        let page = self.retrier.run(newest).await?;
        for message in page.messages.into_iter().rev() {
            self.ingest(message, Source::CaughtUp).await?;
        }
        Ok(())
    }

    async fn read_newer(
        &self,
        channel: &ChannelId,
        mut offset: MessageId,
    ) -> Result<(), StopReason> {
        loop {
            let known = self.inbox().known_after(channel, offset);
            let newer =
                || self.api.scroll_newer(channel, offset, limits::PAGE_ROWS_MAX, known.as_ref());
            let page = self.retrier.run(newer).await?;
            for message in page.messages {
                self.ingest(message, Source::CaughtUp).await?;
            }
            // An empty page need not be the last. An offset that does not advance would loop.
            match page.next_offset {
                Some(next) if next > offset => offset = next,
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// Reads the newest messages of every channel, so that a later catch-up brings only messages
/// stored from now on.
///
/// Call it before the first socket opens: messages stored in between are pushed or caught up.
///
/// # Errors
/// The first error of a call.
pub(crate) async fn stored_so_far(api: &Api, messages_max: usize) -> Result<Inbox, ApiError> {
    let channels = api.channels().await?;
    let read = stream::iter(channels)
        .map(|channel| async move {
            let messages = read_recent(api, &channel.id).await?;
            Ok::<_, ApiError>((channel.id, messages))
        })
        .buffer_unordered(limits::CLIENT_READS_MAX);
    let mut inbox = Inbox::new(messages_max);
    let read: Vec<_> = read.try_collect().await?;
    for (channel, messages) in read {
        inbox.stored_before(&channel, messages);
    }
    Ok(inbox)
}

/// The newest messages of a channel, back to the oldest id that a message stored later can have.
async fn read_recent(api: &Api, channel: &ChannelId) -> Result<Vec<Message>, ApiError> {
    let (mut messages, mut offset) = (Vec::<Message>::new(), None);
    loop {
        let limit = limits::PAGE_MESSAGES_DEFAULT;
        let page = match api.scroll(channel, offset, limit, Direction::Older).await {
            // The user was removed in the meantime.
            Err(error) if error.code() == Some(ErrorCode::ChannelNotFound) => return Ok(messages),
            read => read?,
        };
        messages.extend(page.messages);
        let ends = messages.first().zip(messages.last());
        let is_enough =
            ends.is_some_and(|(newest, oldest)| oldest.id < settled_position(newest.id));
        if is_enough || page.next_offset.is_none() || page.next_offset == offset {
            return Ok(messages);
        }
        offset = page.next_offset;
    }
}

/// One channel to read.
struct Work {
    id: ChannelId,
    /// The channel's `late` mark in the list of channels, if the list was read.
    late: Option<Option<LateArrivals>>,
}

impl Work {
    fn of(channel: Channel) -> Self {
        Self { id: channel.id, late: Some(channel.late) }
    }
}

#[cfg(test)]
mod tests;
