//! The task of a [`super::Client`].

use std::sync::Arc;
use std::time::Duration;

use model::{ChannelChange, ChannelId, Message, Timestamp, UserId, limits};
use parking_lot::Mutex;
use protocol::client_frame::ClientFrame;
use protocol::frame::{Ready, ServerFrame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use super::meetings::{Meetings, SayError, Saying};
use super::speech::Speech;
use super::{Control, Status};
use crate::backoff::Backoff;
use crate::catch_up::Shared;
use crate::event::{Event, Source};
use crate::session::{Disconnect, Session, Step, StopReason};
use crate::socket::{OpenError, RawSocket, Received};

pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) control: watch::Receiver<Control>,
    /// What the handles say on the socket.
    pub(super) said: mpsc::Receiver<ClientFrame>,
    pub(super) speech: Speech,
    pub(super) to_say: mpsc::Receiver<Saying>,
    pub(super) meetings: Meetings,
    /// What is to be said on this socket.
    pub(super) outgoing: Vec<ClientFrame>,
    /// At most one catch-up at a time. It continues when its socket is lost: the messages that it
    /// reads are stored, and a gap that opens again meanwhile stays open.
    pub(super) catch_ups: JoinSet<Result<(), StopReason>>,
    pub(super) next_catch_up: Option<Scheduled>,
    pub(super) backoff: Backoff,
    pub(super) session: Session,
    pub(super) silence_max: Duration,
    /// The interval of this node's ticks.
    pub(super) tick: Duration,
    /// The user of the token, as nodes say it.
    pub(super) user: Option<UserId>,
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

impl Task {
    pub(super) async fn run(mut self) {
        let mut step = self.session.start();
        let reason = loop {
            match self.advance(step).await {
                Ok(next) => step = next,
                Err(reason) => break reason,
            }
        };
        self.catch_ups.shutdown().await;
        // Fails only if the program dropped the receiver.
        self.shared.events.send(Event::Stopped { reason }).await.ok();
    }

    /// Carries out one step, unless a handle interrupts it. Returns the next step.
    async fn advance(&mut self, step: Step) -> Result<Step, StopReason> {
        let mut control = self.control.clone();
        let cuts = control.wait_for(|now| now.online).await.or(Err(StopReason::Requested))?.cuts;
        let events = self.shared.events.clone();
        let interrupt =
            async { control.wait_for(|now| !now.online || now.cuts != cuts).await.map(drop) };
        tokio::select! {
            biased;
            interrupted = interrupt => {
                interrupted.or(Err(StopReason::Requested))?;
                self.interrupted().await
            }
            () = events.closed() => Err(StopReason::Requested),
            next = self.perform(step) => next,
        }
    }

    /// Continues after an interrupted step, whose socket was dropped if it had one.
    async fn interrupted(&mut self) -> Result<Step, StopReason> {
        if !self.control.borrow().online {
            // Make no calls until the client is online again. The gaps stay open.
            self.catch_ups.shutdown().await;
        }
        if self.ready_at.is_none() {
            return Ok(self.session.start());
        }
        self.disconnected(&Disconnect::abnormal()).await
    }

    async fn perform(&mut self, step: Step) -> Result<Step, StopReason> {
        let api = &self.shared.api;
        match step {
            Step::Connect { wait, failed, fresh_token } => {
                sleep(wait).await;
                let assigned = async {
                    if fresh_token {
                        api.fresh_token().await?;
                    }
                    api.connect(failed.as_ref()).await
                };
                match assigned.await {
                    Ok(assignment) => Ok(self.session.on_assigned(assignment)),
                    Err(error) => {
                        debug!(%error, "connect failed");
                        self.session.on_connect_failed(error)
                    }
                }
            }
            Step::Dial { wait, target } => {
                sleep(wait).await;
                let (transport, trust) = (Some(api.transport()), api.trust());
                let open = RawSocket::connect(transport, &target.url, &[], DIAL_WAIT_MAX, &trust);
                match open.await {
                    Ok(socket) => self.run_socket(socket, &target.ticket).await,
                    Err(OpenError::BadRequest) => Err(StopReason::BadUrl),
                    Err(error) => {
                        debug!(node = %target.node_id, %error, "no socket");
                        Ok(self.session.on_unreachable())
                    }
                }
            }
        }
    }

