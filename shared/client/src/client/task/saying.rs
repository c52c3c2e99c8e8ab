//! What the task says on its socket, and how it moves to the next one.

use std::ops::ControlFlow;
use std::time::Duration;

use protocol::client_frame::{ClientFrame, KEPT};
use protocol::frame::{Ready, ServerFrame};
use tokio::time::{Instant, timeout};

use super::Task;
use crate::client::meetings::{SayError, Saying};
use crate::client::renewing::{Due, Renewed};
use crate::client::sockets::{Heard, Proof, Sockets};
use crate::event::Event;
use crate::rest::SocketKind;
use crate::session::{Disconnect, StopReason};

impl Task {
    /// Says what is to be said on this socket now, and closes the one before it once that is of no more
    /// use. Returns false if the socket is broken.
    pub(super) async fn say_all(&mut self, sockets: &mut Sockets) -> Result<bool, StopReason> {
        if sockets.has_old() && self.meetings.has_moved() {
            sockets.close_old().await;
            let events = self.meetings.moved();
            self.report(events).await?;
        }
        for frame in self.outgoing() {
            // A socket that takes no more bytes is silent, too: nothing is read while a frame waits.
            if !matches!(timeout(self.silence_max(), sockets.say(&frame)).await, Ok(Ok(()))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Handles what came on the sockets; breaks when the one that is used has ended.
    pub(super) async fn hear(
        &mut self,
        heard: Heard,
        sockets: &mut Sockets,
    ) -> Result<ControlFlow<Disconnect, Proof>, StopReason> {
        match heard {
            Heard::Frame(ServerFrame::Going(going)) => {
                sockets.open_next(&self.shared.api, &self.status, going);
            }
            Heard::Frame(frame) => self.on_frame(frame).await?,
            Heard::Moved(ready) => self.on_moved(ready).await?,
            Heard::Ended(disconnect) => return Ok(ControlFlow::Break(disconnect)),
            Heard::Old(frame) => {
                let events = self.meetings.on_old_frame(&frame);
                self.report(events).await?;
                return Ok(ControlFlow::Continue(Proof::Nothing));
            }
            Heard::OldEnded => {
                let events = self.meetings.moved();
                self.report(events).await?;
                return Ok(ControlFlow::Continue(Proof::Nothing));
            }
            Heard::Nothing => return Ok(ControlFlow::Continue(Proof::Nothing)),
        }
        Ok(ControlFlow::Continue(Proof::Alive))
    }

    /// The next socket is ready: it is used from now on. The one before it still brings what was said
    /// before the new one joined.
    pub(super) async fn on_moved(&mut self, ready: Ready) -> Result<(), StopReason> {
        let events = self.meetings.moved();
        self.report(events).await?;
        self.meetings.moves();
        self.lost_at = Some(Instant::now());
        // What it was to answer is sent again on the new one.
        self.deliveries.change(|outbox| outbox.socket_lost(Instant::now()));
        self.on_frame(ServerFrame::Ready(ready)).await
    }

    /// Plans to renew the token of this socket, if its node takes that.
    pub(super) fn plan_renewal(&mut self) {
        self.renewing.stop();
        if self.speech.is_taken("renew") {
            self.renewing.plan(&self.shared.api, &mut self.backoff);
        }
    }

    /// The kind of socket that the next ticket is for.
    pub(super) fn socket_kind(&self) -> SocketKind {
        let is_invisible = self.control.borrow().is_invisible;
        SocketKind { is_invisible, device: self.device.clone() }
    }

    /// The node says whether the user is invisible. It dropped every `got` of an invisible socket, so they
    /// are sent again when the user becomes visible.
    pub(super) fn is_seen(&mut self, is_invisible: bool) {
        if self.renewing.is_seen(is_invisible) {
            self.shared.gots.lock().tell_again();
        }
    }

    /// Sees to it that the socket's ticket says whether the user is invisible.
    pub(super) fn renew_visibility(&mut self) {
        if self.ready_at.is_some() && self.speech.is_taken("renew") {
            self.renewing.want(self.control.borrow().is_invisible);
        }
    }

    /// Renews the token of this socket.
    pub(super) fn renew(&mut self, due: Due, sockets: &mut Sockets) {
        let Some(node) = self.status.lock().node_id.clone() else { return self.renewing.stop() };
        let outcome = match due {
            Due::Attempt => {
                let kind = self.socket_kind();
                return self.renewing.begin(self.shared.api.clone(), node, kind);
            }
            Due::Attempted(outcome) => outcome,
        };
        match self.renewing.attempted(&node, outcome) {
            Some(Renewed::Say(frame)) => self.outgoing.push(frame),
            Some(Renewed::Move(going)) => {
                sockets.open_next(&self.shared.api, &self.status, going);
            }
            None => {}
        }
        // It may be refused, or fail: the token of this socket still ends when it did.
        self.plan_renewal();
    }

    pub(super) async fn report(&self, events: Vec<Event>) -> Result<(), StopReason> {
        for event in events {
            self.shared.reserve_event().await?.send(event);
        }
        Ok(())
    }

    /// What is to be said on this socket now, with what makes it take part in the wanted channels.
    fn outgoing(&mut self) -> Vec<ClientFrame> {
        if self.ready_at.is_none() {
            return std::mem::take(&mut self.outgoing);
        }
        if self.speech.is_taken("join") {
            self.outgoing.extend(self.meetings.frames(&self.control.borrow().joined));
        }
        let now = Instant::now();
        if self.view_due_at(now).is_some_and(|at| at <= now) {
            let view = self.control.borrow().view.clone();
            self.outgoing.push(self.speech.view_said(&view, now));
        }
        let is_idle = self.control.borrow().is_idle;
        self.outgoing.extend(self.speech.idle_due(is_idle));
        self.outgoing.extend(self.deliveries.frames());
        if self.speech.is_taken("got") {
            let inbox = self.shared.inbox();
            let frames = self.shared.gots.lock().frames(now, |channel| inbox.telling(channel));
            self.outgoing.extend(frames);
        }
        if self.speech.is_taken(KEPT) {
            let inbox = self.shared.inbox();
            let frames = self.shared.keeping.lock().frames(now, &inbox);
            self.outgoing.extend(frames);
        }
        std::mem::take(&mut self.outgoing)
    }

    pub(super) fn on_saying(&mut self, saying: Saying) {
        if self.ready_at.is_some() && self.speech.is_taken("send") {
            self.outgoing.push(self.meetings.say(saying));
        } else {
            saying.answer.send(Err(SayError::NoSocket)).unwrap_or_default();
        }
    }

    /// Handles a frame of a handle. Returns when the path is dead without an answer.
    pub(super) fn on_said(&mut self, frame: ClientFrame) -> Option<Instant> {
        let now = Instant::now();
        if self.ready_at.is_none() || !self.speech.passes(&frame, now) {
            return None;
        }
        let dead_at = (frame == ClientFrame::Ping).then(|| now + PONG_WAIT_MAX);
        self.outgoing.push(frame);
        dead_at
    }

    /// When the view, or what this client has, is to be said on this socket.
    pub(super) fn due_to_say(&self) -> Option<Instant> {
        let now = Instant::now();
        let inbox = self.shared.inbox();
        let gots = self.shared.gots.lock();
        let got_at = self.ready_at.filter(|_| self.speech.is_taken("got"));
        let got_at = got_at.and_then(|_| gots.due_at(now, |channel| inbox.telling(channel)));
        let kept_at = self.ready_at.filter(|_| self.speech.is_taken(KEPT));
        let keeping = self.shared.keeping.lock();
        let kept_at = kept_at.and_then(|_| keeping.due_at(now, &inbox));
        got_at.into_iter().chain(kept_at).chain(self.view_due_at(now)).min()
    }

    /// When the view is to be said on this socket.
    fn view_due_at(&self, now: Instant) -> Option<Instant> {
        let view = &self.control.borrow().view;
        self.ready_at.and_then(|_| self.speech.view_due_at(view, now))
    }
}

/// How long to wait for the answer to a ping.
const PONG_WAIT_MAX: Duration = Duration::from_secs(5);
