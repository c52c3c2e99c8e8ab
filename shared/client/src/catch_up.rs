//! Catch-up: reads the messages that the socket did not bring, after `resumed:false` and `resync`.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt};
use model::{
    ChannelId, Direction, ErrorCode, LateArrivals, LogId, Message, MessageId, Timestamp, limits,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{self, Permit};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::event::{Event, Source};
use crate::gots::{Gots, Telling};
use crate::inbox::{ChannelRead, Inbox, Opening, settled_position};
use crate::keeping::Keeping;
use crate::rest::Api;
use crate::retry::Retrier;
use crate::session::StopReason;

/// State that the socket's task and a catch-up share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) first_visit_messages: u32,
    pub(crate) retrier: Retrier,
    /// Whether there is a store, which is written before the program receives an event.
    pub(crate) is_saved: bool,
    /// How far the program has the messages of channels that deliver first.
    pub(crate) gots: Arc<Mutex<Gots>>,
    /// What this device keeps for good.
    pub(crate) keeping: Arc<Mutex<Keeping>>,
    /// The last `server_time` that a frame carried, and when the frame arrived.
    pub(crate) node_clock: Arc<Mutex<Option<(Timestamp, Instant)>>>,
}

impl Shared {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock()
    }

    /// Reserves a slot in the event queue. Reserve first, then change state and send the event
    /// without an `await` in between: then a dropped task has done both or neither.
    pub(crate) async fn reserve_event(&self) -> Result<Permit<'_, Event>, StopReason> {
        self.events.reserve().await.or(Err(StopReason::Requested))
    }

    /// Upserts a message into its timeline, and returns its event.
    pub(crate) fn upsert(&self, message: Message, source: Source) -> Event {
        let fresh = self.inbox().upsert(message.clone());
        Event::Message { message, source, fresh }
    }

    /// Upserts messages that were read for an opening of their channel's gap, and sends their events.
    async fn ingest(
        &self,
        messages: impl IntoIterator<Item = Message>,
        opening: Opening,
    ) -> Result<(), StopReason> {
        for message in messages {
            let slot = self.reserve_event().await?;
            let fresh = self.inbox().upsert_read(message.clone(), opening);
            if let Some(fresh) = fresh {
                let (channel, id) = (message.channel_id.clone(), message.id);
                slot.send(Event::Message { message, source: Source::CaughtUp, fresh });
                self.note_got(&channel, id);
            }
        }
        Ok(())
    }

    /// Notes that the program has the event of a message.
    pub(crate) fn note_got(&self, channel: &ChannelId, id: MessageId) {
        // Otherwise the store has to have it first.
        if !self.is_saved && self.inbox().telling(channel) != Telling::Never {
            self.gots.lock().note(channel, id);
        }
    }

    /// Remembers a frame's `server_time`.
    pub(crate) fn learn_node_clock(&self, server_time: Timestamp) {
        *self.node_clock.lock() = Some((server_time, Instant::now()));
        self.api.learn_frame_time(server_time);
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
        let (list, channels) = self.inbox().due();
        let work: Vec<Work> = match list {
            Some(opening) => {
                let listed = self.retrier.run(|| self.api.channels()).await?;
                let restarted = self.inbox().list_read(opening, &listed, started_at);
                for channel_id in restarted {
                    self.reserve_event().await?.send(Event::Restarted { channel_id });
                }
                listed.into_iter().map(|channel| (channel.id, Some(channel.late))).collect()
            }
            None => channels.into_iter().map(|id| (id, None)).collect(),
        };
        let count = work.len();
        stream::iter(work.into_iter().map(Ok))
            .try_for_each_concurrent(limits::CLIENT_READS_MAX, |work| self.read_if_due(work))
            .await?;
        let threads = self.inbox().threads_due();
        for (log, from) in threads {
            self.read_thread(&log, from).await?;
        }
        let contracts = self.inbox().contracts_due();
        for channel in contracts {
            self.learn_contract(&channel).await;
        }
        let slot = self.reserve_event().await?;
        if self.inbox().all_read(list, started_at) {
            slot.send(Event::CaughtUp { channels: count });
        }
        Ok(())
    }

    async fn read_if_due(&self, (id, late): Work) -> Result<(), StopReason> {
        // An interrupted catch-up may have finished this channel already.
        let Some(opening) = self.inbox().opening_of(&id) else { return Ok(()) };
        let started_at = self.node_now();
        match self.read_channel(&id, late, opening).await {
            Ok(read) => self.inbox().channel_read(&id, opening, read, started_at),
            // It keeps nothing: there is nothing to read, now or later.
            Err(StopReason::Refused(error)) if error.code() == Some(ErrorCode::NotKept) => {
                let read = ChannelRead { unread_before: None, threads_from: None };
                self.inbox().channel_read(&id, opening, read, started_at);
            }
            // The user was removed in the meantime: there is nothing left to read.
            Err(StopReason::Refused(error)) if error.code() == Some(ErrorCode::ChannelNotFound) => {
                self.inbox().leave_channel(&id);
            }
            Err(reason) => return Err(reason),
        }
        Ok(())
    }

    /// Reads a thread without which this client may be, though its channel has no gap.
    async fn read_thread(&self, log: &LogId, from: MessageId) -> Result<(), StopReason> {
        let opening = self.inbox().latest_opening();
        match self.read_newer(log, from, opening).await {
            Ok(_) => {}
            Err(StopReason::Refused(error)) if error.code() == Some(ErrorCode::ChannelNotFound) => {
                self.inbox().leave_channel(&log.channel_id);
            }
            Err(reason) => return Err(reason),
        }
        self.inbox().thread_read(log);
        Ok(())
    }

    /// Asks for a channel's contract. Without it, nothing is missing but receipts.
    async fn learn_contract(&self, id: &ChannelId) {
        if let Ok(channel) = self.retrier.run(|| self.api.channel(id)).await {
            self.inbox().set_contract(id, channel.contract);
        }
    }

    /// Reads what a channel lacks.
    async fn read_channel(
        &self,
        id: &ChannelId,
        late: ListedLate,
        opening: Opening,
    ) -> Result<ChannelRead, StopReason> {
        let late = match late {
            Some(late) => late,
            // No list was read: fetch the mark if it could matter.
            None if self.inbox().needs_late(id) => {
                let channel = self.retrier.run(|| self.api.channel(id)).await?;
                self.inbox().set_contract(id, channel.contract);
                channel.late
            }
            None => None,
        };
        if self.inbox().contract(id).is_none() {
            self.learn_contract(id).await;
        }
        let is_new = self.inbox().is_new(id);
        let start = self.inbox().catch_up_from(id, late);
        let threads_from = self.inbox().threads_from(id, late);
        let limit = self.first_visit_messages.min(limits::PAGE_ROWS_MAX);
        let mut unread_before = Some(MessageId::MAX);
        let mut read = BTreeSet::new();
        if is_new && limit > 0 {
            let newest = || self.api.scroll(id, None, limit, Direction::Older);
            let page = self.retrier.run(newest).await?;
            unread_before = page.next_offset;
            read.extend(page.messages.iter().map(|message| message.id));
            self.ingest(page.messages.into_iter().rev(), opening).await?;
        }
        if let Some(start) = start {
            unread_before = None;
            read.append(&mut self.read_newer(&id.into(), start, opening).await?);
        }
        if let Some(from) = threads_from {
            let start = start.unwrap_or(MessageId::MAX);
            let roots = self.inbox().roots_of(id, &read, start, from);
            for root in roots {
                let thread = LogId::new(id.clone(), Some(root));
                self.read_newer(&thread, from, opening).await?;
            }
        }
        Ok(ChannelRead { unread_before, threads_from })
    }

    /// Reads what is new or changed in a log after a position. Returns the ids of what it read.
    async fn read_newer(
        &self,
        log: &LogId,
        start: MessageId,
        opening: Opening,
    ) -> Result<BTreeSet<MessageId>, StopReason> {
        let mut read = BTreeSet::new();
        let mut offset = start;
        loop {
            let known = self.inbox().known_after(log, offset);
            let limit = limits::PAGE_ROWS_MAX;
            let newer = || self.api.scroll_newer(log, offset, limit, known.as_ref());
            let page = self.retrier.run(newer).await?;
            // Only once: what the pages brought is as the server has it.
            if !page.complete && offset == start && log.thread.is_none() {
                self.inbox().forget_through(&log.channel_id, start);
            }
            read.extend(page.messages.iter().map(|message| message.id));
            self.ingest(page.messages, opening).await?;
            // An empty page need not be the last. An offset that does not advance would loop.
            match page.next_offset {
                Some(next) if next > offset => offset = next,
                Some(_) | None => return Ok(read),
            }
        }
    }
}