    /// Uses a socket until it ends.
    async fn run_socket(
        &mut self,
        mut socket: RawSocket,
        ticket: &str,
    ) -> Result<Step, StopReason> {
        let disconnect = match socket.hello(ticket, self.session.cursor()).await {
            Ok(()) => self.receive_frames(&mut socket).await?,
            Err(_) => Disconnect::abnormal(),
        };
        socket.finish().await;
        self.disconnected(&disconnect).await
    }

    async fn receive_frames(&mut self, socket: &mut RawSocket) -> Result<Disconnect, StopReason> {
        self.tick = Duration::ZERO;
        let mut silent_at = Instant::now() + self.silence_max();
        let mut paused_at = None;
        loop {
            let reading = self.control.borrow_and_update().reading;
            if !reading {
                paused_at.get_or_insert_with(Instant::now);
            } else if let Some(paused_at) = paused_at.take() {
                // A pause only suspends the silence timeout: who pauses often must notice, too.
                silent_at += paused_at.elapsed();
            }
            // Until this socket is ready, nobody knows what it will bring.
            let may_start = self.ready_at.is_some() && self.catch_ups.is_empty();
            let next = self.next_catch_up.filter(|_| may_start);
            let due_at = next.map(|next| next.due_at);
            for frame in self.outgoing() {
                if !self.say(socket, &frame).await {
                    return Ok(Disconnect::abnormal());
                }
            }
            let view_at = self.view_due_at();
            if !self.say_idle(socket).await {
                return Ok(Disconnect::abnormal());
            }
            tokio::select! {
                // Handle requests and finished catch-ups are rare, so they come first. Frames can
                // arrive without end, so only the silence timeout, which they reset, comes after.
                biased;
                Ok(()) = self.control.changed() => continue,
                Some(done) = self.catch_ups.join_next() => {
                    done.unwrap_or(Ok(()))?;
                    // A channel may have appeared after the list was read.
                    if self.next_catch_up.is_none() && self.shared.inbox().has_gap() {
                        let delay = self.backoff.jitter(Duration::ZERO);
                        self.schedule_catch_up(delay);
                    }
                    continue;
                }
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {
                    self.next_catch_up = None;
                    self.catch_ups.spawn(self.shared.clone().catch_up());
                    continue;
                }
                () = sleep_until(view_at.unwrap_or_else(Instant::now)), if view_at.is_some() => {
                    let view = self.control.borrow().view.clone();
                    let frame = self.speech.view_said(&view, Instant::now());
                    self.outgoing.push(frame);
                    continue;
                }
                Some(saying) = self.to_say.recv() => {
                    self.on_saying(saying);
                    continue;
                }
                Some(frame) = self.said.recv() => {
                    let dead_at = self.on_said(frame);
                    silent_at = dead_at.map_or(silent_at, |dead_at| silent_at.min(dead_at));
                    continue;
                }
                received = socket.receive(), if reading => match received {
                    Received::Frame(frame) => self.on_frame(frame).await?,
                    Received::Closed(code) => {
                        let reason = socket.close_reason().to_owned();
                        return Ok(Disconnect { code, reason });
                    }
                    Received::Broken => return Ok(Disconnect::abnormal()),
                    // Harmless, but they do not reset the silence timeout: only a frame of the
                    // protocol proves that the delivery path to the node is alive.
                    Received::Text(_) | Received::Binary(_) | Received::Pong(_) => continue,
                },
                () = sleep_until(silent_at), if reading => return Ok(Disconnect::abnormal()),
            }
            // Count from when the frame was handled: a slow program is not a silent socket.
            silent_at = Instant::now() + self.silence_max();
        }
    }

    /// What is to be said on this socket now, with what makes it take part in the wanted channels.
    fn outgoing(&mut self) -> Vec<ClientFrame> {
        if self.ready_at.is_some() && self.speech.is_taken("join") {
            self.outgoing.extend(self.meetings.frames(&self.control.borrow().joined));
        }
        std::mem::take(&mut self.outgoing)
    }

