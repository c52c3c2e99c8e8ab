//! Reading what the socket could not bring: after `resumed:false` and after `resync`.

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::{
    Channel, ChannelId, Direction, ErrorCode, LateArrivals, Message, MessageId, Timestamp, limits,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::Permit;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::event::Event;
use crate::inbox::{CatchUpFrom, Due, Inbox, floor_of_present};
use crate::lock;
use crate::pace::Pace;
use crate::rest::Api;
use crate::session::StopReason;
use crate::timeline::How;

/// What the socket's task and a reading share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) first_visit_messages: u32,
    pub(crate) pace: Pace,
    /// The node's clock in the last frame that told it, and when that came.
    pub(crate) node_clock: Arc<Mutex<Option<(Timestamp, Instant)>>>,
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

    /// A frame told the node's clock.
    pub(crate) fn learn_node_clock(&self, server_time: Timestamp) {
        *lock(&self.node_clock) = Some((server_time, Instant::now()));
    }

    /// The server's time, or a little before it: what a frame told, and what passed here since it
    /// came, by a clock that nobody sets. The frame's way is not counted, so a reading never says
    /// to have started later than it did.
    pub(crate) fn node_now(&self) -> Timestamp {
        let told = *lock(&self.node_clock);
        told.map_or_else(|| self.api.server_now(), |(time, at)| time.plus(at.elapsed()))
    }

    /// Reads the channels that have a gap, all of them if the gap concerns all.
    ///
    /// A gap that opens again meanwhile stays open, for the next reading.
    ///
    /// # Errors
    /// Only what no retry will mend.
    ///
    /// # Cancel safety
    /// Dropping the future keeps what it read. The gaps of channels that it did not finish stay
    /// open.
    pub(crate) async fn catch_up(self) -> Result<(), StopReason> {
        let started_at = self.node_now();
        let Due { list, channels } = self.inbox().due();
        let work: Vec<Work> = match list {
            Some(opening) => {
                let listed = self.pace.patiently(|| self.api.channels()).await?;
                self.inbox().list_read(opening, &listed, started_at);
                listed.into_iter().map(Work::of).collect()
            }
            None => channels.into_iter().map(|id| Work { id, late: None }).collect(),
        };
        let count = work.len();
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(limits::CLIENT_READS_MAX, |work| self.read_if_due(work))
            .await?;
        let place = self.place().await?;
        let has_gap = {
            let mut inbox = self.inbox();
            inbox.all_read(list, started_at);
            inbox.has_gap()
        };
        if !has_gap {
            place.send(Event::CaughtUp { channels: count });
        }
        Ok(())
    }

    async fn read_if_due(&self, work: Work) -> Result<(), StopReason> {
        // A reading that was cut off may have done this channel already.
        let Some(opening) = self.inbox().opening_of(&work.id) else { return Ok(()) };
        let started_at = self.node_now();
        match self.read_channel(&work).await {
            Ok(()) => self.inbox().channel_read(&work.id, opening, started_at),
            // Removed in the meantime: there is nothing to read any more.
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

    /// The channel's `late` mark, read where no list told it and it could matter.
    async fn late_of(&self, work: &Work) -> Result<Option<LateArrivals>, ApiError> {
        let unknown = work.late.is_none() && self.inbox().needs_late(&work.id);
        match work.late {
            Some(late) => Ok(late),
            None if unknown => {
                let channel = self.pace.patiently(|| self.api.channel(&work.id)).await?;
                Ok(channel.late)
            }
            None => Ok(None),
        }
    }

    async fn read_newest(&self, channel: &ChannelId) -> Result<(), StopReason> {
        let limit = self.first_visit_messages.min(limits::PAGE_ROWS_MAX);
        let newest = || self.api.scroll(channel, None, limit, Direction::Older);
        let page = self.pace.patiently(newest).await?;
        for message in page.messages.into_iter().rev() {
            self.take(message, How::CaughtUp).await?;
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
            let page = self.pace.patiently(newer).await?;
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

/// An inbox whose readings bring only what is stored from now on: it knows what every channel has.
///
/// Read before the first socket: what is stored meanwhile is pushed there, or caught up.
///
/// # Errors
/// The first that a call fails with.
pub(crate) async fn stored_so_far(api: &Api, messages_max: usize) -> Result<Inbox, ApiError> {
    let channels = api.channels().await?;
    let read = stream::iter(channels)
        .map(|channel| async move {
            let messages = present(api, &channel.id).await?;
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

/// The newest messages of a channel, as far back as one could lie that is stored after this.
async fn present(api: &Api, channel: &ChannelId) -> Result<Vec<Message>, ApiError> {
    let (mut messages, mut offset) = (Vec::<Message>::new(), None);
    loop {
        let limit = limits::PAGE_MESSAGES_DEFAULT;
        let page = match api.scroll(channel, offset, limit, Direction::Older).await {
            // Removed in the meantime.
            Err(error) if error.code() == Some(ErrorCode::ChannelNotFound) => return Ok(messages),
            read => read?,
        };
        messages.extend(page.messages);
        let ends = messages.first().zip(messages.last());
        let is_enough =
            ends.is_some_and(|(newest, oldest)| oldest.id < floor_of_present(newest.id));
        if is_enough || page.next_offset.is_none() || page.next_offset == offset {
            return Ok(messages);
        }
        offset = page.next_offset;
    }
}

/// One channel to read.
struct Work {
    id: ChannelId,
    /// What the list said, if it was read.
    late: Option<Option<LateArrivals>>,
}

impl Work {
    fn of(channel: Channel) -> Self {
        Self { id: channel.id, late: Some(channel.late) }
    }
}

#[cfg(test)]
mod tests;