/// A channel to read.
type Work = (ChannelId, ListedLate);
/// The channel's `late` mark in the list of channels, if the list was read.
type ListedLate = Option<Option<LateArrivals>>;

/// Reads the newest messages of every channel, so that a later catch-up brings only messages
/// stored from now on.
///
/// Call it before the first socket opens: messages stored in between are pushed or caught up.
///
/// # Errors
/// The first error of a call.
pub(crate) async fn stored_so_far(api: &Api, messages_max: usize) -> Result<Inbox, ApiError> {
    let inbox = Mutex::new(Inbox::new(messages_max));
    let shared = &inbox;
    stream::iter(api.channels().await?.into_iter().map(Ok))
        .try_for_each_concurrent(limits::CLIENT_READS_MAX, |channel| async move {
            let messages = read_recent(api, &channel.id).await?;
            let mut inbox = shared.lock();
            inbox.stored_before(&channel.id, messages);
            inbox.set_contract(&channel.id, channel.contract);
            Ok::<_, ApiError>(())
        })
        .await?;
    Ok(inbox.into_inner())
}

/// The newest messages of a channel, back to the oldest id that a message stored later can have.
async fn read_recent(api: &Api, channel: &ChannelId) -> Result<Vec<Message>, ApiError> {
    let (mut messages, mut offset) = (Vec::<Message>::new(), None);
    loop {
        let limit = limits::PAGE_MESSAGES_DEFAULT;
        let page = match api.scroll(channel, offset, limit, Direction::Older).await {
            // The user was removed in the meantime, or the channel keeps nothing.
            Err(error)
                if matches!(
                    error.code(),
                    Some(ErrorCode::ChannelNotFound | ErrorCode::NotKept)
                ) =>
            {
                return Ok(messages);
            }
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

#[cfg(test)]
mod tests;