    fn on_saying(&mut self, saying: Saying) {
        if self.ready_at.is_some() && self.speech.is_taken("send") {
            self.outgoing.push(self.meetings.say(saying));
        } else {
            saying.answer.send(Err(SayError::NoSocket)).unwrap_or_default();
        }
    }

    /// Handles a frame of a handle. Returns when the path is dead without an answer.
    fn on_said(&mut self, frame: ClientFrame) -> Option<Instant> {
        let now = Instant::now();
        if self.ready_at.is_none() || !self.speech.passes(&frame, now) {
            return None;
        }
        let dead_at = (frame == ClientFrame::Ping).then(|| now + PONG_WAIT_MAX);
        self.outgoing.push(frame);
        dead_at
    }

    /// When the view is to be said on this socket.
    fn view_due_at(&self) -> Option<Instant> {
        let view = &self.control.borrow().view;
        self.ready_at.and_then(|_| self.speech.view_due_at(view, Instant::now()))
    }

    /// Says whether the user is idle, if the node does not know it; false if the socket is broken.
    async fn say_idle(&mut self, socket: &mut RawSocket) -> bool {
        let is_idle = self.control.borrow().is_idle;
        match self.ready_at.and_then(|_| self.speech.idle_due(is_idle)) {
            Some(idle) => self.say(socket, &idle).await,
            None => true,
        }
    }

    /// Says a frame; false if the socket is broken. One that takes no more bytes is silent, too: nothing
    /// is read while a frame waits to be written.
    async fn say(&self, socket: &mut RawSocket, frame: &ClientFrame) -> bool {
        matches!(timeout(self.silence_max(), socket.say(frame)).await, Ok(Ok(())))
    }

    fn silence_max(&self) -> Duration {
        self.silence_max.max(self.tick.mul_f64(SILENT_TICKS))
    }

