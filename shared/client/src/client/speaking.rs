//! What the task says on its socket, and when.

use protocol::client_frame::ClientFrame;
use tokio::time::Instant;

use super::meetings::{SayError, Saying};
use super::task::{PONG_WAIT_MAX, Task};
use crate::socket::RawSocket;

impl Task {
    /// What is to be said on this socket now, with what makes it take part in the wanted channels.
    pub(super) fn outgoing(&mut self) -> Vec<ClientFrame> {
        if self.ready_at.is_some() && self.speech.is_taken("join") {
            self.outgoing.extend(self.meetings.frames(&self.control.borrow().joined));
        }
        let now = Instant::now();
        if self.view_due_at(now).is_some_and(|at| at <= now) {
            let view = self.control.borrow().view.clone();
            self.outgoing.push(self.speech.view_said(&view, now));
        }
        if self.ready_at.is_some() {
            self.outgoing.extend(self.deliveries.frames());
        }
        if self.ready_at.is_some() && self.speech.is_taken("got") {
            let inbox = self.shared.inbox();
            let frames = self.shared.gots.lock().frames(now, |channel| inbox.telling(channel));
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
        got_at.into_iter().chain(self.view_due_at(now)).min()
    }

    /// When the view is to be said on this socket.
    pub(super) fn view_due_at(&self, now: Instant) -> Option<Instant> {
        let view = &self.control.borrow().view;
        self.ready_at.and_then(|_| self.speech.view_due_at(view, now))
    }

    /// Says whether the user is idle, if the node does not know it; false if the socket is broken.
    pub(super) async fn say_idle(&mut self, socket: &mut RawSocket) -> bool {
        let is_idle = self.control.borrow().is_idle;
        match self.ready_at.and_then(|_| self.speech.idle_due(is_idle)) {
            Some(idle) => socket.say(&idle).await.is_ok(),
            None => true,
        }
    }
}
