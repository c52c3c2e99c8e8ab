//! The task of a [`super::Client`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use model::{ChannelId, NodeId, limits};
use parking_lot::Mutex;
use protocol::frame::{Ready, ServerFrame};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::{Control, View};
use crate::backoff::Backoff;
use crate::catch_up::Shared;
use crate::error::ApiError;
use crate::event::Event;
use crate::raw::{OpenError, RawSocket, Received};
use crate::rest::Assignment;
use crate::session::{Lost, Session, Step, StopReason};
use crate::timeline::How;

pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) orders: watch::Receiver<Control>,
    /// At most one catch-up at a time. It continues when its socket is lost: the messages that it
    /// reads are stored, and a gap that opens again meanwhile stays open.
    pub(super) readings: JoinSet<Result<(), StopReason>>,
    /// The next catch-up.
    pub(super) pending: Option<Pending>,
    pub(super) spread: Backoff,
    pub(super) session: Session,
    pub(super) silence_max: Duration,
    /// The interval of this node's ticks.
    pub(super) tick: Duration,
    pub(super) ready_at: Option<Instant>,
    pub(super) lost_at: Option<Instant>,
}

/// A catch-up that has not started yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    due_at: Instant,
    /// Later requests that join this catch-up cannot delay it beyond this time.
    latest: Instant,
}

/// Why the task gave up its socket.
enum Leave {
    Lost(Lost),
    Stop(StopReason),
}

impl From<StopReason> for Leave {
    fn from(reason: StopReason) -> Self {
        Self::Stop(reason)
    }
}

impl Task {
    pub(super) async fn run(mut self) {
        let mut step = self.session.start();
        let reason = loop {
            step = match step {
                Step::Stop(reason) => break reason,
                step @ (Step::Connect { .. } | Step::Dial { .. }) => self.advance(step).await,
            };
        };
        self.readings.shutdown().await;
        // Fails only if the program dropped the receiver.
        self.shared.events.send(Event::Stopped { reason }).await.ok();
    }

    /// Carries out one step, unless a handle interrupts it.
    async fn advance(&mut self, step: Step) -> Step {
        if self.orders.wait_for(|control| control.online).await.is_err() {
            return Step::Stop(StopReason::Requested);
        }
        let cuts = self.orders.borrow().cuts;
        let mut orders = self.orders.clone();
        let events = self.shared.events.clone();
        let interrupt =
            async { orders.wait_for(|now| !now.online || now.cuts != cuts).await.map(drop) };
        tokio::select! {
            biased;
            interrupted = interrupt => match interrupted {
                Ok(()) => self.interrupted().await,
                Err(_) => Step::Stop(StopReason::Requested),
            },
            () = events.closed() => Step::Stop(StopReason::Requested),
            next = self.perform(step) => next,
        }
    }

    /// Continues after an interrupted step, whose socket was dropped if it had one.
    async fn interrupted(&mut self) -> Step {
        if !self.orders.borrow().online {
            // Make no calls until the client is online again. The gaps stay open.
            self.readings.shutdown().await;
        }
        if self.ready_at.is_some() { self.lost(&Lost::Broken).await } else { self.session.start() }
    }

    async fn perform(&mut self, step: Step) -> Step {
        match step {
            Step::Connect { wait, failed, fresh_token } => {
                sleep(wait).await;
                match self.assignment(failed.as_ref(), fresh_token).await {
                    Ok(assignment) => self.session.on_assigned(assignment),
                    Err(error) => {
                        debug!(%error, "connect failed");
                        self.session.on_connect_failed(error)
                    }
                }
            }
            Step::Dial { wait, target } => {
                sleep(wait).await;
                let transport = self.shared.api.transport();
                match RawSocket::open_over(transport, &target.url, DIAL_WAIT_MAX).await {
                    Ok(socket) => self.hold(socket, &target.ticket).await,
                    Err(OpenError::BadRequest) => Step::Stop(StopReason::BadUrl),
                    Err(error) => {
                        debug!(node = %target.node_id, %error, "no socket");
                        self.session.on_unreachable()
                    }
                }
            }
            stop @ Step::Stop(_) => stop,
        }
    }

    async fn assignment(
        &self,
        failed: Option<&NodeId>,
        fresh_token: bool,
    ) -> Result<Assignment, ApiError> {
        if fresh_token {
            self.shared.api.fresh_token().await?;
        }
        self.shared.api.connect(failed).await
    }

    /// Holds a socket until it ends.
    async fn hold(&mut self, mut socket: RawSocket, ticket: &str) -> Step {
        let leave = match socket.hello(ticket, self.session.cursor()).await {
            Ok(()) => match self.follow(&mut socket).await {
                Err(leave) => leave,
            },
            Err(_) => Leave::Lost(Lost::Broken),
        };
        match leave {
            Leave::Lost(lost) => {
                socket.finish().await;
                self.lost(&lost).await
            }
            Leave::Stop(reason) => Step::Stop(reason),
        }
    }