    async fn on_frame(&mut self, frame: ServerFrame) -> Result<(), StopReason> {
        let shared = self.shared.clone();
        if let Some(channel_id) = self.restarted_by(&frame) {
            // Before the slot below: the program may have room for one event only.
            let slot = shared.reserve_event().await?;
            shared.inbox().restart_channel(&channel_id, shared.node_now());
            self.schedule_catch_up(Duration::ZERO);
            slot.send(Event::Restarted { channel_id });
        }
        let slot = shared.reserve_event().await?;
        let event = match &frame {
            ServerFrame::Message { message, lacks_text: false, .. } => {
                let event = shared.upsert(message.clone(), Source::Pushed);
                self.read_threads_soon(&message.channel_id);
                Some(event)
            }
            ServerFrame::Message { message, .. } => {
                let text = shared.inbox().text_of(message);
                match text {
                    Some(text) => {
                        let message = Message { text, ..message.clone() };
                        Some(shared.upsert(message, Source::Pushed))
                    }
                    // Another text than the one here: the channel is read.
                    None => {
                        let named = std::slice::from_ref(&message.channel_id);
                        shared.inbox().open_gap(Some(named), shared.node_now());
                        self.schedule_catch_up(Duration::ZERO);
                        None
                    }
                }
            }
            ServerFrame::Ready(ready) => Some(self.on_ready(ready)),
            ServerFrame::Channel { change, channel_id, user_ids, details, .. } => {
                let is_own = self.concerns_me(user_ids);
                if *change == Some(ChannelChange::MemberRemoved) && is_own {
                    shared.inbox().leave_channel(channel_id);
                } else {
                    shared.inbox().add_channel(channel_id, shared.node_now());
                }
                let (channel_id, user_ids) = (channel_id.clone(), user_ids.clone());
                let details = details.clone();
                Some(Event::Channel { change: *change, channel_id, user_ids, details })
            }
            ServerFrame::Tick { server_time, fresh, .. }
            | ServerFrame::Pong { server_time, fresh, .. } => {
                self.tick = new_interval(&frame).unwrap_or(self.tick);
                Some(self.on_alive(*server_time, *fresh))
            }
            ServerFrame::Resync { reason, delay_ms, channels } => {
                shared.inbox().open_gap(channels.as_deref(), shared.node_now());
                Some(self.on_resync(reason, *delay_ms))
            }
            ServerFrame::Presence { users } => Some(Event::Presence { users: users.clone() }),
            ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Accepted { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Unknown { .. } => self.meetings.on_frame(&frame),
        };
        if let Some(event) = event {
            slot.send(event);
        }
        // Last: the cursor must never be ahead of the events that the program received.
        self.session.on_frame(&frame);
        self.status.lock().cursor = self.session.cursor().map(str::to_owned);
        Ok(())
    }

    fn on_resync(&mut self, reason: &str, delay_ms: u64) -> Event {
        let delay = Duration::from_millis(delay_ms).min(limits::CLIENT_WAIT_MAX);
        let delay = delay + self.backoff.jitter(delay);
        self.schedule_catch_up(delay);
        Event::Resync { reason: reason.to_owned(), delay }
    }

    /// The node says that the socket is alive, and whether the path behind it is.
    fn on_alive(&self, server_time: Timestamp, fresh: bool) -> Event {
        self.shared.learn_node_clock(server_time);
        if fresh {
            self.shared.inbox().record_in_step(server_time);
        }
        Event::Tick { server_time, fresh }
    }

    /// The channel that this user is a member of again: the frame says so, or is a message of it,
    /// because the change's own frame may be lost.
    fn restarted_by(&self, frame: &ServerFrame) -> Option<ChannelId> {
        match frame {
            ServerFrame::Channel { change, channel_id, user_ids, .. } => {
                let is_addition = change.is_some_and(ChannelChange::is_addition);
                (is_addition && self.concerns_me(user_ids)).then(|| channel_id.clone())
            }
            ServerFrame::Message { message, .. } => {
                let has_left = self.shared.inbox().has_left(&message.channel_id);
                has_left.then(|| message.channel_id.clone())
            }
            ServerFrame::Ready(_)
            | ServerFrame::Tick { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Resync { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Accepted { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Unknown { .. } => None,
        }
    }

    fn concerns_me(&self, users: &[UserId]) -> bool {
        self.user.as_ref().is_some_and(|user| users.contains(user))
    }

    fn on_ready(&mut self, ready: &Ready) -> Event {
        self.ready_at = Some(Instant::now());
        self.tick = ready.tick;
        self.speech.begin(&ready.accepts);
        self.user = Some(ready.user_id.clone());
        self.status.lock().node_id = Some(ready.node_id.clone());
        if !ready.resumed {
            self.shared.inbox().open_gap(None, ready.server_time);
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

    /// Schedules a catch-up if threads of a channel are to be read.
    fn read_threads_soon(&mut self, channel: &ChannelId) {
        if self.shared.inbox().has_threads_due(channel) {
            let delay = self.backoff.jitter(THREAD_WAIT_MAX);
            self.schedule_catch_up(delay);
        }
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

    async fn disconnected(&mut self, disconnect: &Disconnect) -> Result<Step, StopReason> {
        let lived = self.ready_at.take().map(|ready_at| ready_at.elapsed());
        self.lost_at = lived.map(|_| Instant::now()).or(self.lost_at);
        self.status.lock().node_id = None;
        self.meetings.disconnected();
        self.outgoing.clear();
        let next = self.session.on_disconnect(disconnect, lived);
        self.shared.reserve_event().await?.send(Event::Disconnected { code: disconnect.code });
        next
    }
}

/// The interval of ticks, if a frame changes it.
const fn new_interval(frame: &ServerFrame) -> Option<Duration> {
    if let ServerFrame::Tick { every, .. } = frame { *every } else { None }
}

/// How long a client waits at most before it reads a thread of which it is unsure: every client of the
/// channel reads it.
const THREAD_WAIT_MAX: Duration = Duration::from_secs(2);
/// A socket without a frame for this many ticks is dead.
const SILENT_TICKS: f64 = 1.5;
/// How long to wait for the answer to a ping.
const PONG_WAIT_MAX: Duration = Duration::from_secs(5);
/// Timeout of connecting and upgrading. A node that takes longer is overloaded: try another.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);
