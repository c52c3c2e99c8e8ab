//! The task of a [`super::Client`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use model::{ChannelChange, ChannelId, DeviceId, Message, Timestamp, UserId, limits};
use parking_lot::Mutex;
use protocol::client_frame::ClientFrame;
use protocol::frame::{Ready, ServerFrame};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::delivering::Outgoing;
use super::meetings::{Meetings, Saying};
use super::renewing::Renewing;
use super::sockets::{Proof, Sockets};
use super::speech::Speech;
use super::{Control, Status};
use crate::backoff::Backoff;
use crate::catch_up::Shared;
use crate::deliveries::Deliveries;
use crate::event::{Event, Source};
use crate::session::{Disconnect, Session, Step, StopReason};
use crate::socket::{OpenError, RawSocket};
use crate::store::StoreError;

mod saying;

pub(super) struct Task {
    pub(super) shared: Shared,
    pub(super) status: Arc<Mutex<Status>>,
    pub(super) control: watch::Receiver<Control>,
    /// What the handles say on the socket.
    pub(super) said: mpsc::Receiver<ClientFrame>,
    pub(super) speech: Speech,
    pub(super) to_say: mpsc::Receiver<Saying>,
    pub(super) meetings: Meetings,
    /// Messages for channels that deliver first.
    pub(super) deliveries: Outgoing,
    /// The task that makes their calls.
    pub(super) deliverer: JoinSet<()>,
    pub(super) renewing: Renewing,
    pub(super) device: Option<DeviceId>,
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
        self.deliverer.shutdown().await;
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
                let kind = self.socket_kind();
                let assigned = async {
                    if fresh_token {
                        api.fresh_token().await?;
                    }
                    api.connect_as(failed.as_ref(), &kind).await
                };
                match assigned.await {
                    Ok(assignment) => {
                        self.renewing.ticket(api.token_ends_at().await);
                        Ok(self.session.on_assigned(assignment))
                    }
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
    async fn run_socket(&mut self, socket: RawSocket, ticket: &str) -> Result<Step, StopReason> {
        let mut sockets = Sockets::new(socket);
        let disconnect = match sockets.hello(ticket, self.session.cursor()).await {
            Ok(()) => self.receive_frames(&mut sockets).await?,
            Err(_) => Disconnect::abnormal(),
        };
        sockets.finish().await;
        self.disconnected(&disconnect).await
    }

    async fn receive_frames(&mut self, sockets: &mut Sockets) -> Result<Disconnect, StopReason> {
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
            if !self.say_all(sockets).await? {
                return Ok(Disconnect::abnormal());
            }
            let due_to_say = self.due_to_say();
            self.renew_visibility();
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
                () = sleep_until(due_to_say.unwrap_or_else(Instant::now)), if due_to_say.is_some() => continue,
                () = self.deliveries.sendable() => continue,
                Some(saying) = self.to_say.recv() => {
                    self.on_saying(saying);
                    continue;
                }
                Some(frame) = self.said.recv() => {
                    let dead_at = self.on_said(frame);
                    silent_at = dead_at.map_or(silent_at, |dead_at| silent_at.min(dead_at));
                    continue;
                }
                due = self.renewing.due() => {
                    self.renew(due, sockets);
                    continue;
                }
                heard = sockets.receive(), if reading => match self.hear(heard, sockets).await? {
                    ControlFlow::Break(disconnect) => return Ok(disconnect),
                    ControlFlow::Continue(Proof::Alive) => {}
                    ControlFlow::Continue(Proof::Nothing) => continue,
                },
                () = sleep_until(silent_at), if reading => return Ok(Disconnect::abnormal()),
            }
            // Count from when the frame was handled: a slow program is not a silent socket.
            silent_at = Instant::now() + self.silence_max();
        }
    }

    pub(super) fn silence_max(&self) -> Duration {
        self.silence_max.max(self.tick.mul_f64(SILENT_TICKS))
    }

    async fn on_frame(&mut self, frame: ServerFrame) -> Result<(), StopReason> {
        let shared = self.shared.clone();
        if let ServerFrame::Ready(ready) = &frame {
            self.check_owner(ready)?;
        }
        if let Some(channel_id) = self.restarted_by(&frame) {
            // Before the slot below: the program may have room for one event only.
            let slot = shared.reserve_event().await?;
            shared.inbox().restart_channel(&channel_id, shared.node_now());
            self.schedule_catch_up(Duration::ZERO);
            slot.send(Event::Restarted { channel_id });
        }
        let slot = shared.reserve_event().await?;
        let event = match &frame {
            ServerFrame::Message { message, lacks_text, .. } => {
                self.on_message(message, *lacks_text)
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
            ServerFrame::Renewed { expires_at, invisible, .. } => {
                self.renewing.renewed(*expires_at);
                self.is_seen(*invisible);
                self.plan_renewal();
                None
            }
            ServerFrame::Presence { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Accepted { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Unknown { .. } => {
                let is_of_outbox = self.deliveries.on_frame(&frame);
                let events = if is_of_outbox { Vec::new() } else { self.meetings.on_frame(&frame) };
                // Each takes a place of its own: the program may have room for one only.
                drop(slot);
                self.report(events).await?;
                self.handled(&frame);
                return Ok(());
            }
        };
        if let Some(event) = event {
            slot.send(event);
        }
        self.handled(&frame);
        Ok(())
    }

    /// A message was pushed. One without its text is read if this client has another text.
    fn on_message(&mut self, message: &Message, lacks_text: bool) -> Option<Event> {
        if !lacks_text {
            let event = self.shared.upsert(message.clone(), Source::Pushed);
            self.read_more_soon(&message.channel_id);
            return Some(event);
        }
        let text = self.shared.inbox().text_of(message);
        if let Some(text) = text {
            let message = Message { text, ..message.clone() };
            return Some(self.shared.upsert(message, Source::Pushed));
        }
        // Another text than the one here: the channel is read.
        let named = std::slice::from_ref(&message.channel_id);
        self.shared.inbox().open_gap(Some(named), self.shared.node_now());
        self.schedule_catch_up(Duration::ZERO);
        None
    }

    /// The program has the frame's events.
    fn handled(&mut self, frame: &ServerFrame) {
        if let ServerFrame::Message { message, .. } = frame {
            self.shared.note_got(&message.channel_id, message.id);
        }
        // Last: the cursor must never be ahead of the events that the program received.
        self.session.on_frame(frame);
        let cursor = self.session.cursor().map(str::to_owned);
        let mut status = self.status.lock();
        if !self.shared.is_saved {
            status.cursor.clone_from(&cursor);
        }
        status.position = cursor;
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
            | ServerFrame::Receipts { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. }
            | ServerFrame::Unknown { .. } => None,
        }
    }

    fn concerns_me(&self, users: &[UserId]) -> bool {
        self.user.as_ref().is_some_and(|user| users.contains(user))
    }

    /// The store may be another user's.
    fn check_owner(&self, ready: &Ready) -> Result<(), StopReason> {
        let user = format!("{}/{}", ready.workspace_id, ready.user_id);
        let mut status = self.status.lock();
        match status.owner.get_or_insert_with(|| user.clone()) {
            owner if *owner == user => Ok(()),
            owner => Err(StoreError::OtherUser(owner.clone()).into()),
        }
    }

    fn on_ready(&mut self, ready: &Ready) -> Event {
        self.ready_at = Some(Instant::now());
        self.tick = ready.tick;
        self.speech.begin(&ready.accepts);
        if self.speech.is_taken("send") {
            self.deliveries.change(Deliveries::socket_opened);
        }
        self.plan_renewal();
        self.shared.gots.lock().socket_opened(self.lost_at);
        self.shared.keeping.lock().socket_opened(self.lost_at);
        self.is_seen(ready.invisible);
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

    /// Schedules a catch-up if threads of a channel, or its contract, are to be read. One that is scheduled
    /// reads them, too: the next messages must not put it off.
    fn read_more_soon(&mut self, channel: &ChannelId) {
        if self.next_catch_up.is_none() && self.shared.inbox().has_more_due(channel) {
            let delay = self.backoff.jitter(READ_MORE_WAIT_MAX);
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
        let events = self.meetings.disconnected();
        self.deliveries.change(|outbox| outbox.socket_lost(Instant::now()));
        self.renewing.stop();
        self.outgoing.clear();
        let next = self.session.on_disconnect(disconnect, lived);
        self.report(events).await?;
        self.shared.reserve_event().await?.send(Event::Disconnected { code: disconnect.code });
        next
    }
}

/// The interval of ticks, if a frame changes it.
const fn new_interval(frame: &ServerFrame) -> Option<Duration> {
    if let ServerFrame::Tick { every, .. } = frame { *every } else { None }
}

/// How long a client waits at most before it reads a thread of which it is unsure, or a channel's contract:
/// every client of the channel reads it.
const READ_MORE_WAIT_MAX: Duration = Duration::from_secs(2);
/// A socket without a frame for this many ticks is dead.
const SILENT_TICKS: f64 = 1.5;
/// Timeout of connecting and upgrading. A node that takes longer is overloaded: try another.
pub(super) const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);
