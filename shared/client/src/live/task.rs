//! The task behind a [`super::Client`].

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::NodeId;
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
use crate::lock;
use crate::raw::{OpenError, RawSocket, Received};
use crate::rest::Assignment;
use crate::session::{Lost, Session, Step, StopReason};
use crate::timeline::How;

pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) orders: watch::Receiver<Control>,
    /// At most one reading at a time.
    pub(super) readings: JoinSet<Result<(), StopReason>>,
    pub(super) reading_backoff: Backoff,
    pub(super) session: Session,
    pub(super) silence_max: Duration,
    pub(super) ready_at: Option<Instant>,
    pub(super) lost_at: Option<Instant>,
}

/// Why a socket is left.
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
        // The program may be gone; then there is nobody to tell.
        self.shared.events.send(Event::Stopped { reason }).await.ok();
    }

    /// Takes one step, unless the handle cuts in.
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

    /// The step was dropped, and with it the socket, if there was one.
    async fn interrupted(&mut self) -> Step {
        if self.ready_at.is_some() { self.lost(Lost::Broken).await } else { self.session.start() }
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
        // A reading of the socket before must not close a gap that this one opens.
        self.readings.shutdown().await;
        let leave = match socket.hello(ticket, self.session.cursor()).await {
            Ok(()) => match self.follow(&mut socket).await {
                Err(leave) => leave,
            },
            Err(_) => Leave::Lost(Lost::Broken),
        };
        match leave {
            Leave::Lost(lost) => {
                socket.finish().await;
                self.lost(lost).await
            }
            Leave::Stop(reason) => Step::Stop(reason),
        }
    }

    async fn follow(&mut self, socket: &mut RawSocket) -> Result<Infallible, Leave> {
        let mut silent_at = Instant::now() + self.silence_max;
        loop {
            let reading = self.orders.borrow_and_update().reading;
            tokio::select! {
                // What the handle wants and what a reading came to are few; frames can come
                // without end, and are last but for the silence that they end.
                biased;
                Ok(()) = self.orders.changed() => {}
                Some(read) = self.readings.join_next() => {
                    read.unwrap_or(Ok(()))?;
                    continue;
                }
                received = socket.receive(), if reading => match received {
                    Received::Frame(frame) => self.on_frame(frame).await?,
                    Received::Closed(code) => return Err(Leave::Lost(Lost::Closed(code))),
                    Received::Broken => return Err(Leave::Lost(Lost::Broken)),
                    // Neither breaks anything, and only a frame of the protocol proves that the
                    // path behind the socket is alive.
                    Received::Text(_) | Received::Binary(_) | Received::Pong(_) => continue,
                },
                () = sleep_until(silent_at), if reading => {
                    return Err(Leave::Lost(Lost::Silent));
                }
            }
            // Counted from when a frame was handled: a program that was slow is not silence.
            silent_at = Instant::now() + self.silence_max;
        }
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
                shared.inbox().note_channel(channel_id, shared.api.server_now());
                let (channel_id, user_ids) = (channel_id.clone(), user_ids.clone());
                place.send(Event::Channel { change: *change, channel_id, user_ids });
            }
            ServerFrame::Tick { server_time, fresh, .. } => {
                let (server_time, fresh) = (*server_time, *fresh);
                shared.place().await?.send(Event::Tick { server_time, fresh });
            }
            ServerFrame::Resync { reason, delay_ms, .. } => {
                let place = shared.place().await?;
                shared.inbox().open_gap();
                let delay = resync_delay(*delay_ms);
                place.send(Event::Resync { reason: reason.clone(), delay });
            }
            ServerFrame::Unknown => {}
        }
        // Only now: a cursor must never be ahead of what the program was given.
        self.session.on_frame(&frame);
        lock(&self.view).cursor = self.session.cursor().map(str::to_owned);
        match frame {
            ServerFrame::Ready(_) if self.shared.inbox().has_gap() => {
                self.read_after(Duration::ZERO).await;
            }
            ServerFrame::Resync { delay_ms, .. } => self.read_after(resync_delay(delay_ms)).await,
            ServerFrame::Ready(_)
            | ServerFrame::Message { .. }
            | ServerFrame::Channel { .. }
            | ServerFrame::Tick { .. }
            | ServerFrame::Unknown => {}
        }
        Ok(())
    }

    fn ready(&mut self, ready: &Ready) -> Event {
        self.ready_at = Some(Instant::now());
        lock(&self.view).node_id = Some(ready.node_id.clone());
        if !ready.resumed {
            self.shared.inbox().open_gap();
        }
        Event::Ready {
            node_id: ready.node_id.clone(),
            resumed: ready.resumed,
            cursor: ready.cursor.clone(),
            after: self.lost_at.take().map(|lost_at| lost_at.elapsed()),
        }
    }

    /// Starts a reading. One that runs is given up first: it may have passed what is missing now.
    async fn read_after(&mut self, delay: Duration) {
        self.readings.shutdown().await;
        let backoff = self.reading_backoff.fork();
        self.readings.spawn(self.shared.clone().catch_up(delay, backoff));
    }

    async fn lost(&mut self, lost: Lost) -> Step {
        let lived = self.ready_at.take().map(|ready_at| ready_at.elapsed());
        if lived.is_some() {
            self.lost_at = Some(Instant::now());
        }
        lock(&self.view).node_id = None;
        let next = self.session.on_lost(lost, lived);
        let told = self.shared.events.send(Event::Lost { code: lost.code() }).await;
        if told.is_ok() { next } else { Step::Stop(StopReason::Requested) }
    }
}

fn resync_delay(delay_ms: u64) -> Duration {
    Duration::from_millis(delay_ms).min(model::limits::DELAY_MAX)
}

/// Connecting and upgrading. A node that takes longer would be a bad home.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);