    async fn follow(&mut self, socket: &mut RawSocket) -> Result<Infallible, Leave> {
        self.tick = Duration::ZERO;
        let mut silent_at = Instant::now() + self.silence_max();
        loop {
            let reading = self.orders.borrow_and_update().reading;
            let due_at = self.pending.filter(|_| self.readings.is_empty()).map(|next| next.due_at);
            tokio::select! {
                // Handle requests and finished catch-ups are rare, so they come first. Frames can
                // arrive without end, so only the silence timeout, which they reset, comes after.
                biased;
                Ok(()) = self.orders.changed() => {}
                Some(read) = self.readings.join_next() => {
                    read.unwrap_or(Ok(()))?;
                    self.read_what_is_left();
                    continue;
                }
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {
                    self.pending = None;
                    self.readings.spawn(self.shared.clone().catch_up());
                    continue;
                }
                received = socket.receive(), if reading => match received {
                    Received::Frame(frame) => self.on_frame(frame).await?,
                    Received::Closed(code) => {
                        let reason = socket.close_reason().to_owned();
                        return Err(Leave::Lost(Lost::Closed { code, reason }));
                    }
                    Received::Broken => return Err(Leave::Lost(Lost::Broken)),
                    // Harmless, but they do not reset the silence timeout: only a frame of the
                    // protocol proves that the delivery path to the node is alive.
                    Received::Text(_) | Received::Binary(_) | Received::Pong(_) => continue,
                },
                () = sleep_until(silent_at), if reading => {
                    return Err(Leave::Lost(Lost::Silent));
                }
            }
            // Count from when the frame was handled: a slow program is not a silent socket.
            silent_at = Instant::now() + self.silence_max();
        }
    }

    fn silence_max(&self) -> Duration {
        self.silence_max.max(self.tick.mul_f64(SILENT_TICKS))
    }

    async fn on_frame(&mut self, frame: ServerFrame) -> Result<(), StopReason> {
        let shared = self.shared.clone();
        match &frame {
            ServerFrame::Message { message, .. } => {
                shared.take(message.clone(), How::Pushed).await?;
            }
            ServerFrame::Ready(ready) => {
                let place = shared.place().await?;
                place.send(self.ready(ready));
            }
            ServerFrame::Channel { change, channel_id, user_ids, .. } => {
                let place = shared.place().await?;
                shared.inbox().note_channel(channel_id, shared.node_now());
                let (channel_id, user_ids) = (channel_id.clone(), user_ids.clone());
                place.send(Event::Channel { change: *change, channel_id, user_ids });
            }
            ServerFrame::Tick { server_time, fresh, every, .. } => {
                let (server_time, fresh) = (*server_time, *fresh);
                let place = shared.place().await?;
                self.tick = every.unwrap_or(self.tick);
                shared.learn_node_clock(server_time);
                if fresh {
                    shared.inbox().in_step(server_time);
                }
                place.send(Event::Tick { server_time, fresh });
            }
            ServerFrame::Resync { reason, delay_ms, channels } => {
                let place = shared.place().await?;
                let delay = self.resync(*delay_ms, channels.as_deref());
                place.send(Event::Resync { reason: reason.clone(), delay });
            }
            ServerFrame::Unknown { .. } => {}
        }
        // Last: the cursor must never be ahead of the events that the program received.
        self.session.on_frame(&frame);
        self.view.lock().cursor = self.session.cursor().map(str::to_owned);
        Ok(())
    }

    fn ready(&mut self, ready: &Ready) -> Event {
        self.ready_at = Some(Instant::now());
        self.tick = ready.tick;
        self.view.lock().node_id = Some(ready.node_id.clone());
        if !ready.resumed {
            self.shared.inbox().open_gap(None);
        }
        self.shared.learn_node_clock(ready.server_time);
        if self.shared.inbox().has_gap() {
            self.read_after(Duration::ZERO);
        }
        Event::Ready {
            node_id: ready.node_id.clone(),
            resumed: ready.resumed,
            cursor: ready.cursor.clone(),
            after: self.lost_at.take().map(|lost_at| lost_at.elapsed()),
        }
    }

    /// Opens the gap that a `resync` reports, and returns the delay of its catch-up: the node's
    /// delay plus jitter.
    fn resync(&mut self, delay_ms: u64, channels: Option<&[ChannelId]>) -> Duration {
        self.shared.inbox().open_gap(channels);
        let delay = Duration::from_millis(delay_ms).min(limits::CLIENT_WAIT_MAX);
        let delay = delay + self.spread.spread(delay);
        self.read_after(delay);
        delay
    }

    /// Schedules a catch-up after `delay`. If one is already scheduled, the two become one at the
    /// later of both times, but never after the first one's `latest`.
    fn read_after(&mut self, delay: Duration) {
        let now = Instant::now();
        let due_at = now + delay;
        self.pending = Some(match self.pending {
            Some(first) => Pending { due_at: first.due_at.max(due_at.min(first.latest)), ..first },
            None => Pending { due_at, latest: now + limits::CLIENT_WAIT_MAX * 2 },
        });
    }

    /// Schedules a catch-up if gaps are left: a channel may have appeared after the list was read.
    fn read_what_is_left(&mut self) {
        if self.pending.is_none() && self.shared.inbox().has_gap() {
            let wait = self.spread.spread(Duration::ZERO);
            self.read_after(wait);
        }
    }

    async fn lost(&mut self, lost: &Lost) -> Step {
        let lived = self.ready_at.take().map(|ready_at| ready_at.elapsed());
        if lived.is_some() {
            self.lost_at = Some(Instant::now());
        }
        self.view.lock().node_id = None;
        let next = self.session.on_lost(lost, lived);
        let told = self.shared.events.send(Event::Lost { code: lost.code() }).await;
        if told.is_ok() { next } else { Step::Stop(StopReason::Requested) }
    }
}

/// A socket without a frame for this many ticks is dead.
const SILENT_TICKS: f64 = 1.5;
/// Timeout of connecting and upgrading. A node that takes longer is overloaded: try another.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);
