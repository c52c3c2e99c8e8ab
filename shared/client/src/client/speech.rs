//! What a client says on its socket, and how often.

use std::collections::HashMap;
use std::time::Duration;

use model::{LogId, limits};
use protocol::client_frame::{ClientFrame, View};
use tokio::time::Instant;

/// What was said on this socket, so that nothing is said too often.
#[derive(Debug, Default)]
pub(super) struct Speech {
    /// The frame types that the node takes.
    accepts: Vec<String>,
    /// What the node knows of the screen, and since when.
    view: Option<(View, Instant)>,
    /// Whether the node was told that the user is idle.
    is_idle: bool,
    typed: HashMap<LogId, Instant>,
    pinged_at: Option<Instant>,
}

impl Speech {
    /// Begins on a new socket, whose node takes these types.
    pub(super) fn begin(&mut self, accepts: &[String]) {
        *self = Self { accepts: accepts.to_vec(), ..Self::default() };
    }

    pub(super) fn is_taken(&self, kind: &str) -> bool {
        self.accepts.iter().any(|accepted| accepted == kind)
    }

    /// When the view is to be said, if the node knows another one.
    pub(super) fn view_due_at(&self, view: &View, now: Instant) -> Option<Instant> {
        if !self.is_taken("view") {
            return None;
        }
        match &self.view {
            None => (*view != View::default()).then_some(now),
            Some((known, at)) => (known != view).then(|| *at + VIEW_EVERY),
        }
    }

    /// Records that the view is said.
    pub(super) fn view_said(&mut self, view: &View, now: Instant) -> ClientFrame {
        self.view = Some((view.clone(), now));
        ClientFrame::View(view.clone())
    }

    /// Says whether the user is idle, if the node does not know it.
    pub(super) fn idle_due(&mut self, is_idle: bool) -> Option<ClientFrame> {
        if is_idle == self.is_idle || !self.is_taken("idle") {
            return None;
        }
        self.is_idle = is_idle;
        Some(ClientFrame::Idle(is_idle))
    }

    /// Whether a frame is to be said now. Otherwise it is dropped.
    pub(super) fn passes(&mut self, frame: &ClientFrame, now: Instant) -> bool {
        let is_over = |last: Option<&Instant>, wait| last.is_none_or(|last| now >= *last + wait);
        let passes = self.is_taken(frame.kind())
            && match frame {
                ClientFrame::Ping => is_over(self.pinged_at.as_ref(), limits::PONG_EVERY),
                ClientFrame::Typing(log) => is_over(self.typed.get(log), limits::TYPING_EVERY),
                ClientFrame::View(_)
                | ClientFrame::Idle(_)
                | ClientFrame::Join { .. }
                | ClientFrame::Got { .. }
                | ClientFrame::Kept { .. }
                | ClientFrame::Leave(_)
                | ClientFrame::Send(_)
                | ClientFrame::Renew(_)
                | ClientFrame::BadSend { .. } => true,
            };
        match frame {
            ClientFrame::Ping if passes => self.pinged_at = Some(now),
            ClientFrame::Typing(log) if passes => {
                self.typed.retain(|_, last| now < *last + limits::TYPING_EVERY);
                self.typed.insert(log.clone(), now);
            }
            ClientFrame::Ping
            | ClientFrame::Typing(_)
            | ClientFrame::View(_)
            | ClientFrame::Idle(_)
            | ClientFrame::Join { .. }
            | ClientFrame::Got { .. }
            | ClientFrame::Kept { .. }
            | ClientFrame::Leave(_)
            | ClientFrame::Send(_)
            | ClientFrame::Renew(_)
            | ClientFrame::BadSend { .. } => {}
        }
        passes
    }
}

/// A client says what is on its screen at most this often.
const VIEW_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use model::{ChannelId, Timestamp};

    use super::*;

    fn log() -> LogId {
        ChannelId::mint_group(Timestamp::from_unix_ms(1), 1).into()
    }

    #[test]
    fn nothing_is_said_that_the_node_does_not_take() {
        let (mut speech, now) = (Speech::default(), Instant::now());
        let view = View { logs: vec![log()], users: Vec::new() };
        for accepts in [&[][..], &["view".to_owned()]] {
            speech.begin(accepts);
            assert!(!speech.passes(&ClientFrame::Ping, now));
            assert_eq!(speech.view_due_at(&view, now).is_some(), !accepts.is_empty());
        }
    }

    #[test]
    fn each_socket_is_told_once_that_the_user_is_idle() {
        let mut speech = Speech::default();
        speech.begin(&["view".to_owned()]);
        assert_eq!(speech.idle_due(true), None, "the node does not take it");
        for _ in 0..2 {
            speech.begin(&["idle".to_owned()]);
            assert_eq!(speech.idle_due(false), None, "every socket begins so");
            assert_eq!(speech.idle_due(true), Some(ClientFrame::Idle(true)));
            assert_eq!(speech.idle_due(true), None);
        }
        assert_eq!(speech.idle_due(false), Some(ClientFrame::Idle(false)));
    }

    #[test]
    fn what_was_said_is_not_said_too_often() {
        let (mut speech, now) = (Speech::default(), Instant::now());
        speech.begin(&["ping", "typing", "view"].map(str::to_owned));
        let types = ClientFrame::Typing(log());
        for (frame, wait) in
            [(ClientFrame::Ping, limits::PONG_EVERY), (types, limits::TYPING_EVERY)]
        {
            assert!(speech.passes(&frame, now));
            assert!(!speech.passes(&frame, now + wait / 2));
            assert!(speech.passes(&frame, now + wait));
        }
        let view = View { logs: vec![log()], users: Vec::new() };
        assert_eq!(speech.view_due_at(&View::default(), now), None, "nothing is on the screen");
        speech.view_said(&view, now);
        assert_eq!(speech.view_due_at(&view, now), None);
        assert_eq!(speech.view_due_at(&View::default(), now), Some(now + VIEW_EVERY));
    }
}
