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
use crate::rest::Assignment;
use crate::session::{Disconnect, Session, Step, StopReason};
use crate::socket::{OpenError, RawSocket, Received};
use crate::timeline::Source;

pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) control: watch::Receiver<Control>,
    /// At most one catch-up at a time. It continues when its socket is lost: the messages that it
    /// reads are stored, and a gap that opens again meanwhile stays open.
    pub(super) catch_ups: JoinSet<Result<(), StopReason>>,
    /// The next catch-up.
    pub(super) next_catch_up: Option<Scheduled>,
    pub(super) jitter: Backoff,
    pub(super) session: Session,
    pub(super) silence_max: Duration,
    /// The interval of this node's ticks.
    pub(super) tick: Duration,
    pub(super) ready_at: Option<Instant>,
    pub(super) lost_at: Option<Instant>,
}

/// A catch-up that has not started yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scheduled {
    due_at: Instant,
    /// Later requests that join this catch-up cannot delay it beyond this time.
    latest: Instant,
}

/// Why the task gave up its socket.
enum Leave {
    Lost(Disconnect),
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
        self.catch_ups.shutdown().await;
        // Fails only if the program dropped the receiver.
        self.shared.events.send(Event::Stopped { reason }).await.ok();
    }

    /// Carries out one step, unless a handle interrupts it.
    async fn advance(&mut self, step: Step) -> Step {
        if self.control.wait_for(|control| control.online).await.is_err() {
            return Step::Stop(StopReason::Requested);
        }
        let cuts = self.control.borrow().cuts;
        let mut control = self.control.clone();
        let events = self.shared.events.clone();
        let interrupt =
            async { control.wait_for(|now| !now.online || now.cuts != cuts).await.map(drop) };
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
        if !self.control.borrow().online {
            // Make no calls until the client is online again. The gaps stay open.
            self.catch_ups.shutdown().await;
        }
        if self.ready_at.is_some() {
            self.disconnected(&Disconnect::Broken).await
        } else {
            self.session.start()
        }
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
                    Ok(socket) => self.run_socket(socket, &target.ticket).await,
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
    async fn run_socket(&mut self, mut socket: RawSocket, ticket: &str) -> Step {
        let leave = match socket.hello(ticket, self.session.cursor()).await {
            Ok(()) => match self.receive_frames(&mut socket).await {
                Err(leave) => leave,
            },
            Err(_) => Leave::Lost(Disconnect::Broken),
        };
        match leave {
            Leave::Lost(lost) => {
                socket.finish().await;
                self.disconnected(&lost).await
            }
            Leave::Stop(reason) => Step::Stop(reason),
        }
    }

    async fn receive_frames(&mut self, socket: &mut RawSocket) -> Result<Infallible, Leave> {
        self.tick = Duration::ZERO;
        let mut silent_at = Instant::now() + self.silence_max();
        loop {
            let reading = self.control.borrow_and_update().reading;
            let due_at =
                self.next_catch_up.filter(|_| self.catch_ups.is_empty()).map(|next| next.due_at);
            tokio::select! {
                // Handle requests and finished catch-ups are rare, so they come first. Frames can
                // arrive without end, so only the silence timeout, which they reset, comes after.
                biased;
                Ok(()) = self.control.changed() => {}
                Some(read) = self.catch_ups.join_next() => {
                    read.unwrap_or(Ok(()))?;
                    self.schedule_remaining();
                    continue;
                }
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {
                    self.next_catch_up = None;
                    self.catch_ups.spawn(self.shared.clone().catch_up());
                    continue;
                }
                received = socket.receive(), if reading => match received {
                    Received::Frame(frame) => self.on_frame(frame).await?,
                    Received::Closed(code) => {
                        let reason = socket.close_reason().to_owned();
                        return Err(Leave::Lost(Disconnect::Closed { code, reason }));
                    }
                    Received::Broken => return Err(Leave::Lost(Disconnect::Broken)),
                    // Harmless, but they do not reset the silence timeout: only a frame of the
                    // protocol proves that the delivery path to the node is alive.
                    Received::Text(_) | Received::Binary(_) | Received::Pong(_) => continue,
                },
                () = sleep_until(silent_at), if reading => {
                    return Err(Leave::Lost(Disconnect::Silent));
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
                shared.ingest(message.clone(), Source::Pushed).await?;
            }
            ServerFrame::Ready(ready) => {
                let slot = shared.reserve_event().await?;
                slot.send(self.on_ready(ready));
            }
            ServerFrame::Channel { change, channel_id, user_ids, .. } => {
                let slot = shared.reserve_event().await?;
                shared.inbox().add_channel(channel_id, shared.node_now());
                let (channel_id, user_ids) = (channel_id.clone(), user_ids.clone());
                slot.send(Event::Channel { change: *change, channel_id, user_ids });
            }
            ServerFrame::Tick { server_time, fresh, every, .. } => {
                let (server_time, fresh) = (*server_time, *fresh);
                let slot = shared.reserve_event().await?;
                self.tick = every.unwrap_or(self.tick);
                shared.learn_node_clock(server_time);
                if fresh {
                    shared.inbox().in_step(server_time);
                }
                slot.send(Event::Tick { server_time, fresh });
            }
            ServerFrame::Resync { reason, delay_ms, channels } => {
                let slot = shared.reserve_event().await?;
                let delay = self.resync(*delay_ms, channels.as_deref());
                slot.send(Event::Resync { reason: reason.clone(), delay });
            }
            ServerFrame::Unknown { .. } => {}
        }
        // Last: the cursor must never be ahead of the events that the program received.
        self.session.on_frame(&frame);
        self.view.lock().cursor = self.session.cursor().map(str::to_owned);
        Ok(())
    }

    fn on_ready(&mut self, ready: &Ready) -> Event {
        self.ready_at = Some(Instant::now());
        self.tick = ready.tick;
        self.view.lock().node_id = Some(ready.node_id.clone());
        if !ready.resumed {
            self.shared.inbox().open_gap(None);
        }
        self.shared.learn_node_clock(ready.server_time);
        if self.shared.inbox().has_gap() {
            self.schedule_catch_up(Duration::ZERO);
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
        let delay = delay + self.jitter.jitter(delay);
        self.schedule_catch_up(delay);
        delay
    }

    /// Schedules a catch-up after `delay`. If one is already scheduled, the two become one at the
    /// later of both times, but never after the first one's `latest`.
    fn schedule_catch_up(&mut self, delay: Duration) {
        let now = Instant::now();
        let due_at = now + delay;
        self.next_catch_up = Some(match self.next_catch_up {
            Some(first) => {
                Scheduled { due_at: first.due_at.max(due_at.min(first.latest)), ..first }
            }
            None => Scheduled { due_at, latest: now + limits::CLIENT_WAIT_MAX * 2 },
        });
    }

    /// Schedules a catch-up if gaps are left: a channel may have appeared after the list was read.
    fn schedule_remaining(&mut self) {
        if self.next_catch_up.is_none() && self.shared.inbox().has_gap() {
            let wait = self.jitter.jitter(Duration::ZERO);
            self.schedule_catch_up(wait);
        }
    }

    async fn disconnected(&mut self, lost: &Disconnect) -> Step {
        let lived = self.ready_at.take().map(|ready_at| ready_at.elapsed());
        if lived.is_some() {
            self.lost_at = Some(Instant::now());
        }
        self.view.lock().node_id = None;
        let next = self.session.on_disconnect(lost, lived);
        let sent = self.shared.events.send(Event::Disconnected { code: lost.code() }).await;
        if sent.is_ok() { next } else { Step::Stop(StopReason::Requested) }
    }
}

/// A socket without a frame for this many ticks is dead.
const SILENT_TICKS: f64 = 1.5;
/// Timeout of connecting and upgrading. A node that takes longer is overloaded: try another.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);
